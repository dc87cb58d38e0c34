"""What the services of xDLMS share: descriptors, selections, results, lists, blocks (IEC 62056-5-3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypeVar

from headend.drivers.dlms.explaining.data import data_layer
from headend.drivers.dlms.explaining.scribe import Octets, Scribe, words
from headend.drivers.dlms.explaining.words import (
    attribute_text,
    class_text,
    date_time_text,
    hex_text,
    logical_name,
    method_text,
)
from headend.errors import DecodeError, RemoteProtocolError
from headend.protocols.dlms.apdu.access import (
    BREAK_ON_ERROR,
    LONG_CONFIRMED,
    LONG_HIGH_PRIORITY,
    LONG_INVOKE_ID,
    SELF_DESCRIPTIVE,
)
from headend.protocols.dlms.apdu.descriptor import AccessSelection, ActionResult, DataAccessResult
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.selective import RangeDescriptor, from_selection

_T = TypeVar("_T")

Target: TypeAlias = tuple[int, int]
"""Class, and attribute or method."""

SECRET_ATTRIBUTES: Final = frozenset({(15, 7), (19, 7), (19, 8), (19, 9), (44, 5), (45, 3), (46, 4)})
"""Passwords of associations, of local ports, of PPP, of SIM cards and of mail servers."""
SECRET_METHODS: Final = frozenset({(12, 5), (12, 6), (15, 2), (64, 2), (72, 7), (72, 8)})
"""Methods whose parameters are keys or secrets: change_HLS_secret, key_transfer and their like."""


def invoke_id(scribe: Scribe) -> None:
    """The octet of invoke id, service class and priority."""

    def show(value: int) -> str:
        confirmed = "confirmed" if value & 0x40 else "unconfirmed"
        priority = "high" if value & 0x80 else "normal"
        return f"{value:02X} (invoke id {value & 0x0F}, {confirmed}, {priority} priority)"

    scribe.number("invoke-id-and-priority", 1, show)


def long_invoke_id(scribe: Scribe) -> None:
    """The four octets of it in notifications and ACCESS."""

    def show(value: int) -> str:
        confirmed = "confirmed" if value & LONG_CONFIRMED else "unconfirmed"
        priority = "high" if value & LONG_HIGH_PRIORITY else "normal"
        wishes = (", self-descriptive" if value & SELF_DESCRIPTIVE else "") + (
            ", break on error" if value & BREAK_ON_ERROR else ""
        )
        return f"{value & LONG_INVOKE_ID} ({confirmed}, {priority} priority{wishes})"

    scribe.number("long-invoke-id-and-priority", 4, show)


def attribute(scribe: Scribe) -> Target:
    """A cosem-attribute-descriptor."""
    class_id = scribe.number("class id", 2, class_text)
    scribe.take(6, "logical name", logical_name)
    return class_id, scribe.number("attribute id", 1, lambda value: attribute_text(class_id, value))


def selected(scribe: Scribe, _index: int) -> Target:
    """An attribute and the part of it that is selected."""
    target = attribute(scribe)
    selection(scribe)
    return target


def method(scribe: Scribe) -> Target:
    """A cosem-method-descriptor."""
    class_id = scribe.number("class id", 2, class_text)
    scribe.take(6, "logical name", logical_name)
    return class_id, scribe.number("method id", 1, lambda value: method_text(class_id, value))


def selection(scribe: Scribe) -> None:
    """The optional selective access."""
    if not scribe.flag("selective access"):
        return
    selector = scribe.number("access selector")
    start = scribe.reader.offset
    parameters = one_value(scribe)
    scribe.layers.append(data_layer(parameters, "access parameters"))
    try:
        selected = from_selection(AccessSelection(selector, parameters.data))
    except RemoteProtocolError as error:
        raise DecodeError("selective access", offset=start, expected=error.expected, got=error.got) from None
    if isinstance(selected, RangeDescriptor):
        meaning = f"rows whose {logical_name(selected.restricting.logical_name.to_bytes())} lies in a range"
    else:
        meaning = f"rows {selected.from_entry} to {selected.to_entry or 'the last'}"
    scribe.note("selects", meaning, start)


def one_value(scribe: Scribe) -> Octets:
    """The octets of the next value."""
    reader = scribe.reader
    start = reader.offset
    _, reader.offset = decode_data(reader.data, start, reader.end)
    return scribe.octets.part(start, reader.offset)


def many(scribe: Scribe, what: str, each: Callable[[Scribe, int], _T]) -> list[_T]:
    """A list: its count, and what `each` makes of every element."""
    start = scribe.reader.offset
    count = scribe.reader.length(what)
    scribe.note(what, str(count), start)
    return [each(scribe, index) for index in range(count)]


def values(scribe: Scribe, targets: Iterable[Target] = (), secrets: frozenset[Target] = frozenset()) -> None:
    """A list of values; not shown when one of its targets is a secret."""
    if secrets.intersection(targets):
        scribe.layers.append(data_layer(scribe.rest(), "values", secret=True))
        return
    many(scribe, "values", lambda inner, at: inner.layers.append(data_layer(one_value(inner), f"[{at}] data")))


def block(scribe: Scribe) -> None:
    """DataBlock-SA, the block of SET and ACTION."""
    scribe.flag("last block")
    scribe.number("block number", 4)
    scribe.string("raw data", hex_text)


def access_result(value: int) -> str:
    """A data-access-result."""
    return f"{value} ({words(DataAccessResult(value).name)})"


def action_result(value: int) -> str:
    """An action-result."""
    return f"{value} ({words(ActionResult(value).name)})"


def result(scribe: Scribe, index: int | None = None) -> None:
    """Get-Data-Result: data, or the reason why there are none."""
    place = "" if index is None else f"[{index}] "
    if scribe.number(f"{place}result", 1, lambda value: "data-access-result" if value else "data"):
        scribe.number(f"{place}data-access-result", 1, access_result)
    elif index is None:
        scribe.layers.append(data_layer(scribe.rest()))
    else:
        scribe.layers.append(data_layer(one_value(scribe), f"{place}data"))


def date_time(scribe: Scribe, name: str) -> None:
    """A length and none or twelve octets, with a tag before them in meters of Kaifa."""
    reader, start = scribe.reader, scribe.reader.offset
    tagged = reader.data[start : start + 2] == b"\x09\x0c"
    if tagged:
        reader.u8(name)
    octets = reader.string(name)
    if len(octets) not in {0, 12}:
        raise DecodeError(name, offset=start, expected="0 or 12 octets", got=str(len(octets)))
    scribe.note(name, date_time_text(octets) if octets else "none", start)
    if tagged:
        scribe.note(
            "peculiarity",
            "date-time as tagged octet-string, as some meters send it: 09 before the length (Kaifa)",
            start,
        )
