"""Meters that answer with the same measurements again and again, bit by bit, although energy flows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from headend.model.quantity import Kind, find_quantity
from headend.model.reading import ReadingBatch, Source, Value


@dataclass(frozen=True, slots=True)
class Finding:
    """A meter is frozen: the value of this quantity should have grown."""

    quantity: str
    value: Value
    reads: int
    seconds: float


class _Last:
    __slots__ = ("at", "reads", "since", "told", "values")

    def __init__(self, batch: ReadingBatch) -> None:
        self.values = list(batch.values)
        self.since = self.at = max(batch.measured_at)
        self.reads = 1
        self.told = 0


@lru_cache(maxsize=1024)
def _columns(quantities: tuple[str, ...]) -> tuple[int, int] | None:
    """Where energy and active power stand among the quantities of a read; None where both are not there."""
    energy = power = None
    for index, key in enumerate(quantities):
        known = find_quantity(key)
        if known is None:
            continue
        if energy is None and known.unit == "Wh" and known.kind is Kind.CUMULATIVE:
            energy = index
        elif power is None and known.unit == "W" and known.kind is Kind.INSTANT:
            power = index
    return None if energy is None or power is None else (energy, power)


class Frozen:
    """Watches the reads of all meters.

    A meter is frozen when all values of `reads` reads were the same while its time went on,
    and at the power that it tells so much energy has flowed meanwhile that its register must have moved.
    """

    def __init__(self, reads: int, seconds: float, watt_hours: float) -> None:
        self._reads = reads
        self._seconds = seconds
        self._watt_hours = watt_hours
        self._last: dict[str, _Last] = {}

    def take(self, batch: ReadingBatch) -> Finding | None:
        """One read: a finding when the meter is frozen, again only after as many more reads, and never for a gap."""
        if batch.source is not Source.POLL or not batch.quantities:
            return None
        columns = _columns(tuple(batch.quantities))
        if columns is None:
            return None
        last = self._last.get(batch.meter_id)
        if last is None or last.values != list(batch.values):
            self._last[batch.meter_id] = _Last(batch)
            return None
        at = max(batch.measured_at)
        if at <= last.at:
            return None
        last.at = at
        last.reads += 1
        seconds = (at - last.since) / 1000
        power = batch.values[columns[1]]
        if not isinstance(power, int | float) or abs(power) * seconds / 3600 < self._watt_hours:
            return None
        if last.reads - last.told < self._reads or seconds < self._seconds:
            return None
        last.told = last.reads
        energy = columns[0]
        return Finding(batch.quantities[energy], batch.values[energy], last.reads, seconds)

    def forget(self, meter_id: str) -> None:
        """A meter was changed or removed."""
        self._last.pop(meter_id, None)
