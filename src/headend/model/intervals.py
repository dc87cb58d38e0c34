"""The intervals that a load profile ought to have: where they lie in time, which have arrived, which never can. Pure.

A grid says at which times a meter records. Days are UTC days, counted from 1970-01-01; each has as many places as the grid has
times in it, and what is known of them is one bit a place: arrived, or void with a reason, or else missing. A day of a zone that
changes its clock has 92 or 100 quarters of an hour; it is put together from UTC days by its beginning and its end.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MOST_TOLERANCE: Final = 60_000
"""Milliseconds that a row may be off its place, at most; a quarter of the period where that is less."""


class Reason(enum.Enum):
    """Why an interval never arrives."""

    WRAPPED = "wrapped"
    """the meter has written over it before it could be read"""
    POWER_DOWN = "power-down"
    """the meter was without supply, as it says in the row that follows"""
    CLOCK_SHIFT = "clock-shift"
    """the clock of the meter was set over it, as it says in the row that follows"""
    NOT_RECORDED = "not-recorded"
    """the meter holds later rows and none of this time, and does not say why"""
    BEFORE_FIRST = "before-first"
    """before the time from which the meter is to be read"""
    METER_EXCHANGED = "meter-exchanged"
    """the meter that recorded it is there no longer"""


@dataclass(frozen=True, slots=True)
class Grid:
    """Times at which rows are recorded: every `period` milliseconds, `offset` after whole periods.

    Up to an hour they are counted from 1970 (UTC). Longer periods are counted from midnight of `zone`, as its wall clock tells.
    """

    period: int
    offset: int = 0
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """A grid has a period."""
        if self.period <= 0:
            raise ValueError("a grid needs a period")

    @property
    def tolerance(self) -> int:
        """Milliseconds that a row may be off its place."""
        return min(self.period // 4, MOST_TOLERANCE)

    def times(self, day: int) -> Sequence[int]:
        """The times of a UTC day, in milliseconds."""
        if self.period > HOUR_MS:
            return _local_times(self, day)
        first = -((self.offset - day * DAY_MS) // self.period)
        start = first * self.period + self.offset
        return range(start, (day + 1) * DAY_MS, self.period)

    def place(self, at: int) -> tuple[int, int] | None:
        """The day and the place of a row; None for one between the places."""
        for day in {(at - self.tolerance) // DAY_MS, (at + self.tolerance) // DAY_MS}:
            times = self.times(day)
            if not times:
                continue
            index = round((at - times[0]) / self.period) if isinstance(times, range) else _nearest(times, at)
            if 0 <= index < len(times) and abs(times[index] - at) <= self.tolerance:
                return day, index
        return None

    def next_after(self, at: int) -> int:
        """The first time behind one."""
        day = at // DAY_MS
        while True:
            found = next((each for each in self.times(day) if each > at), None)
            if found is not None:
                return found
            day += 1

    @classmethod
    def seen(cls, period: int, zone: str, at: int) -> Grid:
        """The grid of a meter that has recorded a row at a time: with the offset that this shows."""
        plain = cls(period, 0, zone)
        if plain.place(at) is not None:
            return plain
        if period <= HOUR_MS:
            return cls(period, at % period, zone)
        before = [each for day in (at // DAY_MS - 1, at // DAY_MS) for each in plain.times(day) if each <= at]
        return cls(period, at - before[-1], zone)


@lru_cache(maxsize=4096)
def _local_times(grid: Grid, day: int) -> tuple[int, ...]:
    """The times of a UTC day on the wall clock of a zone."""
    zone, found = zone_of(grid.zone), set()
    start = datetime.fromtimestamp((day * DAY_MS - grid.offset) / 1000, zone).date()
    for ahead in (0, 1, 2):
        midnight = datetime.combine(start + timedelta(days=ahead - 1), time())
        for since in range(0, DAY_MS, grid.period):
            wall = (midnight + timedelta(milliseconds=since)).replace(tzinfo=zone)
            found.add(round(wall.timestamp() * 1000) + grid.offset)
    return tuple(sorted(at for at in found if at // DAY_MS == day))


def _nearest(times: Sequence[int], at: int) -> int:
    return min(range(len(times)), key=lambda index: abs(times[index] - at))


@lru_cache(maxsize=512)
def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name; raises KeyError or ValueError for what is none."""
    return ZoneInfo(name)


def local_day(day: date, zone: str) -> tuple[int, int]:
    """Beginning and end of a calendar day of a zone, in milliseconds: 23, 24 or 25 hours."""
    tz = zone_of(zone)
    ends = (datetime.combine(day + timedelta(days=ahead), time(), tz) for ahead in (0, 1))
    start, end = (round(each.timestamp() * 1000) for each in ends)
    return start, end


