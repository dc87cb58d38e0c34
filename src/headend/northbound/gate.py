"""The gate of the embedded broker: what a client sends, packet by packet, before the broker sees any of it.

It cuts off who says what no client may say, announces more than there is room for, or keeps silent for too long, and slows
down who says too much: its packets wait in its own socket, and nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter, WriterAdapter
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from headend.errors import RemoteProtocolError
from headend.northbound import packets
from headend.northbound.rights import User

MAX_WAITING: Final = 1 << 20
DRAIN_SECONDS: Final = 5.0
UNFINISHED: Final = 100
"""messages with QoS 2 that a client may leave half done"""
_ACKNOWLEDGEMENT: Final = 0.1
"""what it counts as"""
_WEIGHT: Final = 4096
"""a message counts once more for each so many octets"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the embedded broker has room for."""

    clients: int = 1000
    message_octets: int = 1 << 20
    messages_per_second: float = 200.0
    subscriptions: int = 100
    """of one client"""
    retained: int = 20_000
    """messages of clients; those of the head-end are as many as it has meters"""
    waiting: int = 1000
    """messages kept for a client that is away and wants them"""
    hello_seconds: float = 10.0


class Source(Protocol):
    """Where octets come from; raises EOFError (asyncio.IncompleteReadError is one) or OSError when none come any more."""

    async def readexactly(self, count: int, /) -> bytes:
        """Wait for so many octets."""
        ...


async def read_packet(source: Source, limit: int) -> bytes:
    """One whole packet of at most `limit` octets of contents."""
    head = await source.readexactly(2)
    length = head[1] & 0x7F
    for index in range(1, packets.MAX_LENGTH_OCTETS + 1):
        if head[index] < 0x80:
            break
        if index == packets.MAX_LENGTH_OCTETS:
            raise RemoteProtocolError("MQTT packet", offset=1, expected="a length of at most four octets")
        head += await source.readexactly(1)
        length |= (head[-1] & 0x7F) << 7 * index
    if length > limit:
        raise RemoteProtocolError("MQTT packet", offset=1, expected=f"at most {limit} octets", got=str(length))
    return head + await source.readexactly(length) if length else head


class Gate(ReaderAdapter):  # type: ignore[misc] # amqtt has no types
    """The reader that the broker is given for one client."""

    def __init__(
        self,
        source: Source,
        user: User,
        hello: bytes,
        keep_alive: int,
        limits: Limits,
        *,
        route: Callable[[str], str],
        cut: Callable[[], None],
    ) -> None:
        """`hello` is the CONNECT that was read already; `route` says where a message to a topic goes, `cut` hangs up."""
        self._source = source
        self._user = user
        self._limits = limits
        self._route = route
        self._cut = cut
        self._silence = keep_alive * 1.5 or None
        self._packet, self._at = packets.without_keep_alive(hello), 0
        self._clock = asyncio.get_running_loop().time
        self._allowance = limits.messages_per_second
        self._counted_at = self._clock()
        self._half_done: set[int] = set()

    async def read(self, n: int = -1) -> bytes:
        """Octets of the packet that is read, the next one after it; nothing when the client is gone."""
        if self._at >= len(self._packet) and n:
            self._packet, self._at = await self._next(), 0
        part = self._packet[self._at : self._at + n]
        self._at += len(part)
        return part

    def feed_eof(self) -> None:
        """Nothing to do: the end of the source is the end."""

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._silence):
                packet = await read_packet(self._source, self._limits.message_octets)
            cost, packet = self._check(packet)
        except (EOFError, OSError, RemoteProtocolError):  # TimeoutError is an OSError
            self._cut()
            return b""
        if not self._user.trusted and (wait := self._wait(cost + len(packet) // _WEIGHT)) > 0:
            await asyncio.sleep(wait)
        return packet

    def _check(self, packet: bytes) -> tuple[float, bytes]:
        """What a packet counts as, and what is let through of it; raises RemoteProtocolError for one that may not be."""
        kind = packet[0] & 0xF0
        if kind == packets.PUBLISH:
            topic, qos, packet_id = packets.decode_publish(packet)
            if qos == 2:
                self._half_done.add(packet_id)
                if len(self._half_done) > UNFINISHED:
                    raise RemoteProtocolError("MQTT", expected=f"at most {UNFINISHED} unfinished messages")
            to = self._route(topic)
            return 1, packet if to == topic else packets.with_topic(packet, to)
        if kind in (packets.SUBSCRIBE, packets.UNSUBSCRIBE):
            return sum(1 for _ in packets.filters(packet)), packet
        packets.check_short(packet)
        if kind == packets.PUBREL:
            self._half_done.discard(int.from_bytes(packet[2:4], "big"))
        return 1 if kind == packets.PINGREQ else _ACKNOWLEDGEMENT, packet

    def _wait(self, cost: float) -> float:
        """Seconds that a client has to wait for what it said."""
        rate, now = self._limits.messages_per_second, self._clock()
        self._allowance = min(rate, self._allowance + (now - self._counted_at) * rate) - cost
        self._counted_at = now
        return -self._allowance / rate


class TcpWriter(StreamWriterAdapter):  # type: ignore[misc] # amqtt has no types
    """Cuts off a client that does not take what it is sent."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer)
        self._transport = writer.transport

    def write(self, data: bytes) -> None:
        """Send, unless too much waits already."""
        if self._transport.get_write_buffer_size() > MAX_WAITING:
            self._transport.abort()
            return
        super().write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough, but not for long."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await super().drain()
        except TimeoutError:
            self._transport.abort()


class WebSocketSource:
    """The octets of the binary messages of a WebSocket; a text message ends it."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._buffer = bytearray()

    async def readexactly(self, count: int) -> bytes:
        """Wait for so many octets."""
        while len(self._buffer) < count:
            try:
                message = await self._socket.recv()
            except ConnectionClosed:
                raise EOFError from None
            if not isinstance(message, bytes):
                raise EOFError("a text message")  # noqa: TRY004 - the peer's doing, not the caller's
            self._buffer += message
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        return part


class WebSocketWriter(WriterAdapter):  # type: ignore[misc] # amqtt has no types
    """Sends each packet as one binary message; cuts off a client that does not take them."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep for the next `drain`, which follows each packet."""
        self._parts.append(data)

    async def drain(self) -> None:
        """Send what was written."""
        message, self._parts = b"".join(self._parts), []
        transport = self._socket.transport
        if transport.get_write_buffer_size() > MAX_WAITING:
            transport.abort()
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._socket.send(message)
        except TimeoutError:
            transport.abort()
        except ConnectionClosed:
            raise ConnectionResetError from None

    def get_peer_info(self) -> tuple[str, int] | None:
        """Address and port of the client."""
        peer = self._socket.remote_address
        return (str(peer[0]), int(peer[1])) if peer else None

    def get_ssl_info(self) -> None:
        """No TLS here: that is for a real broker, or a proxy."""

    async def close(self) -> None:
        """Say goodbye."""
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._socket.close()
