"""Manufacturer ids of three letters (FLAG association; DLMS UA): in logical device names, system titles and M-Bus."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from headend.errors import ConfigError, DecodeError
from headend.standards.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def manufacturers() -> Mapping[str, str]:
    """The names of all registered manufacturers by id."""
    return MappingProxyType({row["flag"]: row["name"] for row in read_table("flag")})


def find_manufacturer(flag: str) -> str | None:
    """The name of a manufacturer; None when the id (in any case) is not registered."""
    return manufacturers().get(flag.upper())


def from_octets(octets: bytes) -> str | None:
    """The id that a system title or a logical device name begins with, registered or not; None when there is none."""
    flag = octets[:3].decode("latin-1").upper()
    return flag if _is_flag(flag) else None


def to_mbus(flag: str) -> int:
    """The two octets that say the same in M-Bus (EN 13757-7): five bits for each letter."""
    if not _is_flag(flag):
        raise ConfigError(f"a manufacturer id has three letters A to Z, not {flag!r}")
    first, second, third = (ord(letter) - 0x40 for letter in flag)
    return first << 10 | second << 5 | third


def from_mbus(code: int) -> str:
    """The id of an M-Bus manufacturer code; the highest bit (soft or hard address) is ignored."""
    flag = "".join(chr((code >> shift & 0x1F) + 0x40) for shift in (10, 5, 0))
    if not _is_flag(flag):
        raise DecodeError("manufacturer code", expected="three letters", got=f"{code:04X}")
    return flag


def _is_flag(flag: str) -> bool:
    return len(flag) == 3 and all("A" <= letter <= "Z" for letter in flag)
