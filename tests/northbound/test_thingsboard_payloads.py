"""The pure parts of the ThingsBoard sinks: vectors from its documentation, and properties against the rules of its JSON."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, RemoteProtocolError, SinkRefused
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry
from headend.model.reading import ReadingBatch, Source
from headend.northbound.thingsboard.attributes import check_template
from headend.northbound.thingsboard.limits import (
    MAX_PAYLOAD,
    Bucket,
    Limiter,
    Limits,
    Rates,
    parse_limits,
    parse_rate,
)
from headend.northbound.thingsboard.news import news_of, pieces_of
from headend.northbound.thingsboard.rpc import (
    Call,
    Calls,
    parse_device_call,
    parse_gateway_call,
    request_of,
    result_of,
)
from headend.northbound.thingsboard.telemetry import Room, merge, pieces
from headend.northbound.thingsboard.values import BRIDGE_KEYS, Keys, plain
from headend.northbound.topics import Request

from .thingsboard_fake import is_parsable, stored_number

ROOMY = Room(octets=MAX_PAYLOAD, points=1_000_000)


def keys(*, kilo: bool = False, names: dict[str, str] | None = None, prefix: str = "#") -> Keys:
    return Keys(names or {}, kilo=kilo, prefix=prefix)


def batch(values: dict[str, Any], at: int = 1_451_649_600_512, meter_id: str = "Device A") -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=Source.POLL,
        received_at=at,
        quantities=list(values),
        values=list(values.values()),
        measured_at=[at] * len(values),
        quality=[0] * len(values),
    )


# --- payloads of the documentation (MQTT gateway API and device API) ---


def test_gateway_telemetry_is_an_array_for_the_device() -> None:
    rows = {1483228800000: {"temperature": 42, "humidity": 80}, 1483228801000: {"temperature": 43, "humidity": 82}}
    (piece,) = pieces(rows, ROOMY, "Device A")
    assert json.loads(piece.payload) == {
        "Device A": [
            {"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}},
            {"ts": 1483228801000, "values": {"temperature": 43, "humidity": 82}},
        ]
    }
    assert piece.points == 4


def test_device_telemetry_has_time_and_values() -> None:
    (piece,) = pieces({1451649600512: {"key1": "value1", "key2": "value2"}}, ROOMY, None)
    assert json.loads(piece.payload) == [{"ts": 1451649600512, "values": {"key1": "value1", "key2": "value2"}}]


def test_remote_calls_of_the_documentation() -> None:
    said = b'{"device": "Device A", "data": {"id": 7, "method": "toggle_gpio", "params": {"pin":1}}}'
    assert parse_gateway_call(said) == Call(device="Device A", id=7, method="toggle_gpio", params={"pin": 1})
    own = parse_device_call("v1/devices/me/rpc/request/12", b'{"method":"setGpio","params":{"pin":"23","value":1}}')
    assert own == Call(device=None, id=12, method="setGpio", params={"pin": "23", "value": 1})


def test_limits_of_the_documentation() -> None:
    answer = {
        "maxPayloadSize": 65536,
        "maxInflightMessages": 100,
        "rateLimits": {
            "messages": "200:1,6000:60,14000:3600",
            "telemetryMessages": "100:1",
            "telemetryDataPoints": "200:1",
        },
        "gatewayRateLimits": {"messages": "400:1", "telemetryMessages": "300:1,7200:60", "telemetryDataPoints": "0:0,"},
    }
    limits = parse_limits(answer, Limits(max_payload=1))
    assert (limits.max_payload, limits.inflight) == (65536, 100)
    assert limits.own.messages == ((200, 1.0), (6000, 60.0), (14000, 3600.0))
    assert limits.gateway == Rates(messages=((400, 1.0),), telemetry=((300, 1.0), (7200, 60.0)), points=())


@pytest.mark.parametrize(
    "answer", [None, [], "no", {}, {"error": "unknown method"}, {"rateLimits": 5, "maxPayloadSize": "x"}]
)
def test_an_odd_answer_leaves_the_limits_of_the_settings(answer: object) -> None:
    fallback = Limits(own=Rates(messages=((10, 1.0),)), gateway=Rates(messages=((10, 1.0),)))
    assert parse_limits(answer, fallback) == fallback


@pytest.mark.parametrize("text", ["10", "ten:1", "10:", "-1:5"])
def test_limits_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rate(text)


# --- values ---


@given(st.one_of(st.floats(), st.integers(), st.booleans()))
def test_numbers_are_stored_as_numbers_or_left_out(value: float | bool) -> None:
    said = plain(value)
    if said is None:
        assert isinstance(value, int | float)
        assert not math.isfinite(value) or abs(value) >= 1 << 63
    elif isinstance(value, bool):
        assert said is value
    else:
        kind, stored = stored_number(json.dumps(said))
        assert kind in ("long", "double")
        assert stored == pytest.approx(value, rel=1e-14, abs=1e-16)


@given(st.text())
def test_texts_stay_texts(value: str) -> None:
    said = plain(value)
    assert isinstance(said, str)
    assert not is_parsable(said)
    assert said in (value, f"#{value}")


@pytest.mark.parametrize("text", ["000000001234", "-5", ".5", "1.5", "12", "٣٤"])
def test_texts_that_read_like_numbers_can_go_as_objects(text: str) -> None:
    assert is_parsable(text)
    assert plain(text, "") == {"text": text}


def test_units_and_keys_are_as_the_settings_say() -> None:
    values = {"active_energy_import_total": 1_234_567, "active_power_import_total": 1500.0, "voltage_l1": 230.1}
    bridge = keys(kilo=True, names=dict(BRIDGE_KEYS)).rows(batch(values, 5))
    assert bridge == {5: {"active_energy": 1234.567, "active_power": 1.5, "voltage_l1": 230.1}}
    assert keys(names={"voltage_l1": "u1"}).rows(batch(values, 5))[5]["u1"] == 230.1


# --- merging and splitting ---


def test_points_of_one_time_in_several_batches_go_together() -> None:
    rows = keys().rows(batch({"voltage_l1": 1.0}, 7))
    merge(rows, keys().rows(batch({"voltage_l2": 2.0}, 7)))
    merge(rows, keys().rows(batch({"voltage_l1": 3.0}, 8)))
    assert rows == {7: {"voltage_l1": 1.0, "voltage_l2": 2.0}, 8: {"voltage_l1": 3.0}}


@given(
    rows=st.dictionaries(
        st.integers(0, 1 << 41),
        st.dictionaries(
            st.text(max_size=12), st.one_of(st.integers(-9, 1 << 40), st.text(max_size=80)), min_size=1, max_size=12
        ),
        max_size=12,
    ),
    octets=st.integers(1024, 2000),
    points=st.integers(1, 30),
    device=st.one_of(st.none(), st.text(min_size=1, max_size=20)),
    metadata=st.one_of(st.none(), st.just({"connector": "headend", "receivedTs": 1 << 40, "publishedTs": 1 << 40})),
)
def test_nothing_is_lost_in_pieces_that_fit(
    rows: dict[int, dict[str, Any]], octets: int, points: int, device: str | None, metadata: dict[str, Any] | None
) -> None:
    found: dict[int, dict[str, Any]] = {}
    for piece in pieces(rows, Room(octets=octets, points=points), device, metadata):
        assert len(piece.payload) <= octets
        assert 0 < piece.points <= points
        said = json.loads(piece.payload)
        for row in said if device is None else said[device]:
            found.setdefault(row["ts"], {}).update(row["values"])
    assert found == rows


def test_an_entry_that_fits_nowhere_is_refused_alone() -> None:
    room = Room(octets=1024, points=100)
    items = [batch({"meter_name": "x" * 2000}, 1), batch({"voltage_l1": 1.5}, 2), batch({"voltage_l1": 2.5}, 3)]
    with pytest.raises(SinkRefused):
        list(pieces(keys().rows(items[0]), room, "Device A"))
    (news,) = news_of([Entry(n, item) for n, item in enumerate(items)], keys(), events=True)
    refusals: list[Any] = []
    said = pieces_of(news, keys(), room, refusals, device="Device A")
    assert [each.number for each in refusals] == [0]
    assert [json.loads(each.payload)["Device A"][0]["ts"] for each in said] == [2, 3]


def test_events_are_telemetry_where_that_is_wanted() -> None:
    happened = Event(
        type=EventType.ALARM_RAISED,
        severity=Severity.WARNING,
        occurred_at=5,
        meter_id="m",
        data={"rule": "7", "value": math.inf},
    )
    (news,) = news_of([Entry(1, happened)], keys(), events=True)
    assert news.rows == {5: {"event_ALARM_RAISED": {"severity": "warning", "rule": "#7", "value": None}}}
    (news,) = news_of([Entry(1, happened)], keys(), events=False)
    assert not news.rows


# --- limits ---


@given(
    size=st.integers(2, 50),
    seconds=st.sampled_from([1.0, 60.0]),
    wanted=st.lists(st.integers(1, 20), max_size=60),
    delays=st.lists(st.floats(0.0, 0.2), min_size=60, max_size=60),
)
def test_a_share_of_the_limits_is_kept_however_the_network_delays(
    size: int, seconds: float, wanted: list[int], delays: list[float]
) -> None:
    """Against a bucket of the full size that sees each message up to a fifth of the period late."""
    ours, now, arrivals = Bucket(size * 0.8, seconds), 0.0, []
    for number, delay in zip(wanted, delays, strict=False):
        amount = min(number, int(ours.size))
        now += ours.pause(now, amount)
        ours.take(amount)
        arrivals.append((now + delay * seconds, amount))
    level, before = float(size), 0.0
    for at, number in sorted(arrivals):
        level = min(size, level + (at - before) * size / seconds) - number
        before = at
        assert level > -1e-3


async def test_live_messages_go_ahead_of_late_ones() -> None:
    now, went = 0.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    limiter = Limiter(clock=lambda: now, sleep=sleep)
    limiter.keep(Rates(telemetry=((1, 1.0),), points=((100, 1.0),)))
    assert limiter.points_at_once == 80

    async def go(name: str, *, late: bool) -> None:
        for _ in range(3):
            await limiter.pass_telemetry(5, late=late)
            went.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(go("late", late=True))
        group.create_task(go("live", late=False))
    assert went == ["late", "late", "live", "live", "live", "late"]
    assert now == pytest.approx(5.0)


# --- remote calls ---


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("disconnect", None, ("disconnect", {})),
        ("setClock", {"at": 5}, ("set_clock", {"at": 5})),
        ("set-clock", "", ("set-clock", {})),
        ("read", '{"refs": ["a"]}', ("read", {"refs": ["a"]})),
        ("setValue", True, ("reconnect", {})),
        ("setValue", {"value": False}, ("disconnect", {})),
        ("getValue", None, ("read_register", {"obis": "0-0:96.3.10.255"})),
        ("getValue", {"register": "VOLTAGE"}, ("read_register", {"register": "VOLTAGE"})),
    ],
)
def test_calls_mean_our_requests(method: str, params: object, expected: tuple[str, dict[str, Any]]) -> None:
    request = request_of(Call(device="d", id=1, method=method, params=params), "m1", "name", 5)
    assert (request.method, dict(request.params)) == expected
    assert (request.meter_id, request.id, request.deadline) == ("m1", "name", 5)


@pytest.mark.parametrize(("method", "params"), [("setValue", 1), ("setValue", None), ("read", [1]), ("read", "{")])
def test_calls_with_odd_parameters_are_refused(method: str, params: object) -> None:
    with pytest.raises(ConfigError):
        request_of(Call(device="d", id=1, method=method, params=params), "m1", "name", 5)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"device":"a","data":{"id":true,"method":"b"}}', b"{" * 70_000]
)
def test_what_is_no_call_is_said_so(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_gateway_call(payload)


async def test_a_call_that_takes_too_long_goes_on_and_is_not_begun_again() -> None:
    may_end, begun = asyncio.Event(), 0

    async def answer(_request: Request) -> object:
        nonlocal begun
        begun += 1
        await may_end.wait()
        return None

    calls = Calls("board", answer, lambda: 5, 0.01)
    call = Call(device="d", id=3, method="disconnect", params={})
    for _ in range(2):
        refused = await calls.answer(call, "m1")
        assert isinstance(refused, dict)
        assert refused["code"] == 408
    may_end.set()
    while (result := await calls.answer(call, "m1")) != {"success": True}:
        assert isinstance(result, dict)
    assert begun == 1
    await calls.aclose()


def test_the_answer_of_a_switch_is_its_value() -> None:
    assert result_of(Call(device="d", id=1, method="getValue", params=None), {"value": True, "ref": "x"}) is True


def test_templates_name_known_fields() -> None:
    assert check_template("site-{name}", "here") == "site-{name}"
    for wrong in ("{secret}", "{", "{}"):
        with pytest.raises(ConfigError):
            check_template(wrong, "here")
