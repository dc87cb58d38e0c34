"""Nothing is lost when the broker goes: an hour in virtual time, and a real broker that is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from headend.errors import LinkTimeout
from headend.model.event import Event, EventType
from headend.model.reading import ReadingBatch, Source
from headend.northbound.client import Broker
from headend.northbound.courier import Courier
from headend.northbound.layouts import HeadendLayout
from headend.northbound.message import Message
from headend.northbound.mqtt import MqttSink
from headend.northbound.topics import Request, Stamp, Topics
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.services.roster import Roster
from tests.mosquitto_server import mosquitto
from tests.ports import free_port
from tests.services.support import clock, virtual
from tests.services.support import meter as a_meter

from .contract import on_the_bus

TOPICS = Topics("headend/v1")


def voice() -> Voice:
    return Voice([HeadendLayout(TOPICS)], version="1", roster=Roster(Bus(), lambda: 5))


def batch(meter: int, at: int) -> ReadingBatch:
    return ReadingBatch(
        meter_id=f"m{meter}",
        source=Source.POLL,
        received_at=at,
        quantities=["voltage_l1"],
        values=[230.5],
        measured_at=[at],
        quality=[0],
    )


async def no_answer(_request: Request) -> object:
    return None


class MemoryBroker:
    """A broker that can be switched off; what it has acknowledged is in `seen`, in order."""

    def __init__(self) -> None:
        self.here = asyncio.Event()
        self.gone = asyncio.Event()
        self.seen: list[Message] = []
        self.arrived: dict[str, list[int]] = {}

    def switch(self, *, on: bool) -> None:
        (self.here if on else self.gone).set()
        (self.gone if on else self.here).clear()

    @asynccontextmanager
    async def connect(self, will: Message | None = None) -> AsyncIterator[MemoryBroker]:
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

    async def publish(self, topic: str, payload: bytes, *, retain: bool, **_more: object) -> None:
        """Half of what is on its way when the broker goes has arrived, and nobody learns of it."""
        await asyncio.sleep(0.002)
        if self.here.is_set() or len(self.seen) % 2:
            self.seen.append(Message(topic, payload, retain))
            if topic.endswith("telemetry"):
                self.arrived.setdefault(topic, []).append(json.loads(payload)["ts"])
        if not self.here.is_set():
            raise aiomqtt.MqttError("disconnected")


@asynccontextmanager
async def sinking(bus: Bus, broker: MemoryBroker, folder: Path) -> AsyncIterator[Courier]:
    async with on_the_bus(folder, MqttSink(broker, voice(), clock, no_answer), bus, clock) as courier:
        yield courier


def in_order(times: list[int]) -> list[int]:
    """The times of first arrival, without what came twice."""
    return list(dict.fromkeys(times))


@pytest.mark.timeout(300)
@virtual
async def test_a_broker_that_is_gone_for_an_hour_at_a_thousand_meters(tmp_path: Path) -> None:
    meters, bus, broker = 1000, Bus(), MemoryBroker()
    published: dict[int, list[int]] = {meter: [] for meter in range(meters)}

    async def poll(rounds: int) -> None:
        for _ in range(rounds):
            for meter in range(meters):
                at = clock()
                published[meter].append(at)
                bus.publish(batch(meter, at))
                if meter % 100 == 99:
                    await asyncio.sleep(6)

    broker.switch(on=True)
    async with sinking(bus, broker, tmp_path) as courier:
        await courier.connected.wait()
        await poll(2)
        assert courier.state.backlog == 0
        broker.switch(on=False)
        await poll(60)
        assert meters * 59 < courier.state.backlog <= meters * 61
        back = clock()
        broker.switch(on=True)
        await poll(2)
        await asyncio.sleep(1)
        assert courier.state.backlog == 0
    for meter in range(meters):
        times = broker.arrived[TOPICS.meter(f"m{meter}", "telemetry")]
        assert set(times) == set(published[meter])
        late = [at for at in in_order(times) if at < back]
        assert late == sorted(late), "the order of a meter is not kept"
    extra = sum(map(len, broker.arrived.values())) - sum(map(len, published.values()))
    assert extra < 1000, "more than what was on its way came twice"


@virtual
async def test_what_comes_now_is_not_held_up_by_what_has_waited(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    async with sinking(bus, broker, tmp_path) as courier:
        await asyncio.sleep(0.1)
        for number in range(20_000):
            bus.publish(batch(2 + number % 100, number))
        await asyncio.sleep(10)
        broker.switch(on=True)
        await courier.connected.wait()
        bus.publish(batch(1, clock()))
        await asyncio.sleep(0.3)
        assert TOPICS.meter("m1", "telemetry") in broker.arrived
        assert courier.state.backlog > 1000


@virtual
async def test_a_stop_leaves_nothing_undelivered(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    async with sinking(bus, broker, tmp_path):
        await asyncio.sleep(0.1)
        for number in range(100):
            bus.publish(batch(number, clock()))
    broker.switch(on=True)
    async with sinking(bus, broker, tmp_path) as courier:
        await courier.connected.wait()
        for number in range(100, 200):
            bus.publish(batch(number, clock()))
        await asyncio.sleep(1)
        for number in range(200, 300):
            bus.publish(batch(number, clock()))
    assert len(broker.arrived) == 300
    assert broker.seen[-1].topic == "headend/v1/gateway/status", "it takes leave when all is said"


class Broken(HeadendLayout):
    """A layout with a bug."""

    def telemetry(self, batch: ReadingBatch, stamp: Stamp) -> Sequence[bytes]:
        if batch.meter_id == "m1":
            raise RuntimeError("a bug of ours")
        return super().telemetry(batch, stamp)


@virtual
async def test_a_bug_costs_what_it_concerns_and_is_not_passed_over(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    events = bus.subscribe("test", Event)
    broker.switch(on=True)
    broken = Voice([Broken(TOPICS)], version="1", roster=Roster(bus, clock))
    async with on_the_bus(tmp_path, MqttSink(broker, broken, clock, no_answer), bus, clock) as courier:
        await courier.connected.wait()
        for number in range(4):
            bus.publish(batch(number, 5))
        await asyncio.sleep(2)
        assert set(broker.arrived) == {TOPICS.meter(f"m{number}", "telemetry") for number in (0, 2, 3)}
        (letter,) = await courier.refused()
        assert letter.reason == "RuntimeError: a bug of ours"
    events.close()
    assert [event.type async for event in events] == [EventType.SINK_REFUSED]


@virtual
async def test_what_no_broker_takes_is_set_aside(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    broker.switch(on=True)
    async with sinking(bus, broker, tmp_path) as courier:
        await courier.connected.wait()
        bus.publish(replace(batch(1, 5), values=["x" * (1 << 19)]))
        bus.publish(batch(2, 5))
        await asyncio.sleep(2)
        assert set(broker.arrived) == {TOPICS.meter("m2", "telemetry")}
        (letter,) = await courier.refused()
        assert "too long for MQTT" in letter.reason


@virtual
async def test_states_are_sent_as_they_are_and_not_as_they_were(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    roster = Roster(bus, clock)
    roster.load([a_meter("m1", "h"), a_meter("m2", "h")])
    made = Voice([HeadendLayout(TOPICS)], version="1", roster=roster)
    async with on_the_bus(tmp_path, MqttSink(broker, made, clock, no_answer), bus, clock) as courier:
        roster.succeeded(roster.state("m1"))
        roster.succeeded(roster.state("m2"))
        await asyncio.sleep(5)
        roster.failed(roster.state("m1"), LinkTimeout("no answer"))
        await asyncio.sleep(5)
        broker.switch(on=True)
        await courier.connected.wait()
        await asyncio.sleep(5)
    said = [
        (message.topic.split("/")[3], json.loads(message.payload).get("online"))
        for message in broker.seen
        if message.topic.endswith("/status") and "/meters/" in message.topic
    ]
    assert set(said) == {("m1", False), ("m2", True)}, "m1 was said to be online when it was not any more"
    told = [json.loads(message.payload)["event"] for message in broker.seen if message.topic.endswith("m1/events")]
    assert told == ["METER_ONLINE", "METER_OFFLINE"]


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 - what a broker does cannot be awaited
            await asyncio.sleep(0.02)


@pytest.mark.broker
async def test_a_real_broker_that_is_stopped_in_the_middle_of_publishing_gets_everything(tmp_path: Path) -> None:
    port, count = free_port(), 1500
    bus, seen = Bus(), Counter[int]()
    sink = MqttSink(Broker(host="127.0.0.1", port=port), voice(), lambda: 5, no_answer)
    keeping = (
        "persistence true",
        f"persistence_location {tmp_path}/",
        "autosave_on_changes true",
        "autosave_interval 1",
    )
    async with mosquitto(tmp_path, port, *keeping) as broker, on_the_bus(tmp_path / "data", sink, bus) as courier:

        async def watch() -> None:
            while True:
                try:
                    async with aiomqtt.Client("127.0.0.1", port, identifier="counter", clean_session=False) as client:
                        await client.subscribe("headend/v1/meters/+/telemetry", qos=1)
                        ready.set()
                        async for message in client.messages:
                            seen[json.loads(bytes(message.payload))["ts"]] += 1
                except aiomqtt.MqttError:
                    await asyncio.sleep(0.05)

        ready = asyncio.Event()
        watching = asyncio.create_task(watch())
        try:
            await asyncio.wait_for(ready.wait(), 20)
            await asyncio.wait_for(courier.connected.wait(), 20)
            for number in range(count):
                bus.publish(batch(number % 10, number))
                if number % 20 == 0:
                    await asyncio.sleep(0.001)
                if number in (count // 3, 2 * count // 3):
                    await broker.stop()
                    await asyncio.sleep(0.3)
                    await broker.start()
            await until(lambda: len(seen) == count and courier.state.backlog == 0)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert set(seen) == set(range(count))
    assert sum(seen.values()) < 2 * count
