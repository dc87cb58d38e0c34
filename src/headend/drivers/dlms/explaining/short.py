"""Services of short-name referencing, field by field (IEC 62056-5-3): READ, WRITE, InformationReport. Pure."""

from __future__ import annotations

from typing import Final

from headend.drivers.dlms.explaining.data import data_layer
from headend.drivers.dlms.explaining.parts import (
    SECRET_ATTRIBUTES,
    SECRET_METHODS,
    access_result,
    many,
    one_value,
    values,
)
from headend.drivers.dlms.explaining.scribe import Scribe
from headend.drivers.dlms.explaining.words import hex_text
from headend.errors import DecodeError

_VARIABLES: Final = {
    0x02: "variable name",
    0x04: "parameterized access",
    0x05: "block number access",
    0x06: "block of a read-request",
    0x07: "block of a write-request",
}
_READ_RESULTS: Final = {0: "data", 1: "data-access-error", 2: "data-block-result", 3: "block-number"}
_WRITE_RESULTS: Final = {0: "success", 1: "data-access-error", 2: "block-number"}


def walk_read_request(scribe: Scribe, _tag: int) -> None:
    """Variables to read."""
    many(scribe, "variables", _variable)


def walk_write_request(scribe: Scribe, _tag: int) -> None:
    """Variables to write and their data, which may be secrets where nobody knows what a name stands for."""
    if all(many(scribe, "variables", _variable)):
        values(scribe)
    else:
        scribe.layers.append(data_layer(scribe.rest(), "values", secret=True))


def walk_information_report(scribe: Scribe, _tag: int) -> None:
    """What a meter tells unasked."""
    if scribe.flag("time"):
        scribe.string("current time", lambda octets: octets.decode("ascii", "replace"))
    many(scribe, "variables", _variable)
    many(scribe, "values", lambda inner, at: inner.layers.append(data_layer(one_value(inner), f"[{at}] data")))


def walk_read_response(scribe: Scribe, _tag: int) -> None:
    """A result for each variable."""
    many(scribe, "results", _read_result)


def walk_write_response(scribe: Scribe, _tag: int) -> None:
    """What became of each write."""

    def each(inner: Scribe, index: int) -> None:
        kind = _choice(inner, f"[{index}] result", _WRITE_RESULTS)
        if kind == 1:
            inner.number(f"[{index}] data-access-error", 1, access_result)
        elif kind == 2:
            inner.number(f"[{index}] block number", 2)

    many(scribe, "results", each)


def _read_result(scribe: Scribe, index: int) -> None:
    kind = _choice(scribe, f"[{index}] result", _READ_RESULTS)
    if kind == 0:
        value = one_value(scribe)
        scribe.dialogue.names.hear(value.data)
        scribe.layers.append(data_layer(value, f"[{index}] data"))
    elif kind == 1:
        scribe.number(f"[{index}] data-access-error", 1, access_result)
    elif kind == 2:
        last, number, raw_data = _block(scribe, index)
        scribe.dialogue.names.hear_block(raw_data, number, last=last)
    else:
        scribe.number(f"[{index}] block number", 2)


def _variable(scribe: Scribe, index: int) -> bool:
    """A variable; True when it is known what it is, and that it is no secret."""
    member = None
    kind = _choice(scribe, f"[{index}] variable", _VARIABLES)
    if kind in {0x02, 0x04}:
        names = scribe.dialogue.names
        member = names.find(scribe.number(f"[{index}] short name", 2, names.text))
        if kind == 0x04:
            scribe.number(f"[{index}] selector")
            scribe.layers.append(data_layer(one_value(scribe), f"[{index}] access parameters"))
    elif kind == 0x05:
        scribe.number(f"[{index}] block number", 2)
    elif kind == 0x06:
        _block(scribe, index)
    else:
        scribe.flag(f"[{index}] last block")
        scribe.number(f"[{index}] block number", 2)
    if member is None:
        return False
    secrets = SECRET_METHODS if member.is_method else SECRET_ATTRIBUTES
    return (member.target.class_id, member.number) not in secrets


def _block(scribe: Scribe, index: int) -> tuple[bool, int, bytes]:
    last = scribe.flag(f"[{index}] last block")
    number = scribe.number(f"[{index}] block number", 2)
    return last, number, scribe.string(f"[{index}] raw data", hex_text)


def _choice(scribe: Scribe, name: str, known: dict[int, str]) -> int:
    offset = scribe.reader.offset
    choice = scribe.number(name, 1, lambda value: f"{value} ({known.get(value, 'unknown')})")
    if choice not in known:
        expected = ", ".join(f"{each:02X}" for each in known)
        raise DecodeError(name, offset=offset, expected=expected, got=f"{choice:02X}")
    return choice
