"""Captures: what goes over links, as pcapng files that every analyser reads (draft-ietf-opsawg-pcapng).

A link has no packets: each piece that is sent or received becomes a TCP segment between the ends of the link, with the
numbers that belong there, after a made-up opening of the connection. A serial port becomes one between two documentation
addresses (RFC 5737). Files rotate: the newest `files` of them are kept, each of at most `octets`.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import BinaryIO, Final

from headend.errors import StorageError

MOST_CARRIED: Final = 65_000
"""octets of one packet; more become several"""
PRODUCER: Final = "headend"

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_RAW_IP: Final = 101
_COMMENT, _APPLICATION, _FLAGS = 1, 4, 2
_RESOLUTION, _MILLISECONDS = 9, 3
_INBOUND, _OUTBOUND = 1, 2
_SYN, _ACK, _PUSH, _RESET = 0x02, 0x10, 0x08, 0x04
_HERE: Final = (IPv4Address("192.0.2.1"), 49152)
_THERE: Final = (IPv4Address("192.0.2.2"), 49153)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def file_header() -> bytes:
    """The section header, and the one interface: raw IP, times in milliseconds."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(_APPLICATION, PRODUCER.encode()) + bytes(4)
    interface = struct.pack("<HHI", _RAW_IP, 0, 0) + _option(_RESOLUTION, bytes((_MILLISECONDS,))) + bytes(4)
    return _block(_SECTION, section) + _block(_INTERFACE, interface)


def packet_block(packet: bytes, at: int, *, sent: bool, comment: str = "") -> bytes:
    """An enhanced packet block; `at` in milliseconds since 1970."""
    head = struct.pack("<IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(packet), len(packet))
    options = _option(_FLAGS, struct.pack("<I", _OUTBOUND if sent else _INBOUND))
    if comment:
        options = _option(_COMMENT, comment.encode()) + options
    return _block(_PACKET, head + packet + bytes(-len(packet) % 4) + options + bytes(4))


class Dialogue:
    """The two ends of one link, and how far each of them has come."""

    __slots__ = ("_ends", "_next")

    def __init__(self, local: str, peer: str) -> None:
        """The ends as links name them: `192.0.2.7:4059`, or a name that is no address, for which one is made up."""
        self._ends = _ends(local, peer)
        self._next = [0, 0]

    def opening(self, at: int, comment: str = "") -> bytes:
        """The blocks with which a connection begins."""
        first = packet_block(self._segment(0, b"", _SYN), at, sent=True, comment=comment)
        self._next[0] += 1
        second = packet_block(self._segment(1, b"", _SYN | _ACK), at, sent=False)
        self._next[1] += 1
        return first + second + packet_block(self._segment(0, b"", _ACK), at, sent=True)

    def carried(self, data: bytes, at: int, *, sent: bool, comment: str = "") -> bytes:
        """The blocks of octets that were sent, or received."""
        side = 0 if sent else 1
        blocks = []
        for start in range(0, len(data), MOST_CARRIED):
            piece = data[start : start + MOST_CARRIED]
            blocks.append(packet_block(self._segment(side, piece, _ACK | _PUSH), at, sent=sent, comment=comment))
            self._next[side] = self._next[side] + len(piece) & 0xFFFFFFFF
        return b"".join(blocks)

    def closing(self, at: int) -> bytes:
        """The block with which a connection ends."""
        return packet_block(self._segment(0, b"", _RESET | _ACK), at, sent=True)

    def _segment(self, side: int, payload: bytes, flags: int) -> bytes:
        (source, source_port), (destination, destination_port) = self._ends[side], self._ends[1 - side]
        mine, theirs = self._next[side], self._next[1 - side] if flags & _ACK else 0
        head = struct.pack(">HHIIBBH", source_port, destination_port, mine, theirs, 5 << 4, flags, 0xFFFF)
        length = 20 + len(payload)
        check = _sum16(source.packed + destination.packed + struct.pack(">HH", 6, length) + head + bytes(4) + payload)
        segment = head + struct.pack(">HH", check, 0) + payload
        if source.version == 6:
            return struct.pack(">IHBB", 6 << 28, length, 6, 64) + source.packed + destination.packed + segment
        start = struct.pack(">BBHHHBB", 0x45, 0, 20 + length, 0, 0x4000, 64, 6)
        addresses = source.packed + destination.packed
        return start + struct.pack(">H", _sum16(start + addresses)) + addresses + segment


def _sum16(data: bytes) -> int:
    """The check of IP and TCP headers (RFC 1071)."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ends(local: str, peer: str) -> tuple[tuple[IPv4Address | IPv6Address, int], ...]:
    here, there = _end(local), _end(peer)
    if here is None or there is None or here[0].version != there[0].version:
        return _HERE, _THERE
    return here, there


def _end(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    host, _, port = text.rpartition(":")
    try:
        return ip_address(host.strip("[]")), int(port)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How much a capture keeps: octets of one file, and how many files, of which the oldest makes room."""

    octets: int = 16 << 20
    files: int = 4


class CaptureFile:
    """A capture being written: `FOLDER/NAME-0001.pcapng` and so on. The folder is made when it is not there."""

    __slots__ = ("_buffer", "_file", "_folder", "_limits", "_number", "name", "octets", "paths")

    def __init__(self, folder: Path, name: str, limits: FileLimits) -> None:
        """Raises StorageError where the first file cannot be made."""
        self._folder = folder
        self.name = name
        self._limits = limits
        self._number = 0
        self._file: BinaryIO | None = None
        self._buffer = bytearray()
        self.octets = 0
        """written so far to all files, those that made room included"""
        self.paths: deque[Path] = deque()
        self._rotate()

    def write(self, blocks: bytes) -> None:
        """Add blocks; they reach the disk with `flush`. Nothing is written after `close`."""
        if self._file is None:
            return
        if self._file.tell() + len(self._buffer) + len(blocks) > self._limits.octets:
            self.flush()
            self._rotate()
        self._buffer += blocks
        self.octets += len(blocks)
        if len(self._buffer) > 1 << 16:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the operating system; raises StorageError, for example when the disk is full."""
        if self._file is not None and self._buffer:
            pending, self._buffer = self._buffer, bytearray()
            try:
                self._file.write(pending)
                self._file.flush()
            except OSError as error:
                self._file.close()
                self._file = None
                raise StorageError(f"the capture {self.paths[-1].name} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write what is left; raises StorageError as `flush` does."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close, and delete all files."""
        self._buffer.clear()
        self.close()
        while self.paths:
            self.paths.popleft().unlink(missing_ok=True)

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
        self._number += 1
        path = self._folder / f"{self.name}-{self._number:04}.pcapng"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        except OSError as error:
            self._file = None
            raise StorageError(f"the capture {path.name} cannot be made: {error.strerror}") from error
        self.paths.append(path)
        self._buffer += file_header()
        while len(self.paths) > self._limits.files:
            self.paths.popleft().unlink(missing_ok=True)
