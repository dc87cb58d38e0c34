"""Rules for dates and times, as clocks, schedules and calendars have them, and when they hold next."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from headend.model.reading import from_millis
from headend.protocols.dlms.clock import LAST_DAY, SECOND_LAST_DAY, CosemDate, CosemDateTime, CosemTime

NEVER: Final = 1 << 62
_DAY: Final = timedelta(days=1)
_LONGEST_SEARCH: Final = 366 * 9
"""Days: the 29th of February comes again in eight years at most."""
_HOURS: Final = range(24)
_MINUTES: Final = range(60)
_WEEK: Final = 7


def holds_on(rule: CosemDate, day: date) -> bool:
    """True when a rule holds on a day.

    With a day of the month and a weekday it is the first such weekday from that day on, or the last one up to the end of the
    month.
    """
    if rule.year not in (None, day.year) or rule.month not in (None, day.month):
        return False
    if rule.weekday not in (None, day.isoweekday()):
        return False
    if rule.day is None:
        return True
    first = rule.day
    if rule.day in (LAST_DAY, SECOND_LAST_DAY):
        last = monthrange(day.year, day.month)[1]
        first = last if rule.day == LAST_DAY else last - 1
        return day.day == first if rule.weekday is None else first - _WEEK < day.day <= first
    return day.day == first if rule.weekday is None else first <= day.day < first + _WEEK


def local_midnight(at: int, zone: tzinfo) -> datetime:
    """The beginning of the day that a moment is in."""
    return from_millis(at).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


def to_moment(local: datetime, zone: tzinfo) -> int:
    """Milliseconds of a local time; NEVER beyond the calendar."""
    try:
        return round(local.replace(tzinfo=zone).astimezone(UTC).timestamp() * 1000)
    except (OverflowError, ValueError):
        return NEVER


def following(day_rule: CosemDate, time_rule: CosemTime, after: int, zone: tzinfo) -> int:
    """The first moment after another one at which both rules hold; NEVER where there is none in nine years.

    A second that is not specified is the first one of its minute.
    """
    midnight = local_midnight(after, zone)
    if day_rule.year is not None and day_rule.year < midnight.year:
        return NEVER
    for days in range(_LONGEST_SEARCH):
        try:
            day = midnight + days * _DAY
        except OverflowError:
            return NEVER
        if holds_on(day_rule, day.date()):
            found = _in_day(time_rule, day, after, zone)
            if found != NEVER:
                return found
    return NEVER


def _in_day(rule: CosemTime, day: datetime, after: int, zone: tzinfo) -> int:
    hours = _HOURS if rule.hour is None else (rule.hour,)
    minutes = _MINUTES if rule.minute is None else (rule.minute,)
    second = timedelta(seconds=rule.second or 0, milliseconds=10 * (rule.hundredths or 0))
    for hour in hours:
        if to_moment(day + timedelta(hours=hour, minutes=max(minutes)) + second, zone) <= after:
            continue
        for minute in minutes:
            at = to_moment(day + timedelta(hours=hour, minutes=minute) + second, zone)
            if at > after:
                return at
    return NEVER


class RuleZone(tzinfo):
    """Local time by the rules of a clock: so far from UTC, and daylight saving time between two dates of each year."""

    def __init__(self, standard: timedelta, begin: CosemDateTime, end: CosemDateTime, saving: timedelta) -> None:
        self._standard = standard
        self._begin = begin
        self._end = end
        self._saving = saving

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """From UTC to local time."""
        return self._standard + self.dst(dt)

    def dst(self, dt: datetime | None) -> timedelta:
        """By how much daylight saving time is ahead, in winter nothing."""
        if dt is None or not self._saving:
            return timedelta()
        local = dt.replace(tzinfo=None)
        begin, end = (_in_year(rule, local.year) for rule in (self._begin, self._end))
        if begin is None or end is None:
            return timedelta()
        if dt.fold and local + self._saving >= end > local:  # the second time in the hour that is repeated
            return timedelta()
        summer = begin <= local < end if begin < end else not end <= local < begin
        return self._saving if summer else timedelta()

    def fromutc(self, dt: datetime) -> datetime:
        """Local time."""
        standard = dt + self._standard
        summer = standard + self._saving
        in_summer = bool(self.dst(summer))
        if in_summer:
            return summer
        return standard.replace(fold=1 if self.dst(standard) else 0)

    def tzname(self, dt: datetime | None) -> str:
        """There is none."""
        return str(self.utcoffset(dt))


def _in_year(rule: CosemDateTime, year: int) -> datetime | None:
    """When a rule holds first in a year; None where it says no month, or never does."""
    month = rule.date.month
    if month is None or not 1 <= month <= 12 or rule.date.year not in (None, year):
        return None
    for number in range(1, monthrange(year, month)[1] + 1):
        if holds_on(rule.date, date(year, month, number)):
            return datetime(year, month, number, rule.time.hour or 0, rule.time.minute or 0)  # noqa: DTZ001 - local
    return None
