"""Webhooks against a strict receiver: CloudEvents 1.0 in its three modes, Standard Webhooks, and what answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry, Item
from headend.model.meter import Secret
from headend.model.reading import Quality, ReadingBatch, Source
from headend.northbound.http import retry_after
from headend.northbound.sink import Surroundings
from headend.northbound.webhook import kind
from headend.northbound.webhook.signing import key_of, signed
from headend.northbound.webhook.sink import WebhookOptions, WebhookSink
from headend.services.bus import Bus
from headend.services.roster import Roster

from .contract import Seen, check
from .http_server import Asked, HttpServer, Said

NOW = 1_763_727_430_000
SECRETS = {
    "env:NEW": "whsec_" + base64.b64encode(b"n" * 32).decode(),
    "env:OLD": "whsec_" + base64.b64encode(b"o" * 24).decode(),
}
NAME = re.compile("[a-z0-9]{1,20}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def check_event(said: dict[str, Any]) -> dict[str, Any]:
    """The rules of CloudEvents 1.0 for attributes, and of the extensions that are used."""
    assert {"specversion", "id", "source", "type"} <= said.keys()
    assert said["specversion"] == "1.0"
    for name, value in said.items():
        if name != "data":
            assert NAME.fullmatch(name), name
            assert isinstance(value, str)
            assert value
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9_]+)+", said["type"])
    for name in ("time", "recordedtime"):
        assert TIME.fullmatch(said[name])
        datetime.fromisoformat(said[name])
    assert re.fullmatch(r"\d{20}", said["sequence"])
    return said


class Receiver(HttpServer):
    """Takes CloudEvents that keep the rules, signed with one of its secrets, and refuses all others."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.next: list[Said] = []
        self.poison: set[float] = set()
        self.handshake = Said(200, (("WebHook-Allowed-Origin", "headend"), ("WebHook-Allowed-Rate", "60000")))

    def answer(self, asked: Asked) -> Said:
        if asked.method == "OPTIONS":
            assert asked.headers["webhook-request-origin"] == "headend"
            return self.handshake
        assert (asked.method, asked.path) == ("POST", "/hook")
        if self.next:
            return self.next.pop(0)
        if self.secrets and not self._verified(asked):
            return Said(401, body=b"signature")
        events = [check_event(each) for each in self._parse(asked)]
        if any(each["value"] in self.poison for event in events for each in event["data"].get("readings", ())):
            return Said(400, body=b"no such value")
        self.events += events
        return Said()

    def _verified(self, asked: Asked) -> bool:
        """As the specification of Standard Webhooks 1.0.0 says it."""
        message_id, at = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
        if abs(int(at) - NOW // 1000) > 300:
            return False
        content = f"{message_id}.{at}.".encode() + asked.body
        marks = [each.split(",", 1) for each in asked.headers["webhook-signature"].split(" ")]
        assert all(version == "v1" for version, _ in marks)
        return any(
            hmac.compare_digest(
                base64.b64decode(mark),
                hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256).digest(),
            )
            for _, mark in marks
            for secret in self.secrets
        )

    def _parse(self, asked: Asked) -> list[dict[str, Any]]:
        media = asked.headers["content-type"].split(";")[0]
        if media == "application/cloudevents-batch+json":
            found = json.loads(asked.body)
            assert isinstance(found, list)
            return found
        if media == "application/cloudevents+json":
            return [json.loads(asked.body)]
        said: dict[str, Any] = {
            name[3:]: unquote(value) for name, value in asked.headers.items() if name.startswith("ce-")
        }
        return [{**said, "datacontenttype": media, "data": json.loads(asked.body)}]

    def seen(self) -> Sequence[Seen]:
        return [
            Seen(event["partitionkey"], row["value"], event["id"])
            for event in self.events
            for row in event["data"].get("readings", ())
        ]

    def refuse(self, value: float) -> bool:
        self.poison.add(value)
        return True


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with made:
        yield made


def surroundings() -> Surroundings:
    bus = Bus()

    def secret(place: str) -> Secret:
        return Secret(SECRETS.get(place, place).encode())

    async def answer(_request: object) -> object:
        raise AssertionError

    return Surroundings(
        name="hook",
        version="1.2.3",
        roster=Roster(bus, lambda: NOW),
        profile=lambda _meter: None,
        answer=answer,
        clock=lambda: NOW,
        secret=secret,
    )


def make(receiver: Receiver, **options: Any) -> WebhookSink:
    sink = kind.make(WebhookOptions(url=f"{receiver.url}/hook", **options), surroundings())
    assert isinstance(sink, WebhookSink)
    return sink


def batch(meter: str = "m1", value: Any = 230.5, quality: Quality = Quality.GOOD) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.POLL,
        received_at=NOW + 250,
        quantities=("voltage_l1",),
        values=[value],
        measured_at=[NOW],
        quality=[int(quality)],
    )


def entries(*items: Item) -> list[Entry]:
    return [Entry(1000 + number, item) for number, item in enumerate(items)]


ALARM = Event(
    type=EventType.METER_OFFLINE, severity=Severity.WARNING, occurred_at=NOW, meter_id="zähler 1", data={"code": "link"}
)


