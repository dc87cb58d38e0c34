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

    def __init__(self, settings: Layer, profile: Callable[[str], MeterProfile]) -> None:
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

    def forget(self, meter_id: str) -> None:
        """A meter was removed, and what was changed for it alone."""
        self._changes.pop((Level.METER, meter_id), None)

    def layers(self, profile_id: str = "", meter_id: str = "") -> Sequence[tuple[str, Layer]]:
        """(name, layer) of all that counts for a meter file and a meter of it; without them, of what counts for all."""
        found = [("settings", self._settings), ("global", self._changed(Level.GLOBAL, ""))]
        if profile_id:
            found += [("file", self._of_file(profile_id)), ("profile", self._changed(Level.PROFILE, profile_id))]
        if meter_id:
            found.append(("meter", self._changed(Level.METER, meter_id)))
        return found

    def rules(self, profile_id: str = "", meter_id: str = "", more: Layer = NOTHING) -> tuple[AlarmRule, ...]:
        """The rules that count, with one more layer on top. Raises ConfigError."""
        return resolve((*(layer for _, layer in self.layers(profile_id, meter_id)), more))

    def table(self, meter: Meter | None) -> Table:
        """The table for a meter, or for the head-end itself; meters of a file share one unless one has rules of its own."""
        if meter is not None and self._changed(Level.METER, meter.id):
            return Table(self.rules(meter.profile_id, meter.id))
        profile_id = meter.profile_id if meter is not None else ""
        table = self._tables.get(profile_id)
        if table is None:
            table = self._tables[profile_id] = Table(self.rules(profile_id))
        return table

    def _changed(self, level: Level, subject: str) -> Layer:
        return self._changes.get((level, subject), NOTHING)

    def _of_file(self, profile_id: str) -> Layer:
        try:
            return self._profile(profile_id).alarm
        except HeadendError:  # whoever reads the meter says what is wrong with its file
            return NOTHING
