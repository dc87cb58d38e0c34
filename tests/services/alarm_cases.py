"""Readings over time, written as tables, and what the engine makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headend.model.alarm_rules import BUILT_IN, Layer, resolve
from headend.model.event import EventType
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.alarms.engine import Engine
from headend.services.alarms.table import Table

START = 1_767_225_600_000
RATINGS: Layer = {"ratings": {"nominal_voltage": 230, "rated_current": 60, "rated_power": 10_000}}


def table(*layers: Layer) -> Table:
    return Table(resolve((RATINGS, *layers)))


def only(rule: str, **fields: Value) -> Layer:
    """A layer in which only this rule is on."""
    return {**{name: {"enabled": False} for name in BUILT_IN}, rule: {"enabled": True, **fields}}


def engine(*layers: Layer, poll_seconds: float = 0.0, meter: str = "m") -> Engine:
    made = Engine()
    made.watch(meter, table(*layers), START, poll_seconds)
    return made


def batch(
    seconds: float,
    values: Mapping[str, Value],
    *,
    received: float | None = None,
    quality: int = 0,
    source: Source = Source.POLL,
    meter: str = "m",
) -> ReadingBatch:
    at = START + round(seconds * 1000)
    return ReadingBatch(
        meter_id=meter,
        source=source,
        received_at=at if received is None else START + round(received * 1000),
        quantities=tuple(values),
        values=list(values.values()),
        measured_at=(at,) * len(values),
        quality=(quality,) * len(values),
    )


def told(made: Engine) -> list[tuple[float, str, str]]:
    """(seconds, what, kind or kind of the phase) of what was said since the last time."""
    words = {EventType.ALARM_RAISED: "raised", EventType.ALARM_CLEARED: "cleared"}
    return [
        (
            ((alarm.cleared_at if what is EventType.ALARM_CLEARED else alarm.raised_at) or 0) / 1000 - START / 1000,
            words[what] + (" flapping" if alarm.flapping else ""),
            f"{alarm.kind.value} {alarm.phase}".strip(),
        )
        for what, alarm in made.take().said
    ]


def run(made: Engine, quantity: str, readings: Iterable[tuple[float, Value]], until: float = 0) -> Sequence[object]:
    for seconds, value in readings:
        made.evaluate(batch(seconds, {quantity: value}))
    if until:
        made.sweep(START + round(until * 1000))
    return told(made)
