"""The broker is away for thirteen hours of virtual time: what a thousand meters are read meanwhile comes, once, in their order."""

from __future__ import annotations

import asyncio
import json
import os
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from headend.model.reading import ReadingBatch, Source
from headend.northbound.client import WINDOW
from headend.northbound.layouts import HeadendLayout
from headend.northbound.message import Message
from headend.northbound.mqtt import MqttSink
from headend.northbound.topics import Request, Topics
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.services.roster import Roster
from tests.northbound.contract import on_the_bus
from tests.services.support import clock, virtual

METERS = int(os.environ.get("HEADEND_AWAY_METERS", "5"))
"""1,000 in a soak: 780,000 entries wait"""
MINUTES = 13 * 60
ANSWER_SECONDS = 240 * WINDOW / (METERS * MINUTES)
"""that the broker takes to acknowledge: what waited needs four minutes"""
MOST_OCTETS = 64 << 20
"""that the process grows by, however much waits"""
TOPICS = Topics("headend/v1")


class Broker:
    """A broker that goes away and comes back; it keeps what it acknowledged: by meter the times, and the ids."""

    def __init__(self, meters: int) -> None:
        self.here, self.gone = asyncio.Event(), asyncio.Event()
        self.times = [array("q") for _ in range(meters)]
        self.ids: dict[str, tuple[int, int]] = {}
        self.again = 0
        self.back = 0
        self.live_after = -1
        """how many that had waited came before the first that had not"""

    def come(self) -> None:
        self.gone.clear()
        self.here.set()

    def leave(self) -> None:
        self.here.clear()
        self.gone.set()

    @asynccontextmanager
    async def connect(self, will: Message | None = None) -> AsyncIterator[Broker]:
        del will
        if not self.here.is_set():
            raise aiomqtt.MqttError("connection refused")
        yield self

    @property
    async def messages(self) -> AsyncIterator[aiomqtt.Message]:
        await self.gone.wait()
        raise aiomqtt.MqttError("disconnected")
        yield

    async def subscribe(self, topic: list[tuple[str, int]]) -> None:
        pass

    async def publish(self, topic: str, payload: bytes, **_more: object) -> None:
        if self.here.is_set() and topic.endswith("telemetry"):
            said = json.loads(payload)
            for each in said if isinstance(said, list) else [said]:
                self._take(int(topic.split("/")[3]), each["ts"], each["id"])
        await asyncio.sleep(ANSWER_SECONDS)
        if not self.here.is_set():  # what was on its way has come, and nobody learns of it
            raise aiomqtt.MqttError("disconnected")

    def _take(self, meter: int, at: int, number: str) -> None:
        if number in self.ids:
            assert self.ids[number] == (meter, at), "an id was given twice"
            self.again += 1
            return
        self.ids[number] = (meter, at)
        self.times[meter].append(at)
        if self.back and self.live_after < 0 and at >= self.back:
            self.live_after = sum(map(len, self.times)) - 1


def batch(meter: int, at: int) -> ReadingBatch:
    return ReadingBatch(
        meter_id=str(meter),
        source=Source.POLL,
        received_at=at,
        quantities=["voltage_l1"],
        values=[230.5],
        measured_at=[at],
        quality=[0],
    )


def resident() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def no_answer(_request: Request) -> object:
    return None


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * METERS)
@virtual
async def test_a_broker_that_is_away_for_thirteen_hours(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    bus, broker = Bus(), Broker(METERS)
    voice = Voice([HeadendLayout(TOPICS)], version="1", roster=Roster(Bus(), clock))
    told: list[array[int]] = [array("q") for _ in range(METERS)]

    async def poll(minutes: int) -> None:
        for _ in range(minutes):
            for meter in range(METERS):
                told[meter].append(clock())
                bus.publish(batch(meter, clock()))
                if meter % 100 == 99:
                    await asyncio.sleep(1)
            await asyncio.sleep(60 - METERS // 100)

    broker.come()
    async with on_the_bus(tmp_path, MqttSink(broker, voice, clock, no_answer), bus, clock) as courier:
        await courier.connected.wait()
        await poll(2)
        assert courier.state.backlog == 0
        broker.leave()
        before = resident()
        await poll(MINUTES)
        grown = resident() - before
        waiting = courier.state.backlog
        assert METERS * (MINUTES - 1) <= waiting <= METERS * (MINUTES + 1)
        broker.back = clock()
        broker.come()
        await poll(3)  # it is asked again within a minute, and has to answer what the sink says first
        async with asyncio.timeout(4 * 3600):  # of virtual time
            while courier.state.backlog:  # noqa: ASYNC110 - a number, not an event
                await asyncio.sleep(1)
        await asyncio.sleep(5)
    assert grown < MOST_OCTETS
    for meter, times in enumerate(broker.times):
        assert sorted(times) == list(told[meter]), "lost, or under another time"
        late = [at for at in times if at < broker.back]
        assert late == sorted(late), "the order of a meter is not kept"
    assert 0 <= broker.live_after < waiting // 2, "what had waited went before what is new"
    record_property("entries that waited", waiting)
    record_property("entries lost", sum(map(len, told)) - len(broker.ids))
    record_property("entries that came twice, with the same id", broker.again)
    record_property("MB that the process grew by meanwhile", round(grown / 1e6, 1))
    record_property("entries that came before the first new one", broker.live_after)
