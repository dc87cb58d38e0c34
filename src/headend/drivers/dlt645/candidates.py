"""Identifiers that a meter may have, for a probe: what most meters of 2007 have, or a pattern of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, product
from math import prod
from typing import Final

from headend.drivers.dlt645.refs import DataRef
from headend.drivers.dlt645.values import quantity_of
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.standards.dlt645 import Version, find_register

_CURATED: Final = (
    *("00[00-0A][00-04]00", "00[00-02]0001", "00[15-16]0000", "00[29-2A]0000", "00[3D-3E]0000", "0090[01-02][00-01]"),
    *("01[01-02][00-04]00", "02[01-09][00-03]00", "020C[01-03]00", "028000[01-0B]", "0330[00-04]00"),
    *("040001[01-0C]", "040002[01-06]", "040003[01-07]", "040004[01-0D]", "040005[01-07]", "04000B[01-03]"),
    *("048000[01-03]", "0506[00-02]01"),
)
_PLACE: Final = re.compile(r"\[([0-9A-F]+)-([0-9A-F]+)\]|[0-9A-F]", re.IGNORECASE)
_EXPECTED: Final = "write 00[01-0A][00-04]00, or 90[10-2F] for a meter of 1997"
_MOST: Final = 0x10000


def candidates(text: str) -> Iterator[ObjectEntry]:
    """The identifiers that a pattern stands for, and that can be read; the curated list for an empty text.

    Raises ConfigError.
    """
    found = chain.from_iterable(map(_identifiers, (text,) if text else _CURATED))
    for di, version in found:
        register = find_register(di, version)
        if register is None and not text:
            continue  # a place of the pattern that the standard has not given out
        if register is not None and register.access == "w":
            continue  # passwords
        quantity = quantity_of(register) if register else None
        yield ObjectEntry(
            ref=DataRef(di, version).object_ref,
            quantity=quantity.key if quantity else "",
            name=register.name if register else "",
            scaler=None,
        )


def _identifiers(pattern: str) -> Iterator[tuple[int, Version]]:
    """All identifiers of a pattern, in their order."""
    places = list(_PLACE.finditer(pattern))
    if "".join(place[0] for place in places) != pattern:
        raise ConfigError(f"{pattern!r} is no pattern of data identifiers", hint=_EXPECTED)
    choices = [_choices(place) for place in places]
    digits = sum(len(each[0]) for each in choices)
    if digits not in (4, 8):
        raise ConfigError(f"{pattern!r} does not stand for four or eight digits", hint=_EXPECTED)
    if prod(map(len, choices)) > _MOST:
        raise ConfigError(f"{pattern!r} stands for too many identifiers", hint=f"{_MOST} at a time at most")
    version = Version.V2007 if digits == 8 else Version.V1997
    return ((int("".join(each), 16), version) for each in product(*choices))


def _choices(place: re.Match[str]) -> list[str]:
    """The digits that may stand at one place of a pattern."""
    if place[1] is None:
        return [place[0]]
    low, high = int(place[1], 16), int(place[2], 16)
    if len(place[1]) != len(place[2]) or low > high or len(place[1]) > 4:
        raise ConfigError(f"{place[0]} is no range of hexadecimal digits", hint=_EXPECTED)
    return [f"{number:0{len(place[1])}X}" for number in range(low, high + 1)]
