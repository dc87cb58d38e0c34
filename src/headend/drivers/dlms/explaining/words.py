"""Values of COSEM in words: OBIS codes, attributes, date-times, units, system titles. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.nodes import Node, is_logical_name
from headend.errors import DecodeError
from headend.model.quantity import for_obis
from headend.protocols.dlms.axdr_plain import Tag
from headend.protocols.dlms.clock import ClockStatus, CosemDate, CosemDateTime, CosemTime
from headend.standards.codes import find_code
from headend.standards.cosem import find_class
from headend.standards.flag import find_manufacturer, from_octets
from headend.standards.meanings import Grade, meaning
from headend.standards.obis import Obis
from headend.standards.units import find_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES: Final = {
    Tag.NULL: "null-data",
    Tag.BIT_STRING: "bit-string",
    Tag.INT32: "double-long",
    Tag.UINT32: "double-long-unsigned",
    Tag.OCTET_STRING: "octet-string",
    Tag.VISIBLE_STRING: "visible-string",
    Tag.UTF8_STRING: "utf8-string",
    Tag.INT8: "integer",
    Tag.INT16: "long",
    Tag.UINT8: "unsigned",
    Tag.UINT16: "long-unsigned",
    Tag.COMPACT_ARRAY: "compact-array",
    Tag.INT64: "long64",
    Tag.UINT64: "long64-unsigned",
    Tag.DATE_TIME: "date-time",
    Tag.DONT_CARE: "dont-care",
}
_YEARS: Final = range(1990, 2100)
_ANY: Final = 0xFF
_SHOWN: Final = 64
"""Octets of unknown meaning that are shown; the rest of them is counted."""


def type_name(tag: Tag) -> str:
    """The name of an A-XDR type in the standard's words."""
    return _TYPES.get(tag) or tag.name.lower().replace("_", "-")


def obis_name(obis: Obis) -> str:
    """What an OBIS code means, or nothing; any channel B is taken."""
    quantity = for_obis(obis)
    if quantity is not None:
        return quantity.label
    code = find_code(obis) or find_code(Obis(obis.a, 0, obis.c, obis.d, obis.e, obis.f))
    if code is not None:
        return code.key.replace("_", " ")
    said = meaning(obis)
    return said.text if said.grade is Grade.CODE else ""


def obis_text(obis: Obis) -> str:
    """The code, and what it means."""
    name = obis_name(obis)
    return f"{obis} ({name})" if name else str(obis)


def logical_name(octets: bytes) -> str:
    """Six octets as an OBIS code with its meaning."""
    return obis_text(Obis.from_bytes(octets))


def class_text(class_id: int) -> str:
    """A COSEM class and its name."""
    known = find_class(class_id)
    return f"{class_id} ({known.name})" if known else str(class_id)


def attribute_text(class_id: int, attribute_id: int) -> str:
    """An attribute and its name."""
    known = find_class(class_id)
    if attribute_id == 0:
        return "0 (all attributes)"
    found = known.attributes.get(attribute_id) if known else None
    return f"{attribute_id} ({found.name})" if found else str(attribute_id)


def method_text(class_id: int, method_id: int) -> str:
    """A method and its name."""
    known = find_class(class_id)
    name = known.methods.get(method_id, "") if known else ""
    return f"{method_id} ({name})" if name else str(method_id)


def unit_text(code: int) -> str:
    """The symbol of a unit."""
    unit = find_unit(code)
    return (unit.symbol or f"unit {code}") if unit else ("no unit" if code == _ANY else f"unit {code}")


def flag_names(value: enum.IntFlag) -> str:
    """The bits that are set, in the standard's words."""
    return ", ".join(flag.name.lower().replace("_", "-") for flag in type(value) if flag in value and flag.name)


def date_time_text(octets: bytes) -> str:
    """Twelve octets: local time, deviation and status, with what they mean."""
    moment = CosemDateTime.from_bytes(octets)
    deviation = "deviation not specified" if moment.deviation is None else f"deviation {moment.deviation} min"
    if moment.status is None:
        return f"{moment} ({deviation}, status not specified)"
    bits = flag_names(ClockStatus(moment.status)).replace("dst", "daylight saving")
    return f"{moment} ({deviation}, status {moment.status:02X}{': ' + bits if bits else ''})"


