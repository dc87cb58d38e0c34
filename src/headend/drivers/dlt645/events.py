"""Event records of 2007: the last ten times that something happened, each under an identifier, 03xxxx01 the newest. Pure.

A record begins with the time at which it happened; that of setting the clock with the operator and the times before and after.
Behind it stand an end, an operator and what was changed, or what the meter measured then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headend.errors import ConfigError
from headend.protocols.dlt645.formats import Time
from headend.protocols.dlt645.moment import Moment
from headend.standards.dlt645 import Version, find_register

RECORDS: Final = 10
"""that a meter keeps of each kind"""
_EVENTS: Final = 3
_SECOND: Final = Time(("YY", "MM", "DD", "hh", "mm", "ss"))
_OPERATOR: Final = 4
_CLOCK_SET: Final = 0x3004
_CHANGED: Final = frozenset({0x3000, 0x3003})
"""records that name the identifiers of what was programmed, or cleared"""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """When something happened, and what else the record says, for people."""

    time: Moment
    text: str


def is_event(di: int) -> bool:
    """The identifier is that of an event log: of its newest record, of which the length is known."""
    register = find_register(di, Version.V2007) if di >> 24 == _EVENTS and di & 0xFF == 1 else None
    return register is not None and register.length > _SECOND.size


def code_of(di: int) -> int:
    """What happened, as a number: DI2 and DI1."""
    return di >> 8 & 0xFFFF


def decode_event(di: int, octets: bytes) -> EventRecord | None:
    """A record; None where there is none yet. Raises DecodeError for a time that cannot be."""
    register = find_register(di, Version.V2007)
    if register is None:
        raise ConfigError(f"{di:08X} is no event record")
    code, place = code_of(di), 0
    if code == _CLOCK_SET:
        before = _SECOND.decode(octets, _OPERATOR)
        place = _OPERATOR + _SECOND.size
        text = f"operator {_digits(octets[:_OPERATOR])}, before {before}"
    elif register.length == 2 * _SECOND.size:
        text = f"until {_SECOND.decode(octets, _SECOND.size) or '?'}"
    elif code >> 8 == _CLOCK_SET >> 8 and register.length >= _SECOND.size + _OPERATOR and code < 0x300D:
        rest = octets[_SECOND.size :]
        text = " ".join(
            [f"operator {_digits(rest[:_OPERATOR])}", *(_identifiers(rest[_OPERATOR:]) if code in _CHANGED else ())]
        )
    else:
        text = octets[_SECOND.size :].hex()
    time = _SECOND.decode(octets, place)
    return None if time is None or time.to_datetime() is None else EventRecord(time, text)


def _digits(octets: bytes) -> str:
    return octets[::-1].hex()


def _identifiers(octets: bytes) -> list[str]:
    """The identifiers in a record; FF stands for none."""
    each = [octets[at : at + 4] for at in range(0, len(octets) - 3, 4)]
    return [_digits(di).upper() for di in each if di != b"\xff" * 4]
