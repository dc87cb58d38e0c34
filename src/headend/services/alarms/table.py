"""Rules compiled for a meter file: for each quantity the band in which nothing can be wrong, and what to check beyond it.

A table is shared by all meters that have the same rules. A batch is met with a plan: for each of its columns that is watched
the place of the column, so that a reading costs one comparison and nothing is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple, TypeAlias

from headend.model.alarm import AlarmKind, AlarmRule, Comparison, Taken, Watched
from headend.model.event import EventType
from headend.model.quantity import find_quantity
from headend.model.reading import Value, to_millis

MAX_PLANS: Final = 256
LOAD: Final = ("active_power_total", "active_power_import_total")
NEVER_QUIET: Final = (1.0, 0.0)
INF: Final = math.inf

Place: TypeAlias = "tuple[int, int, float, float, tuple[Check, ...]]"
"""A watched column of a batch: its index, then as `Column`."""
Key: TypeAlias = tuple[str, str]
"""Rule and quantity; the quantity is empty for rules about events and silence."""

_COMPARE: Final[Mapping[Comparison, Callable[[Value, Value], bool]]] = {
    Comparison.ABOVE: lambda value, threshold: value > threshold,  # type: ignore[operator] # numbers, by `Check.taken`
    Comparison.AT_LEAST: lambda value, threshold: value >= threshold,  # type: ignore[operator] # ditto
    Comparison.BELOW: lambda value, threshold: value < threshold,  # type: ignore[operator] # ditto
    Comparison.AT_MOST: lambda value, threshold: value <= threshold,  # type: ignore[operator] # ditto
    Comparison.EQUAL: lambda value, threshold: value == threshold,
    Comparison.UNEQUAL: lambda value, threshold: value != threshold,
}
_UPWARDS: Final = (Comparison.ABOVE, Comparison.AT_LEAST)
_ORDERED: Final = (*_UPWARDS, Comparison.BELOW, Comparison.AT_MOST)


class Check:
    """One rule for one quantity."""

    __slots__ = (
        "_compare",
        "_watched",
        "clear",
        "floor",
        "hold",
        "key",
        "limit",
        "ordered",
        "phase",
        "rule",
        "unit",
        "window",
    )

    def __init__(self, rule: AlarmRule, watched: Watched | None) -> None:
        self.rule = rule
        self.key: Key = (rule.id, watched.quantity if watched else "")
        known = find_quantity(watched.quantity) if watched else None
        self.phase = known.phase if known else ""
        unit = known.unit if known else "s" if rule.silence else ""
        unit = unit if watched is None or watched.unit is None else watched.unit
        self.unit = "" if unit == "1" else unit
        self.hold = 0 if rule.event is not None and rule.until is None else round(rule.hold_seconds * 1000)
        self.window = round(rule.flap_seconds * 1000)
        self.limit: Value | None = rule.threshold
        self.ordered = rule.comparison in _ORDERED
        self.clear = self._clear_limit() if self.ordered and watched is not None else None
        self.floor = -INF
        """a value below is not what this rule is about, but another one"""
        self._watched = watched or Watched(quantity="")
        self._compare = _COMPARE[rule.comparison]

    def _clear_limit(self) -> float | None:
        rule, limit = self.rule, self.limit
        if limit is None or isinstance(limit, str):
            return None
        upwards = rule.comparison in _UPWARDS
        if rule.clear is not None and (rule.clear < limit if upwards else rule.clear > limit):
            return rule.clear
        band = abs(limit) * rule.hysteresis / 100
        return None if not band else limit - band if upwards else limit + band

    def taken(self, value: Value, at: int) -> Value | None:
        """What is held against the threshold; None where the value is of no use."""
        watched = self._watched
        if watched.taken is Taken.DRIFT:
            return _drift(value, at, self.rule.utc_offset)
        if isinstance(value, str) or not math.isfinite(value):
            return value if isinstance(value, str) and not self.ordered else None
        number = value if watched.factor == 1.0 else value * watched.factor
        return abs(number) if watched.taken is Taken.SIZE else number

    def violated(self, value: Value) -> bool:
        """Whether the condition begins with this value."""
        return self._compare(value, self.limit if self.limit is not None else 0) and (
            not self.ordered or float(value) >= self.floor
        )

    def kept(self, value: Value) -> bool:
        """Whether the condition, once it holds, still does: there is a band in which it neither begins nor ends."""
        if self.clear is None:
            return self.violated(value)
        number = float(value)
        return number >= self.floor and (
            number > self.clear if self.rule.comparison in _UPWARDS else number < self.clear
        )

    def band(self) -> tuple[float, float]:
        """Readings from the one to the other are certainly not of the condition."""
        watched, limit = self._watched, self.limit
        if watched.taken is Taken.DRIFT or not isinstance(limit, int | float):
            return NEVER_QUIET
        if isinstance(limit, bool):
            quiet = float(not limit)
            return (quiet, quiet) if self.rule.comparison is Comparison.EQUAL else NEVER_QUIET
        if not self.ordered or watched.factor not in (1.0, -1.0):
            return NEVER_QUIET
        limit = float(limit)
        if self.rule.comparison in (Comparison.AT_LEAST, Comparison.AT_MOST):
            limit = math.nextafter(limit, -INF if self.rule.comparison in _UPWARDS else INF)
        low, high = (-INF, limit) if self.rule.comparison in _UPWARDS else (limit, INF)
        if watched.taken is Taken.SIZE:
            return (max(low, 0.0), high) if low > -INF else (-high, high)
        return (low, high) if watched.factor > 0 else (-high, -low)


def _drift(value: Value, at: int, utc_offset: float | None) -> float | None:
    """Seconds between a time that a meter shows and ours; None for what is no time, or one of a zone that nobody knows."""
    if not isinstance(value, str):
        return None
    try:
        shown = datetime.fromisoformat(value)
        if shown.tzinfo is None and utc_offset is not None:
            shown = shown.replace(tzinfo=timezone(timedelta(minutes=utc_offset)))
        return abs(to_millis(shown) - at) / 1000
    except (ValueError, OverflowError):
        return None


class Column(NamedTuple):
    """A watched quantity: its number in the table, the quiet band, the checks."""

    slot: int
    low: float
    high: float
    checks: tuple[Check, ...]


class Table:
    """The rules of some meters, indexed by what they look at."""

    __slots__ = ("_plans", "begins", "by_key", "columns", "ends", "silence")

    def __init__(self, rules: Iterable[AlarmRule]) -> None:
        chosen = [rule for rule in rules if rule.enabled and rule.complete]
        checks = [Check(rule, watched) for rule in chosen for watched in rule.watched or (None,)]
        _give_way(checks)
        self.by_key: Mapping[Key, Check] = {check.key: check for check in checks}
        by_quantity: dict[str, list[Check]] = {}
        for check in checks:
            if check.key[1]:
                by_quantity.setdefault(check.key[1], []).append(check)
        self.columns: Mapping[str, Column] = {
            quantity: Column(slot, *_common(found), tuple(found))
            for slot, (quantity, found) in enumerate(by_quantity.items())
        }
        self.silence = next((check for check in checks if check.rule.silence), None)
        self.begins = _by_event((check.rule.event, check) for check in checks)
        self.ends = _by_event((check.rule.until, check) for check in checks if check.rule.event)
        self._plans: dict[tuple[str, ...], tuple[Place, ...]] = {}

    def plan(self, quantities: Sequence[str]) -> tuple[Place, ...]:
        """The watched columns among `quantities`."""
        key = tuple(quantities)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            columns = self.columns
            plan = self._plans[key] = tuple(
                (index, *columns[quantity]) for index, quantity in enumerate(key) if quantity in columns
            )
        return plan


def _common(checks: Sequence[Check]) -> tuple[float, float]:
    bands = [check.band() for check in checks]
    return max(low for low, _ in bands), min(high for _, high in bands)


def _by_event(pairs: Iterable[tuple[EventType | None, Check]]) -> Mapping[EventType, tuple[Check, ...]]:
    found: dict[EventType, tuple[Check, ...]] = {}
    for kind, check in pairs:
        if kind is not None:
            found[kind] = (*found.get(kind, ()), check)
    return found


def _give_way(checks: Sequence[Check]) -> None:
    """A phase without voltage is lost: it is not said of it, too, that its voltage is low."""
    lost = {check.key[1]: check.limit for check in checks if check.rule.kind is AlarmKind.PHASE_LOSS}
    for check in checks:
        limit = lost.get(check.key[1])
        if check.rule.kind is AlarmKind.UNDERVOLTAGE and isinstance(limit, int | float):
            check.floor = float(limit)
