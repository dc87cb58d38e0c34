"""Readings per second to the telemetry topic of ThingsBoard's gateway API, through mosquitto with QoS 1, per second of our core.

Against it: the same payloads, made beforehand, by bare aiomqtt with the same window. mosquitto acknowledges in the platform's
place, so the figure is what the sink can do, not what a platform takes.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time

import aiomqtt
import uvloop

from bench.common import SERVER_CORE, Result, Settings, pin
from bench.mqtt import MESSAGES, QUANTITIES, batches, mosquitto
from headend.model.journal import Entry
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch
from headend.northbound.sink import GROUP, Surroundings
from headend.northbound.thingsboard.gateway import TELEMETRY, GatewaySink
from headend.northbound.thingsboard.options import GatewayOptions
from headend.northbound.thingsboard.telemetry import Room, pieces
from headend.northbound.thingsboard.values import Keys
from headend.northbound.topics import Request
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.storage.store import wall_millis

INFLIGHT = 100
"""messages under way, as the platform says"""


async def _no_answer(_request: Request) -> object:
    return None


async def ours(port: int, work: list[ReadingBatch]) -> float:
    """From entries of the journal to the acknowledgement: each meter's device introduced, each meter in a message of its own."""
    surroundings = Surroundings(
        name="board",
        version="1",
        roster=Roster(Bus(), wall_millis),
        profile=lambda _meter: None,
        answer=_no_answer,
        clock=wall_millis,
        secret=lambda _place: Secret(b"token"),
    )
    sink = GatewaySink(GatewayOptions(broker=f"mqtt://127.0.0.1:{port}", token="env:TOKEN"), surroundings)  # noqa: S106 - a place
    entries = [Entry(number, batch) for number, batch in enumerate(work)]
    async with sink.session() as channel:
        cpu = time.process_time()
        for first in range(0, MESSAGES, GROUP):
            await channel.deliver(entries[first : first + GROUP], late=False)
        return MESSAGES * len(QUANTITIES) / (time.process_time() - cpu)


async def bare(port: int, work: list[ReadingBatch]) -> float:
    keys, room = Keys({}, kilo=False, prefix="#"), Room(octets=65_536, points=1 << 30)
    ready = [piece.payload for batch in work for piece in pieces(keys.rows(batch), room, batch.meter_id)]
    slots = asyncio.Semaphore(INFLIGHT)

    async def publish(payload: bytes) -> None:
        await client.publish(TELEMETRY, payload, qos=1, timeout=math.inf)
        slots.release()

    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=INFLIGHT) as client:
        client.pending_calls_threshold = 4 * INFLIGHT
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for payload in ready:
                await slots.acquire()
                group.create_task(publish(payload))
        return MESSAGES * len(QUANTITIES) / (time.process_time() - cpu)


def run(settings: Settings) -> list[Result]:
    pin(0, SERVER_CORE)
    work, port = batches(), 21884
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    with mosquitto(port):
        for _ in range(settings.repeats):
            taken["bare"].append(uvloop.run(bare(port, work)))
            taken["ours"].append(uvloop.run(ours(port, work)))
    return [
        Result(
            benchmark="thingsboard",
            what="readings to the gateway API of ThingsBoard through mosquitto with QoS 1, shaped and acknowledged",
            figure=statistics.median(taken["ours"]),
            unit="readings/s",
            against="bare aiomqtt with payloads made beforehand",
            reference=statistics.median(taken["bare"]),
        )
    ]
