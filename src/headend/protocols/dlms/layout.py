"""Row layouts of profile buffers: many rows that look alike, unpacked in one call.

Rows of a load profile mostly look alike, octet for octet but for the values. A layout is learned from one row: where
tags and lengths stand, and a `struct` format for what lies between. Tags and lengths are then compared over all
following rows at once, one column of octets after the other, and as many rows as keep to the layout are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from headend.protocols.dlms.axdr_plain import (
    DELTA_FORMATS,
    FIXED_FORMATS,
    Delta,
    Plain,
    Tag,
    TypeDescription,
    decode_length,
    format_bits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Row: TypeAlias = "tuple[Plain, ...]"

_CODES: Final[dict[int, str]] = {int(tag): code for tag, code in (FIXED_FORMATS | DELTA_FORMATS).items()}
_SIZES: Final = {tag: Struct(">" + code).size for tag, code in _CODES.items()}
_STRINGS: Final = (Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING, Tag.BIT_STRING)


class _Field(NamedTuple):
    """One column: the octets that stand before every value (tag, length), its type, and the length of a string.

    A tuple, because it is hashed whenever a layout is looked up.
    """

    prefix: bytes
    tag: int
    length: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in a row: `checks` are (offset, octet) that all rows share."""

    row: Struct
    checks: tuple[tuple[int, bytes], ...]
    nulls: tuple[int, ...]
    converters: tuple[tuple[int, Callable[[Any], Plain]], ...]

    def count(self, buf: bytes, at: int, limit: int) -> int:
        """How many of the next `limit` rows keep to the layout."""
        size = self.row.size
        end = at + limit * size
        for offset, octet in self.checks:
            octets = buf[at + offset : end : size]
            if octets.count(octet) != len(octets):
                limit = len(octets) - len(octets.lstrip(octet))
                end = at + limit * size
        return limit

    def rows(self, buf: bytes, at: int, count: int) -> Iterable[Row]:
        """Unpack rows that keep to the layout."""
        unpacked = self.row.iter_unpack(memoryview(buf)[at : at + count * self.row.size])
        if not self.nulls and not self.converters:
            return unpacked
        columns: list[Iterable[Plain]] = list(zip(*unpacked, strict=True))
        for index, convert in self.converters:
            columns[index] = map(convert, columns[index])
        for index in self.nulls:
            columns.insert(index, repeat(None, count))
        return zip(*columns, strict=True)


@lru_cache(maxsize=512)
def _layout(head: bytes, fields: tuple[_Field, ...]) -> Layout:
    """The layout of rows that begin with `head`; made once for all meters that send such rows."""
    codes = [">", f"{len(head)}x"]
    checks = [(offset, bytes((octet,))) for offset, octet in enumerate(head)]
    nulls, converters = [], []
    at, unpacked = len(head), 0
    for column, field in enumerate(fields):
        checks += [(at + offset, bytes((octet,))) for offset, octet in enumerate(field.prefix)]
        code = f"{_octets_of(field)}s" if field.tag in _STRINGS else _CODES.get(field.tag, "")
        codes += [f"{len(field.prefix)}x", code]
        at += len(field.prefix) + Struct(">" + code).size
        if not code:
            nulls.append(column)
            continue
        convert = _converter(field)
        if convert is not None:
            converters.append((unpacked, convert))
        unpacked += 1
    return Layout(Struct("".join(codes)), tuple(checks), tuple(nulls), tuple(converters))


def _octets_of(field: _Field) -> int:
    return (field.length + 7) // 8 if field.tag == Tag.BIT_STRING else field.length


def _converter(field: _Field) -> Callable[[Any], Plain] | None:
    """What `struct` does not do for the values of a type."""
    if field.tag in DELTA_FORMATS:
        return Delta
    if field.tag == Tag.VISIBLE_STRING:
        return partial(str, encoding="latin-1")
    if field.tag == Tag.UTF8_STRING:
        return _text
    if field.tag == Tag.BIT_STRING:
        return partial(format_bits, length=field.length)
    return None


def _text(octets: bytes) -> Plain:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def learn(buf: bytes, at: int) -> Layout | None:
    """The layout of the row with tags that begins at `at`, None when it has none; IndexError when it is cut short."""
    start = at
    if buf[at] not in (Tag.STRUCTURE, Tag.ARRAY):
        return None
    count, at = decode_length(buf, at + 1)
    head = buf[start:at]
    fields = []
    for _ in range(count):
        tag = buf[at]
        if tag in _STRINGS:
            length, after = decode_length(buf, at + 1)
            field = _Field(buf[at:after], tag, length)
            at = after + _octets_of(field)
        elif tag in _CODES:
            field = _Field(buf[at : at + 1], tag)
            at += 1 + _SIZES[tag]
        elif tag == Tag.NULL:
            field = _Field(b"\x00", tag)
            at += 1
        else:
            return None
        fields.append(field)
    return _layout(head, tuple(fields))


def learn_compact(description: TypeDescription, buf: bytes, at: int) -> Layout | None:
    """The layout of the row without tags that begins at `at`; None when it has no layout."""
    if description.tag is not Tag.STRUCTURE:
        return None
    fields = []
    for element in description.elements:
        tag = element.tag
        if tag in _STRINGS:
            length, after = decode_length(buf, at)
            field = _Field(buf[at:after], tag, length)
            at = after + _octets_of(field)
        elif tag in _CODES:
            field = _Field(b"", tag)
            at += _SIZES[tag]
        else:
            return None
        fields.append(field)
    return _layout(b"", tuple(fields))
