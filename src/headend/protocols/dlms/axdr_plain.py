"""A-XDR decoding of the COSEM Data type (IEC 62056-6-2, 4.1.5; IEC 61334-6) into plain Python values, for speed.

```text
tag                        follows the tag                      plain value
00 null-data, FF dont-care nothing                              None
01 array, 02 structure     count, elements with tags            list
03 boolean                 octet                                bool (any octet but 00 is true)
04 bit-string              length in bits, octets               str of '0' and '1', first bit first
05 06 0F 10 11 12 14 15    big-endian integer                   int
09 octet-string            length, octets                       bytes
0A visible-string          length, octets                       str (ISO 8859-1, so that every octet has a character)
0C utf8-string             length, octets                       str; bytes when the octets are not UTF-8
0D bcd                     octet                                int as on the wire: 0x42 is the digits 4 and 2
13 compact-array           type description, length, contents   list
16 enum                    octet                                int
17 float32, 18 float64     IEEE 754                             float
19 date-time 1A date 1B time   12, 5, 4 octets                  bytes (headend.protocols.dlms.clock reads them)
1C to 21 delta             big-endian integer                   Delta, an int to be added to the value before
```

The decoder reads ahead without asking how much is left: `at` only grows, so one comparison at the end finds whatever
was cut short, and Python itself stops a read beyond the octets. No octets are copied but those of strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from headend.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

Plain: TypeAlias = "bool | int | float | bytes | str | list[Plain] | None"

MAX_DEPTH: Final = 32
"""Arrays and structures nested deeper raise DecodeError; real objects need five levels."""

MAX_ELEMENT: Final = 0xFFFF
"""Octets that one element of a compact-array may need at least; more raise DecodeError."""


class Tag(IntEnum):
    """Tags of the Data type."""

    NULL = 0x00
    ARRAY = 0x01
    STRUCTURE = 0x02
    BOOLEAN = 0x03
    BIT_STRING = 0x04
    INT32 = 0x05
    UINT32 = 0x06
    OCTET_STRING = 0x09
    VISIBLE_STRING = 0x0A
    UTF8_STRING = 0x0C
    BCD = 0x0D
    INT8 = 0x0F
    INT16 = 0x10
    UINT8 = 0x11
    UINT16 = 0x12
    COMPACT_ARRAY = 0x13
    INT64 = 0x14
    UINT64 = 0x15
    ENUM = 0x16
    FLOAT32 = 0x17
    FLOAT64 = 0x18
    DATE_TIME = 0x19
    DATE = 0x1A
    TIME = 0x1B
    DELTA_INT8 = 0x1C
    DELTA_INT16 = 0x1D
    DELTA_INT32 = 0x1E
    DELTA_UINT8 = 0x1F
    DELTA_UINT16 = 0x20
    DELTA_UINT32 = 0x21
    DONT_CARE = 0xFF


FIXED_FORMATS: Final = {
    Tag.BOOLEAN: "?",
    Tag.INT32: "i",
    Tag.UINT32: "I",
    Tag.BCD: "B",
    Tag.INT8: "b",
    Tag.INT16: "h",
    Tag.UINT8: "B",
    Tag.UINT16: "H",
    Tag.INT64: "q",
    Tag.UINT64: "Q",
    Tag.ENUM: "B",
    Tag.FLOAT32: "f",
    Tag.FLOAT64: "d",
    Tag.DATE_TIME: "12s",
    Tag.DATE: "5s",
    Tag.TIME: "4s",
}
"""`struct` codes (big-endian) of the types that always have the same size."""

DELTA_FORMATS: Final = {
    Tag.DELTA_INT8: "b",
    Tag.DELTA_INT16: "h",
    Tag.DELTA_INT32: "i",
    Tag.DELTA_UINT8: "B",
    Tag.DELTA_UINT16: "H",
    Tag.DELTA_UINT32: "I",
}
"""The same for the differences to the value before."""


class CutShort(DecodeError):
    """The data goes on beyond the octets at hand: more of them might complete it."""


class Delta(int):
    """A difference to the value before it (tags 28 to 33), told from an absolute value by its type."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TypeDescription:
    """What an element of a compact-array looks like: `elements` of a structure, `count` times the one of an array."""

    tag: Tag
    elements: tuple[TypeDescription, ...] = ()
    count: int = 0

    def least(self) -> tuple[int, int]:
        """The fewest octets that one value takes, and how many values it then has."""
        if self.tag is Tag.STRUCTURE or self.tag is Tag.ARRAY:
            inner = [element.least() for element in self.elements]
            times = self.count if self.tag is Tag.ARRAY else 1
            return times * sum(size for size, _ in inner), 1 + times * sum(values for _, values in inner)
        if self.tag is Tag.NULL or self.tag is Tag.DONT_CARE:
            return 0, 1
        fixed = FIXED[self.tag]
        return (fixed[1] - 1 if fixed else 1), 1