def test_the_published_vector_of_standard_webhooks() -> None:
    """github.com/standard-webhooks/standard-webhooks: the vector of its reference implementations."""
    key = key_of(Secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "here")
    assert signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("mode", ["batch", "structured", "binary"])
async def test_every_mode_says_the_same(receiver: Receiver, mode: Any) -> None:
    receiver.secrets = [SECRETS["env:NEW"]]
    async with make(receiver, mode=mode, secrets=("env:NEW",), token="env:TOKEN").session() as channel:
        assert not await channel.deliver(entries(batch(quality=Quality.ESTIMATED), ALARM), late=False)
    reading, alarm = receiver.events
    assert reading == {
        "specversion": "1.0",
        "id": "3e8",
        "source": "/headend",
        "type": "io.headend.readings",
        "subject": "m1",
        "time": "2025-11-21T12:17:10.000Z",
        "recordedtime": "2025-11-21T12:17:10.250Z",
        "sequence": "00000000000000001000",
        "partitionkey": "m1",
        "datacontenttype": "application/json",
        "data": {
            "meter_id": "m1",
            "origin": "poll",
            "readings": [
                {
                    "quantity": "voltage_l1",
                    "obis": "1-0:32.7.0.255",
                    "value": 230.5,
                    "unit": "V",
                    "measured_at": "2025-11-21T12:17:10.000Z",
                    "quality": ["estimated"],
                }
            ],
            "missing": [],
        },
    }
    assert (alarm["type"], alarm["subject"], alarm["severitytext"]) == (
        "io.headend.event.meter_offline",
        "zähler 1",
        "warning",
    )
    assert alarm["data"]["data"] == {"code": "link"}
    assert len(receiver.asked) == (1 if mode == "batch" else 2)
    assert {each.headers["authorization"] for each in receiver.asked} == {"Bearer env:TOKEN"}


async def test_secrets_are_changed_without_a_gap(receiver: Receiver) -> None:
    both = ("env:NEW", "env:OLD")
    for known in both:
        receiver.secrets = [SECRETS[known]]
        async with make(receiver, secrets=both).session() as channel:
            await channel.deliver(entries(batch()), late=False)
    receiver.secrets = [SECRETS["env:NEW"]]
    async with make(receiver, secrets=("env:OLD",)).session() as channel:
        with pytest.raises(SinkError, match="401"):
            await channel.deliver(entries(batch()), late=False)


async def test_the_same_entry_has_the_same_id_however_often_it_is_sent(receiver: Receiver) -> None:
    receiver.next = [Said(503)]
    sink = make(receiver, secrets=("env:NEW",))
    async with sink.session() as channel:
        with pytest.raises(SinkError):
            await channel.deliver(entries(batch()), late=False)
    async with sink.session() as channel:
        await channel.deliver(entries(batch()), late=True)
    first, second = receiver.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_a_handshake_asks_whether_events_are_welcome(receiver: Receiver) -> None:
    async with make(receiver, handshake=True).session() as channel:
        await channel.deliver(entries(batch()), late=False)
    assert [each.method for each in receiver.asked] == ["OPTIONS", "POST"]
    receiver.handshake = Said(200, (("WebHook-Allowed-Origin", "somebody-else"),))
    with pytest.raises(SinkError, match="welcome"):
        async with make(receiver, handshake=True).session():
            pass


async def test_gone_is_for_ever(receiver: Receiver) -> None:
    receiver.next = [Said(410)]
    sink = make(receiver)
    with pytest.raises(SinkError, match="410"):
        async with sink.session() as channel:
            await channel.deliver(entries(batch()), late=False)
    with pytest.raises(SinkError, match="410"):
        async with sink.session():
            pass
    assert len(receiver.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_heeded(receiver: Receiver, status: int) -> None:
    receiver.next = [Said(status, (("Retry-After", "120"),))]
    sink = make(receiver)
    with pytest.raises(SinkError):
        async with sink.session() as channel:
            await channel.deliver(entries(batch()), late=False)
    with pytest.raises(SinkError, match="left alone"):
        async with sink.session():
            pass
    assert len(receiver.asked) == 1


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 415])
async def test_what_settings_may_mend_sets_nothing_aside(receiver: Receiver, status: int) -> None:
    receiver.next = [Said(status, (("Location", "http://192.0.2.1/"),))]
    async with make(receiver).session() as channel:
        with pytest.raises(SinkError) as raised:
            await channel.deliver(entries(batch()), late=False)
    assert not isinstance(raised.value, SinkRefused)
    assert len(receiver.asked) == 1


async def test_a_refused_event_is_named_where_it_can_be(receiver: Receiver) -> None:
    receiver.poison = {-1.0}
    items = (batch(value=1.0), batch(value=-1.0), batch(value=2.0))
    async with make(receiver, mode="structured").session() as channel:
        (refusal,) = await channel.deliver(entries(*items), late=False)
    assert refusal.number == 1001
    assert "400: no such value" in refusal.reason
    assert [each.value for each in receiver.seen()] == [1.0, 2.0]
    async with make(receiver).session() as channel:
        with pytest.raises(SinkRefused):
            await channel.deliver(entries(*items), late=False)


