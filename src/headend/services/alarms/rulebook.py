"""The rulebook: which rules are in force for which meter, in layers from the general to the particular."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from headend.errors import HeadendError
from headend.model.alarm import AlarmRule, Level, RuleChange
from headend.model.alarm_rules import Layer, resolve
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.services.alarms.table import Table

NOTHING: Final[Layer] = {}


class Rulebook:
    """Layers: settings, what is changed for all, the meter file, what is changed for it, what is changed for the meter."""

    def __init__(self, settings: Layer, profile: Callable[[Meter], MeterProfile | None]) -> None:
        self._settings = settings
        self._profile = profile
        self._changes: dict[tuple[Level, str], dict[str, Mapping[str, Value]]] = {}
        self._tables: dict[str, Table] = {}

    def load(self, changes: Iterable[RuleChange]) -> None:
        """Take over what is kept."""
        for change in changes:
            self._changes.setdefault((change.level, change.subject), {})[change.rule] = change.fields
        self._tables.clear()

    def put(self, level: Level, subject: str, rule: str, fields: Mapping[str, Value]) -> None:
        """What is changed of a rule at a level, in the place of what was."""
        self._changes.setdefault((level, subject), {})[rule] = fields
        self._tables.clear()

    def remove(self, level: Level, subject: str, rule: str) -> None:
        """A change is taken back."""
        self._changes.get((level, subject), {}).pop(rule, None)
        self._tables.clear()

    def layers(self, meter: Meter | None, level: Level = Level.METER) -> Sequence[tuple[str, Layer]]:
        """(name, layer) of all that counts for a meter, up to a level; None: for the head-end itself."""
        found = [("settings", self._settings), ("global", self._changed(Level.GLOBAL, ""))]
        if meter is not None and level is not Level.GLOBAL:
            found += [("file", self._of_file(meter)), ("profile", self._changed(Level.PROFILE, meter.profile_id))]
        if meter is not None and level is Level.METER:
            found.append(("meter", self._changed(Level.METER, meter.id)))
        return found

    def rules(self, meter: Meter | None, more: Layer = NOTHING) -> tuple[AlarmRule, ...]:
        """The rules for a meter, with one more layer on top. Raises ConfigError."""
        return resolve((*(layer for _, layer in self.layers(meter)), more))

    def table(self, meter: Meter | None) -> Table:
        """The table for a meter; meters of a file share one unless something is changed for them alone."""
        if meter is not None and self._changed(Level.METER, meter.id):
            return Table(self.rules(meter))
        name = meter.profile_id if meter is not None else ""
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = Table(self.rules(meter))
        return table

    def _changed(self, level: Level, subject: str) -> Layer:
        return self._changes.get((level, subject), NOTHING)

    def _of_file(self, meter: Meter) -> Layer:
        try:
            profile = self._profile(meter)
        except HeadendError:  # whoever reads the meter says what is wrong with its file
            return NOTHING
        return NOTHING if profile is None else profile.alarm
