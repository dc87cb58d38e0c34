"""A system that takes entries and confirms none: its courier is started again, with rests, and nothing is lost or renamed."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import aiomqtt
import pytest

from headend import telemetry
from headend.model.event import Event, EventType
from headend.model.journal import Entry
from headend.northbound.client import Broker
from headend.northbound.mqtt import MqttSink
from headend.northbound.sink import Channel, Refusal
from headend.runtime.supervising import keep_delivering
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.services.supervisor import Patience, Supervisor
from tests.mosquitto_server import mosquitto
from tests.ports import free_port
from tests.services.support import virtual

from .contract import batch, rig
from .test_courier import MemoryPeer
from .test_delivery import no_answer, until, voice

PUBACK: Final = 4


class Door:
    """Stands before a broker, and keeps its acknowledgements of what was published to itself while it is told to."""

    def __init__(self, port: int) -> None:
        self.swallows = False
        self.swallowed = 0
        self.connections = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        behind_reader, behind = await asyncio.open_connection("127.0.0.1", self._port)
        there = asyncio.create_task(self._pass(reader, behind))
        back = asyncio.create_task(self._answer(behind_reader, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for each in (writer, behind):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Packet by packet: a first octet with the kind, the length in groups of seven bits, the rest."""
        while True:
            packet = bytearray(await reader.readexactly(1))
            length = shift = 0
            while True:
                packet += await reader.readexactly(1)
                length |= (packet[-1] & 0x7F) << shift
                shift += 7
                if not packet[-1] & 0x80:
                    break
            packet += await reader.readexactly(length)
            if self.swallows and packet[0] >> 4 == PUBACK:
                self.swallowed += 1
                continue
            writer.write(packet)
            await writer.drain()


class Watch:
    """A supervisor, and what it said of what it did."""

    def __init__(self, **patience: float) -> None:
        bus = Bus()
        self._tape = bus.subscribe("tape", Event)
        self.supervisor = Supervisor(Roster(bus, lambda: 0), bus, lambda _meter: None, Patience(**patience), str.strip)  # type: ignore[arg-type] # numbers
        self.keep = partial(keep_delivering, self.supervisor)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def acts(self) -> list[str]:
        """Actions since the last call."""
        told = list(self._tape._items)
        self._tape._items.clear()
        self._tape.size = 0
        assert {(each.type, each.data["what"]) for each in told} <= {(EventType.SUPERVISOR_ACTED, "sink test")}
        return [str(each.data["action"]) for each in told]


class Mute(MemoryPeer):
    """Takes entries and confirms none while it is `mute`."""

    def __init__(self) -> None:
        super().__init__()
        self.mute = True
        self.opened: list[float] = []

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        async with super().session():
            self.opened.append(asyncio.get_running_loop().time())
            yield self

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        if self.mute:
            await asyncio.Event().wait()
        return await super().deliver(entries, late=late)


@virtual
async def test_a_sink_that_confirms_nothing_is_started_again_after_rests_for_as_long_as_it_takes(
    tmp_path: Path,
) -> None:
    peer, watch = Mute(), Watch(confirm_seconds=900.0, rest_seconds=1.0, restarts_an_hour=1)
    async with rig(tmp_path, peer, running=watch.keep) as running, watch.looking():
        entries = await running.store(*(batch("m", float(n)) for n in range(40)))
        await asyncio.sleep(7200)
        acts = watch.acts()
        assert 7 <= len(acts) <= 8
        rests = (1, 2, 4, *[8] * (len(acts) - 3))
        assert acts == [f"started again after {rest} s" for rest in rests], (
            "four of them within an hour, and no end of it"
        )
        peer.mute = False
        more = await running.store(batch("m", 40.0))
        await running.until(lambda: len(peer.got) == 41)
        await asyncio.sleep(1800)
        assert watch.acts() == []
        assert sorted(peer.numbers()) == sorted(each.number for each in (*entries, *more))


@virtual
async def test_a_sink_that_is_away_or_has_everything_is_left_alone(tmp_path: Path) -> None:
    peer, watch = Mute(), Watch(confirm_seconds=900.0)
    peer.mute = False
    async with rig(tmp_path, peer, running=watch.keep) as running, watch.looking():
        await running.store(batch("m", 1.0))
        await asyncio.sleep(1800)
        peer.mute = True
        await running.store(batch("m", 2.0))
        await asyncio.sleep(300)
        await peer.leave()
        await asyncio.sleep(7200)
        assert watch.acts() == []
        peer.mute = False
        await peer.come()
        await running.until(lambda: len(peer.got) == 2)


@pytest.mark.broker
async def test_a_broker_whose_acknowledgements_get_lost(tmp_path: Path) -> None:
    """Nothing is lost and nothing comes under another id, however often its courier was started again."""
    port, count = free_port(), 400
    door, watch = Door(port), Watch(look_seconds=0.05, confirm_seconds=2.5, rest_seconds=0.05)
    restarts = telemetry.SUPERVISED.labels("sink test")
    before = restarts._value.get()
    ids: dict[int, set[str]] = defaultdict(set)
    async with mosquitto(tmp_path, port), door.open() as place, aiomqtt.Client("127.0.0.1", port) as reader:
        await reader.subscribe("headend/v1/meters/+/telemetry", qos=1)

        async def read() -> None:
            async for message in reader.messages:
                said = json.loads(bytes(message.payload))
                ids[said["ts"]].add(said["id"])

        reading = asyncio.create_task(read())
        sink = MqttSink(Broker(host="127.0.0.1", port=place), voice(), lambda: 5, no_answer)
        async with rig(tmp_path, sink, confirm_seconds=1, running=watch.keep) as running, watch.looking():
            await asyncio.wait_for(running.courier.connected.wait(), 60)
            door.swallows = True
            entries = await running.store(*(batch(f"m{n % 10}", 230.0, n) for n in range(count // 2)))
            acts: list[str] = []

            def stuck_twice() -> bool:
                acts.extend(watch.acts())
                return len(acts) >= 2

            await until(stuck_twice)
            assert acts[0].startswith("started again after ")
            assert restarts._value.get() - before >= 2
            assert door.connections >= 3
            assert door.swallowed
            assert running.courier.state.delivered == 0
            door.swallows = False
            entries += await running.store(*(batch(f"m{n % 10}", 230.0, n) for n in range(count // 2, count)))
            await until(lambda: running.courier.state.backlog == 0 and len(ids) == count)
            assert {at: {entry.id} for at, entry in enumerate(entries)} == ids
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