def decode_data(buf: bytes, offset: int = 0, end: int | None = None, depth: int = 0) -> tuple[Plain, int]:
    """Decode one Data at `offset`, not beyond `end`; returns it and the offset after it, or raises DecodeError.

    `depth` is the number of arrays and structures around it.
    """
    try:
        fixed = FIXED[buf[offset]]
        if fixed is not None:
            value: Plain = fixed[0](buf, offset + 1)[0]
            at = offset + fixed[1]
        else:
            value, at = VARIABLE[buf[offset]](buf, offset + 1, depth)
    except (IndexError, StructError):
        raise cut_short(len(buf) if end is None else end) from None
    if at > (len(buf) if end is None else end):
        raise cut_short(len(buf) if end is None else end)
    return value, at


def cut_short(end: int) -> CutShort:
    """The error of data that goes on beyond the end of the octets."""
    return CutShort("data cut short", offset=end, expected="more octets", got="the end")


def decode_length(buf: bytes, at: int) -> tuple[int, int]:
    """A length or count, and the offset after it: below 80 itself, or 81 to 84 and then 1 to 4 octets."""
    first = buf[at]
    if first < 0x80:
        return first, at + 1
    if not 0x81 <= first <= 0x84:
        raise DecodeError("length", offset=at, expected="below 80, or 81 to 84", got=f"{first:02X}")
    after = at + first - 0x7F
    if after > len(buf):
        raise cut_short(len(buf))
    return int.from_bytes(buf[at + 1 : after], "big"), after


def decode_count(buf: bytes, at: int, depth: int) -> tuple[int, int]:
    """The count of an array or structure; each element takes an octet at least, so a false one is seen at once."""
    count, after = decode_length(buf, at)
    if count > len(buf) - after:
        raise CutShort("count", offset=at, expected=f"at most {len(buf) - after}", got=str(count))
    check_depth(at, depth)
    return count, after


def check_depth(at: int, depth: int) -> None:
    """Refuse to go deeper than MAX_DEPTH."""
    if depth >= MAX_DEPTH:
        raise DecodeError("nesting", offset=at, expected=f"at most {MAX_DEPTH} levels", got="more")


def _sequence(buf: bytes, at: int, depth: int) -> tuple[Plain, int]:
    count = buf[at]
    if count < 0x80 and depth < MAX_DEPTH:
        at += 1
    else:
        count, at = decode_count(buf, at, depth)
    values: list[Plain] = []
    append = values.append
    fixed_of = FIXED
    for _ in range(count):
        tag = buf[at]
        fixed = fixed_of[tag]
        if fixed is not None:
            unpack, size = fixed
            append(unpack(buf, at + 1)[0])
            at += size
        elif tag == 0x00:
            append(None)
            at += 1
        else:
            value, at = VARIABLE[tag](buf, at + 1, depth + 1)
            append(value)
    return values, at


