"""When clocks change, as NAESB ESPI says it: a rule in 32 bits (DstRuleType).

```text
bits 0…11 second of the hour, 12…16 hour, 17…19 day of the week (Monday 1), 20…24 day of the month,
25…27 operator (0 the day of the month; 2…6 the first … fifth such day of the week; 7 the last), 28…31 month
```
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_LAST: Final = 7
_YEARS: Final = 8
"""a rule is one that holds so long"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTime:
    """A zone as ESPI describes it, in seconds."""

    offset: int
    dst_offset: int = 0
    start_rule: int = 0
    end_rule: int = 0


def local_time(zone: tzinfo, year: int) -> LocalTime:
    """What is said of a zone in a year; without rules where it keeps one time."""
    january = _offset(zone, datetime(year, 1, 1, tzinfo=UTC))
    changes = list(_changes(zone, year))
    starts = [each for each in changes if each[1] > 0]
    ends = [each for each in changes if each[1] < 0]
    if len(starts) != 1 or len(ends) != 1:
        return LocalTime(offset=january)
    standard = min(january, _offset(zone, datetime(year, 7, 1, tzinfo=UTC)))
    return LocalTime(
        offset=standard,
        dst_offset=starts[0][1],
        start_rule=_rule(zone, year, grows=True),
        end_rule=_rule(zone, year, grows=False),
    )


def _offset(zone: tzinfo, at: datetime) -> int:
    return round((at.astimezone(zone).utcoffset() or timedelta()).total_seconds())


def _changes(zone: tzinfo, year: int) -> Iterator[tuple[datetime, int]]:
    """When the offset changes in a year of UTC, and by how many seconds."""
    day = datetime(year, 1, 1, tzinfo=UTC)
    before = _offset(zone, day)
    while day.year == year:
        after = _offset(zone, day + timedelta(days=1))
        if after != before:
            low, high = 0, 1440
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _offset(zone, day + timedelta(minutes=middle)) == after else (middle, high)
            yield day + timedelta(minutes=high), after - before
        day, before = day + timedelta(days=1), after


def _walls(zone: tzinfo, year: int, *, grows: bool) -> list[datetime]:
    """What clocks show when they are changed, in the years from this one on."""
    found = []
    for each in range(year, year + _YEARS):
        for at, by in _changes(zone, each):
            if (by > 0) is grows:
                found.append(at.replace(tzinfo=None) + timedelta(seconds=_offset(zone, at) - by))
    return found


def _rule(zone: tzinfo, year: int, *, grows: bool) -> int:
    walls = _walls(zone, year, grows=grows)
    first = walls[0]
    day, operator = first.day, 0
    if len(walls) == _YEARS and len({(each.month, each.weekday(), each.time()) for each in walls}) == 1:
        counts = {(each.day - 1) // 7 for each in walls}
        if len(counts) == 1:
            day, operator = 0, counts.pop() + 2
        elif all((each + timedelta(days=7)).month != each.month for each in walls):
            day, operator = 0, _LAST
    second = first.minute * 60 + first.second
    weekday = first.isoweekday() if operator else 0
    return first.month << 28 | operator << 25 | day << 20 | weekday << 17 | first.hour << 12 | second
