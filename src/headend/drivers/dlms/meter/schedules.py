"""What happens by the clock: single action schedules (22), schedules (10) and activity calendars (20), with special days (11)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import (
    BITS,
    BOOLEAN,
    DATE,
    DATE_TIME,
    NAME,
    OCTETS,
    SCRIPT,
    TIME,
    UINT8,
    UINT16,
    Form,
    enumerated,
    record,
    require,
    rows,
)
from headend.drivers.dlms.meter.functions import Clocked, Function, Held, Holds, Method, Plant
from headend.drivers.dlms.meter.scripts import NO_SCRIPT, run_script
from headend.drivers.dlms.meter.times import NEVER, following, holds_on, local_midnight, to_moment
from headend.drivers.dlms.meter_objects import Refused
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data, Tag, array, enum, octet_string
from headend.protocols.dlms.clock import CosemDate, CosemDateTime, CosemTime, EpochReader

_DAY: Final = timedelta(days=1)
_LONGEST: Final = 400
"""Days that are looked ahead for an entry of a schedule."""


class SingleActionSchedule(Clocked):
    """A script, and when it is executed."""

    class_id = 22
    holds: ClassVar[Holds] = {
        2: Held(SCRIPT, NO_SCRIPT),
        3: Held(enumerated(1, 2, 3, 4, 5), enum(1)),
        4: Held(rows(record(TIME, DATE)), array()),
    }

    def following(self, model: MeterModel, after: int) -> int:
        """The first of the execution times."""
        zone = self.plant.zone_of(model)
        rules = ((CosemDate.from_bytes(day), CosemTime.from_bytes(time)) for time, day in self.plain(model, 4))
        return min((following(day, time, after, zone) for day, time in rules), default=NEVER)

    def act(self, model: MeterModel, at: int) -> None:  # noqa: ARG002 - the clock shows it
        """Execute the script."""
        run_script(self.plant, model, self.plain(model, 2))


class SpecialDays(Function):
    """Days on which something else holds than on their weekday."""

    class_id = 11
    _entry: ClassVar[Form] = record(UINT16, DATE, UINT8)
    holds: ClassVar[Holds] = {2: Held(rows(_entry), array())}

    def methods(self) -> dict[int, Method]:
        """Insert and delete."""
        return {1: self._insert, 2: self._delete}

    def _insert(self, model: MeterModel, data: Data | None) -> None:
        index = require(data, self._entry)[0]
        insert(self, model, data, index)

    def _delete(self, model: MeterModel, data: Data | None) -> None:
        index: int = require(data, UINT16)
        delete(self, model, index, index)

    def day_id(self, model: MeterModel, day: date) -> int | None:
        """Which kind of day it is, None for an ordinary one."""
        entries = self.plain(model, 2)
        return next((kind for _, rule, kind in entries if holds_on(CosemDate.from_bytes(rule), day)), None)


def insert(function: Function, model: MeterModel, entry: Data | None, index: int) -> None:
    """Put an entry into attribute 2 in the order of the indexes, in the place of one that has the same."""
    others = [each for each in function.elements(model, 2) if _index(each) != index]
    if entry is not None:
        others.append(entry)
    function.keep(model, 2, Data(Tag.ARRAY, tuple(sorted(others, key=_index))))


def delete(function: Function, model: MeterModel, first: int, last: int) -> None:
    """Take the entries of a range of indexes out of attribute 2; raises Refused when there are none."""
    elements = function.elements(model, 2)
    kept = tuple(each for each in elements if not first <= _index(each) <= last)
    if len(kept) == len(elements):
        raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
    function.keep(model, 2, Data(Tag.ARRAY, kept))


def _index(entry: Data) -> int:
    plain: Any = entry.plain()
    index: int = plain[0]
    return index


def special_day(plant: Plant, model: MeterModel, day: date) -> int | None:
    """Which kind of special day a day is."""
    for table in plant.of_class(SpecialDays.class_id):
        if isinstance(table, SpecialDays):
            found = table.day_id(model, day)
            if found is not None:
                return found
    return None


def _time_of(octets: bytes) -> timedelta:
    time = CosemTime.from_bytes(octets)
    return timedelta(hours=time.hour or 0, minutes=time.minute or 0, seconds=time.second or 0)


class Schedule(Clocked):
    """Scripts with a time of day, by weekdays, special days and a range of dates."""

    class_id = 10
    _entry: ClassVar[Form] = record(UINT16, BOOLEAN, NAME, UINT16, TIME, UINT16, BITS, BITS, DATE, DATE)
    _ranges: ClassVar[Form] = record(UINT16, UINT16, UINT16, UINT16)
    holds: ClassVar[Holds] = {2: Held(rows(_entry), array())}

    def methods(self) -> dict[int, Method]:
        """enable_disable, insert and delete."""
        return {1: self._enable, 2: self._insert, 3: self._delete}

    def _enable(self, model: MeterModel, data: Data | None) -> None:
        """Disable the entries of one range of indexes, then enable those of another; 0 to 0 is none."""
        first_off, last_off, first_on, last_on = require(data, self._ranges)
        changed = []
        for entry in self.elements(model, 2):
            index, (number, enabled, *rest) = _index(entry), _elements(entry)
            on = Data(Tag.BOOLEAN, value=True) if first_on <= index <= last_on else enabled
            off = first_off <= index <= last_off and on is enabled
            changed.append(Data(Tag.STRUCTURE, (number, Data(Tag.BOOLEAN, value=False) if off else on, *rest)))
        self.keep(model, 2, Data(Tag.ARRAY, tuple(changed)))

    def _insert(self, model: MeterModel, data: Data | None) -> None:
        index = require(data, self._entry)[0]
        insert(self, model, data, index)

    def _delete(self, model: MeterModel, data: Data | None) -> None:
        first, last = require(data, record(UINT16, UINT16))
        delete(self, model, first, last)

    def following(self, model: MeterModel, after: int) -> int:
        """The first of the switch times."""
        return min((self._next(model, entry, after) for entry in self.plain(model, 2)), default=NEVER)

    def _next(self, model: MeterModel, entry: list[Any], after: int) -> int:
        """When an entry is executed next."""
        zone, midnight = self.plant.zone_of(model), local_midnight(after, self.plant.zone_of(model))
        if not entry[1]:
            return NEVER
        for days in range(_LONGEST):
            day = midnight + days * _DAY
            at = to_moment(day + _time_of(entry[4]), zone)
            if at > after and self._holds(model, entry, day.date()):
                return at
        return NEVER

    def _holds(self, model: MeterModel, entry: list[Any], day: date) -> bool:
        """True when an entry holds on a day: special days go before weekdays, of which Monday is the first bit."""
        weekdays, special_days, begin, end = entry[6:]
        if not _not_before(begin, day) or not _not_after(end, day):
            return False
        special = special_day(self.plant, model, day)
        bits, number = (weekdays, day.weekday()) if special is None else (special_days, special)
        return bool(bits[number : number + 1] == "1")

    def act(self, model: MeterModel, at: int) -> None:
        """Execute the scripts of this time, in the order of their indexes."""
        for entry in self.plain(model, 2):
            if self._next(model, entry, at - 1) == at:
                run_script(self.plant, model, entry[2:4])


def _elements(data: Data) -> tuple[Data, ...]:
    return data.value if isinstance(data.value, tuple) else ()


def _not_before(octets: bytes, day: date) -> bool:
    rule = CosemDate.from_bytes(octets)
    return (day.year, day.month, day.day) >= (rule.year or day.year, rule.month or day.month, rule.day or day.day)


def _not_after(octets: bytes, day: date) -> bool:
    rule = CosemDate.from_bytes(octets)
    return (day.year, day.month, day.day) <= (rule.year or day.year, rule.month or day.month, rule.day or day.day)


_NAME, _SEASONS, _WEEKS, _DAYS = 2, 3, 4, 5
_PASSIVE: Final = 4
"""From an attribute of the active calendar to that of the passive one."""
_ACTIVATION: Final = 10
_SEASON_FORM: Final = rows(record(OCTETS, DATE_TIME, OCTETS))
_WEEK_FORM: Final = rows(record(OCTETS, *(UINT8,) * 7))
_DAY_FORM: Final = rows(record(UINT8, rows(record(TIME, NAME, UINT16))))
_UNSPECIFIED: Final = octet_string(CosemDateTime(CosemDate(), CosemTime()).to_bytes())


class ActivityCalendar(Clocked):
    """Scripts by season, week and kind of day; a second calendar waits until it is activated."""

    class_id = 20
    holds: ClassVar[Holds] = {
        _NAME: Held(OCTETS, octet_string(b"")),
        _SEASONS: Held(_SEASON_FORM, array()),
        _WEEKS: Held(_WEEK_FORM, array()),
        _DAYS: Held(_DAY_FORM, array()),
        _NAME + _PASSIVE: Held(OCTETS, octet_string(b"")),
        _SEASONS + _PASSIVE: Held(_SEASON_FORM, array()),
        _WEEKS + _PASSIVE: Held(_WEEK_FORM, array()),
        _DAYS + _PASSIVE: Held(_DAY_FORM, array()),
        _ACTIVATION: Held(DATE_TIME, _UNSPECIFIED),
    }

    def methods(self) -> dict[int, Method]:
        """activate_passive_calendar."""
        return {1: lambda model, _: self._activate(model)}

    def _activate(self, model: MeterModel) -> None:
        for attribute_id in (_NAME, _SEASONS, _WEEKS, _DAYS):
            self.keep(model, attribute_id, self.data(model, attribute_id + _PASSIVE))

    def _activation(self, model: MeterModel) -> int:
        octets: bytes = self.plain(model, _ACTIVATION)
        if octets == _UNSPECIFIED.value:
            return NEVER
        moment = EpochReader(self.plant.zone_of(model)).read(octets)
        return NEVER if moment is None else moment

    def following(self, model: MeterModel, after: int) -> int:
        """The next action of today or of one of the next days, or the activation of the passive calendar."""
        activation = self._activation(model)
        found = min((at for at, _ in self._actions(model, after, 9)), default=NEVER)
        return min(found, activation) if activation > after else found

    def act(self, model: MeterModel, at: int) -> None:
        """Activate the passive calendar if it is time, then execute the scripts of this time."""
        if self._activation(model) == at:
            self._activate(model)
        for time, script in list(self._actions(model, at - 1, 2)):
            if time == at:
                run_script(self.plant, model, script)

    def _actions(self, model: MeterModel, after: int, days: int) -> Iterator[tuple[int, list[Any]]]:
        """The actions after a moment, of the first day that has any among so many."""
        zone = self.plant.zone_of(model)
        midnight = local_midnight(after, zone)
        kinds = dict(self.plain(model, _DAYS))
        for number in range(days if kinds else 0):
            day = midnight + number * _DAY
            found = False
            for time, table, script in kinds.get(self._kind_of(model, day.date()), ()):
                at = to_moment(day + _time_of(time), zone)
                if at > after:
                    found = True
                    yield at, [table, script]
            if found:
                return

    def _kind_of(self, model: MeterModel, day: date) -> int | None:
        """What kind of day it is: a special one, or what its week says."""
        special = special_day(self.plant, model, day)
        if special is not None:
            return special
        week = self._week_of(model, day)
        kinds = next((kinds for name, *kinds in self.plain(model, _WEEKS) if name == week), None)
        return None if kinds is None else kinds[day.weekday()]

    def _week_of(self, model: MeterModel, day: date) -> bytes | None:
        """The week of the season that began last; of the last one of the year before, early in the year."""
        begun = []
        for _, start, week in self.plain(model, _SEASONS):
            rule = CosemDateTime.from_bytes(start).date
            for year in (day.year - 1, day.year):
                began = _begins(rule, year)
                if began is not None and began.date() <= day:
                    begun.append((began, week))
        return max(begun, key=lambda each: each[0])[1] if begun else None


def _begins(rule: CosemDate, year: int) -> datetime | None:
    """The first day of a year on which a rule holds."""
    if rule.year not in (None, year):
        return None
    months = range(1, 13) if rule.month is None else (rule.month,)
    for month in months:
        for number in range(1, 32):
            try:
                day = datetime(year, month, number)  # noqa: DTZ001 - local
            except ValueError:
                break
            if holds_on(rule, day.date()):
                return day
    return None
