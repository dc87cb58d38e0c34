"""The built-in rules of alarms, and how layers of changes are laid over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from headend.errors import ConfigError
from headend.model.alarm import RATINGS, AlarmKind, AlarmRule, Comparison, Taken, Watched
from headend.model.event import EventType, Severity
from headend.model.quantity import find_quantity
from headend.model.reading import Value

Fields: TypeAlias = Mapping[str, Value]
Layer: TypeAlias = Mapping[str, Fields]
"""Rule to the fields that a layer changes."""

PHASES: Final = ("l1", "l2", "l3")
RATED: Final = {"nominal_voltage": "V", "rated_current": "A", "rated_power": "W", "utc_offset": "min"}
"""what a meter is made for, and the unit of it; `utc_offset` is that of its clock, where the clock itself does not tell"""
MAX_OFFSET: Final = 840.0
LARGEST: Final = 1e18
MAX_HOLD: Final = 7 * 86_400.0
OWN_EVENTS: Final = frozenset(EventType) - {kind for kind in EventType if kind.name.startswith("ALARM_")}
"""events that a rule may look at: not those of alarms themselves"""


def _phased(stem: str, **how: Any) -> tuple[Watched, ...]:  # noqa: ANN401 # fields of Watched
    return tuple(Watched(quantity=f"{stem}_{end}", **how) for end in PHASES)


def _with_total(stem: str, **how: Any) -> tuple[Watched, ...]:  # noqa: ANN401 # ditto
    return (Watched(quantity=f"{stem}_total", **how), *_phased(stem, **how))


def _built_in(kind: AlarmKind, label: str, **fields: Any) -> AlarmRule:  # noqa: ANN401 # fields of AlarmRule
    return AlarmRule(id=kind.value.lower(), kind=kind, label=label, **fields)


BUILT_IN: Final[Mapping[str, AlarmRule]] = {
    rule.id: rule
    for rule in (
        _built_in(
            AlarmKind.OVERVOLTAGE,
            "Over-voltage",
            watched=_with_total("voltage"),
            percent=110.0,
            rating="nominal_voltage",
            hysteresis=1.0,
            hold_seconds=30.0,
        ),
        _built_in(
            AlarmKind.UNDERVOLTAGE,
            "Under-voltage",
            watched=_with_total("voltage"),
            comparison=Comparison.BELOW,
            percent=90.0,
            rating="nominal_voltage",
            hysteresis=1.0,
            hold_seconds=30.0,
        ),
        _built_in(
            AlarmKind.PHASE_LOSS,
            "Phase loss",
            severity=Severity.CRITICAL,
            watched=_phased("voltage"),
            comparison=Comparison.BELOW,
            percent=40.0,
            rating="nominal_voltage",
            hysteresis=10.0,
        ),
        _built_in(
            AlarmKind.OVERCURRENT,
            "Over-current",
            watched=_with_total("current"),
            percent=100.0,
            rating="rated_current",
            hysteresis=5.0,
            hold_seconds=60.0,
        ),
        _built_in(
            AlarmKind.OVERLOAD,
            "Overload",
            watched=(Watched(quantity="active_power_total"), Watched(quantity="active_power_import_total")),
            percent=100.0,
            rating="rated_power",
            hysteresis=5.0,
            hold_seconds=60.0,
        ),
        _built_in(
            AlarmKind.REVERSE_POWER,
            "Reverse power",
            enabled=False,
            watched=(
                Watched(quantity="active_power_total", factor=-1.0),
                Watched(quantity="active_power_export_total"),
            ),
            threshold=100.0,
            hysteresis=20.0,
            hold_seconds=60.0,
        ),
        _built_in(
            AlarmKind.LOW_POWER_FACTOR,
            "Low power factor",
            watched=_with_total("power_factor", taken=Taken.SIZE),
            comparison=Comparison.BELOW,
            threshold=0.8,
            hysteresis=2.5,
            hold_seconds=900.0,
            load=200.0,
        ),
        _built_in(
            AlarmKind.LOW_BALANCE,
            "Low balance",
            watched=(Watched(quantity="credit_balance"), Watched(quantity="credit_energy", factor=0.001, unit="kWh")),
            comparison=Comparison.BELOW,
            threshold=10.0,
        ),
        _built_in(
            AlarmKind.RELAY_TRIPPED,
            "Relay tripped",
            watched=(Watched(quantity="relay_closed"),),
            comparison=Comparison.EQUAL,
            threshold=False,
            notice=AlarmKind.RELAY_CLOSED,
        ),
        _built_in(
            AlarmKind.CLOCK_DRIFT,
            "Clock drift",
            watched=(Watched(quantity="meter_time", taken=Taken.DRIFT, unit="s"),),
            threshold=60.0,
            hysteresis=20.0,
        ),
        _built_in(AlarmKind.COMMUNICATION_LOST, "Communication lost", silence=True),
        _built_in(
            AlarmKind.METER_OFFLINE,
            "Meter offline",
            event=EventType.METER_OFFLINE,
            until=EventType.METER_ONLINE,
            hold_seconds=60.0,
            notice=AlarmKind.METER_ONLINE,
        ),
    )
}

_CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "severity": {each.value: each for each in Severity},
    "comparison": {each.value: each for each in Comparison},
    "event": {each.value: each for each in sorted(OWN_EVENTS, key=lambda one: one.value)},
    "until": {each.value: each for each in sorted(OWN_EVENTS, key=lambda one: one.value)},
}
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "percent": (0.0, 1000.0),
    "clear": (-1e15, 1e15),
    "hysteresis": (0.0, 100.0),
    "hold_seconds": (0.0, MAX_HOLD),
    "flap_changes": (2, 1000),
    "flap_seconds": (1.0, MAX_HOLD),
    "load": (0.0, 1e12),
}
_OWN: Final = frozenset({"quantity", "comparison", "event", "until"})
"""fields that only rules of the user's own have"""
FIELDS: Final = ("label", "enabled", "threshold", *_CHOICES, *_NUMBERS, "quantity")


