from __future__ import annotations

import json

import pytest

from headend.errors import ConfigError
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch, Source
from headend.northbound.topics import (
    Stamp,
    Topics,
    event_payload,
    parse_request,
    response_payload,
    status_payload,
    telemetry_payloads,
)

STAMP = Stamp("1a2b", 101)


def batch(times: list[int]) -> ReadingBatch:
    return ReadingBatch(
        meter_id="m1",
        source=Source.POLL,
        received_at=99,
        quantities=["voltage_l1", "frequency"],
        values=[230.1, 50],
        measured_at=times,
        quality=[0, 2],
    )


def test_one_time_is_one_object() -> None:
    assert json.loads(telemetry_payloads(batch([5, 5]), STAMP)[0]) == {
        "ts": 5,
        "source": "poll",
        "values": {"voltage_l1": 230.1, "frequency": 50},
        "quality": {"frequency": 2},
        "id": "1a2b",
        "received_at": 99,
        "published_at": 101,
    }


def test_several_times_are_an_array_in_order() -> None:
    rows = json.loads(telemetry_payloads(batch([9, 5]), STAMP)[0])
    assert [(row["ts"], row["values"]) for row in rows] == [(5, {"frequency": 50}), (9, {"voltage_l1": 230.1})]
    assert [row["id"] for row in rows] == ["1a2b.0", "1a2b.1"]


def test_a_long_history_is_several_messages_that_every_platform_takes() -> None:
    times = list(range(10_000, 0, -1))
    long = ReadingBatch(
        meter_id="m1",
        source=Source.HISTORY,
        received_at=99,
        quantities=["active_energy_import_total"] * len(times),
        values=times,
        measured_at=[1_760_000_000_000 + at for at in times],
        quality=[0] * len(times),
    )
    said = telemetry_payloads(long, STAMP)
    assert max(map(len, said)) < 1 << 17
    rows = [row for payload in said for row in json.loads(payload)]
    assert [row["values"]["active_energy_import_total"] for row in rows] == sorted(times)
    assert len({row["id"] for row in rows}) == len(rows)
    assert telemetry_payloads(long, STAMP) == said


@pytest.mark.parametrize("meter_id", ["m1", "a/b", "x+y#", "ü %"])
def test_any_id_makes_a_topic_that_names_it(meter_id: str) -> None:
    topics = Topics("headend/v1")
    topic = topics.meter(meter_id, "command/request")
    assert topic.startswith("headend/v1/meters/")
    assert not set("+#") & set(topic)
    assert topic.count("/") == 5
    assert topics.requested(topic) == (meter_id, "")
    assert topics.requested(f"{topic}/ada%2Fb") == (meter_id, "ada/b")


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a/+", "$SYS"])
def test_prefixes_that_cannot_be(prefix: str) -> None:
    with pytest.raises(ConfigError):
        Topics(prefix)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b'{"id": 1}', b'{"method": 1}', b'{"method": "read", "params": []}', b" " * 70000]
)
def test_requests_that_are_none(payload: bytes) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_request("m1", payload)


def test_requests_and_responses() -> None:
    request = parse_request("m1", b'{"id": 7, "method": "read", "params": {"refs": ["a"]}}')
    assert (request.id, request.method, request.params) == ("7", "read", {"refs": ["a"]})
    assert json.loads(response_payload("7", 5, result={"a": 1})) == {
        "ts": 5,
        "id": "7",
        "success": True,
        "result": {"a": 1},
    }
    refused = json.loads(response_payload("7", 5, error="access-denied", detail="no"))
    assert refused == {"ts": 5, "id": "7", "success": False, "error": "access-denied", "detail": "no"}


def test_events_and_states() -> None:
    event = Event(
        type=EventType.METER_OFFLINE, severity=Severity.WARNING, occurred_at=5, meter_id="m", data={"code": "x"}
    )
    assert json.loads(event_payload(event, STAMP)) == {
        "ts": 5,
        "event": "METER_OFFLINE",
        "severity": "warning",
        "data": {"code": "x"},
        "id": "1a2b",
        "published_at": 101,
    }
    assert json.loads(status_payload(5, online=False, reason="r")) == {"online": False, "ts": 5, "reason": "r"}


@pytest.mark.parametrize("value", [2**64 * 10, -(2**80), "half of a pair: \ud800"])
def test_whatever_a_meter_says_can_be_published(value: int | str) -> None:
    said = ReadingBatch(
        meter_id="m1",
        source=Source.POLL,
        received_at=9,
        quantities=["q"],
        values=[value],
        measured_at=[5],
        quality=[0],
    )
    assert json.loads(telemetry_payloads(said, STAMP)[0])["values"] == {"q": value}
    event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=5, data={"said": value})
    assert json.loads(event_payload(event, STAMP))["data"] == {"said": value}
    assert json.loads(response_payload("1", 5, result={"ref": value}))["result"] == {"ref": value}
