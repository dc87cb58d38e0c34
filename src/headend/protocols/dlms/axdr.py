"""A-XDR codec of the COSEM Data type (IEC 62056-6-2, 4.1.5; IEC 61334-6): plain values out, typed values both ways.

`decode_data` gives plain Python values, fast (see axdr_plain for the table of types). `decode_typed` gives `Data`
nodes, which keep the tag and re-encode to the same octets; only these three spellings become canonical: a length with
more octets than it needs, a boolean that is neither 00 nor 01, unused bits of a bit-string that are not zero. The
functions named after the types build `Data`:

    encode_data(structure(octet_string(b"..."), uint32(5), array(enum(1))))
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from headend.errors import LocalProtocolError
from headend.protocols.dlms.axdr_plain import (
    DELTA_FORMATS,
    FIXED,
    FIXED_FORMATS,
    VARIABLE,
    Delta,
    Plain,
    Tag,
    TypeDescription,
    cut_short,
    decode_compact_header,
    decode_contents,
    decode_count,
    decode_data,
    decode_length,
    format_bits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DONT_CARE",
    "NULL",
    "BitString",
    "CompactArray",
    "Data",
    "Delta",
    "Plain",
    "Tag",
    "TypeDescription",
    "array",
    "bcd",
    "bit_string",
    "boolean",
    "compact_array",
    "date",
    "date_time",
    "decode_data",
    "decode_length",
    "decode_typed",
    "delta",
    "encode_data",
    "encode_length",
    "enum",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "octet_string",
    "structure",
    "time",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "utf8_string",
    "visible_string",
]


@dataclass(frozen=True, slots=True)
class BitString:
    """`length` bits, the first one in the most significant bit of the first octet; unused bits are zero."""

    octets: bytes
    length: int

    @classmethod
    def parse(cls, bits: str) -> BitString:
        """Read '0' and '1', first bit first."""
        padded = bits + "0" * (-len(bits) % 8)
        return cls(bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8)), len(bits))

    def __str__(self) -> str:
        return format_bits(self.octets, self.length)


@dataclass(frozen=True, slots=True)
class CompactArray:
    """A compact-array as on the wire: what an element looks like, and the untagged octets of all."""

    description: TypeDescription
    contents: bytes

    def plain(self) -> list[Plain]:
        """The elements."""
        return decode_contents(self.description, self.contents, 0, len(self.contents))


Value: TypeAlias = "bool | int | float | bytes | str | BitString | CompactArray | tuple[Data, ...] | None"


@dataclass(frozen=True, slots=True)
class Data:
    """One value with its tag; equal when type and value are equal."""

    tag: Tag
    value: Value

    def plain(self) -> Plain:
        """What `decode_data` returns for the same octets."""
        if isinstance(self.value, tuple):
            return [element.plain() for element in self.value]
        if isinstance(self.value, CompactArray):
            return self.value.plain()
        if isinstance(self.value, BitString):
            return str(self.value)
        return self.value


def decode_typed(buf: bytes, offset: int = 0, end: int | None = None) -> tuple[Data, int]:
    """Decode one Data at `offset`, not beyond `end`; returns it and the offset after it, or raises DecodeError."""
    limit = len(buf) if end is None else end
    try:
        data, at = _typed(buf, offset, 0)
    except (IndexError, StructError):
        raise cut_short(limit) from None
    if at > limit:
        raise cut_short(limit)
    return data, at


def _typed(buf: bytes, at: int, depth: int) -> tuple[Data, int]:
    tag = buf[at]
    fixed = FIXED[tag]
    if fixed is not None:
        return Data(Tag(tag), fixed[0](buf, at + 1)[0]), at + fixed[1]
    if tag in (Tag.ARRAY, Tag.STRUCTURE):
        count, after = decode_count(buf, at + 1, depth)
        elements = []
        for _ in range(count):
            element, after = _typed(buf, after, depth + 1)
            elements.append(element)
        return Data(Tag(tag), tuple(elements)), after
    if tag == Tag.BIT_STRING:
        bits, after = VARIABLE[tag](buf, at + 1, depth)
        if after > len(buf):
            raise cut_short(len(buf))
        return Data(Tag.BIT_STRING, BitString.parse(str(bits))), after
    if tag == Tag.COMPACT_ARRAY:
        description, contents, after = decode_compact_header(buf, at + 1, depth)
        decode_contents(description, buf, contents, after)  # raises where the contents do not fit
        value = CompactArray(description, buf[contents:after])
        return Data(Tag.COMPACT_ARRAY, value), after
    leaf, after = VARIABLE[tag](buf, at + 1, depth)
    return Data(Tag(tag), cast("Value", leaf)), after


_STRUCTS: Final = {tag: Struct(">" + code) for tag, code in (FIXED_FORMATS | DELTA_FORMATS).items()}


def encode_data(data: Data) -> bytes:
    """The octets of one Data; a value that its type cannot hold raises LocalProtocolError."""
    out = bytearray()
    _append(out, data)
    return bytes(out)


def encode_length(length: int) -> bytes:
    """A length or count in the fewest octets."""
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + length.to_bytes(size, "big")


def _append(out: bytearray, data: Data) -> None:
    out.append(data.tag)
    if data.tag is Tag.COMPACT_ARRAY and isinstance(data.value, CompactArray):
        out += _encode_description(data.value.description)
        out += encode_length(len(data.value.contents))
        out += data.value.contents
    elif isinstance(data.value, tuple) and data.tag in (Tag.ARRAY, Tag.STRUCTURE):
        out += encode_length(len(data.value))
        for element in data.value:
            _append(out, element)
    else:
        out += _encode_untagged(data.tag, data.value)


def _encode_untagged(tag: Tag, value: object) -> bytes:
    """The octets after the tag of anything but arrays and structures."""
    layout = _STRUCTS.get(tag)
    try:
        if layout is not None:
            if layout.format.endswith("s") and not (isinstance(value, bytes) and len(value) == layout.size):
                raise LocalProtocolError(f"{tag.name} has {layout.size} octets")
            return layout.pack(value)
    except (StructError, OverflowError) as error:
        raise LocalProtocolError(f"{value!r} is no {tag.name}") from error
    if value is None and tag in (Tag.NULL, Tag.DONT_CARE):
        return b""
    if isinstance(value, BitString) and tag is Tag.BIT_STRING:
        return encode_length(value.length) + value.octets
    if isinstance(value, str) and tag in (Tag.VISIBLE_STRING, Tag.UTF8_STRING):
        try:
            value = value.encode("latin-1" if tag is Tag.VISIBLE_STRING else "utf-8")
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"{value!r} is no {tag.name}") from error
    if isinstance(value, bytes) and tag in (Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING):
        return encode_length(len(value)) + value
    raise LocalProtocolError(f"{value!r} is no {tag.name}")


def _encode_description(description: TypeDescription) -> bytes:
    head = bytes((description.tag,))
    if description.tag is Tag.ARRAY:
        head += description.count.to_bytes(2, "big")
    elif description.tag is Tag.STRUCTURE:
        head += encode_length(len(description.elements))
    return head + b"".join(_encode_description(element) for element in description.elements)


def _encode_contents(description: TypeDescription, value: object) -> bytes:
    """One element of a compact-array: plain values without tags and counts."""
    if description.tag not in (Tag.ARRAY, Tag.STRUCTURE):
        if description.tag is Tag.BIT_STRING and isinstance(value, str):
            value = BitString.parse(value)
        return _encode_untagged(description.tag, value)
    elements = description.elements * (description.count if description.tag is Tag.ARRAY else 1)
    if not isinstance(value, list | tuple) or len(value) != len(elements):
        raise LocalProtocolError(f"{value!r} does not have the {len(elements)} elements of its type description")
    return b"".join(_encode_contents(element, item) for element, item in zip(elements, value, strict=True))


NULL: Final = Data(Tag.NULL, None)
DONT_CARE: Final = Data(Tag.DONT_CARE, None)


def array(*elements: Data) -> Data:
    """Elements of one type."""
    return Data(Tag.ARRAY, elements)


def structure(*elements: Data) -> Data:
    """Elements of any types."""
    return Data(Tag.STRUCTURE, elements)


def compact_array(description: TypeDescription, elements: Sequence[Plain]) -> Data:
    """Elements given as plain values, described once and written without tags."""
    contents = b"".join(_encode_contents(description, element) for element in elements)
    return Data(Tag.COMPACT_ARRAY, CompactArray(description, contents))


def boolean(value: bool) -> Data:  # noqa: FBT001 - it is the value itself
    """True or False."""
    return Data(Tag.BOOLEAN, value)


def bit_string(bits: str) -> Data:
    """Bits as '0' and '1', first bit first."""
    return Data(Tag.BIT_STRING, BitString.parse(bits))


def int8(value: int) -> Data:
    """Integer in the standard's words; -128 to 127."""
    return Data(Tag.INT8, value)


