"""The parts of a frame, described: finding them in octets, and making octets of them. Both roles.

```text
 bytes     these octets                       Length   one octet: how many octets the number has
 Field     octets of some form, named         Check    check octets over what stands before them
```

A field of a fixed size, or one whose size a Length tells, ends by itself. One that may have several sizes ends before the first
octet that is not of its form; until that has come, or nobody speaks any more (`silent`), it is not known to be whole. As the
last part of a frame it ends before an octet that is no text, or begins another frame.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, NeedData
from headend.protocols.hdlc.crc import fcs16
from headend.protocols.wrapper import HEADER_LENGTH, VERSION, wrap


class Form(enum.Enum):
    """The octets of a field, and how they are text."""

    DIGITS = "digits"
    """ASCII digits"""
    ALPHANUMERIC = "alphanumeric"
    """ASCII letters and digits"""
    TEXT = "text"
    """printable ASCII"""
    NAME = "name"
    """ASCII letters, digits and -_. as names are made of"""
    HEX_DIGITS = "hex-digits"
    """ASCII digits and letters A to F"""
    BCD = "bcd"
    """two digits an octet"""
    HEX = "hex"
    """any octets, shown in hexadecimal"""
    MAC = "mac"
    """the same for the address of one network card, given out by a manufacturer"""


_TEXT: Final = frozenset(range(0x20, 0x7F))
_BEGINS: Final = frozenset((0x68, 0x7E))
"""First octets of frames that are text, too: of DL/T 645, and of HDLC."""
_DIGITS: Final = frozenset(b"0123456789")
_ALPHANUMERIC: Final = _DIGITS | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ALLOWED: Final[Mapping[Form, frozenset[int]]] = {
    Form.DIGITS: _DIGITS,
    Form.ALPHANUMERIC: _ALPHANUMERIC,
    Form.TEXT: _TEXT,
    Form.NAME: _ALPHANUMERIC | frozenset(b"-_."),
    Form.HEX_DIGITS: _DIGITS | frozenset(b"ABCDEFabcdef"),
    Form.BCD: frozenset(high << 4 | low for high in range(10) for low in range(10)),
    Form.HEX: frozenset(range(0x100)),
    Form.MAC: frozenset(range(0x100)),
}
_SHOWN_IN_HEX: Final = frozenset({Form.BCD, Form.HEX, Form.MAC})
_NO_CARD: Final = 0x03
"""Bits of the first octet of a MAC address: for several cards, or given out by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Octets of a form: `least` to `most` of them. `pad` stands before shorter texts; `values` names the octets allowed.

    So many octets as `strays` may be no digits: they are read as 0.
    """

    name: str
    form: Form
    least: int
    most: int
    pad: int | None = None
    strays: int = 0
    reverse: bool = False
    """least significant octet first"""
    ranges: bool = False
    """it ends where its form does"""
    values: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Length:
    """One octet: how many octets `number` has."""


class Algorithm(enum.Enum):
    """Of check octets."""

    X25 = "x25"
    """FCS-16 of ISO/IEC 13239"""
    SUM = "sum"
    """of the octets, modulo 256"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Check octets over the parts from number `first` to the one before them."""

    algorithm: Algorithm
    first: int
    order: str = "little"
    """of its octets: little or big"""

    @property
    def size(self) -> int:
        """Octets."""
        return 2 if self.algorithm is Algorithm.X25 else 1

    def compute(self, octets: bytes) -> bytes:
        """The check octets of these."""
        value = fcs16(octets, 0) if self.algorithm is Algorithm.X25 else sum(octets) & 0xFF
        return value.to_bytes(self.size, "little" if self.order == "little" else "big")


Part: TypeAlias = bytes | Field | Length | Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """The ports in the wrapper around a frame; empty for any. In an answer empty is the other one of the frame answered."""

    source: frozenset[int] = frozenset()
    destination: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of a frame, and the wrapper around it, if any."""

    parts: tuple[Part, ...]
    wrapped: Wrapped | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Where the fields of a frame lie. `check_ok` is None where nothing checks it."""

    fields: Mapping[str, tuple[int, int]]
    start: int
    end: int
    ports: tuple[int, int]
    check_ok: bool | None


def find(layout: Layout, data: bytes, at: int = 0, *, silent: bool = False) -> Found | NeedData | None:
    """Where the parts of the frame lie that begins at an offset."""
    if layout.wrapped is None:
        return _find_parts(layout, data, at, at, None, (0, 0), silent=silent)
    header = data[at : at + HEADER_LENGTH]
    if header[:2] != VERSION[: len(header)]:
        return None
    if len(header) < HEADER_LENGTH:
        return NEED_DATA
    source, destination, length = (int.from_bytes(header[i : i + 2], "big") for i in (2, 4, 6))
    wrapped = layout.wrapped
    if (wrapped.source and source not in wrapped.source) or (
        wrapped.destination and destination not in wrapped.destination
    ):
        return None
    start = at + HEADER_LENGTH
    return _find_parts(layout, data, at, start, start + length, (source, destination), silent=silent)


