"""Values of a virtual meter as a DLMS meter encodes them, and back: one type for each object of a meter file.

The value on the wire is the value in the base unit divided by 10**exponent, rounded where the type holds whole numbers.
What the type cannot hold is null-data: the head-end sees that there is no value, and never a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import Final, TypeAlias

from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.mapping import scale
from headend.errors import ConfigError, LocalProtocolError
from headend.model.objects import ObjectEntry, RawValue
from headend.model.quantity import Kind, find_quantity
from headend.model.reading import Value
from headend.protocols.dlms.axdr import Data, Tag, encode_data, encode_length
from headend.protocols.dlms.axdr import bit_string as bits_of
from headend.protocols.dlms.clock import ClockStatus
from headend.standards.cosem import find_class

Encode: TypeAlias = Callable[[Value], bytes]

NULL_DATA: Final = b"\x00"
_DATE_TIME: Final = Struct(">BBHBBBBBBBhB")
_INTEGERS: Final = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "enum": "B", "bcd": "B",
}  # fmt: skip
_FLOATS: Final = {"float32": "f", "float64": "d"}
_TEXTS: Final = {"octet_string": "utf-8", "visible_string": "latin-1", "utf8_string": "utf-8"}
_OTHERS: Final = ("boolean", "bit_string", "date_time")
WIRE_TYPES: Final = (*_INTEGERS, *_FLOATS, *_TEXTS, *_OTHERS)
"""What `type` of an object may be; a date_time is twelve octets in an octet-string."""

_TEXT_QUANTITIES: Final = frozenset(
    ("serial_number", "logical_device_name", "firmware_version", "manufacturer", "meter_model", "meter_name")
)
_SPECIAL: Final = {"relay_closed": "boolean", "meter_time": "date_time", "tariff_active": "uint8"}
_HEX: Final = "hex:"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WireType:
    """How an object is encoded, and which tags a SET of it may carry."""

    name: str
    exponent: int
    encode: Encode

    def decode(self, data: Data) -> Value | None:
        """The value in the base unit; None when the type is another one, or the value is none."""
        if self.name == "date_time" or data.tag is not Tag[self.name.upper()]:
            return None
        plain: RawValue = data.plain()
        return scale(plain, self.exponent)


def wire_type(entry: ObjectEntry, zone: tzinfo) -> WireType:
    """The type that the meter file gives, or a sensible one; raises ConfigError for an unknown type."""
    name = entry.type or _usual_type(entry)
    exponent = entry.exponent
    if name in _INTEGERS:
        return WireType(name, exponent, _integer(Tag[name.upper()], _INTEGERS[name], exponent))
    if name in _FLOATS:
        return WireType(name, exponent, _float(Tag[name.upper()], _FLOATS[name], exponent))
    if name in _TEXTS:
        return WireType(name, 0, _text(Tag[name.upper()], _TEXTS[name]))
    if name == "boolean":
        return WireType(name, 0, lambda value: b"\x03\x01" if value else b"\x03\x00")
    if name == "bit_string":
        return WireType(name, 0, _bits)
    if name == "date_time":
        write = clock_writer(zone)
        return WireType(name, 0, lambda value: write(value) if isinstance(value, int) else NULL_DATA)
    raise ConfigError(f"{entry.ref}: unknown type {name!r}", hint="one of " + ", ".join(sorted(WIRE_TYPES)))


def _usual_type(entry: ObjectEntry) -> str:
    """What most meters use for such an object."""
    ref = cosem_ref(entry.ref.address)
    cosem_class = find_class(ref.class_id)
    attribute = cosem_class.attributes.get(ref.member) if cosem_class else None
    if attribute is not None and attribute.type in WIRE_TYPES:
        return attribute.type
    if entry.quantity in _SPECIAL:
        return _SPECIAL[entry.quantity]
    made = entry.emulate.get("value", entry.emulate.get("choice"))
    if entry.quantity in _TEXT_QUANTITIES or isinstance(made, str):
        return "octet_string"
    if isinstance(made, bool):
        return "boolean"
    quantity = find_quantity(entry.quantity)
    if quantity is None or quantity.kind in (Kind.CUMULATIVE, Kind.COUNTER):
        return "uint32"
    return "int32"


def _integer(tag: Tag, code: str, exponent: int) -> Encode:
    pack = Struct(f">B{code}").pack
    factor = 10.0 ** max(0, -exponent)
    divisor = 10 ** max(0, exponent)

    def whole(value: Value) -> bytes:
        try:
            return pack(tag, round(value))  # type: ignore[arg-type] # a text raises TypeError
        except TypeError:
            return whole(int(value)) if isinstance(value, str) and _is_number(value) else NULL_DATA
        except (StructError, ValueError, OverflowError):
            return NULL_DATA

    def multiplied(value: Value) -> bytes:
        try:
            return pack(tag, round(value * factor))  # type: ignore[operator] # a text raises TypeError
        except (TypeError, StructError, ValueError, OverflowError):
            return NULL_DATA

    def divided(value: Value) -> bytes:
        try:
            return pack(tag, round(value / divisor))
        except (TypeError, StructError, ValueError, OverflowError):
            return NULL_DATA

    return divided if exponent > 0 else multiplied if exponent < 0 else whole


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _float(tag: Tag, code: str, exponent: int) -> Encode:
    pack = Struct(f">B{code}").pack
    factor = 10.0 ** max(0, -exponent)
    divisor = 10 ** max(0, exponent)

    def encode(value: Value) -> bytes:
        try:
            return pack(tag, value * factor / divisor)  # type: ignore[operator] # a text raises TypeError
        except (TypeError, StructError, OverflowError):
            return NULL_DATA

    return encode


def _text(tag: Tag, encoding: str) -> Encode:
    head = bytes((tag,))

    def encode(value: Value) -> bytes:
        text = str(value)
        octets = (
            _plain_octets(text)
            if tag is Tag.OCTET_STRING and text.startswith(_HEX)
            else text.encode(encoding, "replace")
        )
        return head + encode_length(len(octets)) + octets

    return encode


def _plain_octets(text: str) -> bytes:
    """`hex:0102`, as meter files write octets that are no text; anything else stays the text that it is."""
    try:
        return bytes.fromhex(text.removeprefix(_HEX))
    except ValueError:
        return text.encode("utf-8", "replace")


def _bits(value: Value) -> bytes:
    try:
        return encode_data(bits_of(str(value)))
    except (ValueError, LocalProtocolError):
        return NULL_DATA


def clock_writer(zone: tzinfo) -> Callable[[int], bytes]:
    """Encodes milliseconds as a date-time of the zone in an octet-string, with deviation and status; null when out of range."""

    @lru_cache(maxsize=1024)  # all meters that keep good time show the same
    def write(at: int) -> bytes:
        try:
            local = (_EPOCH + timedelta(milliseconds=at)).astimezone(zone)
        except OverflowError:
            return NULL_DATA
        deviation = -((local.utcoffset() or timedelta()) // timedelta(minutes=1))
        day = (local.year, local.month, local.day, local.isoweekday())
        time = (local.hour, local.minute, local.second, local.microsecond // 10_000)
        return _DATE_TIME.pack(0x09, 0x0C, *day, *time, deviation, ClockStatus.DST if local.dst() else 0)

    return write
