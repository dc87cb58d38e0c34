"""Alarms: what may be wrong with a meter, when it counts as wrong, and what is remembered of it.

A rule is data. The built-in ones have the id of their kind in small letters; rules of the user's own have any other id. Layers
of changes lie over them, from the general to the particular (settings, all meters, meter file, meters of a file, one meter);
the most particular one counts, field by field:

```text
{"overvoltage": {"threshold": 250, "severity": "critical"}, "ratings": {"rated_current": 60},
 "too-warm": {"label": "Cabinet too warm", "quantity": "temperature_ambient", "comparison": ">", "threshold": 60}}
```

`ratings` is no rule but says what a meter is made for: what the percents of the rules are percents of.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from headend.model.event import EventType, Severity
from headend.model.reading import Value

RATINGS: Final = "ratings"


class AlarmKind(enum.Enum):
    """What an alarm is about; the texts are stable (MQTT, REST)."""

    OVERVOLTAGE = "OVERVOLTAGE"
    UNDERVOLTAGE = "UNDERVOLTAGE"
    PHASE_LOSS = "PHASE_LOSS"
    OVERCURRENT = "OVERCURRENT"
    OVERLOAD = "OVERLOAD"
    REVERSE_POWER = "REVERSE_POWER"
    LOW_POWER_FACTOR = "LOW_POWER_FACTOR"
    LOW_BALANCE = "LOW_BALANCE"
    RELAY_TRIPPED = "RELAY_TRIPPED"
    RELAY_CLOSED = "RELAY_CLOSED"
    CLOCK_DRIFT = "CLOCK_DRIFT"
    COMMUNICATION_LOST = "COMMUNICATION_LOST"
    METER_OFFLINE = "METER_OFFLINE"
    METER_ONLINE = "METER_ONLINE"
    CUSTOM = "CUSTOM"
    """a rule of the user's own"""


class Comparison(enum.Enum):
    """How a value is held against the threshold."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    EQUAL = "=="
    UNEQUAL = "!="


class Taken(enum.Enum):
    """What of a reading is held against the threshold."""

    VALUE = "value"
    SIZE = "size"
    """without its sign"""
    DRIFT = "drift"
    """seconds between the time that the meter shows and ours, without sign"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One quantity that a rule looks at. `factor` turns its value into the unit of the threshold."""

    quantity: str
    factor: float = 1.0
    taken: Taken = Taken.VALUE
    unit: str | None = None
    """of the threshold; None: that of the quantity"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """When an alarm is raised and cleared.

    The condition is a comparison of one of the `watched` quantities, the time between two events, or, with `silence`, that no
    reading comes for `threshold` seconds. It ends when the value is beyond `clear`, or `hysteresis` percent of the threshold
    away from it. `flap_changes` alarms within `flap_seconds` are one that flaps.
    """

    id: str
    kind: AlarmKind = AlarmKind.CUSTOM
    label: str
    severity: Severity = Severity.WARNING
    enabled: bool = True
    watched: tuple[Watched, ...] = ()
    comparison: Comparison = Comparison.ABOVE
    threshold: Value | None = None
    percent: float | None = None
    rating: str = ""
    """what `percent` is of"""
    clear: float | None = None
    hysteresis: float = 0.0
    hold_seconds: float = 0.0
    flap_changes: int = 4
    flap_seconds: float = 900.0
    load: float = 0.0
    """power in W below which the value means nothing"""
    utc_offset: float | None = None
    """minutes that local time is ahead of UTC, for clocks that do not tell"""
    event: EventType | None = None
    until: EventType | None = None
    silence: bool = False
    notice: AlarmKind | None = None
    """said once when the alarm is over"""

    @property
    def complete(self) -> bool:
        """Whether there is something to look for."""
        if self.event is not None or self.silence:
            return True
        ordered = self.comparison not in (Comparison.EQUAL, Comparison.UNEQUAL)
        numeric = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        return bool(self.watched) and self.threshold is not None and (numeric or not ordered)


class Level(enum.Enum):
    """To what a change of rules applies."""

    GLOBAL = "global"
    PROFILE = "profile"
    METER = "meter"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """What somebody set at one level; `subject` is the meter file or the meter, empty at the level of all."""

    level: Level
    subject: str
    rule: str
    fields: dict[str, Value]
    changed_by: str = ""
    changed_at: int = 0


class Cleared(enum.Enum):
    """Why an alarm is over."""

    ENDED = "ended"
    """the condition holds no longer"""
    SETTLED = "settled"
    """it flapped, and came to rest"""
    RULE = "rule"
    """the rule was changed or removed"""
    METER = "meter"
    """the meter was removed or disabled"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm, from when it is raised; times are milliseconds since the epoch.

    `since` is when the condition began, `raised_at` when it had held long enough. A notice is raised and cleared in one.
    """

    number: int
    meter_id: str
    rule: str
    kind: AlarmKind
    label: str
    severity: Severity
    quantity: str = ""
    phase: str = ""
    unit: str = ""
    value: Value | None = None
    threshold: Value | None = None
    since: int
    raised_at: int
    cleared_at: int | None = None
    cleared: Cleared | None = None
    flapping: bool = False
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
    note: str = ""

    @property
    def data(self) -> dict[str, Value]:
        """What its events carry."""
        told = {
            "alarm": self.number,
            "kind": self.kind.value,
            "rule": self.rule,
            "label": self.label,
            "quantity": self.quantity,
            "phase": self.phase,
            "value": self.value,
            "threshold": self.threshold,
            "unit": self.unit,
            "since": self.since,
        }
        if self.flapping:
            told["flapping"] = True
        return {name: value for name, value in told.items() if value is not None and value != ""}

    def over(self, at: int, why: Cleared) -> Alarm:
        """The same alarm, cleared."""
        return replace(self, cleared_at=max(at, self.raised_at), cleared=why, flapping=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one rule stands with one quantity of one meter, as it is kept over a restart. Quiet ones are not kept."""

    meter_id: str
    rule: str
    quantity: str
    holds: bool
    since: int
    last_at: int
    changed_at: int
    value: Value | None
    raises: tuple[int, ...]
    alarm: int | None
    """number of the active alarm"""
