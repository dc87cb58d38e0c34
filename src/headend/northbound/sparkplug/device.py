"""A meter as a Sparkplug device: which metrics it has, of which type, under which alias, and what a batch makes of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from headend.model.profile import MeterProfile
from headend.model.quantity import Kind, Quantity, find_quantity
from headend.model.reading import Quality as Doubt
from headend.model.reading import ReadingBatch, Source, Value
from headend.northbound.sparkplug.payload import Datatype, Metric, Quality

RELAY: Final = "relay_closed"
_DOUBTFUL: Final = Doubt.OUT_OF_RANGE | Doubt.MISSING | Doubt.CLOCK_INVALID


def datatype_of(quantity: Quantity) -> Datatype:
    """The type of a quantity's metric: one for all its readings, for the life of a session."""
    if quantity.key == RELAY:
        return Datatype.BOOLEAN
    return Datatype.STRING if not quantity.unit and quantity.kind is Kind.STATUS else Datatype.DOUBLE


def value_of(datatype: Datatype, value: Value) -> Value | None:
    """A reading as the value of its metric; None where it cannot be one."""
    match datatype:
        case Datatype.STRING:
            return str(value)
        case Datatype.BOOLEAN:
            return None if isinstance(value, str) else bool(value)
        case _:
            if isinstance(value, str):
                return None
            try:
                number = float(value)
            except OverflowError:
                return None
            return number if math.isfinite(number) else None


@dataclass(slots=True)
class Device:
    """What is known of a device in a session: its metrics, in the order of their birth, and their last values."""

    meter_id: str
    aliases: dict[str, int]
    last: dict[str, Metric] = field(default_factory=dict)
    alive: bool = False
    """born and not dead"""

    def birth(self, now: int, live_seconds: Callable[[str], float]) -> list[Metric]:
        """All metrics with their names, types, units and last values, the oldest value first."""
        born = (self._born(key, alias, now, live_seconds(key)) for key, alias in self.aliases.items())
        return sorted(born, key=_time)

    def _born(self, key: str, alias: int, now: int, seconds: float) -> Metric:
        quantity = find_quantity(key)
        assert quantity is not None  # noqa: S101 - none other gets an alias
        last = self.last.get(key)
        is_stale = last is None or now - _time(last) > 1000 * seconds
        return Metric(
            name=key,
            alias=alias,
            timestamp=now if last is None else last.timestamp,
            datatype=datatype_of(quantity),
            value=None if last is None else last.value,
            quality=Quality.STALE if last is None or is_stale else last.quality,
            unit=quantity.unit,
        )

    def metrics(self, batch: ReadingBatch, *, late: bool) -> list[Metric]:
        """The metrics that a batch brings, oldest first; only what is of the present is no history."""
        newest: dict[str, int] = {}
        for key, at in zip(batch.quantities, batch.measured_at, strict=True):
            newest[key] = max(at, newest.get(key, at))
        past = late or batch.source is Source.HISTORY
        rows = sorted(self._rows(batch, newest, past=past), key=lambda row: _time(row[1]))
        for key, metric in rows:
            if not metric.is_historical:
                self.last[key] = metric
        return [metric for _, metric in rows]

    def _rows(self, batch: ReadingBatch, newest: Mapping[str, int], *, past: bool) -> Iterator[tuple[str, Metric]]:
        for key, value, at, doubt in zip(batch.quantities, batch.values, batch.measured_at, batch.quality, strict=True):
            alias, quantity = self.aliases.get(key), find_quantity(key)
            if alias is None or quantity is None:
                continue
            datatype = datatype_of(quantity)
            fitting = value_of(datatype, value)
            yield (
                key,
                Metric(
                    alias=alias,
                    timestamp=at,
                    datatype=datatype,
                    value=fitting,
                    is_historical=past or at < newest[key],
                    quality=Quality.BAD if doubt & _DOUBTFUL or fitting is None else Quality.GOOD,
                ),
            )
        for gap in batch.missing:
            if not past and gap.quantity not in newest and gap.quantity in self.aliases:
                yield (
                    gap.quantity,
                    Metric(alias=self.aliases[gap.quantity], timestamp=batch.received_at, quality=Quality.BAD),
                )


def _time(metric: Metric) -> int:
    return metric.timestamp or 0


def metrics_of(profile: MeterProfile | None, seen: Iterable[str], wants: Callable[[str], bool]) -> list[str]:
    """The quantities that a meter may ever tell: those of its profile and what came besides."""
    known = [entry.quantity for entry in profile.objects if entry.quantity] if profile else []
    return [key for key in dict.fromkeys([*known, *sorted(seen)]) if find_quantity(key) and wants(key)]
