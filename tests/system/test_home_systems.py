"""One head-end, virtual meters, mosquitto: what Home Assistant, a Sparkplug host and a user of mbmd see, and what they switch."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.mosquitto_server import mosquitto
from tests.northbound.homeassistant_rules import check_payload
from tests.northbound.peers import Watcher, watching
from tests.northbound.sparkplug_reader import write
from tests.northbound.sparkplug_rules import Heard, check, hear
from tests.ports import free_port

from .served import HeadEnd, Meters, configured, enter

FLEET = """
[fleet]
seed = 5

[[group]]
profile = "generic-dlms-3p"
count = 1
first_address = "127.47.0.1"
port = {dlms}
name = "house"

[[group]]
profile = "eastron-sdm630"
count = 1
first_address = "127.47.0.1"
port = {modbus}
name = "SDM1.1"
"""
SETTINGS = """
[sinks.home]
kind = "homeassistant"
broker = "mqtt://127.0.0.1:{port}"
role = "dispatcher"
birth_jitter = 0.0

[sinks.scada]
kind = "sparkplug"
broker = "mqtt://127.0.0.1:{port}"
group = "plant"
edge_node = "north"
role = "dispatcher"

[sinks.mbmd]
kind = "mbmd"
broker = "mqtt://127.0.0.1:{port}"
"""
PLACE = "headend/homeassistant"

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


@asynccontextmanager
async def running(folder: Path, port: int) -> AsyncIterator[HeadEnd]:
    fleet = FLEET.format(dlms=free_port(), modbus=free_port())
    with await asyncio.to_thread(Meters, folder, fleet) as meters:
        settings = SETTINGS.format(port=port)
        configured(folder, settings)
        enter(folder, meters.roster, 0.5)
        with await asyncio.to_thread(HeadEnd, folder, settings) as head_end:
            yield head_end


async def state(watcher: Watcher, topic: str, payload: bytes) -> None:
    """Until this is the last that was said on a topic."""
    await watcher.until(lambda _all: watcher.on(topic)[-1:] == [payload])


async def test_everybody_sees_the_meters_and_switches_them(tmp_path: Path) -> None:
    port = free_port()
    async with mosquitto(tmp_path, port), watching(port, "#") as watcher, running(tmp_path, port) as head_end:
        await at_home(watcher)
        await in_the_plant(watcher)
        assert float(await watcher.payload("mbmd/sdm1-1/Voltage/L1")) > 180
        assert float(await watcher.payload("mbmd/sdm1-1/Import")) > 0
        assert await watcher.payload("mbmd/status") == b"connected"
        assert await asyncio.to_thread(head_end.stop) == 0
        for topic, word in ((f"{PLACE}/status", b"offline"), ("mbmd/status", b"disconnected")):
            await state(watcher, topic, word)
        await watcher.payload("spBv1.0/plant/NDEATH/north")
        trace = check([each for each in watcher.messages if each.topic.startswith("spBv1.0/")])
        assert {each.device for each in trace if each.verb == "DDATA"} == {"house", "SDM1.1"}
        assert all(check_payload(each.payload) for each in watcher.messages if each.topic.endswith("/config"))


async def at_home(watcher: Watcher) -> None:
    said = check_payload(await watcher.payload("homeassistant/device/headend_house/config"))
    assert said["components"]["relay"]["platform"] == "switch"
    await state(watcher, f"{PLACE}/house/status", b"online")
    await state(watcher, f"{PLACE}/house/relay_closed", b"ON")
    assert float(await watcher.payload(f"{PLACE}/house/active_energy_import_total")) > 0
    watcher.say(f"{PLACE}/house/relay/set", b"OFF")
    await state(watcher, f"{PLACE}/house/relay_closed", b"OFF")


async def in_the_plant(watcher: Watcher) -> None:
    births = [each for each in hear_plant(watcher) if (each.verb, each.device) == ("DBIRTH", "house")]
    assert births[0].said.metric("relay_closed").fields["datatype"] == 11
    command = write([{"name": "relay_closed", "boolean_value": True}])
    watcher.say("spBv1.0/plant/DCMD/north/house", command, qos=0)
    await state(watcher, f"{PLACE}/house/relay_closed", b"ON")


def hear_plant(watcher: Watcher) -> list[Heard]:
    return hear([each for each in watcher.messages if each.topic.startswith("spBv1.0/")])


async def test_a_killed_head_end_is_missed_at_once(tmp_path: Path) -> None:
    port = free_port()
    async with mosquitto(tmp_path, port), watching(port, "#") as watcher, running(tmp_path, port) as head_end:
        await state(watcher, f"{PLACE}/house/status", b"online")
        await asyncio.to_thread(head_end.stop, signal.SIGKILL)
        for topic, word in ((f"{PLACE}/status", b"offline"), ("mbmd/status", b"disconnected")):
            await state(watcher, topic, word)
        await watcher.payload("spBv1.0/plant/NDEATH/north")
