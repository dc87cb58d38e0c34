"""Publishing to mosquitto with QoS 1: polls of ten values from the bus to the broker's acknowledgement, per second of our core.

Against it: the same payloads, made beforehand, by a bare aiomqtt client with the same window.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import uvloop

from bench.common import CLIENT_CORE, SERVER_CORE, Result, Settings, pin
from bench.storage import START
from headend.model.journal import Entry
from headend.model.reading import ReadingBatch, Source
from headend.northbound.client import WINDOW, Broker
from headend.northbound.courier import Courier
from headend.northbound.deliveries import Deliveries
from headend.northbound.layouts import HeadendLayout
from headend.northbound.mqtt import MqttSink
from headend.northbound.sink import GROUP
from headend.northbound.topics import Request, Stamp, Topics, telemetry_payloads
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.services.writer import Writer
from headend.storage.keeping import Keeper
from headend.storage.store import Store, wall_millis

TOPICS = Topics("headend/v1")
MESSAGES = 10_000
QUANTITIES = (*(f"active_energy_import_t{n}" for n in range(1, 9)), "voltage_l1", "current_l1")


@contextmanager
def mosquitto(port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", encoding="utf-8")
        child = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)
        pin(child.pid, CLIENT_CORE)
        try:
            time.sleep(0.5)
            yield
        finally:
            child.terminate()
            child.wait(10)


def batches() -> list[ReadingBatch]:
    return [
        ReadingBatch(
            meter_id=f"meter-{n % 1000:04}",
            source=Source.POLL,
            received_at=START + n,
            quantities=QUANTITIES,
            values=[n + 0.5] * len(QUANTITIES),
            measured_at=[START + n] * len(QUANTITIES),
            quality=[0] * len(QUANTITIES),
        )
        for n in range(MESSAGES)
    ]


def earlier(work: list[ReadingBatch]) -> list[ReadingBatch]:
    """A poll of each meter before all of `work`: the head-end has known these meters for long."""
    first = {batch.meter_id: batch for batch in reversed(work)}
    return [
        replace(batch, received_at=START - 1, measured_at=[START - 1] * len(QUANTITIES)) for batch in first.values()
    ]


async def _no_answer(_request: Request) -> object:
    return None


async def ours(port: int, work: list[ReadingBatch]) -> float:
    """From the bus through the database, which knows the meters, and its journal to the broker's acknowledgement."""
    with (
        tempfile.TemporaryDirectory(prefix="headend-bench-") as folder,
        Store.open(Path(folder) / "headend.db", vault_key=None) as store,
    ):
        store.readings.write(earlier(work))
        bus = Bus()
        voice = Voice([HeadendLayout(TOPICS)], version="1", roster=Roster(bus, wall_millis))
        sink = MqttSink(Broker(host="127.0.0.1", port=port, version="5"), voice, wall_millis, _no_answer)
        courier = Courier("mqtt", "mqtt", sink, store.journal, clock=wall_millis, publish=bus.publish)
        deliveries = Deliveries(store.journal, wall_millis, keep_hours=72, keep_octets=1 << 40)
        deliveries.add(courier)
        deliveries.load()
        keeper = Keeper(store.readings, store.journal)
        writer = Writer(bus, keeper.write, clock=wall_millis, stored=deliveries.offer, queue_readings=1 << 30)
        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(deliveries.run())]
        await courier.connected.wait()
        cpu = time.process_time()
        for batch in work:
            bus.publish(batch)
        while courier.state.delivered < MESSAGES:  # noqa: ASYNC110 - a counter cannot be awaited
            await asyncio.sleep(0.005)
        cpu = time.process_time() - cpu
        writer.close()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return MESSAGES / cpu


async def delivering(port: int, work: list[ReadingBatch]) -> float:
    """What is stored already: from the journal's entries to the broker's acknowledgement."""
    voice = Voice([HeadendLayout(TOPICS)], version="1", roster=Roster(Bus(), wall_millis))
    sink = MqttSink(Broker(host="127.0.0.1", port=port, version="5"), voice, wall_millis, _no_answer)
    entries = [Entry(number, batch) for number, batch in enumerate(work)]
    async with sink.session() as channel:
        cpu = time.process_time()
        for first in range(0, MESSAGES, GROUP):
            await channel.deliver(entries[first : first + GROUP], late=False)
        return MESSAGES / (time.process_time() - cpu)


async def bare(port: int, work: list[ReadingBatch]) -> float:
    """aiomqtt as it is, with payloads made beforehand and the same window."""
    stamp = Stamp("0123456789abcdef", 5)
    ready = [(TOPICS.meter(batch.meter_id, "telemetry"), telemetry_payloads(batch, stamp)[0]) for batch in work]
    room = asyncio.Semaphore(WINDOW)

    async def publish(topic: str, payload: bytes) -> None:
        await client.publish(topic, payload, qos=1, timeout=math.inf)
        room.release()

    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=WINDOW) as client:
        client.pending_calls_threshold = 4 * WINDOW
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for topic, payload in ready:
                await room.acquire()
                group.create_task(publish(topic, payload))
        return MESSAGES / (time.process_time() - cpu)


def run(settings: Settings) -> list[Result]:
    pin(0, SERVER_CORE)
    work, port = batches(), 21883
    runs = {"ours": ours, "delivering": delivering, "bare": bare}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with mosquitto(port):
        for _ in range(settings.repeats):
            for name, one in runs.items():
                taken[name].append(uvloop.run(one(port, work)))
    reference = statistics.median(taken["bare"])
    return [
        Result(
            benchmark="mqtt",
            what=what,
            figure=statistics.median(taken[name]),
            unit="messages/s",
            against="bare aiomqtt with payloads made beforehand",
            reference=reference,
            target=0.6,
        )
        for name, what in (
            ("delivering", "stored polls of ten values published with QoS 1 to mosquitto, shaped and acknowledged"),
            ("ours", "the same from the bus: stored, journalled, published and acknowledged"),
        )
    ]
