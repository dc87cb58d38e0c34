"""mbmd over MQTT: names, units, topics as mbmd has them, and the sink against mosquitto."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headend.errors import ConfigError, SinkError
from headend.model.event import EventType
from headend.model.mbmd import MEASUREMENTS, amount, device_id, device_topic, measurement_topic, names
from headend.model.quantity import quantity
from headend.model.reading import Source
from headend.northbound.mbmd import kind
from headend.northbound.mbmd.sink import MbmdOptions
from tests.mosquitto_server import mosquitto
from tests.ports import free_port

from .peers import LIBRARY, NOW, Watcher, World, meter, watching

# The names that mbmd's own list of measurements has (meters/measurements.go), without those of inverters.
KNOWN = {
    "Frequency",
    "PhaseAngle",
    *(
        f"{name}{end}"
        for name in (
            *("Current", "Voltage", "Power", "ImportPower", "ExportPower"),
            *("ReactivePower", "ApparentPower", "Cosphi", "THD"),
        )
        for end in ("", "L1", "L2", "L3")
    ),
    *(
        f"{name}{end}"
        for name in ("Sum", "Import", "Export", "ReactiveSum", "ReactiveImport", "ReactiveExport")
        for end in ("", "T1", "T2", "L1", "L2", "L3")
    ),
}


def test_all_names_are_there_and_no_others() -> None:
    assert set(MEASUREMENTS) == KNOWN


def test_units_are_those_of_the_quantities() -> None:
    for measurement in MEASUREMENTS.values():
        for key in measurement.quantities:
            unit = {"deg": "°", "1": ""}.get(quantity(key).unit, quantity(key).unit)
            assert measurement.unit in (unit, f"k{unit}")
            assert measurement.unit.startswith("k") == unit.endswith("h")


@pytest.mark.parametrize("profile", list(LIBRARY), ids=lambda each: each.id)
def test_no_name_is_given_twice_to_a_meter(profile: Any) -> None:
    found = names({entry.quantity for entry in profile.objects if entry.quantity})
    assert len(set(found.values())) == len(found)
    assert set(found.values()) <= KNOWN


def test_a_meter_of_one_phase_has_no_l1() -> None:
    assert names(["voltage_l1", "active_power_total", "active_power_l1", "frequency"]) == {
        "frequency": "Frequency",
        "voltage_l1": "Voltage",
        "active_power_total": "Power",
        "active_power_l1": "PowerL1",
    }
    three = [f"voltage_l{line}" for line in (1, 2, 3)]
    assert names([*three, "voltage_phase_avg", "meter_time"]) == {
        **{key: f"VoltageL{key[-1]}" for key in three},
        "voltage_phase_avg": "Voltage",
    }
    assert names(["current_l1", "current_l2", "current_sum", "current_phase_avg"])["current_sum"] == "Current"


def test_amounts_are_in_the_units_of_mbmd() -> None:
    assert amount("Import", 123456) == 123.456
    assert amount("Power", 12.5) == 12.5
    for nothing in (None, "text", float("nan")):
        assert amount("Power", nothing) is None


def test_ids_and_topics_are_as_mbmd_makes_them() -> None:
    assert device_topic("SDM1.1") == "sdm1-1"
    assert device_topic("SDM#1.2") == "sdm1-2"
    assert not set("+#/") & set(device_topic("a/b+c#d"))
    assert re.fullmatch(r"[a-zA-Z0-9.]+", device_id("meter one/2"))
    assert [measurement_topic(each) for each in ("PowerL1", "ImportT2", "Frequency", "THD", "THDL3")] == [
        "Power/L1",
        "Import/T2",
        "Frequency",
        "THD",
        "THD/L3",
    ]


def make(world: World, port: int, **options: Any) -> Any:
    return kind.make(MbmdOptions(**{"broker": f"mqtt://127.0.0.1:{port}", **options}), world.surroundings)


@pytest.mark.parametrize("topic", ["", "/a", "a/", "a/#", "$SYS"])
def test_topics_that_do_not_fit(topic: str) -> None:
    with pytest.raises(ConfigError, match=r"sinks\.test\.topic"):
        make(World([]), 1, topic=topic)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    chosen = free_port()
    async with mosquitto(tmp_path, chosen):
        yield chosen


@pytest.fixture
async def watcher(port: int) -> AsyncIterator[Watcher]:
    async with watching(port, "mbmd/#") as made:
        yield made


@pytest.mark.broker
async def test_readings_are_published_as_mbmd_does(port: int, watcher: Watcher) -> None:
    world = World([meter("SDM1.1"), meter("one", "eastron-sdm120")])
    async with make(world, port).session() as channel:
        assert await watcher.payload("mbmd/status") == b"connected"
        three = world.batch(
            "SDM1.1", {"voltage_l1": 230.12345, "active_energy_import_total": 123456, "serial_number": "1"}
        )
        await channel.deliver(
            [three, world.batch("one", {"voltage_l1": 229}), world.batch("gone", {"voltage_l1": 1})], late=False
        )
        await channel.deliver([world.batch("SDM1.1", {"voltage_l1": 1.0})], late=True)
        await channel.deliver([world.event(EventType.METER_ONLINE, "one")], late=False)
        past = {"at": NOW - 900_000}
        await channel.deliver([world.batch("one", {"voltage_l1": 2}, source=Source.HISTORY, **past)], late=False)
        await channel.deliver([world.batch("one", {"voltage_l1": 3}, **past)], late=False)
        await channel.deliver([world.batch("one", {"frequency": 50.0}, missing=["voltage_l1"])], late=False)
    await watcher.payload("mbmd/status", 2)
    assert {each.topic: bytes(each.payload) for each in watcher.messages} == {
        "mbmd/status": b"disconnected",
        "mbmd/sdm1-1/Voltage/L1": b"230.123",
        "mbmd/sdm1-1/Import": b"123.456",
        "mbmd/one/Voltage": b"229.000",
        "mbmd/one/Frequency": b"50.000",
    }
    assert len(watcher.messages) == 6
    async with watching(port, "mbmd/#") as later:
        await later.payload("mbmd/status")
        await later.settle()
        assert [each.topic for each in later.messages if each.topic.startswith("mbmd/")] == ["mbmd/status"]


@pytest.mark.broker
async def test_a_connection_that_breaks_leaves_the_last_will(port: int, watcher: Watcher) -> None:
    async with make(World([]), port).session() as channel:
        await watcher.payload("mbmd/status")
        channel._client._client.socket().shutdown(2)
        assert await watcher.payload("mbmd/status", 2) == b"disconnected"
        with pytest.raises(SinkError):
            await channel.attend()