def local_date(at: int, zone: str) -> date:
    """The calendar day of a zone at a time."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone_of(zone)).date()


NOTHING_VOID: Final[Mapping[Reason, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDay:
    """What is known of the places of one UTC day: bit n is place n. A place that has arrived is never void."""

    day: int
    places: int
    have: int = 0
    void: Mapping[Reason, int] = field(default_factory=lambda: NOTHING_VOID)

    @property
    def all(self) -> int:
        """The bits of all places."""
        return (1 << self.places) - 1

    @property
    def voided(self) -> int:
        """The bits that are void for any reason."""
        bits = 0
        for each in self.void.values():
            bits |= each
        return bits

    @property
    def missing(self) -> int:
        """The bits of what may still arrive."""
        return self.all & ~self.have & ~self.voided

    @property
    def expected(self) -> int:
        """How many places count: all but those before the first."""
        return self.places - self.void.get(Reason.BEFORE_FIRST, 0).bit_count()

    def arrived(self, bits: int) -> LedgerDay:
        """These have arrived, whatever was thought of them before."""
        bits &= self.all
        return replace(self, have=self.have | bits, void=_without(self.void, bits))

    def voiding(self, bits: int, reason: Reason) -> LedgerDay:
        """Those of these that are missing never arrive."""
        bits &= self.missing
        if not bits:
            return self
        return replace(self, void={**self.void, reason: self.void.get(reason, 0) | bits})

    def reopened(self, bits: int) -> LedgerDay:
        """These are asked for again, whatever is known of them."""
        return replace(self, have=self.have & ~bits, void=_without(self.void, bits))


def _without(void: Mapping[Reason, int], bits: int) -> Mapping[Reason, int]:
    return {reason: left for reason, each in void.items() if (left := each & ~bits)} if void else void


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Neighbouring intervals that are not there: the times of the first and the last, and how many; None: may still arrive."""

    first: int
    last: int
    count: int
    reason: Reason | None = None


def bits_of(grid: Grid, times: Iterable[int]) -> dict[int, int]:
    """The bits that rows of these times have, by day; rows between the places have none."""
    found: dict[int, int] = {}
    for at in times:
        place = grid.place(at)
        if place is not None:
            found[place[0]] = found.get(place[0], 0) | 1 << place[1]
    return found


def times_of(grid: Grid, day: int, bits: int) -> Iterator[int]:
    """The times that the bits of a day stand for, oldest first."""
    times = grid.times(day)
    while bits:
        low = bits & -bits
        yield times[low.bit_length() - 1]
        bits ^= low


def missing_times(grid: Grid, days: Iterable[LedgerDay], until: int) -> Iterator[int]:
    """What may still arrive and is not after `until`, oldest first; days are in order."""
    for day in days:
        for at in times_of(grid, day.day, day.missing):
            if at > until:
                return
            yield at


def gaps(grid: Grid, days: Iterable[LedgerDay], until: int) -> list[Gap]:
    """All that is not there up to a time, neighbours of one reason together, oldest first. Days are in order, without holes."""
    found: list[Gap] = []
    run = False
    for day in days:
        if not day.all & ~day.have:
            run = run and not day.places
            continue
        for place, at in enumerate(grid.times(day.day)):
            if at > until:
                return found
            if day.have >> place & 1:
                run = False
                continue
            reason = next((reason for reason, bits in day.void.items() if bits >> place & 1), None)
            if run and found[-1].reason is reason:
                found[-1] = replace(found[-1], last=at, count=found[-1].count + 1)
            else:
                found.append(Gap(first=at, last=at, count=1, reason=reason))
            run = True
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many intervals there should be in a span of time, how many are there, and how many never will be, by reason."""

    expected: int = 0
    have: int = 0
    void: Mapping[Reason, int] = field(default_factory=lambda: NOTHING_VOID)

    @property
    def missing(self) -> int:
        """How many may still arrive."""
        return self.expected - self.have - sum(self.void.values())

    @property
    def completeness(self) -> float | None:
        """The share that is there; None where nothing is expected."""
        return self.have / self.expected if self.expected else None


def tally(grid: Grid, days: Iterable[LedgerDay], start: int, end: int) -> Tally:
    """What there is in a half-open span of time; what is before the first interval does not count."""
    expected = have = 0
    void: dict[Reason, int] = {}
    for day in days:
        within = 0
        for place, at in enumerate(grid.times(day.day)):
            within |= (start <= at < end) << place
        within &= ~day.void.get(Reason.BEFORE_FIRST, 0)
        expected += within.bit_count()
        have += (day.have & within).bit_count()
        for reason, bits in day.void.items():
            if count := (bits & within).bit_count():
                void[reason] = void.get(reason, 0) + count
    return Tally(expected=expected, have=have, void=void)
