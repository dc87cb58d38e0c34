"""The payload of Sparkplug B: a Protocol Buffers message, written and read here. Pure.

A library would bring generated code and a dependency for one sink; what is needed of the encoding is this page: variable-length
integers, eight octets, four octets, and octets with a length (protobuf.dev, "Encoding"). Field numbers are those of the Sparkplug
specification 3.0, chapter 6.

```text
Payload       1 timestamp   2 metrics…   3 seq
Metric        1 name   2 alias   3 timestamp   4 datatype   5 is_historical   7 is_null   9 properties
              10 int   11 long   12 float   13 double   14 boolean   15 string
PropertySet   1 keys…   2 values…          PropertyValue   1 type   3 int   8 string
```
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from headend.errors import DecodeError
from headend.model.reading import Value

VARINT: Final = 0
EIGHT: Final = 1
OCTETS: Final = 2
FOUR: Final = 5
_MASK32: Final = (1 << 32) - 1
_MASK64: Final = (1 << 64) - 1


class Datatype(enum.IntEnum):
    """The type of a metric, as far as it is used here."""

    INT32 = 3
    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Quality(enum.IntEnum):
    """The value of the property `Quality`."""

    BAD = 0
    GOOD = 192
    STALE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; `value` None is null. Births name it, and give `alias` and `unit`; data only has the alias."""

    name: str = ""
    alias: int | None = None
    timestamp: int | None = None
    datatype: Datatype | None = None
    value: Value | None = None
    is_historical: bool = False
    quality: Quality = Quality.GOOD
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload; times in milliseconds since the epoch (UTC)."""

    timestamp: int | None
    metrics: Sequence[Metric]
    seq: int | None = None


# --- writing ---


def encode_payload(payload: Payload, *, with_datatypes: bool = True) -> bytes:
    """The octets of a payload; data has no datatypes: they were said at birth."""
    said = b"" if payload.timestamp is None else _integer(1, payload.timestamp)
    said += b"".join(_octets(2, _metric(each, with_datatypes=with_datatypes)) for each in payload.metrics)
    return said if payload.seq is None else said + _integer(3, payload.seq)


def _metric(metric: Metric, *, with_datatypes: bool) -> bytes:
    said = [_octets(1, metric.name.encode(errors="replace"))] if metric.name else []
    said += [_integer(field, at) for field, at in ((2, metric.alias), (3, metric.timestamp)) if at is not None]
    if with_datatypes and metric.datatype is not None:
        said.append(_integer(4, metric.datatype))
    if metric.is_historical:
        said.append(_integer(5, 1))
    if metric.value is None:
        said.append(_integer(7, 1))
    if metric.unit or metric.quality is not Quality.GOOD:
        said.append(_octets(9, _properties(metric)))
    if metric.value is not None:
        said.append(_value(metric.datatype, metric.value))
    return b"".join(said)


def _value(datatype: Datatype | None, value: Value) -> bytes:
    if isinstance(value, str):
        return _octets(15, value.encode(errors="replace"))
    match datatype:
        case Datatype.BOOLEAN:
            return _integer(14, int(bool(value)))
        case Datatype.INT32:
            return _integer(10, int(value) & _MASK32)
        case Datatype.INT64:
            return _integer(11, int(value) & _MASK64)
        case _:
            return _varint(13 << 3 | EIGHT) + struct.pack("<d", value)


def _properties(metric: Metric) -> bytes:
    """A property set: all keys, then all values in their order."""
    rows = []
    if metric.quality is not Quality.GOOD:
        rows.append(("Quality", _integer(1, Datatype.INT32) + _integer(3, metric.quality)))
    if metric.unit:
        rows.append(("engUnit", _integer(1, Datatype.STRING) + _octets(8, metric.unit.encode())))
    return b"".join([_octets(1, key.encode()) for key, _ in rows] + [_octets(2, value) for _, value in rows])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _octets(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | OCTETS) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    said = bytearray()
    while value > 0x7F:
        said.append(value & 0x7F | 0x80)
        value >>= 7
    said.append(value)
    return bytes(said)


# --- reading ---


def decode_payload(octets: bytes) -> Payload:
    """What a host sends; fields that are not needed are passed over. Raises DecodeError."""
    timestamp = seq = None
    metrics: list[Metric] = []
    for number, value in _fields(octets):
        match number, value:
            case 1, int():
                timestamp = value
            case 2, bytes():
                metrics.append(_read_metric(value))
            case 3, int():
                seq = value
    return Payload(timestamp=timestamp, metrics=metrics, seq=seq)


def _read_metric(octets: bytes) -> Metric:
    """A metric of a command: what it is, and the value, by the field that holds it."""
    name, alias, timestamp, is_null = "", None, None, False
    found: Value | None = None
    for number, value in _fields(octets):
        match number, value:
            case 1, bytes():
                name = _text(value)
            case 2, int():
                alias = value
            case 3, int():
                timestamp = value
            case 7, int():
                is_null = bool(value)
            case ((10 | 11), int()):
                found = value
            case 13, bytes() if len(value) == 8:
                found = struct.unpack("<d", value)[0]
            case 12, bytes() if len(value) == 4:
                found = struct.unpack("<f", value)[0]
            case 14, int():
                found = bool(value)
            case 15, bytes():
                found = _text(value)
    return Metric(name=name, alias=alias, timestamp=timestamp, value=None if is_null else found)


def _fields(octets: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a message."""
    at = 0
    while at < len(octets):
        start = at
        key, at = _read_varint(octets, at)
        match key & 7:
            case 0:
                value, at = _read_varint(octets, at)
                yield key >> 3, value
                continue
            case 1:
                length = 8
            case 2:
                length, at = _read_varint(octets, at)
            case 5:
                length = 4
            case kind:
                raise DecodeError("field of a payload", offset=start, expected="wire type 0, 1, 2 or 5", got=str(kind))
        if length > len(octets) - at:
            raise DecodeError(
                "field of a payload", offset=at, expected=f"{length} octets", got=f"{len(octets) - at} octets"
            )
        yield key >> 3, octets[at : at + length]
        at += length


def _read_varint(octets: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(octets):
            break
        octet = octets[at + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return value & _MASK64, at + index + 1
    raise DecodeError("integer of a payload", offset=at, expected="at most ten octets, the last one below 0x80")


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise DecodeError("text of a payload", expected="UTF-8") from None
