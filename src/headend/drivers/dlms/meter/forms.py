"""What the values of attributes and the parameters of methods must look like, and how a meter file writes them.

A form tells whether a value that a client sends is of its structure, and makes a value of what stands in a meter file:
numbers as numbers, logical names as `0-0:1.0.0.255`, dates and times as `2026-*-01 06:00:00` with `*` for any, octets as text,
or as hexadecimal after `hex:`, arrays and structures as lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from headend.drivers.dlms.meter_objects import Refused
from headend.errors import ConfigError, LocalProtocolError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import BitString, Data, Tag, bit_string, boolean, encode_data, octet_string
from headend.protocols.dlms.clock import LAST_DAY, SECOND_LAST_DAY, CosemDate, CosemDateTime, CosemTime
from headend.standards.obis import Obis

_ANY: Final = "*"
_DAYS: Final = {"last": LAST_DAY, "second-last": SECOND_LAST_DAY}
_WEEKDAYS: Final = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), 1)}
_MOST_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """`fits` is true for a value of the right structure; `make` turns what a meter file says into one or raises ValueError."""

    fits: Callable[[Data], bool]
    make: Callable[[Any], Data]


def number(tag: Tag) -> Form:
    """A whole number of one type."""

    def make(said: Any) -> Data:  # noqa: ANN401 - whatever stands in the file
        if isinstance(said, bool) or not isinstance(said, int):
            raise ValueError("a whole number")  # noqa: TRY004 - the reader of the file takes ValueError
        data = Data(tag, said)
        try:
            encode_data(data)
        except LocalProtocolError:
            raise ValueError(f"a number that fits {tag.name.lower()}") from None
        return data

    return Form(lambda data: data.tag is tag, make)


def enumerated(*choices: int) -> Form:
    """An enum that is one of these."""

    def make(said: Any) -> Data:  # noqa: ANN401 - ditto
        if isinstance(said, bool) or said not in choices:
            raise ValueError("one of " + ", ".join(map(str, choices)))
        return Data(Tag.ENUM, said)

    return Form(lambda data: data.tag is Tag.ENUM and data.value in choices, make)


def octets(*lengths: int, most: int = 256, read: Callable[[str], bytes] | None = None) -> Form:
    """An octet-string, of one of these lengths where some are given, and not endless."""

    def fits(data: Data) -> bool:
        return (
            data.tag is Tag.OCTET_STRING
            and isinstance(data.value, bytes)
            and len(data.value) in (lengths or range(most + 1))
        )

    def make(said: Any) -> Data:  # noqa: ANN401 - ditto
        data = octet_string((read or _octets)(_text(said)))
        if not fits(data):
            raise ValueError("octets in another number")
        return data

    return Form(fits, make)


def rows(form: Form, *, most: int = _MOST_ROWS) -> Form:
    """An array of values of one form, not endless."""

    def fits(data: Data) -> bool:
        return (
            data.tag is Tag.ARRAY
            and isinstance(data.value, tuple)
            and len(data.value) <= most
            and all(map(form.fits, data.value))
        )

    return Form(fits, lambda said: Data(Tag.ARRAY, tuple(map(form.make, _list(said)))))


def record(*forms: Form) -> Form:
    """A structure of values of these forms."""

    def fits(data: Data) -> bool:
        return (
            data.tag is Tag.STRUCTURE
            and isinstance(data.value, tuple)
            and len(data.value) == len(forms)
            and all(form.fits(element) for form, element in zip(forms, data.value, strict=True))
        )

    def make(said: Any) -> Data:  # noqa: ANN401 - ditto
        elements = _list(said)
        if len(elements) != len(forms):
            raise ValueError(f"a list of {len(forms)}")
        return Data(Tag.STRUCTURE, tuple(form.make(each) for form, each in zip(forms, elements, strict=True)))

    return Form(fits, make)


def require(data: Data | None, form: Form) -> Any:  # noqa: ANN401 - what the form says, which a type cannot
    """The plain value of a parameter of the right form; raises Refused for any other."""
    if data is None or not form.fits(data):
        raise Refused(DataAccessResult.TYPE_UNMATCHED)
    return data.plain()


def _text(said: Any) -> str:  # noqa: ANN401 - ditto
    if not isinstance(said, str):
        raise ValueError("a text")  # noqa: TRY004 - ditto
    return said


def _list(said: Any) -> list[Any]:  # noqa: ANN401 - ditto
    if not isinstance(said, list):
        raise ValueError("a list")  # noqa: TRY004 - ditto
    return said


def _octets(said: str) -> bytes:
    return bytes.fromhex(said[4:]) if said.startswith("hex:") else said.encode("latin-1")


def _name(said: str) -> bytes:
    try:
        return Obis.parse(said).to_bytes()
    except ConfigError:
        raise ValueError("a logical name") from None


def _bits(said: Any) -> Data:  # noqa: ANN401 - ditto
    if set(_text(said)) - {"0", "1"}:
        raise ValueError("bits as 0 and 1")
    return bit_string(said)


def _boolean(said: Any) -> Data:  # noqa: ANN401 - ditto
    if not isinstance(said, bool):
        raise ValueError("true or false")  # noqa: TRY004 - ditto
    return boolean(said)


def _anything(said: Any) -> Data:  # noqa: ANN401 - ditto
    """A number as int8, or as int32 where it does not fit; a text as octets."""
    if isinstance(said, bool):
        return boolean(said)
    if isinstance(said, int):
        return number(Tag.INT8 if -0x80 <= said <= 0x7F else Tag.INT32).make(said)
    return octet_string(_octets(_text(said)))


def _field(text: str, names: dict[str, int] | None = None) -> int | None:
    if text == _ANY:
        return None
    if names and text in names:
        return names[text]
    if not text.isascii() or not text.isdigit():
        raise ValueError("numbers, or * for any")
    return int(text)


def parse_date(text: str) -> CosemDate:
    """`YEAR-MONTH-DAY`, `*` for any; the day may be `last` or `second-last`; a weekday (`sun`) may follow after a slash."""
    day, _, weekday = text.partition("/")
    parts = day.split("-", 2)
    if len(parts) != 3:
        raise ValueError("a date as 2026-*-01")
    year, month, day_of_month = _field(parts[0]), _field(parts[1]), _field(parts[2], _DAYS)
    return CosemDate(year, month, day_of_month, _WEEKDAYS.get(weekday))


def parse_time(text: str) -> CosemTime:
    """`HOUR:MINUTE:SECOND`, `*` for any."""
    parts = [_field(part) for part in text.split(":", 2)]
    if len(parts) != 3:
        raise ValueError("a time as 06:00:00")
    hour, minute, second = parts
    return CosemTime(hour, minute, second, 0)


def _date_time(text: str) -> bytes:
    day, _, time = text.partition(" ")
    return CosemDateTime(parse_date(day), parse_time(time) if time else CosemTime(), None, None).to_bytes()


INT8: Final = number(Tag.INT8)
INT16: Final = number(Tag.INT16)
UINT8: Final = number(Tag.UINT8)
UINT16: Final = number(Tag.UINT16)
UINT32: Final = number(Tag.UINT32)
BOOLEAN: Final = Form(lambda data: data.tag is Tag.BOOLEAN, _boolean)
BITS: Final = Form(lambda data: isinstance(data.value, BitString), _bits)
ANYTHING: Final = Form(lambda _: True, _anything)
OCTETS: Final = octets()
NAME: Final = octets(6, read=_name)
DATE: Final = octets(5, read=lambda text: parse_date(text).to_bytes())
TIME: Final = octets(4, read=lambda text: parse_time(text).to_bytes())
DATE_TIME: Final = octets(12, read=_date_time)
SCRIPT: Final = record(NAME, UINT16)
"""A script: the logical name of its table, and its number."""
MONITORED: Final = record(UINT16, NAME, INT8)
"""An attribute whose value is watched."""
CAPTURED: Final = record(UINT16, NAME, INT8, UINT16)
"""An attribute that is captured or pushed, and which part of it."""
