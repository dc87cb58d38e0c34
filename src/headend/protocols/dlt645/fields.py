"""What requests and answers of DL/T 645 are made of: identifiers, passwords, addresses, two digits in an octet."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlt645.frame import Address
from headend.standards.dlt645 import Version

NO_OPERATOR: Final = bytes(4)
DI_SIZE: Final = {Version.V2007: 4, Version.V1997: 2}
"""Octets of a data identifier."""


class ControlCommand(enum.IntEnum):
    """N1 of a `Control`."""

    TRIP = 0x1A
    PERMIT_CLOSE = 0x1B
    """the customer closes with the button"""
    CLOSE = 0x1C
    ALARM = 0x2A
    END_ALARM = 0x2B
    KEEP_POWER = 0x3A
    END_KEEP_POWER = 0x3B


class OutputSignal(enum.IntEnum):
    """What the multi-function terminal gives out."""

    SECONDS = 0x00
    DEMAND_PERIOD = 0x01
    TARIFF_SWITCH = 0x02


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """A level (PA: 0 is the highest, 98 and 99 go through a security module) and P0 P1 P2 as they travel. It never shows."""

    level: int
    octets: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 0xFF or len(self.octets) != 3:
            raise LocalProtocolError("a password is a level of one octet and three octets more")

    @classmethod
    def parse(cls, digits: str, level: int) -> Password:
        """Six digits as people write them, P2 P1 P0; ValueError (which does not say them) for anything else."""
        if len(digits) != 6 or not (digits.isascii() and digits.isdecimal()):
            raise ValueError("a password of DL/T 645 has six digits")
        return cls(to_bcd(level), bytes.fromhex(digits)[::-1])

    def to_octets(self) -> bytes:
        """PA P0 P1 P2."""
        return bytes((self.level,)) + self.octets

    def __repr__(self) -> str:
        return "<password>"


def to_bcd(number: int) -> int:
    """Two digits in an octet; raises ValueError."""
    if not 0 <= number <= 99:
        raise ValueError(f"{number} does not have two digits")
    return number // 10 << 4 | number % 10


def decode_password(data: bytes, offset: int) -> Password:
    """PA P0 P1 P2 at an offset where they are known to be."""
    return Password(data[offset], data[offset + 1 : offset + 4])


def sized(data: bytes, *sizes: int) -> bytes:
    """The data, when they have one of these sizes; raises DecodeError."""
    if len(data) not in sizes:
        expected = " or ".join(map(str, sizes))
        raise DecodeError("wrong length of the data", offset=0, expected=f"{expected} octets", got=str(len(data)))
    return data


def at_least(data: bytes, size: int) -> bytes:
    """The data, when they are long enough; raises DecodeError."""
    if len(data) < size:
        raise DecodeError(
            "the data are cut off", offset=len(data), expected=f"at least {size} octets", got=str(len(data))
        )
    return data


def encode_di(di: int, version: Version) -> bytes:
    """A data identifier, least significant octet first; LocalProtocolError when it is too long for the version."""
    size = DI_SIZE[version]
    if not 0 <= di < 1 << 8 * size:
        raise LocalProtocolError(f"data identifier {di:X} does not have the {size} octets of {version.value}")
    return di.to_bytes(size, "little")


def decode_di(data: bytes, version: Version) -> tuple[int, int]:
    """The data identifier at the beginning, and how many octets it has; raises DecodeError."""
    size = DI_SIZE[version]
    return int.from_bytes(at_least(data, size)[:size], "little"), size


def encode_operator(octets: bytes) -> bytes:
    """C0 C1 C2 C3; raises LocalProtocolError for another number of octets."""
    if len(octets) != 4:
        raise LocalProtocolError("an operator code has four octets")
    return octets


def encode_credentials(password: Password | None, operator: bytes) -> bytes:
    """PA P0 P1 P2 C0 C1 C2 C3; raises LocalProtocolError without a password."""
    if password is None:
        raise LocalProtocolError("DL/T 645-2007 wants a password here")
    return password.to_octets() + encode_operator(operator)


def decode_address(data: bytes) -> Address:
    """Six octets of an address and nothing else; raises DecodeError."""
    try:
        return Address(sized(data, 6))
    except LocalProtocolError:
        raise DecodeError("not an address", offset=0, expected="twelve BCD digits", got=data.hex(" ")) from None
