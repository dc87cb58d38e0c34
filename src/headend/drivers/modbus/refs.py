"""Addresses of Modbus objects: `input/0x0156/f32`, `holding/0x000B/u16`, `holding/0x1000/i32-little`, `coil/0x0000`."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from headend.errors import ConfigError
from headend.model.objects import ObjectRef
from headend.protocols.modbus.pdu import Function
from headend.protocols.modbus.values import RegisterType

PROTOCOL: Final = "modbus"


class Table(enum.Enum):
    """The four tables of a Modbus device, by the function that reads them."""

    COIL = Function.READ_COILS
    DISCRETE = Function.READ_DISCRETE_INPUTS
    HOLDING = Function.READ_HOLDING_REGISTERS
    INPUT = Function.READ_INPUT_REGISTERS

    @property
    def is_bits(self) -> bool:
        """Coils and discrete inputs."""
        return self in (Table.COIL, Table.DISCRETE)


@dataclass(frozen=True, slots=True)
class RegisterRef:
    """A value in a table. `type` is None for a bit. `address` counts from 0, as on the wire."""

    table: Table
    address: int
    type: RegisterType | None

    @property
    def size(self) -> int:
        """How many registers (or bits) it takes."""
        return self.type.registers if self.type else 1

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.size

    def __str__(self) -> str:
        tail = f"/{self.type}" if self.type else ""
        return f"{self.table.name.lower()}/0x{self.address:04X}{tail}"


_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5}")
_EXPECTED: Final = "TABLE/ADDRESS/TYPE, for example input/0x0034/f32, or coil/0x0000"


@lru_cache(maxsize=8192)
def register_ref(text: str) -> RegisterRef:
    """Parse an address; raises ConfigError."""
    name, _, rest = text.strip().partition("/")
    address, _, kind = rest.partition("/")
    try:
        table = Table[name.upper()]
    except KeyError:
        tables = ", ".join(member.name.lower() for member in Table)
        raise ConfigError(f"unknown table in {text!r}: expected one of {tables}", hint=_EXPECTED) from None
    if not _ADDRESS.fullmatch(address):
        raise ConfigError(f"wrong address in {text!r}: expected 0x0000 to 0xFFFF", hint=_EXPECTED)
    if table.is_bits == bool(kind):
        wrong = "a bit has no type" if kind else "a register needs a type"
        raise ConfigError(f"{wrong} in {text!r}", hint=_EXPECTED)
    try:
        ref = RegisterRef(table, int(address, 16 if address[:2] in ("0x", "0X") else 10), _type(kind))
    except ValueError as error:
        raise ConfigError(f"{error} in {text!r}", hint=_EXPECTED) from None
    if ref.end > 0x10000:
        raise ConfigError(f"{text!r} reaches beyond address 0xFFFF", hint=_EXPECTED)
    return ref


def _type(kind: str) -> RegisterType | None:
    return RegisterType.parse(kind) if kind else None


def parse_ref(text: str) -> ObjectRef:
    """The canonical reference of an address."""
    return ObjectRef(PROTOCOL, str(register_ref(text)))
