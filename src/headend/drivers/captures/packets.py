"""Packets of a capture file: pcap in its four forms, and pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). Pure.

```text
pcap     magic, version, …, link type │ seconds, fraction, captured, original, octets │ …
pcapng   section header │ interface: link type, resolution │ enhanced packet: interface, time, captured, original, octets │ …
```
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from headend.errors import DecodeError

_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Byte order and nanoseconds of a fraction, by magic number."""
_PCAP_HEADER: Final = 24
_RECORD: Final = 16

_SECTION: Final = b"\x0a\x0d\x0d\x0a"
_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_RESOLUTION: Final = 9
_MICROSECONDS: Final = 6
_SHORTEST_BLOCK: Final = 12


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that lies from `start` up to `end` in the file; `at` in nanoseconds since 1970, 0 when it is not told."""

    link_type: int
    at: int
    start: int
    end: int


def is_capture(data: bytes) -> bool:
    """True for the beginning of a capture file."""
    return data[:4] in _PCAP or (data[:4] == _SECTION and data[8:12] in _ORDERS)


def read_packets(data: bytes) -> Iterator[Packet]:
    """All packets in their order; raises DecodeError where the file is cut short or makes no sense."""
    return _read_pcap(data) if data[:4] in _PCAP else _read_pcapng(data)


def _need(data: bytes, at: int, count: int, what: str) -> None:
    if at + count > len(data):
        raise DecodeError(what, offset=at, expected=f"{count} octets", got=str(max(0, len(data) - at)))


def _read_pcap(data: bytes) -> Iterator[Packet]:
    order, fraction = _PCAP[data[:4]]
    _need(data, 0, _PCAP_HEADER, "header of the capture")
    link_type = struct.unpack_from(f"{order}I", data, 20)[0] & 0x0FFFFFFF
    at = _PCAP_HEADER
    while at < len(data):
        _need(data, at, _RECORD, "header of a packet")
        seconds, part, captured, _ = struct.unpack_from(f"{order}IIII", data, at)
        _need(data, at + _RECORD, captured, "packet")
        start, at = at + _RECORD, at + _RECORD + captured
        yield Packet(link_type, seconds * 1_000_000_000 + part * fraction, start, at)


@dataclass(slots=True)
class _Section:
    """What a section of a pcapng file has told until now."""

    order: str
    links: list[tuple[int, int, int]] = field(default_factory=list)
    """link type, longest packet (0: no limit), and units of time in a second, of each interface"""


def _read_pcapng(data: bytes) -> Iterator[Packet]:
    section = _Section("<")
    at = 0
    while at < len(data):
        _need(data, at, _SHORTEST_BLOCK, "block of the capture")
        if data[at : at + 4] == _SECTION:
            order = _ORDERS.get(data[at + 8 : at + 12])
            if order is None:
                raise DecodeError(
                    "section header", offset=at + 8, expected="1A2B3C4D", got=data[at + 8 : at + 12].hex()
                )
            section = _Section(order)
        kind, length = struct.unpack_from(f"{section.order}II", data, at)
        if length < _SHORTEST_BLOCK or length % 4:
            raise DecodeError("length of a block", offset=at + 4, expected="12, 16, 20 …", got=str(length))
        _need(data, at, length, "block of the capture")
        packet = _read_block(data, at + 8, at + length - 4, kind, section)
        if packet is not None:
            yield packet
        at += length


def _read_block(data: bytes, at: int, end: int, kind: int, section: _Section) -> Packet | None:
    """The packet in a block from `at` up to `end`; None for a block without."""
    order = section.order
    if kind == _INTERFACE:
        _need(data[:end], at, 8, "interface")
        link_type, _, longest = struct.unpack_from(f"{order}HHI", data, at)
        section.links.append((link_type, longest, _units(data[at + 8 : end], order)))
        return None
    if kind in {_PACKET, _OLD_PACKET}:
        _need(data[:end], at, 20, "packet")
        form = "IIIII" if kind == _PACKET else "HxxIIII"
        number, high, low, captured, _ = struct.unpack_from(order + form, data, at)
        link_type, _, units = _link(section, number, at)
        _need(data[:end], at + 20, captured, "packet")
        moment = (high << 32 | low) * 1_000_000_000 // units
        return Packet(link_type, moment, at + 20, at + 20 + captured)
    if kind == _SIMPLE_PACKET:
        _need(data[:end], at, 4, "packet")
        link_type, longest, _ = _link(section, 0, at)
        original = struct.unpack_from(f"{order}I", data, at)[0]
        captured = min(original, longest or original, end - at - 4)
        return Packet(link_type, 0, at + 4, at + 4 + captured)
    return None


def _link(section: _Section, number: int, at: int) -> tuple[int, int, int]:
    if number >= len(section.links):
        raise DecodeError("interface of a packet", offset=at, expected=f"below {len(section.links)}", got=str(number))
    return section.links[number]


def _units(options: bytes, order: str) -> int:
    """Units of time in a second, by the option if_tsresol."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == _RESOLUTION and length == 1 and at + 4 < len(options):
            value = options[at + 4]
            return 1 << (value & 0x7F) if value & 0x80 else 10 ** min(value, 30)
        if code == 0:
            break
        at += 4 + (length + 3 & ~3)
    return 10**_MICROSECONDS
