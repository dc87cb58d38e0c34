"""A wire that can be spoilt: a proxy between a head-end and a virtual meter, and peers that are no meters at all."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Callable
from contextlib import suppress

NOISE_OCTETS = 10_000_000
# AARE of IEC 62056-5-3: result rejected-permanent (1), diagnostic application-context-name-not-supported (2)
REFUSAL = bytes.fromhex("61 17 a1 09 06 07 60 85 74 05 08 01 01 a2 03 02 01 01 a3 05 a1 03 02 01 02")


class Fault(enum.Enum):
    NONE = "none"
    ABSENT = "absent"
    SILENT = "silent"
    CLOSES = "closes"
    GARBAGE = "garbage"
    HALF = "half"
    CHECKSUM = "checksum"
    OTHER = "other"
    NOISE = "noise"
    REFUSES = "refuses"


class Wire:
    """Listens on a port of its own and passes everything on to the meter at `port`; what comes back may be spoilt."""

    def __init__(self, framing: str, host: str, port: int, fault: Fault = Fault.NONE) -> None:
        self.framing = framing
        self.port = 0
        self.fault = fault
        self._meter = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(4)

    async def start(self) -> None:
        if self.fault is Fault.ABSENT:
            if not self.port:
                placeholder = await asyncio.start_server(self._serve, "127.0.0.1", 0)
                self.port = placeholder.sockets[0].getsockname()[1]
                placeholder.close()
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def turn(self, fault: Fault) -> None:
        """From now on this is wrong; who is connected is cut off where that belongs to it."""
        self.fault = fault
        if fault in (Fault.ABSENT, Fault.CLOSES, Fault.NONE, Fault.REFUSES):
            await self._cut()
            await self.start()

    async def aclose(self) -> None:
        await self._cut()

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # who was accepted just before the end
            writer.transport.abort()
            return
        task = asyncio.create_task(self._pass(reader, writer), name="wire")
        self._tasks.add(task)
        task.add_done_callback(lambda _task: writer.transport.abort())
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is Fault.CLOSES:
            return
        meter_reader, meter_writer = await asyncio.open_connection(*self._meter)
        answers = asyncio.create_task(self._answers(meter_reader, writer), name="wire back")
        try:
            while request := await reader.read(65536):
                if self.fault is Fault.REFUSES and self.framing == "wrapper":
                    writer.write(bytes.fromhex("0001 0001 0010") + len(REFUSAL).to_bytes(2, "big") + REFUSAL)
                else:
                    meter_writer.write(request)
        finally:
            answers.cancel()
            meter_writer.transport.abort()  # before anything is awaited: somebody may cancel this once more
            await asyncio.gather(answers, return_exceptions=True)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(65536):
            for piece in self._spoil(answer):
                writer.write(piece)
                await writer.drain()

    def _spoil(self, answer: bytes) -> list[bytes]:
        match self.fault:
            case Fault.SILENT:
                return []
            case Fault.GARBAGE:
                return [self._random.randbytes(len(answer))]
            case Fault.HALF:
                return [answer[: len(answer) // 2]]
            case Fault.CHECKSUM:
                # The last octet before an HDLC flag, or the last of all.
                place = -2 if self.framing == "hdlc" else -1
                spoilt = bytearray(answer)
                spoilt[place] ^= 0x10
                return [bytes(spoilt)]
            case Fault.OTHER:
                return [_OTHER[self.framing](answer)]
            case Fault.NOISE:
                return [self._random.randbytes(65536) for _ in range(NOISE_OCTETS // 65536 + 1)]
        return [answer]


def _another_transaction(answer: bytes) -> bytes:
    return (int.from_bytes(answer[:2], "big") ^ 0x0100).to_bytes(2, "big") + answer[2:]


def crc16_modbus(data: bytes) -> int:
    """As the serial-line guide of the Modbus organisation writes it, bit by bit."""
    crc = 0xFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def _another_unit(answer: bytes) -> bytes:
    body = bytes([answer[0] ^ 0x40]) + answer[1:-2]
    return body + crc16_modbus(body).to_bytes(2, "little")


def _another_invoke(_answer: bytes) -> bytes:
    return bytes.fromhex("0001 0001 0010 0006 c401 8e 00 1105")


def crc16_x25(data: bytes) -> int:
    """As ISO 13239 has it, bit by bit."""
    crc = 0xFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


def _another_client(_answer: bytes) -> bytes:
    """An unnumbered acknowledgement from server 1 to client 0x7F, correct in itself."""
    body = bytes.fromhex("a0 07 ff 03 73")
    return b"\x7e" + body + crc16_x25(body).to_bytes(2, "little") + b"\x7e"


_OTHER: dict[str, Callable[[bytes], bytes]] = {
    "wrapper": _another_invoke,
    "hdlc": _another_client,
    "tcp": _another_transaction,
    "rtu": _another_unit,
}