def int16(value: int) -> Data:
    """Long in the standard's words."""
    return Data(Tag.INT16, value)


def int32(value: int) -> Data:
    """Double-long in the standard's words."""
    return Data(Tag.INT32, value)


def int64(value: int) -> Data:
    """Long64 in the standard's words."""
    return Data(Tag.INT64, value)


def uint8(value: int) -> Data:
    """Unsigned in the standard's words."""
    return Data(Tag.UINT8, value)


def uint16(value: int) -> Data:
    """Long-unsigned in the standard's words."""
    return Data(Tag.UINT16, value)


def uint32(value: int) -> Data:
    """Double-long-unsigned in the standard's words."""
    return Data(Tag.UINT32, value)


def uint64(value: int) -> Data:
    """Long64-unsigned in the standard's words."""
    return Data(Tag.UINT64, value)


def bcd(value: int) -> Data:
    """Two decimal digits, written as hexadecimal: 0x42."""
    return Data(Tag.BCD, value)


def enum(value: int) -> Data:
    """A choice, 0 to 255."""
    return Data(Tag.ENUM, value)


def float32(value: float) -> Data:
    """IEEE 754 single."""
    return Data(Tag.FLOAT32, value)


def float64(value: float) -> Data:
    """IEEE 754 double."""
    return Data(Tag.FLOAT64, value)


def octet_string(value: bytes) -> Data:
    """Octets of any meaning."""
    return Data(Tag.OCTET_STRING, value)


def visible_string(value: str) -> Data:
    """Text of ISO 8859-1 characters."""
    return Data(Tag.VISIBLE_STRING, value)


def utf8_string(value: str) -> Data:
    """Text."""
    return Data(Tag.UTF8_STRING, value)


def date_time(octets: bytes) -> Data:
    """The 12 octets of a COSEM date-time."""
    return Data(Tag.DATE_TIME, octets)


def date(octets: bytes) -> Data:
    """The 5 octets of a COSEM date."""
    return Data(Tag.DATE, octets)


def time(octets: bytes) -> Data:
    """The 4 octets of a COSEM time."""
    return Data(Tag.TIME, octets)


def delta(tag: Tag, value: int) -> Data:
    """A difference to the value before, of one of the delta types."""
    return Data(tag, Delta(value))
