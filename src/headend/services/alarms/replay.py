"""Trying a rule on what is stored: the same engine over the readings and events of the past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.errors import ConfigError
from headend.model.alarm import Alarm, AlarmRule
from headend.model.event import Event
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.alarms.engine import Engine
from headend.services.alarms.table import LOAD, Table

if TYPE_CHECKING:
    from headend.storage.store import Store

MOST_READINGS: Final = 200_000
"""of one quantity"""
MOST_EVENTS: Final = 10_000


def replay(store: Store, meter_id: str, rule: AlarmRule, start: int, end: int) -> list[Alarm]:
    """The alarms, oldest first, that a rule would have raised from `start` until before `end`; blocks.

    Raises ConfigError for a rule that cannot be tried, StorageError.
    """
    rule = replace(rule, enabled=True)
    if rule.silence or not rule.complete:
        raise ConfigError(
            f"the rule {rule.id!r} cannot be tried",
            hint="a rule needs a quantity and a threshold (or a rating that its percent is of), or an event",
        )
    engine = Engine()
    engine.watch(meter_id, Table([rule]), start)
    past: Iterator[ReadingBatch | Event] = (
        _events(store, meter_id, rule, start, end) if rule.event else _batches(store, meter_id, rule, start, end)
    )
    for item in past:
        if isinstance(item, Event):
            engine.happened(item)
        else:
            engine.evaluate(item)
    engine.sweep(end - 1)
    return list(engine.take().alarms.values())


def _events(store: Store, meter_id: str, rule: AlarmRule, start: int, end: int) -> Iterator[Event]:
    types = [kind for kind in (rule.event, rule.until) if kind is not None]
    found = store.events.list(meter_id=meter_id, types=types, since=start, until=end, limit=MOST_EVENTS)
    return (stored.event for stored in sorted(found, key=lambda stored: (stored.event.occurred_at, stored.number)))


def _batches(store: Store, meter_id: str, rule: AlarmRule, start: int, end: int) -> Iterator[ReadingBatch]:
    names = [watched.quantity for watched in rule.watched]
    if rule.load:
        names += [*LOAD, *(f"{stem}_{phase}" for stem in _POWERS for phase in ("l1", "l2", "l3"))]
    rows: dict[int, dict[str, tuple[Value, int]]] = {}
    for name in names:
        found = store.readings.series(meter_id, name, start, end, MOST_READINGS)
        for at, value, quality in zip(found.measured_at, found.values, found.quality, strict=True):
            rows.setdefault(at, {})[name] = (value, quality)
    for at in sorted(rows):
        row = rows[at]
        yield ReadingBatch(
            meter_id=meter_id,
            source=Source.POLL,
            received_at=at,
            quantities=tuple(row),
            values=[value for value, _ in row.values()],
            measured_at=(at,) * len(row),
            quality=[quality for _, quality in row.values()],
        )


_POWERS: Final = ("active_power", "active_power_import")