def is_date_time(octets: bytes) -> bool:
    """Twelve octets that a date-time may be."""
    return (
        len(octets) == 12
        and is_date(octets[:5])
        and all(octet == _ANY or octet < top for octet, top in zip(octets[5:9], (24, 60, 60, 100), strict=True))
    )


def is_date(octets: bytes) -> bool:
    """Five octets that a date may be: of these years or any, with at least a month or a day told."""
    if len(octets) != 5:
        return False
    year, month, day, weekday = int.from_bytes(octets[:2], "big"), octets[2], octets[3], octets[4]
    if year not in _YEARS and not (year == 0xFFFF and month != _ANY):
        return False
    return (1 <= month <= 12 or month >= 0xFD) and (1 <= day <= 31 or day >= 0xE0) and (weekday <= 7 or weekday == _ANY)


def octets_text(octets: bytes) -> str:
    """Octets as what they probably are: a date-time, a logical name, a text; else hexadecimal."""
    if is_date_time(octets):
        return date_time_text(octets)
    if is_date(octets):
        return f"{CosemDate.from_bytes(octets)} (date)"
    if is_logical_name(octets):
        return logical_name(octets)
    text = printable(octets)
    return f'"{text}"' if text else hex_text(octets)


def printable(octets: bytes) -> str:
    """The text in octets that hold nothing else, without the zeros that fill it up; empty when they hold something else."""
    try:
        text = octets.rstrip(b"\x00").decode("ascii")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def hex_text(octets: bytes) -> str:
    """Hexadecimal, not more than anybody reads."""
    more = f" … {len(octets)} octets" if len(octets) > _SHOWN else ""
    return octets[:_SHOWN].hex(" ") + more if octets else "empty"


def system_title(octets: bytes) -> str:
    """A system title and whose it is."""
    flag = from_octets(octets)
    if flag is None:
        return octets.hex().upper()
    maker = find_manufacturer(flag)
    return f"{octets.hex().upper()} ({flag}{', ' + maker if maker else ''})"


def is_scaler_unit(node: Node) -> bool:
    """A structure of integer and enum whose enum is a unit."""
    return (
        node.tag is Tag.STRUCTURE
        and [child.tag for child in node.children] == [Tag.INT8, Tag.ENUM]
        and isinstance(node.children[1].value, int)
        and (find_unit(node.children[1].value) is not None or node.children[1].value == _ANY)
    )


def scaler_unit_text(node: Node) -> str:
    """Scaler and unit of such a structure."""
    scaler, unit = (child.plain() for child in node.children)
    shown = unit_text(unit) if isinstance(unit, int) else ""
    return f"scaler {scaler!s}, {shown}"


def leaf_text(node: Node) -> str:
    """The value of a node without children."""
    if node.descriptor is not None:
        class_id, name, attribute_id = node.descriptor
        return f"class {class_text(class_id)}, {logical_name(name)}, attribute {attribute_text(class_id, attribute_id)}"
    value = node.value
    if isinstance(value, bytes):
        return _timed(node.tag, value) or octets_text(value)
    if isinstance(value, str):
        return f'"{value}"' if node.tag is not Tag.BIT_STRING else value
    if isinstance(value, list):
        return _listed(value)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _timed(tag: Tag | None, octets: bytes) -> str:
    """Octets of the types for dates and times."""
    try:
        if tag is Tag.DATE_TIME:
            return date_time_text(octets)
        if tag is Tag.DATE:
            return str(CosemDate.from_bytes(octets))
        if tag is Tag.TIME:
            return str(CosemTime.from_bytes(octets))
    except DecodeError:
        pass
    return ""


def _listed(values: Iterable[object]) -> str:
    """Plain values, as those of a compact-array."""
    shown = (
        _listed(value) if isinstance(value, list) else octets_text(value) if isinstance(value, bytes) else str(value)
        for value in values
    )
    return "{" + ", ".join(shown) + "}"
