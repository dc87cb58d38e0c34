"""Logins and heartbeats of meters that dial in, from a description. Both roles.

A description lists the parts of a frame in the order of its octets:

```text
 bytes     these octets                       Length   one octet: how many octets the number has
 Field     octets of some form, named         Check    check octets over what stands before them
```

A field of a fixed size, or one whose size a Length tells, ends by itself. One that may have several sizes ends before the first
octet that is not of its form; until that has come, or nobody speaks any more (`silent`), it is not known to be whole.

A frame may be carried in the wrapper of IEC 62056-47: then the length in the wrapper and that of the frame are the same. That,
with the form of each octet, tells a login from the APDUs whose tag is its first octet (0C ReadResponse, 0F DataNotification,
CC glo-get-response, DD general-ciphering). Wrong check octets make no other frame of it: they are told, not refused.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, NeedData
from headend.protocols.hdlc.crc import fcs16
from headend.protocols.wrapper import HEADER_LENGTH, VERSION, wrap


class Kind(enum.Enum):
    """What a meter says with a frame."""

    LOGIN = "login"
    HEARTBEAT = "heartbeat"
    LAST_GASP = "last-gasp"
    """its supply is going away"""


class Policy(enum.Enum):
    """When a frame is acknowledged."""

    WHEN_RIGHT = "when-right"
    """its check octets are right, or it has none"""
    ALWAYS = "always"
    NEVER = "never"


class Form(enum.Enum):
    """The octets of a field, and how they are text."""

    DIGITS = "digits"
    """ASCII digits"""
    ALPHANUMERIC = "alphanumeric"
    """ASCII letters and digits"""
    TEXT = "text"
    """printable ASCII"""
    BCD = "bcd"
    """two digits an octet"""
    HEX = "hex"
    """any octets, shown in hexadecimal"""


_DIGITS: Final = frozenset(b"0123456789")
_ALPHANUMERIC: Final = _DIGITS | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ALLOWED: Final[Mapping[Form, frozenset[int]]] = {
    Form.DIGITS: _DIGITS,
    Form.ALPHANUMERIC: _ALPHANUMERIC,
    Form.TEXT: frozenset(range(0x20, 0x7F)),
    Form.BCD: frozenset(high << 4 | low for high in range(10) for low in range(10)),
    Form.HEX: frozenset(range(0x100)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Octets of a form: `least` to `most` of them. `pad` stands before shorter texts; `values` names the octets that are allowed.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameForm:
    """A frame that a meter sends, and what acknowledges it, if anything does."""

    kind: Kind
    layout: Layout
    acknowledgement: Layout | None = None
    given: Mapping[str, bytes] = field(default_factory=dict)
    """fields of the acknowledgement that are not those of the frame"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A login or heartbeat that came. `registration` is the id of its description."""

    registration: str
    kind: Kind
    number: str
    """of the meter, as text; empty where the frame has none"""
    blank: bool
    """the number is all zeros: nobody has set it"""
    check_ok: bool | None
    """None where nothing checks the frame"""
    octets: bytes
    answer: bytes
    """what acknowledges it, whatever the policy says; empty where nothing does"""
    acknowledgement: bytes
    """what is to be sent by the policy; empty for nothing"""
    protocol: str = ""
    """the driver that speaks with such a meter, where the description says it"""
    framing: str = ""
    device: str = ""
    """what sent it: meter, gateway …, where it says it"""
    option: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """what else it says"""

    @property
    def identity(self) -> str:
        """The number, unless nobody has set it."""
        return "" if self.blank else self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The frames of one family of meters or modules."""

    id: str
    name: str
    frames: tuple[FrameForm, ...]
    source: str = ""
    protocol: str = ""
    framing: str = ""
    policy: Policy = Policy.WHEN_RIGHT
    zero_is_blank: bool = True
    """a number of all zeros is nobody's"""
    period: int = 0
    """seconds between heartbeats, 0 where that is not known"""

    def match(self, data: bytes, at: int = 0, *, silent: bool = False) -> Registered | NeedData | None:
        """The frame that begins at an offset; NEED_DATA while it may be one, None when it is none.

        `silent`: nothing follows the octets for now.
        """
        undecided = False
        for form in self.frames:
            found = find(form.layout, data, at, silent=silent)
            if isinstance(found, Found):
                return self._registered(form, data, found)
            undecided |= found is NEED_DATA
        return NEED_DATA if undecided else None

    def encode(
        self, kind: Kind, values: Mapping[str, str | int | bytes], *, source: int = 1, destination: int = 1
    ) -> bytes:
        """The frame that a meter sends; raises LocalProtocolError for a kind that it has none of, or values that do not fit."""
        for form in self.frames:
            if form.kind is kind:
                octets = {name: to_octets(form.layout, name, value) for name, value in values.items()}
                return encode(form.layout, octets, source, destination)
        raise LocalProtocolError(f"{self.id} has no {kind.value}")

    def is_acknowledgement(self, sent: bytes, received: bytes) -> bool:
        """True when what a meter received acknowledges the frame that it has sent."""
        registered = self.match(sent, silent=True)
        return isinstance(registered, Registered) and bool(registered.answer) and received == registered.answer

    def _registered(self, form: FrameForm, data: bytes, found: Found) -> Registered:
        texts = {
            part.name: to_text(part, data[slice(*found.fields[part.name])])
            for part in form.layout.parts
            if isinstance(part, Field)
        }
        answer = _answer(form, data, found)
        wanted = self.policy is Policy.ALWAYS or (self.policy is Policy.WHEN_RIGHT and found.check_ok is not False)
        number = texts.pop("number", "")
        option = texts.pop("option", "")
        return Registered(
            registration=self.id,
            kind=form.kind,
            number=number,
            blank=not number or (self.zero_is_blank and not number.strip("0")),
            check_ok=found.check_ok,
            octets=data[found.start : found.end],
            answer=answer,
            acknowledgement=answer if wanted else b"",
            protocol=self.protocol,
            framing=self.framing,
            device=texts.pop("device", ""),
            option=int(option, 16) if option else None,
            fields=texts,
        )


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
            stop = _field_end(part, data, at, length if part.name == "number" else None, silent=silent)
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


