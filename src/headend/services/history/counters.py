"""Counters that show less than before: they have rolled over, were reset, or belong to another meter. Pure."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Final

from headend.model.quantity import Kind, find_quantity
from headend.model.reading import ReadingBatch

_ROLLED: Final = 0.05
"""Of its whole range: so near its end, and so little behind its beginning, is a counter that has rolled over."""


@dataclass(frozen=True, slots=True)
class Fall:
    """A counter that shows less at a time than at the one before."""

    quantity: str
    at: int
    before: float
    after: float

    @property
    def rolled_over(self) -> bool:
        """Was it at its end? Its range is a power of ten."""
        whole = 10.0 ** len(str(int(self.before)))
        return whole - self.before + self.after < _ROLLED * whole


def falls(batch: ReadingBatch, last: MutableMapping[str, tuple[int, float]]) -> Iterator[Fall]:
    """The falls in rows of a load profile; `last` holds time and value of the newest row of each counter, and is brought up."""
    columns: dict[str, list[tuple[int, float]]] = {}
    for quantity, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
        if isinstance(value, int | float) and not isinstance(value, bool):
            columns.setdefault(quantity, []).append((at, value))
    for quantity, rows in columns.items():
        known = find_quantity(quantity)
        if known is None or known.kind is not Kind.CUMULATIVE or "since_reset" in quantity:
            continue
        rows.sort()
        before = last.get(quantity)
        for at, value in rows:
            if before is not None and before[0] < at and value < before[1]:
                yield Fall(quantity, at, before[1], value)
            before = (at, value)
        if quantity not in last or rows[-1][0] > last[quantity][0]:
            last[quantity] = rows[-1]
