"""Units of COSEM values (IEC 62056-6-2, 4.3.2): the second element of scaler_unit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from headend.standards.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: a value in it times `factor` is a value in `base`, the unit in which readings are kept."""

    code: int
    symbol: str
    quantity: str
    base: str
    factor: Fraction

    @property
    def exponent(self) -> int | None:
        """The power of ten that `factor` is; None when it is none."""
        for digits in range(10):
            if self.factor == 10**digits:
                return digits
            if self.factor * 10**digits == 1:
                return -digits
        return None


@cache
def units() -> Mapping[int, Unit]:
    """All units by code."""
    return MappingProxyType({unit.code: unit for unit in map(_unit, read_table("units"))})


def find_unit(code: int) -> Unit | None:
    """The unit of a code; None for reserved ones."""
    return units().get(code)


def _unit(row: Mapping[str, str]) -> Unit:
    dividend, _, divisor = row["factor"].partition("/")
    factor = Fraction(dividend) / Fraction(divisor or 1)
    return Unit(int(row["code"]), row["symbol"], row["quantity"], row["base"], factor)
