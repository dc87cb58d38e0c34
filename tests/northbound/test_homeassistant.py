"""Home Assistant: descriptions by its rules, states, and the sink against mosquitto."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, LinkTimeout, SinkError
from headend.model.access import Role
from headend.model.event import EventType
from headend.model.meter import MeterIdentity
from headend.model.quantity import Kind, quantities, quantity
from headend.model.reading import Quality, ReadingBatch, Source
from headend.northbound.homeassistant import kind
from headend.northbound.homeassistant.classes import Units, decided, present
from headend.northbound.homeassistant.discovery import Discovery, Names, Told, quantities_of, slug
from headend.northbound.homeassistant.sink import HomeAssistantChannel, HomeAssistantOptions
from headend.northbound.homeassistant.states import states
from tests.mosquitto_server import mosquitto
from tests.ports import free_port

from .contract import QUANTITY, batch, rig
from .homeassistant_rules import NAME, check_component, check_payload, check_topic
from .peers import LIBRARY, NOW, Door, Watcher, World, meter, watching

NAMES = Names("homeassistant", "headend/homeassistant", "headend")
PLACE = "headend/homeassistant"
DEVICE = "homeassistant/device/headend_m1/config"
UNITS = Units()
CHOICES = [Units(kilo_energy=energy, kilo_power=power) for energy in (True, False) for power in (True, False)]


# --- what a quantity is there ---


@pytest.mark.parametrize("units", CHOICES, ids=str)
def test_every_quantity_of_the_catalogue_is_decided_and_keeps_the_rules(units: Units) -> None:
    told = Told(meter=meter(), profile=None, quantities=dict.fromkeys(quantities(), 30), has_switch=True)
    said = check_payload(Discovery(NAMES, units, "1").meter(told).payload)
    for key, each in quantities().items():
        assert decided(each), f"{key}: classes.py has no row for the unit {each.unit!r}"
        assert key in said["components"]


@pytest.mark.parametrize(
    ("key", "device_class", "unit", "state_class"),
    [
        ("active_energy_import_total", "energy", "kWh", "total_increasing"),
        ("active_energy_export_t2", "energy", "kWh", "total_increasing"),
        ("active_energy_net_total", "energy", "kWh", "total"),
        ("active_energy_abs_l1", "energy", "kWh", "total_increasing"),
        ("reactive_energy_import_total", "reactive_energy", "kvarh", "total_increasing"),
        ("apparent_energy_import_total", "", "kVAh", "total_increasing"),
        ("active_energy_interval_import_total", "energy", "kWh", ""),
        ("active_power_total", "power", "W", "measurement"),
        ("active_demand_max_import_total", "power", "W", "measurement"),
        ("active_demand_last_import_total", "power", "W", ""),
        ("active_demand_cum_max_import_total", "power", "W", ""),
        ("reactive_power_import_total", "reactive_power", "var", "measurement"),
        ("apparent_power_total", "apparent_power", "VA", "measurement"),
        ("voltage_l1", "voltage", "V", "measurement"),
        ("voltage_avg_last_l1", "voltage", "V", ""),
        ("voltage_sag_threshold_l1", "voltage", "V", ""),
        ("current_l3", "current", "A", "measurement"),
        ("frequency", "frequency", "Hz", "measurement"),
        ("power_factor_total", "power_factor", "", "measurement"),
        ("voltage_thd_l1", "", "%", "measurement"),
        ("phase_angle_total", "", "°", "measurement_angle"),
        ("credit_energy", "energy_storage", "kWh", "measurement"),
        ("voltage_sag_count_l1", "", "", "total_increasing"),
        ("serial_number", "", "", ""),
        ("meter_time", "timestamp", "", ""),
    ],
)
def test_the_table_of_quantities(key: str, device_class: str, unit: str, state_class: str) -> None:
    shown = present(quantity(key), UNITS)
    assert (shown.platform, shown.device_class, shown.unit, shown.state_class) == (
        "sensor",
        device_class,
        unit,
        state_class,
    )


def test_what_is_no_number_has_nothing_of_one_and_all_others_have_decimals() -> None:
    for each in quantities().values():
        shown = present(each, UNITS)
        if shown.decimals is None:
            assert (shown.unit, shown.state_class) == ("", "")
            assert each.kind is Kind.STATUS
        else:
            assert shown.platform == "sensor"


@pytest.mark.parametrize("profile", list(LIBRARY), ids=lambda each: each.id)
def test_every_profile_makes_a_description_by_the_rules(profile: Any) -> None:
    keys = quantities_of(profile, (), lambda _key: 29.5, wants=lambda _key: True)
    told = Told(meter=meter(profile=profile.id), profile=profile, quantities=keys, has_switch=True)
    message = Discovery(NAMES, UNITS, "1").meter(told)
    assert message.retain
    assert check_topic(message.topic) == "headend_m1"
    said = check_payload(message.payload)
    assert said["availability_mode"] == "all"
    assert [each["topic"] for each in said["availability"]] == [f"{PLACE}/status", f"{PLACE}/m1/status"]
    assert said["components"].keys() >= {e.quantity for e in profile.objects if e.poll and e.quantity}
    assert all(said["components"][key]["expire_after"] == 30 for key in keys)
    assert said["device"]["manufacturer"] == profile.vendor
    assert len(message.payload) < 65536


def test_the_checker_knows_what_is_wrong() -> None:
    right = {"platform": "sensor", "unique_id": "a", "name": "A", "state_topic": "a"}
    check_component(right)
    for wrong in (
        {"device_class": "energy", "unit_of_measurement": "kWh", "state_class": "measurement"},
        {"device_class": "power", "unit_of_measurement": "kWh"},
        {"device_class": "reactive_energy", "unit_of_measurement": "kVArh"},
        {"command_topic": "a"},
        {"unique_id": "a b"},
        {"expire_after": 0},
    ):
        with pytest.raises((AssertionError, KeyError)):
            check_component(right | wrong)


@given(st.lists(st.text(min_size=1, max_size=64), min_size=2, max_size=2, unique=True))
def test_names_are_allowed_and_tell_meters_apart(ids: list[str]) -> None:
    one, other = (slug(each) for each in ids)
    assert NAME.fullmatch(one)
    assert one != other
    assert slug(ids[0]) == one


@pytest.mark.parametrize("wrong", [{"topic": "/a"}, {"topic": "a/#"}, {"node": "a b"}, {"discovery_prefix": ""}])
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(World([]), 1, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"energy_unit": "MWh"}, {"power_unit": "kWh"}, {"zone": "Mars/Olympus"}, {"version": "4"}, {"broker": "http://a"}],
)
def test_options_that_are_not_known(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"sinks\.test\.{next(iter(wrong))}"):
        make(World([]), 1, **wrong)


# --- states ---


def said_of(world: World, described: dict[str, float] | None = None, **said: Any) -> dict[str, str]:
    entry = world.batch("m1", **said)
    keys = described if described is not None else dict.fromkeys(quantities(), 30.0)
    made = list(states(cast("ReadingBatch", entry.item), keys, NAMES, UNITS, batch_zone))
    assert [each.topic for each in made if each.retain] == [
        each.topic for each in made if each.topic.endswith(("/relay_closed", "/last_read"))
    ]
    return {each.topic.removeprefix(f"{PLACE}/m1/"): each.payload.decode() for each in made}


batch_zone = None


def test_states_are_in_the_units_of_the_description() -> None:
    said = said_of(
        World([]),
        values={
            "active_energy_import_total": 123456,
            "active_power_total": 0.1 + 0.2,
            "voltage_l1": 230.1,
            "relay_closed": True,
            "serial_number": "000000001234",
            "meter_time": "2025-11-21T12:17:13+00:00",
        },
    )
    assert said == {
        "active_energy_import_total": "123.456",
        "active_power_total": "0.30000000000000004",
        "voltage_l1": "230.1",
        "relay_closed": "ON",
        "serial_number": "000000001234",
        "meter_time": "2025-11-21T12:17:13+00:00",
        "clock_offset": "3",
        "last_read": "2025-11-21T12:17:10+00:00",
    }


def test_what_did_not_come_is_unknown_and_what_is_doubtful_too() -> None:
    world = World([])
    assert said_of(world, values={"voltage_l1": 1.0}, missing=["current_l1", "no_such_thing", "serial_number"]) == {
        "voltage_l1": "1.0",
        "current_l1": "None",
        "last_read": "2025-11-21T12:17:10+00:00",
    }
    assert said_of(world, values={"voltage_l1": 9e9}, quality=int(Quality.OUT_OF_RANGE))["voltage_l1"] == "None"
    assert said_of(world, values={"voltage_l1": float("nan")})["voltage_l1"] == "None"
    assert said_of(world, values={"voltage_l1": "high", "relay_closed": "?"})["relay_closed"] == "None"


def test_what_was_measured_long_ago_is_no_state() -> None:
    world = World([])
    assert said_of(world, values={"voltage_l1": 1.0}, at=NOW - 30_000)["voltage_l1"] == "1.0"
    assert said_of(world, values={"voltage_l1": 1.0}, at=NOW - 30_001) == {}
    assert said_of(world, values={"voltage_l1": 1.0}, source=Source.HISTORY) == {}
    broken = int(Quality.CLOCK_INVALID)
    assert said_of(world, values={"voltage_l1": 1.0}, at=0, quality=broken)["voltage_l1"] == "1.0"


def test_a_clock_without_a_zone_is_understood_only_where_one_is_named() -> None:
    values = {"meter_time": "2025-11-21T13:17:10"}
    world = World([])
    assert set(said_of(world, values=values)) == {"last_read"}
    item = cast("ReadingBatch", world.batch("m1", values).item)
    made = states(item, {"meter_time": 30}, NAMES, UNITS, ZoneInfo("Europe/Berlin"))
    said = {each.topic.rpartition("/")[2]: each.payload for each in made}
    assert said["clock_offset"] == b"0"
    assert said["meter_time"] == b"2025-11-21T13:17:10+01:00"


# --- against a broker ---


def make(world: World, port: int, **options: Any) -> Any:
    return kind.make(
        HomeAssistantOptions(**{"broker": f"mqtt://127.0.0.1:{port}", "birth_jitter": 0.0, **options}),
        world.surroundings,
    )


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    chosen = free_port()
    async with mosquitto(tmp_path, chosen):
        yield chosen


@asynccontextmanager
async def attended(sink: Any) -> AsyncIterator[HomeAssistantChannel]:
    async with sink.session() as channel:
        attending = asyncio.create_task(channel.attend())
        try:
            yield channel
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)


def components(payload: bytes) -> set[str]:
    return set(check_payload(payload)["components"]) if payload else set()


@pytest.fixture
async def watcher(port: int) -> AsyncIterator[Watcher]:
    async with watching(port, "homeassistant/#", "headend/#") as made:
        yield made


@pytest.mark.broker
async def test_devices_are_described_and_states_follow(port: int, watcher: Watcher) -> None:
    world = World([meter(), meter("other one", "generic-dlms-3p")])
    async with attended(make(world, port)) as channel:
        said = check_payload(await watcher.payload(DEVICE))
        assert (
            said["device"] | {"sw_version": "1.2", "serial_number": "0012345", "via_device": "headend"}
            == said["device"]
        )
        assert await watcher.payload(f"{PLACE}/m1/status") == b"offline", "nobody has reached it yet"
        world.roster.succeeded(world.roster.state("m1"))
        assert not await channel.deliver([world.event(EventType.METER_ONLINE, "m1")], late=False)
        assert await watcher.payload(f"{PLACE}/m1/status", 2) == b"online"
        assert not await channel.deliver([world.batch("m1", {"voltage_l1": 230.1})], late=False)
        assert await watcher.payload(f"{PLACE}/m1/voltage_l1") == b"230.1"
        world.roster.failed(world.roster.state("m1"), LinkTimeout("no answer"))
        await channel.deliver([world.event(EventType.METER_OFFLINE, "m1")], late=True)
        assert await watcher.payload(f"{PLACE}/m1/status", 3) == b"offline"
    assert await watcher.payload(f"{PLACE}/status", 1) == b"online"
    assert await watcher.payload(f"{PLACE}/status", 2) == b"offline"
    topics = {each.topic for each in watcher.messages if each.topic.startswith("homeassistant/device")}
    assert {check_topic(each) for each in topics} == {"headend", "headend_m1", f"headend_{slug('other one')}"}
    for message in watcher.messages:
        if message.topic.endswith("/config"):
            check_payload(message.payload)


@pytest.mark.broker
async def test_what_comes_late_or_from_a_load_profile_is_taken_and_never_shown(port: int, watcher: Watcher) -> None:
    world = World([meter()])
    async with attended(make(world, port)) as channel:
        assert not await channel.deliver([world.batch("m1", {"voltage_l1": 1.0})], late=True)
        history = world.batch("m1", {"voltage_l1": 2.0}, at=NOW - 900_000, source=Source.HISTORY)
        assert not await channel.deliver([history], late=False)
        await channel.deliver([world.batch("m1", {"voltage_l1": 3.0})], late=False)
        await watcher.payload(f"{PLACE}/m1/voltage_l1")
    await watcher.settle()
    assert watcher.on(f"{PLACE}/m1/voltage_l1") == [b"3.0"]
    assert not any(each.retain for each in watcher.messages if each.topic.endswith("voltage_l1"))


@pytest.mark.broker
async def test_a_connection_that_breaks_leaves_the_last_will(port: int, watcher: Watcher) -> None:
    async with make(World([meter()]), port).session() as channel:
        await watcher.payload(f"{PLACE}/status")
        channel._client._client.socket().shutdown(2)
        assert await watcher.payload(f"{PLACE}/status", 2) == b"offline"
        with pytest.raises(SinkError):
            await asyncio.wait_for(channel.attend(), 10)


@pytest.mark.broker
async def test_everything_is_said_again_when_home_assistant_has_started(port: int, watcher: Watcher) -> None:
    async with attended(make(World([meter()]), port)):
        first = await watcher.payload(DEVICE)
        watcher.say("homeassistant/status", b"offline")
        watcher.say("homeassistant/status", b"online")
        assert await watcher.payload(DEVICE, 2) == first
        assert await watcher.payload(f"{PLACE}/m1/status", 2) == b"offline"


@pytest.mark.broker
async def test_the_relay_is_switched_by_a_command_and_shown_as_it_is_read(port: int, watcher: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")], Role.DISPATCHER)
    async with attended(make(world, port)) as channel:
        said = check_payload(await watcher.payload(DEVICE))["components"]
        assert said["relay"]["command_topic"] == f"{PLACE}/m1/relay/set"
        assert said["relay"]["state_topic"] == said["relay_closed"]["state_topic"] == f"{PLACE}/m1/relay_closed"
        watcher.say(f"{PLACE}/m1/relay/set", b"TOGGLE")
        watcher.say(f"{PLACE}/nobody/relay/set", b"OFF")
        watcher.say(f"{PLACE}/m1/relay/set", b"OFF")
        await world.until_asked(2)
        assert [(each.meter_id, each.method) for each in world.asked] == [("m1", "disconnect"), ("m1", "read")]
        await watcher.settle()
        assert not watcher.on(f"{PLACE}/m1/relay_closed"), "nothing is shown that was not read"
        await channel.deliver([world.batch("m1", {"relay_closed": False})], late=False)
        assert await watcher.payload(f"{PLACE}/m1/relay_closed") == b"OFF"
        world.refusal = LinkTimeout("no answer")
        watcher.say(f"{PLACE}/m1/relay/set", b"ON")
        await world.until_asked(4)
        assert world.asked[2].method == "reconnect"
        world.refusal = ValueError("a bug of ours")
        watcher.say(f"{PLACE}/m1/relay/set", b"ON")
        await world.until_asked(6)


@pytest.mark.broker
async def test_who_turns_the_switch_has_confirmed_the_command(port: int, watcher: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")], Role.DISPATCHER)
    world.told = {"confirmation": "required", "job": "j1", "code": "1234", "state": "PROPOSED"}
    async with attended(make(world, port)):
        watcher.say(f"{PLACE}/m1/relay/set", b"OFF")
        await world.until_asked(3)
    assert [(each.method, dict(each.params)) for each in world.asked] == [
        ("disconnect", {}),
        ("confirm", {"job": "j1", "code": "1234"}),
        ("read", {}),
    ]


@pytest.mark.broker
async def test_a_retained_command_is_not_carried_out(port: int, watcher: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")], Role.DISPATCHER)
    watcher.say(f"{PLACE}/m1/relay/set", b"OFF", retain=True)
    await watcher.payload(f"{PLACE}/m1/relay/set")
    async with attended(make(world, port)):
        watcher.say(f"{PLACE}/m1/relay/set", b"ON")
        await world.until_asked(2)
    assert world.asked[0].method == "reconnect"


@pytest.mark.broker
@pytest.mark.parametrize("role", [None, Role.OPERATOR])
async def test_without_a_role_that_may_there_is_no_switch(port: int, watcher: Watcher, role: Role | None) -> None:
    world = World([meter("m1", "generic-dlms-3p")], role)
    async with attended(make(world, port)):
        said = check_payload(await watcher.payload(DEVICE))["components"]
        assert "relay" not in said
        assert said["relay_closed"]["platform"] == "binary_sensor"
        watcher.say(f"{PLACE}/m1/relay/set", b"OFF")
        await watcher.settle()
    assert not world.asked


@pytest.mark.broker
async def test_meters_come_change_and_go(port: int, watcher: Watcher) -> None:
    world = World([meter("m1", "generic-dlms-3p")])
    async with attended(make(world, port)) as channel:
        whole = components(await watcher.payload(DEVICE))
        world.roster.update(meter("m1", "generic-dlms-1p", name="Garage"))
        await channel.deliver([world.event(EventType.METER_CHANGED, "m1")], late=False)
        taken = json.loads(await watcher.payload(DEVICE, 2))["components"]
        assert taken["voltage_l2"] == {"platform": "sensor"}, "what is gone is taken back by its name and platform"
        said = check_payload(await watcher.payload(DEVICE, 3))
        assert said["device"]["name"] == "Garage"
        assert set(said["components"]) < whole
        world.roster.add(meter("m2"))
        await channel.deliver([world.event(EventType.METER_ADDED, "m2")], late=False)
        assert components(await watcher.payload("homeassistant/device/headend_m2/config"))
        world.roster.remove("m1")
        await channel.deliver([world.event(EventType.METER_REMOVED, "m1")], late=True)
        assert await watcher.payload(DEVICE, 4) == b""
        assert await watcher.payload(f"{PLACE}/m1/status", 3) == b""
    async with watching(port, "homeassistant/#", "headend/#") as later:
        await later.settle()
        assert not [each.topic for each in later.messages if "m1" in each.topic]


@pytest.mark.broker
async def test_what_changed_while_we_were_away_is_taken_back(port: int, watcher: Watcher) -> None:
    """A meter, a quantity that is filtered out since, and nothing of others."""
    async with attended(make(World([meter("m1"), meter("m2")]), port)):
        await watcher.payload("homeassistant/device/headend_m2/config")
    for other in ("headend_m9", "esphome_m2"):
        foreign = b'{"device": {}, "origin": {"name": "ESPHome"}, "components": {}}'
        watcher.say(f"homeassistant/device/{other}/config", foreign, retain=True)
    watcher.say("homeassistant/device/headend_m8/config", b"no JSON", retain=True)
    await watcher.settle()
    world = World([meter("m1")], quantities=lambda key: key != "voltage_l2")
    async with attended(make(world, port)):
        assert await watcher.payload("homeassistant/device/headend_m2/config", 2) == b""
        taken = json.loads(await watcher.payload(DEVICE, 3))["components"]
        assert taken["voltage_l2"] == {"platform": "sensor"}
        assert "voltage_l2" not in components(await watcher.payload(DEVICE, 4))
        await watcher.settle()
    assert watcher.on("homeassistant/device/headend_m9/config") == [foreign]


@pytest.mark.broker
async def test_what_comes_unasked_is_described_before_it_is_said(port: int, watcher: Watcher) -> None:
    """A meter without a profile, that pushes; and again after a restart, before it pushes anew."""
    plain = meter("m1", "", poll_seconds=0.0, identity=MeterIdentity())
    world = World([plain])
    async with attended(make(world, port)) as channel:
        pushed = world.batch("m1", {"voltage_l1": 230.0, "of_no_catalogue": 1}, source=Source.PUSH)
        await channel.deliver([pushed, pushed], late=False)
        said = check_payload(await watcher.payload(DEVICE, 2))["components"]
        assert said["voltage_l1"]["expire_after"] == 3600
        assert await watcher.payload(f"{PLACE}/m1/voltage_l1", 2) == b"230.0"
        await watcher.settle()
        assert len(watcher.on(DEVICE)) == 2, "said once"
    async with attended(make(World([plain]), port)):
        assert "voltage_l1" in components(await watcher.payload(DEVICE, 4))


@pytest.mark.broker
async def test_meters_that_the_settings_hide_stay_hidden(port: int, watcher: Watcher) -> None:
    world = World([meter("m1"), meter("m2")], meters=lambda each: each.id == "m2")
    async with attended(make(world, port)) as channel:
        await watcher.payload("homeassistant/device/headend_m2/config")
        await channel.deliver(
            [world.batch("m1", {"voltage_l1": 1.0}), world.event(EventType.METER_ONLINE, "m1")], late=False
        )
        await channel.deliver([world.event(EventType.STORAGE_FULL)], late=False)
        await watcher.settle()
    assert not [each.topic for each in watcher.messages if "m1" in each.topic]


@pytest.mark.broker
async def test_after_an_outage_the_present_is_shown_and_the_past_is_passed_over(
    port: int, watcher: Watcher, tmp_path: Path
) -> None:
    """By the real courier: what waited counts as delivered, and is no state; so is what is replayed."""
    topic = f"{PLACE}/meter-0/{QUANTITY}"
    async with Door(port) as door:
        world = World([meter("meter-0")])
        async with rig(tmp_path, make(world, door.port)) as running:
            await asyncio.wait_for(running.courier.connected.wait(), 60)
            await running.store(batch("meter-0", 1.0))
            assert await watcher.payload(topic) == b"1.0"
            door.shut()
            await running.until(lambda: not running.courier.connected.is_set())
            await running.store(batch("meter-0", 2.0))
            door.is_open = True
            await asyncio.wait_for(running.courier.connected.wait(), 60)
            await running.store(batch("meter-0", 3.0))
            assert await watcher.payload(topic, 2) == b"3.0"
            await running.until(lambda: running.courier.state.backlog == 0)
            assert await running.deliveries.replay("test", 0, 1 << 60) == 3
            await running.until(lambda: running.courier.state.backlog == 0)
            await running.store(batch("meter-0", 4.0))
            assert await watcher.payload(topic, 3) == b"4.0"
    await watcher.settle()
    assert watcher.on(topic) == [b"1.0", b"3.0", b"4.0"]
    assert watcher.on(f"{PLACE}/status")[:3] == [b"online", b"offline", b"online"]


async def test_a_broker_that_is_not_there() -> None:
    with pytest.raises(SinkError):
        async with make(World([meter()]), free_port()).session():
            pass