def _nothing(_buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    return None, at


def _octet_string(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    length = buf[at]
    if length < 0x80:
        at += 1
    else:
        length, at = decode_length(buf, at)
    return buf[at : at + length], at + length


def _visible_string(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    length, at = decode_length(buf, at)
    return buf[at : at + length].decode("latin-1"), at + length


def _utf8_string(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    length, at = decode_length(buf, at)
    octets = buf[at : at + length]
    try:
        return octets.decode(), at + length
    except UnicodeDecodeError:
        return octets, at + length


def _bit_string(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    length, at = decode_length(buf, at)
    after = at + (length + 7) // 8
    return format_bits(buf[at:after], length), after


def format_bits(octets: bytes, length: int) -> str:
    """The first `length` bits as '0' and '1'."""
    return "".join(f"{octet:08b}" for octet in octets)[:length]


def _delta_of(code: str) -> Variable:
    layout = Struct(">" + code)

    def delta(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
        return Delta(layout.unpack_from(buf, at)[0]), at + layout.size

    return delta


def _unknown(buf: bytes, at: int, _depth: int) -> tuple[Plain, int]:
    raise DecodeError("Data", offset=at - 1, expected="a tag of the Data type", got=f"{buf[at - 1]:02X}")


def decode_type_description(buf: bytes, at: int, depth: int) -> tuple[TypeDescription, int]:
    """The type description of a compact-array: tags without values; an array has a count of two octets."""
    check_depth(at, depth)
    tag = buf[at]
    if tag == Tag.ARRAY:
        count = buf[at + 1] << 8 | buf[at + 2]
        element, after = decode_type_description(buf, at + 3, depth + 1)
        return TypeDescription(Tag.ARRAY, (element,), count), after
    if tag == Tag.STRUCTURE:
        count, after = decode_length(buf, at + 1)
        elements = []
        for _ in range(count):
            element, after = decode_type_description(buf, after, depth + 1)
            elements.append(element)
        return TypeDescription(Tag.STRUCTURE, tuple(elements)), after
    if tag == Tag.COMPACT_ARRAY or (VARIABLE[tag] is _unknown and FIXED[tag] is None):
        raise DecodeError("type description", offset=at, expected="a tag of the Data type", got=f"{tag:02X}")
    return TypeDescription(Tag(tag)), at + 1


def decode_compact_header(buf: bytes, at: int, depth: int = 0) -> tuple[TypeDescription, int, int]:
    """Type description of a compact-array, and the offsets of its contents and of their end."""
    start = at
    description, at = decode_type_description(buf, at, depth + 1)
    octets, values = description.least()
    if values > 8 * octets:
        raise DecodeError("compact-array", offset=start, expected="elements that take octets", got="null-data")
    length, at = decode_length(buf, at)
    if octets > (min(length, MAX_ELEMENT) if length else MAX_ELEMENT):
        # Otherwise an element of a million null-data and as many octets would be read up to where the octets end.
        raise DecodeError("compact-array", offset=start, expected=f"elements within {length} octets", got=str(octets))
    return description, at, at + length


def decode_contents(description: TypeDescription, buf: bytes, at: int, end: int) -> list[Plain]:
    """The elements of a compact-array, whose contents lie between `at` and `end`."""
    if end > len(buf):
        raise cut_short(len(buf))
    values = []
    while at < end:
        value, at = decode_untagged(description, buf, at)
        values.append(value)
    if at != end:
        raise DecodeError("compact-array", offset=end, expected="whole elements", got="a part of one")
    return values


def decode_untagged(description: TypeDescription, buf: bytes, at: int) -> tuple[Plain, int]:
    """One element of a compact-array at `at`; reads ahead, so that the caller compares the offset after it."""
    tag = description.tag
    if tag is Tag.STRUCTURE or tag is Tag.ARRAY:
        values = []
        for element in description.elements * (description.count if tag is Tag.ARRAY else 1):
            value, at = decode_untagged(element, buf, at)
            values.append(value)
        return values, at
    fixed = FIXED[tag]
    if fixed is not None:
        return fixed[0](buf, at)[0], at + fixed[1] - 1
    return VARIABLE[tag](buf, at, 0)


def _compact_array(buf: bytes, at: int, depth: int) -> tuple[Plain, int]:
    description, at, end = decode_compact_header(buf, at, depth)
    return decode_contents(description, buf, at, end), end


Unpack: TypeAlias = "Callable[[bytes, int], tuple[Any, ...]]"
Variable: TypeAlias = "Callable[[bytes, int, int], tuple[Plain, int]]"

FIXED: Final[list[tuple[Unpack, int] | None]] = [None] * 256
"""By tag: reads the value after the tag, and the size with the tag; None for types without a fixed size."""
for _tag, _code in FIXED_FORMATS.items():
    FIXED[_tag] = (Struct(">" + _code).unpack_from, Struct(">" + _code).size + 1)

VARIABLE: Final[list[Variable]] = [_unknown] * 256
"""By tag: reads from (buffer, offset after the tag, depth) the value and the offset after it."""
VARIABLE[Tag.NULL] = VARIABLE[Tag.DONT_CARE] = _nothing
VARIABLE[Tag.ARRAY] = VARIABLE[Tag.STRUCTURE] = _sequence
VARIABLE[Tag.BIT_STRING] = _bit_string
VARIABLE[Tag.OCTET_STRING] = _octet_string
VARIABLE[Tag.VISIBLE_STRING] = _visible_string
VARIABLE[Tag.UTF8_STRING] = _utf8_string
VARIABLE[Tag.COMPACT_ARRAY] = _compact_array
for _tag, _code in DELTA_FORMATS.items():
    VARIABLE[_tag] = _delta_of(_code)