def _field_end(part: Field, data: bytes, at: int, length: int | None, *, silent: bool) -> int | NeedData | None:
    """The offset behind a field whose size may be told."""
    if length is not None and not part.least <= length <= part.most:
        return None
    size = length if length is not None else part.most
    octets = data[at : at + size]
    if length is None and part.least != part.most:
        return _run_end(part, data, at, silent=silent)
    if not _fits(part, octets):
        return None
    return at + size if len(octets) == size else NEED_DATA


def _run_end(part: Field, data: bytes, at: int, *, silent: bool) -> int | NeedData | None:
    """The offset behind as many octets of the form as there are."""
    allowed = _ALLOWED[part.form]
    stop = at
    while stop < len(data) and data[stop] in allowed:
        stop += 1
        if stop - at > part.most:
            return None
    if stop == len(data) and not (silent and stop - at >= part.least):
        return NEED_DATA
    return stop if stop - at >= part.least else None


def _fits(part: Field, octets: bytes) -> bool:
    """True when octets may be a field, or its beginning."""
    if part.values:
        return all(octet in part.values for octet in octets)
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
    if part.form in {Form.BCD, Form.HEX}:
        return octets.hex().upper()
    allowed = _ALLOWED[part.form]
    return "".join(chr(octet) if octet in allowed else "0" for octet in octets)


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
        return value.to_bytes(part.most, "big")
    if isinstance(value, str):
        if part.values:
            return bytes(octet for octet, said in part.values.items() if said == value)
        try:
            value = bytes.fromhex(value) if part.form in {Form.BCD, Form.HEX} else value.encode("ascii")
        except ValueError:
            raise LocalProtocolError(f"{part.name}: expected {part.form.value}") from None
    if part.pad is not None:
        value = value.rjust(part.least, bytes((part.pad,)))
    return value[::-1] if part.reverse else value


def encode(layout: Layout, values: Mapping[str, bytes], source: int, destination: int) -> bytes:
    """The octets of a frame out of those of its fields."""
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


def _answer(form: FrameForm, data: bytes, found: Found) -> bytes:
    """What acknowledges a frame: its own fields in another layout."""
    layout = form.acknowledgement
    if layout is None:
        return b""
    values = {name: data[start:end] for name, (start, end) in found.fields.items()} | dict(form.given)
    source, destination = found.ports[::-1]
    if layout.wrapped is not None:
        source = next(iter(layout.wrapped.source), source)
        destination = next(iter(layout.wrapped.destination), destination)
    return encode(layout, values, source, destination)


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


def layouts(registrations: Sequence[Registration]) -> Iterator[Layout]:
    """Those of all frames that meters send."""
    for registration in registrations:
        for form in registration.frames:
            yield form.layout
