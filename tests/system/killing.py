"""A head-end that is killed again and again while it reads meters and publishes: what a receiver has, and what the database has."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt

from headend.runtime.database import open_store
from headend.runtime.settings import load_settings
from tests.mosquitto_server import mosquitto
from tests.ports import free_port

from .served import HeadEnd, Meters, Process, configured, enter

FLEET = """
[fleet]
seed = 3

[[group]]
profile = "generic-dlms-1p"
count = {count}
first_address = "127.37.0.1"
port = {port}
name = "killed-{{number:03}}"
"""
SETTINGS = """
[mqtt]
broker = "mqtt://127.0.0.1:{port}"
stats_seconds = 0
"""
Key = tuple[str, str, int]
"""meter, quantity, time of measurement"""


@dataclass
class Received:
    """What came over MQTT."""

    ids: dict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    """under which ids each value came"""
    contents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """what came under each id"""
    messages: int = 0

    def add(self, topic: str, payload: Any) -> None:
        self.messages += 1
        meter = topic.split("/")[3]
        for row in payload if isinstance(payload, list) else [payload]:
            self.contents[row["id"]].add(json.dumps([meter, row["ts"], row["values"]], sort_keys=True))
            for quantity in row["values"]:
                self.ids[meter, quantity, row["ts"]].add(row["id"])


@dataclass
class Outcome:
    """What there was in the end."""

    received: Received
    stored: set[Key]
    kills: int

    def check(self) -> None:
        assert self.stored, "nothing was read at all"
        missing = self.stored - self.received.ids.keys()
        assert not missing, f"{len(missing)} of {len(self.stored)} stored readings were never delivered"
        strange = self.received.ids.keys() - self.stored
        assert not strange, f"{len(strange)} readings were delivered that are not stored"
        twice = {key: ids for key, ids in self.received.ids.items() if len(ids) > 1}
        assert not twice, f"{len(twice)} readings came under several ids"
        mixed = [one for one, said in self.received.contents.items() if len(said) > 1]
        assert not mixed, f"{len(mixed)} ids were given twice"


async def kill_again_and_again(folder: Path, *, kills: int, meters: int = 10, seed: int | None = None) -> Outcome:
    """Kill a head-end so many times at random moments; then let it deliver what is left."""
    chance, port = random.Random(seed), free_port()
    settings = SETTINGS.format(port=port)
    configured(folder, settings)
    received = Received()
    async with mosquitto(folder, port), collected(port, received):
        with await asyncio.to_thread(Meters, folder, FLEET.format(count=meters, port=free_port())) as fleet:
            await asyncio.to_thread(enter, folder, fleet.roster, 0.5)
            for _ in range(kills):
                await asyncio.to_thread(_run_and_kill, folder, settings, chance)
            with await asyncio.to_thread(HeadEnd, folder, settings) as head_end:
                await asyncio.to_thread(head_end.wait_stored, 10)
                fleet.stop()
                await delivered(head_end, folder, received)
                assert await asyncio.to_thread(head_end.stop) == 0
    return Outcome(received, await asyncio.to_thread(stored_readings, folder), kills)


def _run_and_kill(folder: Path, settings: str, chance: random.Random) -> None:
    """Some are killed before they are ready, most in the middle of their work."""
    with Process("serve", "--config", str(configured(folder, settings))) as head_end:
        if chance.random() < 0.8:
            head_end.until("head-end ready")
        time.sleep(chance.uniform(0, 2))
        head_end.child.send_signal(signal.SIGKILL)
        head_end.child.wait(20)


async def delivered(head_end: HeadEnd, folder: Path, received: Received) -> None:
    """Wait until nothing is left to deliver."""
    async with asyncio.timeout(120):
        while True:
            (sink,) = (await asyncio.to_thread(head_end.get, "api/v1/sinks"))["items"]
            if not sink["backlog"] and received.ids.keys() >= await asyncio.to_thread(stored_readings, folder):
                return
            await asyncio.sleep(0.5)


def stored_readings(folder: Path) -> set[Key]:
    """What the database of a head-end has that has ended, or serves."""
    found: set[Key] = set()
    with open_store(load_settings(folder / "headend.toml")) as store:
        latest = store.readings.latest()
        for meter, quantity in zip(latest.meter_ids, latest.quantities, strict=True):
            series = store.readings.series(meter, quantity, 0, 1 << 60)
            found |= {(meter, quantity, at) for at in series.measured_at}
    return found


@asynccontextmanager
async def collected(port: int, received: Received) -> AsyncIterator[None]:
    """Keep what comes over MQTT, until the block ends."""
    collecting = asyncio.create_task(_collect(port, received))
    try:
        yield
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


async def _collect(port: int, received: Received) -> None:
    async with aiomqtt.Client("127.0.0.1", port, max_queued_incoming_messages=0) as client:
        await client.subscribe("headend/v1/meters/+/telemetry", qos=1)
        async for message in client.messages:
            received.add(message.topic.value, json.loads(bytes(message.payload)))