def _find_parts(
    layout: Layout, data: bytes, start: int, at: int, end: int | None, ports: tuple[int, int], *, silent: bool
) -> Found | NeedData | None:
    fields: dict[str, tuple[int, int]] = {}
    starts: list[int] = []
    length: int | None = None
    check_ok: bool | None = None
    for part in layout.parts:
        starts.append(at)
        if end is not None and at >= end:
            return None
        if isinstance(part, Field):
            size = length if part.name == "number" else None
            stop = _field_end(part, data, at, size, silent=silent, last=part is layout.parts[-1])
            if not isinstance(stop, int):
                return stop
            fields[part.name] = at, stop
        elif isinstance(part, bytes):
            stop = at + len(part)
            there = data[at:stop]
            if there != part[: len(there)]:
                return None
            if len(there) < len(part):
                return NEED_DATA
        elif at >= len(data):
            return NEED_DATA
        elif isinstance(part, Length):
            length, stop = data[at], at + 1
        else:
            stop = at + part.size
            if stop > len(data):
                return None if end is not None and stop != end else NEED_DATA
            check_ok = data[at:stop] == part.compute(data[starts[part.first] : at])
        at = stop
    return Found(fields, start, at, ports, check_ok) if end is None or at == end else None


def _field_end(
    part: Field, data: bytes, at: int, length: int | None, *, silent: bool, last: bool
) -> int | NeedData | None:
    """The offset behind a field whose size may be told."""
    if length is None and part.ranges:
        return _run_end(part, data, at, silent=silent, last=last)
    if length is not None and not part.least <= length <= part.most:
        return None
    size = length if length is not None else part.most
    octets = data[at : at + size]
    if not _fits(part, octets):
        return None
    return at + size if len(octets) == size else NEED_DATA


def _run_end(part: Field, data: bytes, at: int, *, silent: bool, last: bool) -> int | NeedData | None:
    """The offset behind as many octets of the form as there are."""
    allowed = _ALLOWED[part.form]
    stop = at
    while stop < len(data) and data[stop] in allowed:
        stop += 1
        if stop - at > part.most:
            return None
    enough = stop - at >= part.least
    if stop == len(data):
        return stop if silent and enough else NEED_DATA
    follows = not last or data[stop] not in _TEXT or data[stop] in _BEGINS
    return stop if enough and follows else None


def _fits(part: Field, octets: bytes) -> bool:
    """True when octets may be a field, or its beginning."""
    if part.values:
        return all(octet in part.values for octet in octets)
    if part.form is Form.MAC and octets:
        return not octets[0] & _NO_CARD and (len(octets) < part.least or any(octets[:3]))
    text = octets.lstrip(bytes((part.pad,))) if part.pad is not None else octets
    allowed = _ALLOWED[part.form]
    return sum(octet not in allowed for octet in text) <= part.strays


def to_text(part: Field, octets: bytes) -> str:
    """What the octets of a field say."""
    if part.reverse:
        octets = octets[::-1]
    if part.values:
        return part.values[octets[0]]
    if part.pad is not None:
        octets = octets.lstrip(bytes((part.pad,)))
    if part.form in _SHOWN_IN_HEX:
        return octets.hex().upper()
    allowed = _ALLOWED[part.form]
    return "".join(chr(octet) if octet in allowed else "0" for octet in octets)


def nothing(part: Field) -> bytes:
    """Octets of a field that say nothing: zeros."""
    text = part.form not in _SHOWN_IN_HEX and part.pad is None
    return (b"0" if text else b"\x00") * part.least


def to_octets(layout: Layout, name: str, value: str | int | bytes) -> bytes:
    """The octets of a field; raises LocalProtocolError when the value does not fit it."""
    for part in layout.parts:
        if isinstance(part, Field) and part.name == name:
            octets = _octets(part, value)
            if part.least <= len(octets) <= part.most and _fits(part, octets):
                return octets
            raise LocalProtocolError(f"{name}: expected {part.least} to {part.most} octets of {part.form.value}")
    return b""


def _octets(part: Field, value: str | int | bytes) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(part.most, "big") if 0 <= value < 1 << 8 * part.most else b""
    if isinstance(value, str):
        if part.values:
            return bytes(octet for octet, said in part.values.items() if said == value)
        try:
            value = bytes.fromhex(value) if part.form in _SHOWN_IN_HEX else value.encode("ascii")
        except ValueError:
            raise LocalProtocolError(f"{part.name}: expected {part.form.value}") from None
    if part.pad is not None:
        value = value.rjust(part.least, bytes((part.pad,)))
    return value[::-1] if part.reverse else value


def encode(layout: Layout, values: Mapping[str, bytes], source: int, destination: int) -> bytes:
    """The octets of a frame out of those of its fields; raises LocalProtocolError when one is missing."""
    payload = b""
    starts: list[int] = []
    for part in layout.parts:
        starts.append(len(payload))
        if isinstance(part, bytes):
            payload += part
        elif isinstance(part, Field):
            if part.name not in values:
                raise LocalProtocolError(f"{part.name}: it is missing")
            payload += values[part.name]
        elif isinstance(part, Length):
            payload += bytes((len(values.get("number", b"")),))
        else:
            payload += part.compute(payload[starts[part.first] :])
    return payload if layout.wrapped is None else wrap(payload, source, destination)


def first_octets(layout: Layout) -> frozenset[int]:
    """What a frame may begin with."""
    if layout.wrapped is not None:
        return frozenset(VERSION[:1])
    part = layout.parts[0]
    if isinstance(part, bytes):
        return frozenset(part[:1])
    if not isinstance(part, Field):
        return frozenset(range(0x100))
    pad = frozenset(() if part.pad is None else (part.pad,))
    return (frozenset(part.values) or _ALLOWED[part.form]) | pad
