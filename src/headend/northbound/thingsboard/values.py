"""How values have to be written so that ThingsBoard stores them as what they are. Pure.

The platform stores a number as a 64-bit integer or as a double, and what fits neither as text, which breaks charts: integers
beyond 64 bits, numbers with more than 16 decimals, large doubles in exponent notation. With its usual setting it also makes a
number of every text that reads like one, and a serial number loses its leading zeros.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from headend.model.quantity import find_quantity
from headend.model.reading import ReadingBatch, Value

INT64: Final = 1 << 63
DECIMALS: Final = 16
DIGITS: Final = 15
KILO: Final = frozenset({"W", "Wh", "var", "varh", "VA", "VAh"})
"""Units of which a thousand are shown, where it is asked for."""
_USUAL: Final = 1e8
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfFlL]?|[+-]?0[xX][0-9a-fA-F]+")
BRIDGE_KEYS: Final[Mapping[str, str]] = {
    "active_power_import_total": "active_power",
    "active_energy_import_total": "active_energy",
    "active_energy_export_total": "active_energy_export",
}
"""Keys of the earlier bridge where they are not those of our catalogue."""


def plain(value: Value, prefix: str = "#") -> object | None:
    """What stands for a value in JSON; None for a number that the platform cannot hold.

    A text that reads like a number gets the prefix before it, or goes as `{"text": …}` where the prefix is empty.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        if -_USUAL < value < _USUAL and round(value, 6) == value:
            return value
        return _double(value)
    if isinstance(value, int):
        return value if -INT64 <= value < INT64 else None
    return text(value, prefix)


def text(value: str, prefix: str = "#") -> object:
    """A text that stays one."""
    value = value.encode("utf-8", "replace").decode()
    if _NUMBER.fullmatch(value.strip()) is None:
        return value
    return f"{prefix}{value}" if prefix else {"text": value}


def _double(value: float) -> float | None:
    if not math.isfinite(value) or abs(value) >= INT64:
        return None
    return round(float(f"{value:.{DIGITS}g}"), DECIMALS)


class Keys:
    """Under which key, and by what divided, a quantity is written."""

    def __init__(self, names: Mapping[str, str], *, kilo: bool, prefix: str) -> None:
        """`names` are keys for quantities; those that are not named keep their own."""
        self.prefix = prefix
        self._names = names
        self._kilo = kilo
        self._known: dict[str, tuple[str, int]] = {}

    def rows(self, batch: ReadingBatch) -> dict[int, dict[str, Any]]:
        """The readings of a batch by their time. What the platform cannot hold is left out."""
        rows: dict[int, dict[str, Any]] = {}
        known, prefix = self._known, self.prefix
        for quantity, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
            key, divisor = known.get(quantity) or self._learn(quantity)
            if divisor != 1 and isinstance(value, int | float) and not isinstance(value, bool):
                value = value / divisor  # noqa: PLW2901 # the same amount in the larger unit
            said = plain(value, prefix)
            if said is not None:
                row = rows.get(at)
                if row is None:
                    row = rows[at] = {}
                row[key] = said
        return rows

    def name(self, quantity: str) -> str:
        """The key of a quantity."""
        return self._names.get(quantity, quantity)

    def _learn(self, quantity: str) -> tuple[str, int]:
        found = find_quantity(quantity)
        divisor = 1000 if self._kilo and found is not None and found.unit in KILO else 1
        known = self._known[quantity] = (self.name(quantity), divisor)
        return known
