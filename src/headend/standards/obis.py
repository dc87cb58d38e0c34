"""OBIS codes (IEC 62056-6-1): six groups A to F that name a quantity, and patterns over them.

Written `A-B:C.D.E*F` in the standard and `A-B:C.D.E.F` here. A pattern has the same form; each group is a number, `x`
or `*` (any value), or a set in brackets: `[0-4]`, `[1,2,21-23]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from headend.errors import ConfigError, DecodeError

_GROUP = r"(\d{1,3}|[xX*]|\[\d{1,3}(?:-\d{1,3})?(?:,\d{1,3}(?:-\d{1,3})?)*\])"
_WRITTEN: Final = re.compile(rf"{_GROUP}[-.]{_GROUP}[:.]{_GROUP}\.{_GROUP}\.{_GROUP}(?:[.*&]{_GROUP})?")
_ANY: Final = frozenset(range(256))


@dataclass(frozen=True, slots=True, order=True)
class Obis:
    """One OBIS code; a logical name in COSEM. Each group is 0 to 255, anything else raises ConfigError."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int = 255

    def __post_init__(self) -> None:
        for group in (self.a, self.b, self.c, self.d, self.e, self.f):
            if not 0 <= group <= 255:
                raise ConfigError(f"OBIS group {group} is not in 0..255")

    @classmethod
    def parse(cls, text: str) -> Obis:
        """Read `1-0:1.8.0*255`, `1-0:1.8.0.255`, `1.0.1.8.0.255` or `1-0:1.8.0` (F is 255 then); else ConfigError."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or not all(group is None or group.isdecimal() for group in found.groups()):
            raise ConfigError(f"not an OBIS code: {text!r}", hint="write it like 1-0:1.8.0.255")
        return cls(*(int(group) for group in found.groups("255")))

    @classmethod
    def from_bytes(cls, data: bytes) -> Obis:
        """Read the six octets of a logical name; any other length raises DecodeError."""
        if len(data) != 6:
            raise DecodeError("logical name", expected="6 octets", got=str(len(data)))
        return cls(*data)

    def to_bytes(self) -> bytes:
        """The six octets of a logical name."""
        return bytes((self.a, self.b, self.c, self.d, self.e, self.f))

    def match(self, pattern: str) -> bool:
        """True when every group is one that the pattern allows; a malformed pattern raises ConfigError."""
        groups = parse_pattern(pattern)
        return (
            self.c in groups[2]
            and self.d in groups[3]
            and self.e in groups[4]
            and self.a in groups[0]
            and self.b in groups[1]
            and self.f in groups[5]
        )

    def __str__(self) -> str:
        return f"{self.a}-{self.b}:{self.c}.{self.d}.{self.e}.{self.f}"


@lru_cache(maxsize=4096)
def parse_pattern(pattern: str) -> tuple[frozenset[int], ...]:
    """The values that each of the six groups may take; a pattern without F means F = 255."""
    found = _WRITTEN.fullmatch(pattern.strip())
    if found is None:
        raise ConfigError(f"not an OBIS pattern: {pattern!r}", hint="write it like 1-0:x.8.[0-4].255")
    return tuple(_parse_group(group, pattern) for group in found.groups("255"))


def _parse_group(group: str, pattern: str) -> frozenset[int]:
    if group in ("x", "X", "*"):
        return _ANY
    values: set[int] = set()
    for part in group.strip("[]").split(","):
        low, _, high = part.partition("-")
        values.update(range(int(low), int(high or low) + 1))
    if not values or not values <= _ANY:
        raise ConfigError(f"OBIS pattern {pattern!r}: {group} is not in 0..255")
    return frozenset(values)
