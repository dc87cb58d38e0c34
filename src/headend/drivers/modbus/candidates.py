"""Registers that a meter may have, for a probe: a range. What meter files know is added by those who probe. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headend.drivers.modbus.refs import register_ref
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry, ObjectRef

_RANGE: Final = re.compile(r"(\w+)/(\w+)-(\w+)(/\S+)?")
_EXPECTED: Final = "write input/0x0000-0x0050/f32, holding/100-200/u16 or coil/0-16"


def candidates(text: str) -> Iterator[ObjectEntry]:
    """One entry for each value that fits into a range of addresses, one behind the other; nothing for an empty text.

    Raises ConfigError.
    """
    if not text:
        return
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no range of registers", hint=_EXPECTED)
    table, low, high, kind = found[1], found[2], found[3], found[4] or ""
    first, last = register_ref(f"{table}/{low}{kind}"), register_ref(f"{table}/{high}{kind}")
    if first.address > last.address:
        raise ConfigError(f"{text!r}: the range ends before it begins", hint=_EXPECTED)
    for address in range(first.address, last.address + 1, first.size):
        ref = register_ref(f"{table}/0x{address:04X}{kind}")
        yield ObjectEntry(ref=ObjectRef("modbus", str(ref)), scaler=0)
