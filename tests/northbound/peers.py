"""What tests of sinks share: a mosquitto of their own, an independent client that watches it (paho), the surroundings of a sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from headend.drivers.library import Library
from headend.model.access import Role
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry, Item
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.reading import Missing, ReadingBatch, Source, Value
from headend.northbound.sink import Surroundings
from headend.northbound.topics import Request
from headend.services.bus import Bus
from headend.services.roster import Roster

NOW = 1_763_727_430_000
"""2025-11-21 12:17:10 UTC"""
LIBRARY = Library()


class Door:
    """A way to a broker that can be shut: connections break, none can be opened."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.is_open = True
        self._inner = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        self.shut()
        await self._listening.wait_closed()

    def shut(self) -> None:
        self.is_open = False
        for writer in self._writers:
            writer.transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self._inner)
        self._writers |= {writer, inner}
        await asyncio.gather(_pass(reader, inner), _pass(inner_reader, writer))
        self._writers -= {writer, inner}


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Watcher:
    """A paho client in a thread of its own; `messages` grows as they come, in their order."""

    def __init__(self, port: int, *filters: str, will: tuple[str, bytes] | None = None) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.ready = asyncio.Event()
        self._more = asyncio.Event()
        loop, messages, more, ready = asyncio.get_running_loop(), self.messages, self._more, self.ready
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if will:
            self.client.will_set(*will, qos=1)

        def came(message: paho.MQTTMessage) -> None:
            messages.append(message)
            more.set()

        # Nothing that the client holds leads back to the client: it closes its sockets when the last reference goes.
        def on_connect(client: paho.Client, *_: object) -> None:
            client.subscribe([(each, 1) for each in filters])

        self.client.on_connect = on_connect
        self.client.on_subscribe = lambda *_: loop.call_soon_threadsafe(ready.set)
        self.client.on_message = lambda _client, _data, message: loop.call_soon_threadsafe(came, message)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    async def until(self, fits: Callable[[Sequence[paho.MQTTMessage]], Any]) -> Any:
        """What `fits` makes of all messages so far, as soon as it is true."""
        async with asyncio.timeout(30):
            while not (found := fits(self.messages)):
                self._more.clear()
                await self._more.wait()
        return found

    async def payload(self, topic: str, count: int = 1) -> bytes:
        """The payload of the message with this number (from 1) on a topic."""
        found = await self.until(lambda all_: [each for each in all_ if each.topic == topic][count - 1 : count])
        return bytes(found[0].payload)

    def on(self, topic: str) -> list[bytes]:
        return [bytes(each.payload) for each in self.messages if each.topic == topic]

    def say(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        self.client.publish(topic, payload, qos=qos, retain=retain)

    async def settle(self) -> None:
        """Until what was published before is here, too: for a message of our own, that goes the same way."""
        mark = f"mark/{len(self.messages)}/{id(self)}"
        self.client.subscribe(mark, 1)
        self.say(mark, b"1")
        await self.payload(mark)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@asynccontextmanager
async def watching(port: int, *filters: str) -> AsyncIterator[Watcher]:
    watcher = Watcher(port, *filters)
    try:
        await asyncio.wait_for(watcher.ready.wait(), 30)
        yield watcher
    finally:
        await asyncio.to_thread(watcher.stop)


def meter(meter_id: str = "m1", profile: str = "eastron-sdm630", **more: Any) -> Meter:
    found = LIBRARY.get(profile) if profile else None
    made = Meter(
        id=meter_id,
        protocol=found.protocol if found else "dlms",
        framing="tcp",
        endpoint=Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=502),
        name=f"Meter {meter_id}",
        profile_id=profile,
        poll_seconds=10.0,
        identity=MeterIdentity(serial="0012345", firmware="1.2"),
    )
    return replace(made, **more)


class World:
    """The surroundings of a sink, and what it asked."""

    def __init__(self, there: Iterable[Meter], role: Role | None = None, **more: Any) -> None:
        self.now = NOW
        self.asked: list[Request] = []
        self._more = asyncio.Event()
        self.roster = Roster(Bus(), lambda: self.now)
        self.roster.load(there)
        self.refusal: Exception | None = None
        self.told: dict[str, str] = {}
        """what a relay command is answered"""
        self._numbers = iter(range(1 << 20, 1 << 40))
        self.surroundings = Surroundings(
            name="test",
            version="1.0",
            roster=self.roster,
            profile=lambda each: LIBRARY.get(each.profile_id) if each.profile_id else None,
            answer=self._answer,
            clock=lambda: self.now,
            secret=lambda place: Secret(place.encode()),
            role=role,
            **more,
        )

    async def _answer(self, request: Request) -> object:
        self.asked.append(request)
        self._more.set()
        if self.refusal is not None:
            raise self.refusal
        return self.told if request.method in ("disconnect", "reconnect") else {}

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.asked) < count:
                self._more.clear()
                await self._more.wait()
        assert len(self.asked) == count

    def entry(self, item: Item) -> Entry:
        return Entry(next(self._numbers), item)

    def event(self, kind: EventType, meter_id: str = "") -> Entry:
        return self.entry(Event(type=kind, severity=Severity.INFO, occurred_at=self.now, meter_id=meter_id))

    def batch(
        self,
        meter_id: str,
        values: dict[str, Value],
        *,
        at: int | None = None,
        source: Source = Source.POLL,
        quality: int = 0,
        missing: Sequence[str] = (),
    ) -> Entry:
        gaps = tuple(Missing(ref="x:1", quantity=key, code="object-undefined", reason="not there") for key in missing)
        return self.entry(
            ReadingBatch(
                meter_id=meter_id,
                source=source,
                received_at=self.now,
                quantities=tuple(values),
                values=tuple(values.values()),
                measured_at=(self.now if at is None else at,) * len(values),
                quality=(quality,) * len(values),
                missing=gaps,
            )
        )