async def test_a_batch_has_so_many_at_most(receiver: Receiver) -> None:
    async with make(receiver, batch=2).session() as channel:
        await channel.deliver(entries(*(batch(value=float(n)) for n in range(5))), late=False)
    assert [len(json.loads(each.body)) for each in receiver.asked] == [2, 2, 1]


@pytest.mark.parametrize("mode", ["batch", "binary"])
async def test_the_contract_of_all_sinks(receiver: Receiver, tmp_path: Path, mode: Any) -> None:
    await check(tmp_path, lambda: make(receiver, mode=mode), receiver, meters=3, rounds=8)


class Proxy(Receiver):
    """A REST proxy for Kafka, as its API v3 is documented: records in JSON one after the other, a report for each."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions: dict[str, list[int]] = {}
        self.silent_after = 1 << 30

    def answer(self, asked: Asked) -> Said:
        assert (asked.method, asked.path) == ("POST", "/hook")
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["transfer-encoding"] == "chunked", "else the body is one record"
        if self.next:
            return self.next.pop(0)
        text, at, reports = asked.body.decode(), 0, []
        while at < len(text):
            record, at = json.JSONDecoder().raw_decode(text, at)
            at += len(text[at:]) - len(text[at:].lstrip())
            reports.append(self._take(record) if len(reports) < self.silent_after else None)
        said = "\r\n".join(json.dumps(each) for each in reports if each is not None)
        return Said(200, (("content-type", "application/json"),), said.encode())

    def _take(self, record: dict[str, Any]) -> dict[str, Any]:
        assert record.keys() == {"key", "headers", "value"}
        assert {record["key"]["type"], record["value"]["type"]} == {"BINARY"}
        headers = {each["name"]: base64.b64decode(each["value"], validate=True).decode() for each in record["headers"]}
        assert headers.pop("content-type") == "application/json"
        assert all(name.startswith("ce_") for name in headers)
        value = json.loads(base64.b64decode(record["value"]["data"], validate=True))
        event = check_event({name[3:]: said for name, said in headers.items()} | {"data": value})
        key = base64.b64decode(record["key"]["data"], validate=True).decode()
        assert key == event["partitionkey"]
        if any(each["value"] in self.poison for each in value.get("readings", ())):
            return {"error_code": 42206, "message": "no such value"}
        self.events.append(event)
        self.partitions.setdefault(key, []).append(int(event["sequence"]))
        return {
            "error_code": 200,
            "cluster_id": "c",
            "topic_name": "meters",
            "partition_id": 0,
            "offset": len(self.events),
        }


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    made = Proxy()
    async with made:
        yield made


async def test_records_for_kafka_have_headers_and_the_meter_as_their_key(proxy: Proxy) -> None:
    async with make(proxy, mode="kafka", batch=2).session() as channel:
        assert not await channel.deliver(entries(batch(), ALARM, batch(value=1e-9)), late=False)
    assert proxy.partitions == {"m1": [1000, 1002], "zähler 1": [1001]}
    assert proxy.events[1]["subject"] == "zähler 1"
    assert proxy.events[2]["data"]["readings"][0]["value"] == 1e-9
    assert len(proxy.asked) == 2


async def test_the_proxy_reports_of_each_record(proxy: Proxy) -> None:
    proxy.refuse(3.0)
    async with make(proxy, mode="kafka").session() as channel:
        (refused,) = await channel.deliver(entries(*(batch(value=float(n)) for n in range(5))), late=False)
        assert (refused.number, refused.reason) == (1003, "the proxy answers 42206: no such value")
        for busy in ({"error_code": 42902, "message": "slow down"}, {"error_code": 50003}, {"error_code": None}, {}):
            proxy.next = [Said(200, (), json.dumps(busy).encode())]
            with pytest.raises(SinkError) as caught:
                await channel.deliver(entries(batch()), late=False)
            assert not isinstance(caught.value, SinkRefused), "it comes again"
        proxy.silent_after = 2
        with pytest.raises(SinkError, match="2 of 3 records"):
            await channel.deliver(entries(batch(), batch(), batch()), late=False)


async def test_the_contract_of_all_sinks_through_a_proxy_for_kafka(proxy: Proxy, tmp_path: Path) -> None:
    await check(tmp_path, lambda: make(proxy, mode="kafka"), proxy, meters=3, rounds=8)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host/"},
        {"url": "https://user:secret@host/"},
        {"batch": 0},
        {"source": "with space"},
        {"secrets": ("env:WRONG",)},
        {"url": "https://host/", "ca_file": "/nowhere"},
    ],
)
def test_options_that_do_not_fit_are_refused_without_their_secrets(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        kind.make(WebhookOptions(**{"url": "https://host/", **options}), surroundings())
    assert "secret@" not in str(raised.value)
    assert "env:WRONG" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("999999999", 3600), ("", 0), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-5", 0)],
)
def test_retry_after_in_both_forms(text: str, seconds: float) -> None:
    assert retry_after(text) == seconds
