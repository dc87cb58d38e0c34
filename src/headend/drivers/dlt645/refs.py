"""Addresses of DL/T 645 objects: `00010000`, a block `0001FF00`, `9010` of 1997, an item of a block, a part of an item.

`00010001` is what the settlement before left, `06010001` a load record. `05060101/2` is the third item of a block whose items
have no identifiers of their own (counted from 0), `01010000/time` when the maximum was reached, `04000503/bit4` a bit as yes
or no and `04000503/not4` its opposite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from headend.errors import ConfigError
from headend.model.objects import ObjectRef
from headend.standards.dlt645 import Register, Version, di_of_1997, find_register, format_di

PROTOCOL: Final = "dlt645"
TIME: Final = "time"
METHODS: Final = ("alarm", "keep-power", "baud", "output")
"""What can be invoked: the alarm before the relay opens and the keeping of the supply (1 on, 0 off), the speed, the signal."""

_WRITTEN: Final = re.compile(
    r"([0-9A-F]{8}|[0-9A-F]{4})(?:/(\d{1,2}))?(?:/(TIME|(?:BIT|NOT)\d{1,2}))?", re.IGNORECASE | re.ASCII
)
PASSWORDS: Final = range(0x04000C01, 0x04000C0B)
"""of the levels 0 to 9"""
_EXPECTED: Final = "eight hexadecimal digits such as 00010000, or four of 1997 such as 9010"


@dataclass(frozen=True, slots=True)
class DataRef:
    """What is read: a data identifier, and what of it."""

    di: int
    version: Version
    item: int | None = None
    part: str = ""

    @property
    def register(self) -> Register | None:
        """What the tables say of it."""
        return find_register(self.di, self.version)

    @property
    def bit(self) -> int | None:
        """Which bit it is, where it is one."""
        return int(self.part[3:]) if self.part[:3] in ("bit", "not") else None

    @property
    def object_ref(self) -> ObjectRef:
        """The same for the layers above."""
        return ObjectRef(PROTOCOL, str(self))

    def __str__(self) -> str:
        item = "" if self.item is None else f"/{self.item}"
        return format_di(self.di, self.version) + item + (f"/{self.part}" if self.part else "")


@lru_cache(maxsize=8192)
def data_ref(text: str) -> DataRef:
    """Parse an address; raises ConfigError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no data identifier of DL/T 645", hint=_EXPECTED)
    digits, item, part = found[1], found[2], (found[3] or "").lower()
    version = Version.V2007 if len(digits) == 8 else Version.V1997
    if part[:3] in ("bit", "not"):
        part = f"{part[:3]}{int(part[3:])}"
    return DataRef(int(digits, 16), version, None if item is None else int(item), part)


@lru_cache(maxsize=8192)
def speak(ref: DataRef, version: Version) -> DataRef | None:
    """The same in the identifiers of the version that a meter speaks; None when that has no such thing.

    Identifiers of 2007 are everybody's, those of 1997 only for meters that know no others.
    """
    if ref.version is version:
        return ref
    di = di_of_1997(ref.di) if version is Version.V1997 else None
    return None if di is None else DataRef(di, version, ref.item, ref.part)


def parse_ref(text: str) -> ObjectRef:
    """The canonical reference of an address, or of something that can be invoked."""
    if text in METHODS:
        return ObjectRef(PROTOCOL, text)
    return data_ref(text).object_ref
