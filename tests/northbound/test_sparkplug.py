"""Sparkplug B: the payload against a reader of its own, and the sink against mosquitto, statement by statement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, DecodeError, LinkTimeout, SinkError
from headend.model.access import Role
from headend.model.event import EventType
from headend.model.quantity import quantities
from headend.model.reading import Quality as Doubt
from headend.model.reading import Source
from headend.northbound.sparkplug import kind
from headend.northbound.sparkplug.device import datatype_of, value_of
from headend.northbound.sparkplug.payload import Datatype, Metric, Payload, Quality, decode_payload, encode_payload
from headend.northbound.sparkplug.sink import SparkplugChannel, SparkplugOptions
from tests.mosquitto_server import mosquitto
from tests.ports import free_port

from .contract import QUANTITY, Seen
from .contract import check as contract
from .peers import NOW, Door, Watcher, World, meter, watching
from .sparkplug_reader import read, write
from .sparkplug_rules import GROUP, NODE, RULES, Heard, check, hear

NBIRTH, NDEATH, NDATA, NCMD = (f"spBv1.0/{GROUP}/{verb}/{NODE}" for verb in ("NBIRTH", "NDEATH", "NDATA", "NCMD"))
REBIRTH = write([{"name": "Node Control/Rebirth", "boolean_value": True}])


def topic(verb: str, device: str = "m1") -> str:
    return f"spBv1.0/{GROUP}/{verb}/{NODE}/{device}"


# --- the payload ---


def test_octets_of_a_payload_worked_out_by_hand() -> None:
    """Field 1 and 3 as variable-length integers; the metric: name, timestamp 300 (0xac 0x02), Boolean (11), false."""
    payload = Payload(
        timestamp=1, metrics=[Metric(name="a", timestamp=300, datatype=Datatype.BOOLEAN, value=False)], seq=200
    )
    metric = bytes.fromhex("0a 01 61  18 ac 02  20 0b  70 00")
    assert encode_payload(payload) == bytes.fromhex("08 01  12 0a") + metric + bytes.fromhex("18 c8 01")


VALUES = {
    Datatype.BOOLEAN: st.booleans(),
    Datatype.INT32: st.integers(-(2**31), 2**31 - 1),
    Datatype.INT64: st.integers(-(2**63), 2**63 - 1),
    Datatype.DOUBLE: st.floats(allow_nan=False),
    Datatype.STRING: st.text(),
}


@given(st.data(), st.sampled_from(list(Datatype)), st.integers(0, 2**63), st.integers(0, 2**64 - 1), st.booleans())
def test_an_independent_reader_finds_what_was_written(
    data: st.DataObject, datatype: Datatype, at: int, alias: int, past: bool
) -> None:
    value = data.draw(st.none() | VALUES[datatype])
    name = data.draw(st.text(st.characters(codec="utf-8"), min_size=1))
    metric = Metric(
        name=name,
        alias=alias,
        timestamp=at,
        datatype=datatype,
        value=value,
        is_historical=past,
        quality=data.draw(st.sampled_from(list(Quality))),
        unit=data.draw(st.sampled_from(["", "Wh"])),
    )
    said = read(encode_payload(Payload(timestamp=at, metrics=[metric], seq=255)))
    assert (said.timestamp, said.seq) == (at, 255)
    (found,) = said.metrics
    assert (found.name, found.fields["alias"], found.fields["timestamp"]) == (name, alias, at)
    assert found.fields["datatype"] == datatype
    assert bool(found.fields.get("is_historical")) is past
    assert found.properties.get("Quality", (3, 192)) == (3, metric.quality)
    assert found.properties.get("engUnit", (12, "")) == (12, metric.unit)
    bits = {Datatype.INT32: 32, Datatype.INT64: 64}.get(datatype)
    expected = value % 2**bits if bits and isinstance(value, int) else value
    if isinstance(value, str):
        expected = value.encode(errors="replace").decode()
    assert found.value == expected
    again = decode_payload(encode_payload(Payload(timestamp=at, metrics=[metric])))
    assert again.metrics[0].name == name
    assert again.metrics[0].value == expected


@given(st.binary(max_size=60))
def test_any_octets_are_understood_or_refused(octets: bytes) -> None:
    with suppress(DecodeError):
        decode_payload(octets)


@pytest.mark.parametrize("octets", ["12", "1205", "0b", "08ffffffffffffffffffff01", "1203 0a01ff"])
def test_octets_that_are_no_payload(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_payload(bytes.fromhex(octets))


def test_every_quantity_has_a_type_that_its_values_fit() -> None:
    for each in quantities().values():
        datatype = datatype_of(each)
        assert (
            value_of(datatype, True if datatype is Datatype.BOOLEAN else "x" if datatype is Datatype.STRING else 1)
            is not None
        )
    assert value_of(Datatype.DOUBLE, "text") is None
    assert value_of(Datatype.DOUBLE, float("inf")) is None
    assert value_of(Datatype.DOUBLE, 10**400) is None
    assert value_of(Datatype.BOOLEAN, "closed") is None


@pytest.mark.parametrize(
    "wrong", [{"version": "5"}, {"group": "a/b"}, {"edge_node": ""}, {"edge_node": "a+"}, {"primary_host": "a#"}]
)
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make(World([]), 1, **wrong)


# --- against a broker ---


def make(world: World, port: int, **options: Any) -> Any:
    given = {"broker": f"mqtt://127.0.0.1:{port}", "group": GROUP, "edge_node": NODE, **options}
    return kind.make(SparkplugOptions(**given), world.surroundings)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    chosen = free_port()
    async with mosquitto(tmp_path, chosen):
        yield chosen


@pytest.fixture
async def host(port: int) -> AsyncIterator[Watcher]:
    async with watching(port, "spBv1.0/#") as made:
        yield made


@asynccontextmanager
async def attended(sink: Any) -> AsyncIterator[SparkplugChannel]:
    async with sink.session() as channel:
        attending = asyncio.create_task(channel.attend())
        try:
            yield channel
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)


async def ended(host: Watcher, count: int = 1) -> list[Heard]:
    """All that was said, when the node has died so often; and that none of the statements is broken."""
    await host.payload(NDEATH, count)
    return check(host.messages)


def names(birth: Heard) -> dict[int, str]:
    return {each.fields["alias"]: each.name for each in birth.said.metrics if "alias" in each.fields}


def data_of(trace: list[Heard], device: str = "m1") -> list[tuple[str, Any, bool]]:
    """(quantity, value, historical) of all data of a device."""
    found: list[tuple[str, Any, bool]] = []
    known: dict[int, str] = {}
    for each in trace:
        if each.device == device and each.verb == "DBIRTH":
            known = names(each)
        elif each.device == device and each.verb == "DDATA":
            found += [
                (known[one.fields["alias"]], one.value, bool(one.fields.get("is_historical")))
                for one in each.said.metrics
            ]
    return found


def test_the_table_of_statements() -> None:
    assert len(RULES) > 90
    assert all(words and name.startswith("tck-id-") for name, (words, _) in RULES.items())


@pytest.mark.broker
async def test_a_session_from_birth_to_death(port: int, host: Watcher) -> None:
    world = World([meter("m1"), meter("m2", "generic-dlms-3p"), meter("a/b")])
    for each in ("m1", "m2", "a/b"):
        world.roster.succeeded(world.roster.state(each))
    world.roster.failed(world.roster.state("m2"), LinkTimeout("no answer"))
    async with attended(make(world, port)) as channel:
        assert not await channel.deliver([world.batch("m1", {"voltage_l1": 230.1, "frequency": 50})], late=False)
        earlier = world.batch("m1", {"voltage_l1": 229.0}, at=NOW - 60_000)
        history = world.batch("m1", {"active_energy_import_total": 5}, at=NOW - 900_000, source=Source.HISTORY)
        assert not await channel.deliver([earlier], late=True)
        assert not await channel.deliver([history], late=False)
    trace = await ended(host)
    assert [(each.verb, each.device) for each in trace] == [
        ("NBIRTH", ""),
        ("DBIRTH", "m1"),
        ("DBIRTH", "m2"),
        ("DBIRTH", "a%2Fb"),
        ("DDEATH", "m2"),
        ("DDATA", "m1"),
        ("DDATA", "m1"),
        ("DDATA", "m1"),
        ("NDEATH", ""),
    ]
    assert data_of(trace) == [
        ("voltage_l1", 230.1, False),
        ("frequency", 50.0, False),
        ("voltage_l1", 229.0, True),
        ("active_energy_import_total", 5.0, True),
    ]
    assert trace[-2].said.metrics[0].fields["timestamp"] == NOW - 900_000
    assert trace[0].said.metric("Meters/Total").value == 3
    assert trace[0].said.metric("Meters/Online").value == 2
    units = {each.name: each.properties["engUnit"] for each in trace[1].said.metrics if "engUnit" in each.properties}
    assert units["voltage_l1"] == (12, "V")


@pytest.mark.broker
async def test_sequence_numbers_go_round(port: int, host: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:
        await channel.deliver([world.batch("m1", {"voltage_l1": float(n)}) for n in range(600)], late=False)
    trace = await ended(host)
    assert [value for _, value, _ in data_of(trace)] == [float(n) for n in range(600)], "none is missing, none is twice"


@pytest.mark.broker
async def test_live_and_late_at_the_same_time_keep_one_order(port: int, host: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:

        async def bring(*, late: bool) -> None:
            for n in range(20):
                await channel.deliver([world.batch("m1", {"voltage_l1": float(n)})], late=late)

        await asyncio.gather(bring(late=False), bring(late=True), channel.rebirth())
    trace = await ended(host)
    for past in (True, False):
        assert [value for _, value, is_past in data_of(trace) if is_past is past] == [float(n) for n in range(20)]


@pytest.mark.broker
async def test_a_host_asks_for_a_rebirth(port: int, host: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:
        await channel.deliver([world.batch("m1", {"voltage_l1": 230.0})], late=False)
        host.say(NCMD, b"\xff")
        host.say(NCMD, write([{"name": "Node Control/Rebirth", "boolean_value": False}]))
        host.say(NCMD, REBIRTH, qos=0)
        await host.payload(NBIRTH, 2)
        await host.payload(topic("DBIRTH"), 2)
        await channel.deliver([world.batch("m1", {"voltage_l1": 231.0})], late=False)
    trace = await ended(host)
    births = [each for each in trace if each.verb == "DBIRTH"]
    assert births[0].said.metric("voltage_l1").value is None
    assert births[0].said.metric("voltage_l1").properties["Quality"] == (3, 500)
    assert births[1].said.metric("voltage_l1").value == 230.0, "the current value, as the host may have missed it"
    assert names(births[0]) == names(births[1])


@pytest.mark.broker
async def test_a_value_that_is_no_more_of_the_present_is_stale_at_the_next_birth(port: int, host: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:
        await channel.deliver([world.batch("m1", {"voltage_l1": 230.0})], late=False)
        world.now += 30_000
        await channel.rebirth()
        world.now += 1
        await channel.rebirth()
    births = [each for each in await ended(host) if each.verb == "DBIRTH"]
    said = [each.said.metric("voltage_l1") for each in births]
    assert [each.value for each in said] == [None, 230.0, 230.0]
    assert [each.properties.get("Quality") for each in said] == [(3, 500), None, (3, 500)]


@pytest.mark.broker
async def test_what_was_not_read_and_what_is_doubtful_is_bad(port: int, host: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:
        await channel.deliver(
            [world.batch("m1", {"voltage_l1": 230.0}, missing=["current_l1", "voltage_l1"])], late=False
        )
        await channel.deliver([world.batch("m1", {"frequency": 1e9}, quality=int(Doubt.OUT_OF_RANGE))], late=False)
        await channel.deliver([world.batch("m1", {"frequency": "fifty"})], late=False)
        await channel.deliver([world.batch("m1", {}, missing=["current_l1"])], late=True)
    trace = await ended(host)
    said = [each for each in trace if each.verb == "DDATA"]
    assert [[one.properties.get("Quality") for one in each.said.metrics] for each in said] == [
        [None, (3, 0)],
        [(3, 0)],
        [(3, 0)],
    ]
    assert data_of(trace)[1] == ("current_l1", None, False)
    assert data_of(trace)[3] == ("frequency", None, False)


@pytest.mark.broker
async def test_meters_come_change_die_and_go(port: int, host: Watcher) -> None:
    world = World([meter("m1")])
    roster = world.roster
    async with attended(make(world, port)) as channel:

        async def happened(event: EventType, meter_id: str) -> None:
            await channel.deliver([world.event(event, meter_id)], late=False)

        roster.succeeded(roster.state("m1"))
        await happened(EventType.METER_ONLINE, "m1")
        roster.failed(roster.state("m1"), LinkTimeout("no answer"))
        await happened(EventType.METER_OFFLINE, "m1")
        await channel.deliver([world.batch("m1", {"voltage_l1": 1.0}, at=NOW - 60_000)], late=True)
        roster.succeeded(roster.state("m1"))
        await channel.deliver([world.batch("m1", {"voltage_l1": 2.0})], late=False)
        await happened(EventType.METER_ONLINE, "m1")
        roster.add(meter("m2"))
        await happened(EventType.METER_ADDED, "m2")
        roster.update(meter("m1", "generic-dlms-3p"))
        await happened(EventType.METER_CHANGED, "m1")
        roster.remove("m1")
        await happened(EventType.METER_REMOVED, "m1")
        await happened(EventType.STORAGE_FULL, "")
        await channel.deliver([world.batch("m1", {"voltage_l1": 3.0})], late=True)
    trace = await ended(host)
    assert [(each.verb, each.device) for each in trace[1:]] == [
        ("DBIRTH", "m1"),
        ("NDATA", ""),
        ("DDEATH", "m1"),
        ("NDATA", ""),
        ("DBIRTH", "m1"),
        ("DDATA", "m1"),
        ("DDEATH", "m1"),
        ("DBIRTH", "m1"),
        ("DDATA", "m1"),
        ("NDATA", ""),
        ("DBIRTH", "m2"),
        ("NDATA", ""),
        ("DBIRTH", "m1"),
        ("NDATA", ""),
        ("DDEATH", "m1"),
        ("NDATA", ""),
        ("NDEATH", ""),
    ]


@pytest.mark.broker
async def test_what_no_birth_told_of_is_born_before_it_is_said(port: int, host: Watcher) -> None:
    world = World([meter("m1", "")], quantities=lambda key: key != "frequency")
    values = {"voltage_l1": 1.0, "frequency": 50.0, "of_no_catalogue": 1}
    async with attended(make(world, port)) as channel:
        for _ in range(2):
            await channel.deliver([world.batch("m1", values)], late=False)
    trace = await ended(host)
    assert [each.verb for each in trace] == ["NBIRTH", "DBIRTH", "DBIRTH", "DDATA", "DDATA", "NDEATH"]
    assert data_of(trace) == [("voltage_l1", 1.0, False)] * 2


@pytest.mark.broker
async def test_meters_that_the_settings_hide_stay_hidden(port: int, host: Watcher) -> None:
    world = World([meter("m1"), meter("m2")], meters=lambda each: each.id == "m2")
    async with attended(make(world, port)) as channel:
        await channel.deliver([world.batch("m1", {"voltage_l1": 1.0})], late=False)
        await channel.deliver([world.event(EventType.METER_ONLINE, "m1")], late=False)
    assert {each.device for each in await ended(host)} == {"", "m2"}


@pytest.mark.broker
async def test_the_relay_is_switched_by_name_or_alias(port: int, host: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")], Role.DISPATCHER)
    async with attended(make(world, port)):
        birth = hear([each for each in await host.until(lambda all_: all_[1:] and all_) if "DBIRTH" in each.topic])[0]
        relay = birth.said.metric("relay_closed")
        assert relay.fields["datatype"] == Datatype.BOOLEAN
        for wrong in ({"name": "voltage_l1", "double_value": 1.0}, {"name": "relay_closed", "string_value": "on"}):
            host.say(topic("DCMD"), write([wrong]))
        host.say(topic("DCMD", "nobody"), write([{"name": "relay_closed", "boolean_value": True}]))
        host.say(topic("DCMD"), write([{"name": "relay_closed", "boolean_value": False}]))
        await world.until_asked(2)
        world.refusal = LinkTimeout("no answer")
        host.say(topic("DCMD"), write([{"alias": relay.fields["alias"], "boolean_value": True}]))
        await world.until_asked(4)
    assert [each.method for each in world.asked] == ["disconnect", "read", "reconnect", "read"]
    await ended(host)


@pytest.mark.broker
@pytest.mark.parametrize("role", [None, Role.OPERATOR])
async def test_without_a_role_that_may_nothing_is_switched(port: int, host: Watcher, role: Role | None) -> None:
    world = World([meter("m1", "generic-dlms-3p")], role)
    async with attended(make(world, port)):
        host.say(topic("DCMD"), write([{"name": "relay_closed", "boolean_value": False}]))
        host.say(NCMD, REBIRTH)
        await host.payload(NBIRTH, 2)
    assert not world.asked


@pytest.mark.broker
async def test_a_retained_command_is_not_carried_out(port: int, host: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")], Role.DISPATCHER)
    host.say(topic("DCMD"), write([{"name": "relay_closed", "boolean_value": False}]), retain=True)
    host.say(NCMD, REBIRTH, retain=True)
    await host.settle()
    async with attended(make(world, port)) as channel:
        await channel.deliver([world.batch("m1", {"voltage_l1": 1.0})], late=False)
        await channel.deliver([world.batch("m1", {"voltage_l1": 1.0})], late=False)
    assert not world.asked
    assert [each.verb for each in await ended(host)].count("NBIRTH") == 1


@pytest.mark.broker
async def test_a_connection_that_breaks_leaves_the_death_and_the_next_one_has_the_next_number(
    port: int, host: Watcher
) -> None:
    """tck-id-payloads-ndeath-will-message (-qos, -retain), message-flow-edge-node-birth-publish-will-message and its parts."""
    sink = make(World([meter()]), port)
    for number in range(1, 3):
        async with sink.session() as channel:
            channel._client._client.socket().shutdown(2)
            assert read(await host.payload(NDEATH, number)).metric("bdSeq").value == number - 1
            with pytest.raises(SinkError):
                await asyncio.wait_for(channel.attend(), 30)
            with pytest.raises(SinkError):
                await channel.deliver(
                    [World([]).event(EventType.METER_ONLINE, "m1"), *[]], late=False
                ) or await channel.rebirth()
    async with sink.session():
        pass
    trace = await ended(host, 3)
    assert [each.qos for each in trace if each.verb == "NDEATH"] == [1, 1, 1]
    async with watching(port, "spBv1.0/#") as later:
        await later.settle()
        assert not hear(later.messages), "nothing is retained"


@pytest.mark.broker
async def test_what_the_broker_saw_of_the_connection(tmp_path: Path) -> None:
    """tck-id-principles-persistence-clean-session-311, payloads-ndeath-will-message-qos and -retain,
    message-flow-edge-node-ncmd-subscribe, message-flow-device-dcmd-subscribe.
    """
    chosen = free_port()
    log = ("log_type all", f"log_dest file {tmp_path}/mosquitto.log")
    async with mosquitto(tmp_path, chosen, *log), make(World([meter()]), chosen, client_id="north").session():
        pass
    seen = (tmp_path / "mosquitto.log").read_text()
    assert "as north (p2, c1, k20)" in seen
    will = next(line for line in seen.splitlines() if "Will message specified" in line)
    assert "q1" in will
    assert "r0" in will
    for subscribed in (NCMD, f"spBv1.0/{GROUP}/DCMD/{NODE}/+"):
        assert f"{subscribed} (QoS 1)" in seen


@pytest.mark.broker
async def test_the_birth_number_goes_round(port: int, host: Watcher) -> None:
    sink = make(World([]), port)
    sink._connects = 255
    for _ in range(2):
        async with sink.session():
            pass
    await host.payload(NDEATH, 2)
    assert [read(each).metric("bdSeq").value for each in host.on(NDEATH)] == [255, 0]


class _Host:
    """A host behind a door, for the contract of all sinks."""

    def __init__(self, door: Door, host: Watcher) -> None:
        self._door = door
        self._host = host
        self._read = 0
        self._names: dict[str, dict[int, str]] = {}
        self._seen: list[Seen] = []

    async def leave(self) -> None:
        self._door.shut()

    async def come(self) -> None:
        self._door.is_open = True

    def seen(self) -> list[Seen]:
        for each in hear(self._host.messages[self._read :]):
            if each.verb == "DBIRTH":
                self._names[each.device] = names(each)
            elif each.verb == "DDATA":
                for metric in each.said.metrics:
                    assert self._names[each.device][metric.fields["alias"]] == QUANTITY
                    self._seen.append(Seen(each.device, metric.value))
        self._read = len(self._host.messages)
        return self._seen

    def refuse(self, _value: float) -> bool:
        """Sparkplug has no word for it."""
        return False


@pytest.mark.broker
@pytest.mark.slow
async def test_the_contract_of_all_sinks(port: int, host: Watcher, tmp_path: Path) -> None:
    """Outages, a restart and a replay: nothing is lost, and no statement of the specification is broken meanwhile."""
    world = World([meter(f"meter-{number}") for number in range(5)])
    async with Door(port) as door:
        await contract(tmp_path, lambda: make(world, door.port), _Host(door, host))
    await host.until(lambda heard: first_deaths(heard)[1:])
    check_but_for_restarts(host)


def first_deaths(heard: Sequence[Any]) -> list[int]:
    """Where the first session of each process of the node ended."""
    deaths = (index for index, each in enumerate(heard) if each.topic == NDEATH)
    return [index for index in deaths if read(bytes(heard[index].payload)).metric("bdSeq").value == 0]


def check_but_for_restarts(host: Watcher) -> None:
    """bdSeq begins anew with the process, as it must: each life of the process is looked at for itself."""
    deaths = [index for index, each in enumerate(host.messages) if each.topic == NDEATH]
    first, second = first_deaths(host.messages)
    before = max(index for index in deaths if index < second)
    check(host.messages[: before + 1])
    check(host.messages[before + 1 :], whole=False)
    assert first == deaths[0]


# --- the primary host ---


def state(host: Watcher, *, online: bool, at: int, name: str = "scada") -> None:
    body = json.dumps({"online": online, "timestamp": at}).encode()
    host.say(f"spBv1.0/STATE/{name}", body, retain=True)


@pytest.mark.broker
async def test_nothing_is_said_before_the_primary_host_is_online(port: int, host: Watcher) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait, -id, -online; operational-behavior-edge-node-birth-sequence-wait."""
    sink = make(World([meter()]), port, primary_host="scada")
    state(host, online=False, at=5)
    state(host, online=True, at=5, name="another")
    await host.settle()
    born = asyncio.Event()

    async def live() -> None:
        async with sink.session():
            born.set()

    living = asyncio.create_task(live())
    for nonsense in (b"no JSON", b"[]", b'{"online": "true", "timestamp": 6}'):
        host.say("spBv1.0/STATE/scada", nonsense)
    await host.settle()
    assert not host.on(NBIRTH)
    assert not born.is_set()
    state(host, online=True, at=6)
    await asyncio.wait_for(born.wait(), 30)
    await living
    await ended(host)


@pytest.mark.broker
async def test_the_session_ends_when_the_primary_host_goes(port: int, host: Watcher) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-offline,
    tck-id-operational-behavior-edge-node-termination-host-offline (-timestamp).
    """
    sink = make(World([meter()]), port, primary_host="scada")
    state(host, online=True, at=10)
    async with sink.session() as channel:
        attending = asyncio.create_task(channel.attend())
        state(host, online=False, at=9)
        host.say(NCMD, REBIRTH)
        await host.payload(NBIRTH, 2)
        assert not attending.done(), "an older message says nothing of now"
        state(host, online=False, at=10)
        with pytest.raises(SinkError, match="primary host"):
            await asyncio.wait_for(attending, 30)
    await ended(host)


async def test_a_broker_that_is_not_there() -> None:
    with pytest.raises(SinkError):
        async with make(World([meter()]), free_port()).session():
            pass