def watched_of(text: str) -> tuple[Watched, ...]:
    """The quantities that a text names: one by its key, or by what the keys of all phases begin with (`voltage`)."""
    if find_quantity(text) is not None:
        return (Watched(quantity=text),)
    return tuple(each for each in _with_total(text) if find_quantity(each.quantity) is not None)


def check_change(rule: str, fields: Fields) -> None:
    """Whether fields can be laid over a rule; raises ConfigError `RULE.FIELD: expected …`."""
    for name, value in fields.items():
        problem = _rating_problem(name, value) if rule == RATINGS else _problem(rule, name, value)
        if problem:
            raise ConfigError(f"{rule}.{name}: expected {problem}, got {value!r}")


def fields_of(rule: str) -> tuple[str, ...]:
    """What may be set of a rule."""
    if rule == RATINGS:
        return tuple(RATED)
    built_in = BUILT_IN.get(rule)
    if built_in is None:
        return tuple(name for name in FIELDS if name not in ("percent", "load"))
    absent = set(_OWN)
    absent |= set() if built_in.rating else {"percent"}
    absent |= set() if built_in.load else {"load"}
    if built_in.event or built_in.silence or isinstance(built_in.threshold, bool):
        absent |= {"clear", "hysteresis"} if built_in.silence else {"threshold", "clear", "hysteresis"}
    return tuple(name for name in FIELDS if name not in absent)


def _rating_problem(name: str, value: Value) -> str:
    if name not in RATED:
        return f"one of {', '.join(RATED)}"
    if name == "utc_offset":
        return "" if _number(value) and abs(float(value)) <= MAX_OFFSET else "minutes from -840 to 840"
    return "" if _number(value) and 0 < float(value) <= 1e9 else "a number above 0"


def _problem(rule: str, name: str, value: Value) -> str:
    known = fields_of(rule)
    if name not in known:
        return f"one of {', '.join(known)}"
    if name == "enabled":
        return "" if isinstance(value, bool) else "true or false"
    if name in _CHOICES:
        return "" if isinstance(value, str) and value in _CHOICES[name] else f"one of {', '.join(_CHOICES[name])}"
    if name in _NUMBERS:
        low, high = _NUMBERS[name]
        return "" if _number(value) and low <= float(value) <= high else f"a number from {low:g} to {high:g}"
    if name == "label":
        return "" if isinstance(value, str) and 0 < len(value) <= 100 else "a text of up to 100 characters"
    if name == "quantity":
        return "" if isinstance(value, str) and watched_of(value) else "a quantity, or one without its phase"
    return "" if _number(value) or rule not in BUILT_IN or isinstance(value, bool) else "a number"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def resolve(layers: Iterable[Layer]) -> tuple[AlarmRule, ...]:
    """The rules under layers of changes, from the general to the particular, with every threshold that is known filled in.

    A threshold takes the place of a percent of a more general layer, and the other way round. Raises ConfigError.
    """
    merged: dict[str, dict[str, Value]] = {name: {} for name in BUILT_IN}
    for layer in layers:
        for name, fields in layer.items():
            check_change(name, fields)
            known = merged.setdefault(name, {})
            for new, old in (("threshold", "percent"), ("percent", "threshold")):
                if new in fields:
                    known.pop(old, None)
                    known.pop("clear", None)
            known.update(fields)
    ratings = {name: float(value) for name, value in merged.pop(RATINGS, {}).items()}
    return tuple(_rule(name, fields, ratings) for name, fields in merged.items())


def _rule(name: str, fields: Fields, ratings: Mapping[str, float]) -> AlarmRule:
    rule = BUILT_IN.get(name) or AlarmRule(id=name, label=name)
    changes: dict[str, Any] = {
        key: _CHOICES[key][str(value)] if key in _CHOICES else value for key, value in fields.items()
    }
    if "quantity" in changes:
        changes["watched"] = watched_of(changes.pop("quantity"))
    if "threshold" in changes:
        changes["percent"] = None
    elif "percent" in changes:
        changes["threshold"] = None
    rule = replace(rule, **changes)
    if rule.percent is not None and rule.rating in ratings:
        rule = replace(rule, threshold=round(rule.percent * ratings[rule.rating] / 100, 6))
    return replace(rule, utc_offset=ratings.get("utc_offset")) if rule.kind is AlarmKind.CLOCK_DRIFT else rule
