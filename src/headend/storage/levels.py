"""Levels of history: readings themselves, and their summaries by 15 minutes, hour and day; pure.

A summary is what the numbers of a series were in a slot of a day: how many, lowest, highest, mean and last. Days are those
of UTC, where all of them last as long. What a query takes from where, it takes from the coarsest level that says the same as
the readings would; only where these are gone it takes what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from headend.storage.records import BucketColumns
from headend.storage.values import DAY_MS, DAYS

RAW: Final = 0
LEVELS: Final = (15, 60, 1440)
"""Minutes of a slot of each level of summaries, the finest first."""
MINUTE_MS: Final = 60_000

Bucket: TypeAlias = tuple[int, float, float, "float | None", float, int]
"""When it begins, or a slot in it; lowest, highest, mean (None where it is none), last, count."""
Piece: TypeAlias = tuple[int, int, int]
"""A level, and the first and the first later time of what is taken from it."""


class State(NamedTuple):
    """How far summarising and removing are. All series of the days before `day` are summarised, and of it those before `series`."""

    day: int = DAYS.start
    series: int = 0
    raw_from: int = 0
    """the readings of days before this one are gone, but for some that came later"""
    quarter_hours_from: int = 0
    """the summaries by 15 minutes of days before this one are gone; and so on"""
    hours_from: int = 0
    days_from: int = 0

    @property
    def border(self) -> int:
        """Times from here on are not summarised."""
        return (self.day + (self.series > 0)) * DAY_MS

    def has(self, minutes: int, day: int) -> bool:
        """Whether a level keeps a day."""
        return day >= (self.quarter_hours_from, self.hours_from, self.days_from)[LEVELS.index(minutes)]

    def covers(self, day: int, series: int) -> bool:
        """Whether a day of a series has been summarised, or has had nothing to summarise."""
        return day in DAYS and (day, series) < (self.day, self.series)


def pieces(state: State, series: int, due: Iterable[int], start: int, end: int, bucket: int) -> list[Piece]:
    """From where buckets of a series between two times are taken, in order; `due` are its days that must be summarised again.

    Who asks for buckets that no level divides, of days whose readings are gone, gets slots of the finest that is left: each
    in the bucket in which it begins.
    """
    first = max(start // DAY_MS, DAYS.start)
    beyond = max(min((end - 1) // DAY_MS + 1, DAYS.stop, state.day + state.covers(state.day, series)), first)
    borders = {first, beyond, state.raw_from, state.quarter_hours_from, state.hours_from, state.days_from}
    waiting = {day for day in due if day >= state.raw_from}
    borders.update(each for day in waiting for each in (day, day + 1))
    days = sorted(border for border in borders if first <= border <= beyond)
    found: list[Piece] = [(RAW, start, min(first * DAY_MS, end))]
    for day, next_day in pairwise(days):
        low, high = max(day * DAY_MS, start), min(next_day * DAY_MS, end)
        kept = [] if day in waiting else [minutes for minutes in LEVELS if state.has(minutes, day)]
        otherwise = RAW if day >= state.raw_from or not kept else kept[0]
        found += _cut([each for each in reversed(kept) if bucket % (each * MINUTE_MS) == 0], otherwise, low, high)
    found.append((RAW, max(beyond * DAY_MS, start), end))
    return _joined(found)


def _cut(levels: Sequence[int], otherwise: int, low: int, high: int) -> list[Piece]:
    """Whole slots of the first level, and what is left at both ends of finer ones."""
    if not levels:
        return [(otherwise, low, high)]
    span = levels[0] * MINUTE_MS
    first, last = -(-low // span) * span, high // span * span
    if first >= last:
        return _cut(levels[1:], otherwise, low, high)
    ends = _cut(levels[1:], otherwise, low, first), _cut(levels[1:], otherwise, last, high)
    return [*ends[0], (levels[0], first, last), *ends[1]]


def _joined(found: Iterable[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for level, low, high in found:
        if low >= high:
            continue
        if joined and joined[-1][0] == level and joined[-1][2] == low:
            joined[-1] = (level, joined[-1][1], high)
        else:
            joined.append((level, low, high))
    return joined


def columns_of(rows: Iterable[Bucket], bucket: int) -> BucketColumns:
    """Buckets of rows in the order of time, of which several may lie in one."""
    merged: list[Bucket] = []
    for row in rows:
        begin = row[0] // bucket * bucket
        if merged and merged[-1][0] == begin:
            merged[-1] = _together(merged[-1], row)
        else:
            merged.append((begin, *row[1:]))
    start, low, high, mean, last, count = zip(*merged, strict=True) if merged else ((),) * 6
    return BucketColumns(start=start, minimum=low, maximum=high, mean=mean, last=last, count=count)


def _together(one: Bucket, later: Bucket) -> Bucket:
    count = one[5] + later[5]
    mean = None if one[3] is None or later[3] is None else one[3] * (one[5] / count) + later[3] * (later[5] / count)
    return one[0], min(one[1], later[1]), max(one[2], later[2]), mean, later[4], count
