"""The door before mosquitto: knows devices by their access token, keeps them apart, counts, and throws out.

Reads the packets of MQTT 3.1.1 and 5 by itself. What a device publishes on TOPIC goes on as `t/TOKEN/CONNECTION/TOPIC`, and what it
subscribes to is below `s/TOKEN/CONNECTION`; mosquitto lets each token write and read there only.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.mosquitto_server import mosquitto

from .thingsboard_fake import Connection, Server

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE = 1, 3, 4, 8, 10
QUOTA_EXCEEDED: Final = 0x97


@asynccontextmanager
async def platform(folder: Path, port: int) -> AsyncIterator[None]:
    """The broker of a platform: a client reads and writes what belongs to its user name, the server everything."""
    acl = folder / "acl"
    acl.write_text("user server\ntopic readwrite #\n\npattern write t/%u/#\npattern read s/%u/#\n")
    async with mosquitto(folder, port, f"acl_file {acl}"):
        yield


@dataclass
class Packet:
    kind: int
    flags: int
    body: bytes

    def __bytes__(self) -> bytes:
        return bytes([self.kind << 4 | self.flags]) + _length(len(self.body)) + self.body


def _length(number: int) -> bytes:
    said = bytearray()
    while True:
        number, octet = number >> 7, number & 0x7F
        said.append(octet | (0x80 if number else 0))
        if not number:
            return bytes(said)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = body[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            return value, at


def _text(body: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(body[at : at + 2], "big")
    return body[at + 2 : at + 2 + length], at + 2 + length


def _said(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    first = (await reader.readexactly(1))[0]
    number = shift = 0
    while True:
        octet = (await reader.readexactly(1))[0]
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            break
    return Packet(first >> 4, first & 0x0F, await reader.readexactly(number))


def username(connect: bytes) -> tuple[int, str]:
    """Version and user name of a CONNECT packet."""
    _, at = _text(connect, 0)
    level, flags = connect[at], connect[at + 1]
    at += 4
    if level == 5:
        length, at = _varint(connect, at)
        at += length
    _, at = _text(connect, at)
    if flags & 0x04:
        if level == 5:
            length, at = _varint(connect, at)
            at += length
        _, at = _text(connect, at)
        _, at = _text(connect, at)
    return level, _text(connect, at)[0].decode() if flags & 0x80 else ""


class Door:
    """Lets devices in whose token the server knows."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = 0
        self.is_open = True
        self.refuse_next = 0
        """so many messages are answered with QUOTA_EXCEEDED"""
        self.most_connections = 0
        self.versions: set[int] = set()
        self._numbers = itertools.count(1)
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        self.throw_out()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listening.wait_closed()

    def throw_out(self, token: str | None = None) -> None:
        """Cut the connections of a token, or all."""
        for name, writer in list(self._writers.items()):
            connection = self.server.connections.get(name)
            if token is None or (connection is not None and connection.token == token):
                writer.transport.abort()

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = str(next(self._numbers))
        self._writers[name] = writer
        try:
            await self._let_in(reader, writer, name)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.server.closed(name)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            del self._writers[name]

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        connect = await read_packet(reader)
        level, token = username(connect.body)
        self.versions.add(level)
        if not self.is_open:
            writer.write(b"\x20\x03\x00\x88\x00" if level == 5 else b"\x20\x02\x00\x03")
            await writer.drain()
            return
        if token not in self.server.tokens and not (token == "provision" and self.server.provisioning):
            writer.write(b"\x20\x03\x00\x87\x00" if level == 5 else b"\x20\x02\x00\x05")
            await writer.drain()
            return
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self.server.port)
        prefix = f"{token}/{name}/".encode()
        inner.write(bytes(connect))
        self.server.opened(Connection(token, name))
        self.most_connections = max(self.most_connections, len(self.server.connections))
        backwards = asyncio.create_task(self._outward(inner_reader, writer, b"s/" + prefix))
        try:
            while True:
                packet = await read_packet(reader)
                if packet.kind == PUBLISH and (answer := self._stopped(packet, token, level)) is not None:
                    if not answer:
                        return
                    writer.write(answer)
                    continue
                inner.write(bytes(_prefixed(packet, prefix, level)))
        finally:
            inner.close()
            with suppress(OSError):
                await inner.wait_closed()
            backwards.cancel()
            await asyncio.gather(backwards, return_exceptions=True)

    def _stopped(self, packet: Packet, token: str, level: int) -> bytes | None:
        """None for what may pass; else what it is answered: nothing means that the connection is closed."""
        topic, at = _text(packet.body, 0)
        qos = packet.flags >> 1 & 3
        number, at = (packet.body[at : at + 2], at + 2) if qos else (b"", at)
        if level == 5:
            length, at = _varint(packet.body, at)
            at += length
        refusal = self.server.admit(token, topic.decode(), packet.body[at:], qos, bool(packet.flags & 1))
        if not refusal and self.refuse_next:
            self.refuse_next -= 1
            refusal = "later"
        elif refusal and refusal != "later":
            self.server.violations.append(refusal)
        if not refusal:
            return None
        if refusal == "later" and level == 5 and qos:
            return bytes(Packet(PUBACK, 0, number + bytes([QUOTA_EXCEEDED, 0])))
        return b""

    async def _outward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prefix: bytes) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                packet = await read_packet(reader)
                if packet.kind == PUBLISH:
                    topic, at = _text(packet.body, 0)
                    packet.body = _said(topic.removeprefix(prefix)) + packet.body[at:]
                writer.write(bytes(packet))
        writer.close()


def _prefixed(packet: Packet, prefix: bytes, level: int) -> Packet:
    if packet.kind == PUBLISH:
        topic, at = _text(packet.body, 0)
        return Packet(packet.kind, packet.flags, _said(b"t/" + prefix + topic) + packet.body[at:])
    if packet.kind in (SUBSCRIBE, UNSUBSCRIBE):
        at = 2
        if level == 5:
            length, at = _varint(packet.body, at)
            at += length
        body = bytearray(packet.body[:at])
        while at < len(packet.body):
            topic, at = _text(packet.body, at)
            body += _said(b"s/" + prefix + topic)
            if packet.kind == SUBSCRIBE:
                body.append(packet.body[at])
                at += 1
        return Packet(packet.kind, packet.flags, bytes(body))
    return packet
