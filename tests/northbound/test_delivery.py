"""Nothing is lost when the broker goes: an hour in virtual time, a disk that fails, and a real broker that is killed."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from headend.model.event import Event, EventType
from headend.model.reading import ReadingBatch, Source
from headend.northbound.delivery import Delivery
from headend.northbound.layouts import HeadendLayout
from headend.northbound.message import Message
from headend.northbound.mqtt import Broker, MqttSink
from headend.northbound.topics import Request, Topics
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.storage.outbox import Outbox
from tests.services.support import clock, virtual

TOPICS = Topics("headend/v1")


def voice() -> Voice:
    return Voice([HeadendLayout(TOPICS)], version="1")


MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")


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
    async def connect(self, _will: Message) -> AsyncIterator[MemoryBroker]:
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


def box(folder: Path, *, max_messages: int = 1_000_000) -> Outbox:
    return Outbox(folder / "outbox.db", max_messages=max_messages, max_octets=1 << 30)


@asynccontextmanager
async def sinking(bus: Bus, broker: MemoryBroker, outbox: Outbox) -> AsyncIterator[MqttSink]:
    sink = MqttSink(broker.connect, voice(), bus, no_answer, clock, outbox=outbox)
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def in_order(times: list[int]) -> list[int]:
    """The times of first arrival, without what came twice."""
    return list(dict.fromkeys(times))


@pytest.mark.timeout(300)
@virtual
async def test_a_broker_that_is_gone_for_an_hour_at_a_thousand_meters(tmp_path: Path) -> None:
    meters, bus, broker = 1000, Bus(), MemoryBroker()
    outbox = box(tmp_path)
    published: dict[int, list[int]] = {meter: [] for meter in range(meters)}

    async def poll(rounds: int) -> None:
        for _ in range(rounds):
            for meter in range(meters):
                at = clock()
                published[meter].append(at)
                bus.publish(batch(meter, at))
                await asyncio.sleep(60 / meters)

    broker.switch(on=True)
    async with sinking(bus, broker, outbox) as sink:
        await sink.connected.wait()
        await poll(2)
        assert outbox.messages == 0
        assert not outbox.path.exists(), "written although the broker keeps up"
        broker.switch(on=False)
        await poll(60)
        assert meters * 59 < outbox.messages <= meters * 61
        back = clock()
        broker.switch(on=True)
        await poll(1)
        await asyncio.sleep(1)
        assert not outbox.path.exists()
    for meter in range(meters):
        times = broker.arrived[TOPICS.meter(f"m{meter}", "telemetry")]
        assert set(times) == set(published[meter])
        late = [at for at in in_order(times) if at < back]
        assert late == sorted(late), "the order of a meter is not kept"
    extra = sum(map(len, broker.arrived.values())) - sum(map(len, published.values()))
    assert extra < 1000, "more than what was on its way came twice"


@virtual
async def test_what_comes_now_is_not_held_up_by_what_has_waited(tmp_path: Path) -> None:
    bus, broker, outbox = Bus(), MemoryBroker(), box(tmp_path)
    outbox.append([(f"old/{number}", b"") for number in range(20_000)])
    broker.switch(on=True)
    async with sinking(bus, broker, outbox) as sink:
        await sink.connected.wait()
        await asyncio.sleep(0.01)
        bus.publish(batch(1, clock()))
        await asyncio.sleep(0.1)
        assert TOPICS.meter("m1", "telemetry") in broker.arrived
        assert outbox.messages > 1000


@virtual
async def test_a_stop_leaves_nothing_behind_but_the_outbox(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    async with sinking(bus, broker, box(tmp_path)):
        await asyncio.sleep(0.1)
        for number in range(100):
            bus.publish(batch(number, clock()))
    outbox = box(tmp_path)
    assert outbox.messages == 100
    broker.switch(on=True)
    async with sinking(bus, broker, outbox):
        await asyncio.sleep(1)
        for number in range(100, 200):
            bus.publish(batch(number, clock()))
    assert len(broker.arrived) == 200
    assert not outbox.path.exists()


@virtual
async def test_a_full_outbox_says_so_once_and_drops_the_oldest(tmp_path: Path) -> None:
    bus, broker, outbox = Bus(), MemoryBroker(), box(tmp_path, max_messages=50)
    events = bus.subscribe("test", Event)
    async with sinking(bus, broker, outbox):
        for number in range(200):
            bus.publish(batch(number, clock()))
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        broker.switch(on=True)
        await asyncio.sleep(60)
    telemetry = [topic for topic in broker.arrived if topic.endswith("telemetry")]
    assert TOPICS.meter("m199", "telemetry") in telemetry
    assert 45 <= len(telemetry) <= 50
    events.close()
    said = [event async for event in events]
    assert [event.type for event in said] == [EventType.OUTBOX_FULL]
    assert said[0].data["dropped"]


@virtual
async def test_a_disk_that_cannot_be_written_costs_nothing_that_memory_can_hold(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bus, broker = Bus(), MemoryBroker()
    outbox = Outbox(tmp_path / "file" / "outbox.db", max_messages=10, max_octets=10)
    async with sinking(bus, broker, outbox):
        for number in range(300):
            bus.publish(batch(number, clock()))
            await asyncio.sleep(0.1)
        broker.switch(on=True)
        await asyncio.sleep(60)
        assert len(broker.arrived) == 300


class Broken(HeadendLayout):
    """A layout with a bug."""

    def telemetry(self, _batch: ReadingBatch) -> list[bytes]:
        raise RuntimeError("a bug of ours")


@virtual
async def test_a_bug_ends_the_sink_and_is_not_passed_over(tmp_path: Path) -> None:
    bus, broker = Bus(), MemoryBroker()
    broken = Voice([Broken(TOPICS)], version="1")
    sink = MqttSink(broker.connect, broken, bus, no_answer, clock, outbox=box(tmp_path))
    bus.publish(batch(1, 5))
    with pytest.raises(RuntimeError, match="a bug of ours"):
        await sink.run()


@virtual
async def test_states_are_sent_as_they_are_and_not_as_they_were(tmp_path: Path) -> None:
    delivery = Delivery(box(tmp_path), lambda _dropped: None)
    await delivery.offer([Message("status", b"online", retain=True), Message("events", b"1")])
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    task = asyncio.create_task(delivery.run(send))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sent == [Message("events", b"1")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 - what a broker does cannot be awaited
            await asyncio.sleep(0.02)


@asynccontextmanager
async def mosquitto(port: int, folder: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A real broker that keeps what it has acknowledged for subscribers who are away; the function kills it and starts it anew."""
    if MOSQUITTO is None:
        pytest.skip("no mosquitto on this machine (Debian package mosquitto)")
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\nuser root\n"
    )

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return process

    process = await start()

    async def again() -> None:
        nonlocal process
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await asyncio.sleep(0.3)
        process = await start()

    try:
        yield again
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.broker
async def test_a_real_broker_that_is_stopped_in_the_middle_of_publishing_gets_everything(tmp_path: Path) -> None:
    port, count = free_port(), 1500
    bus, seen = Bus(), Counter[int]()
    async with mosquitto(port, tmp_path) as again:
        outbox = box(tmp_path)
        sink = MqttSink(Broker(host="127.0.0.1", port=port).connect, voice(), bus, no_answer, lambda: 5, outbox=outbox)

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
        sinking = asyncio.create_task(sink.run())
        try:
            await asyncio.wait_for(ready.wait(), 20)
            await asyncio.wait_for(sink.connected.wait(), 20)
            for number in range(count):
                bus.publish(batch(number % 10, number))
                if number % 20 == 0:
                    await asyncio.sleep(0.001)
                if number in (count // 3, 2 * count // 3):
                    await again()
            await until(lambda: len(seen) == count and not outbox.path.exists())
        finally:
            watching.cancel()
            sinking.cancel()
            await asyncio.gather(watching, sinking, return_exceptions=True)
    assert set(seen) == set(range(count))
    assert sum(seen.values()) < 2 * count
