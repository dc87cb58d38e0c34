from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.intervals import (
    DAY_MS,
    HOUR_MS,
    Gap,
    Grid,
    LedgerDay,
    Reason,
    bits_of,
    gaps,
    local_date,
    local_day,
    missing_times,
    tally,
    times_of,
)

QUARTER = 900_000
MINUTE = 60_000
SOME_DAY = 20_500
"""2026-02-16"""
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Asia/Kolkata",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
)

grids = st.builds(
    Grid,
    st.sampled_from([m * MINUTE for m in (1, 5, 10, 15, 30, 60)]),
    st.just(0) | st.integers(1, 59_000),
    st.sampled_from(ZONES),
) | st.builds(Grid, st.just(DAY_MS), st.just(0) | st.just(6 * HOUR_MS), st.sampled_from(ZONES))


def millis(*when: int, zone: str = "UTC") -> int:
    return round(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


@given(grids, st.integers(10_000, 30_000))
def test_the_days_of_a_grid_cover_time_without_gap_or_overlap(grid: Grid, day: int) -> None:
    times = [at for each in (day - 1, day, day + 1) for at in grid.times(each)]
    steps = {after - before for before, after in pairwise(times)}
    # A day of wall clock time is longer or shorter by what the zone changes its clock by; nothing else may happen.
    assert steps <= ({grid.period} if grid.period <= HOUR_MS else {DAY_MS + n * 1_800_000 for n in range(-2, 3)})
    assert all(at // DAY_MS == day for at in grid.times(day))


@given(grids, st.integers(10_000, 30_000), st.data())
def test_a_row_finds_its_place_and_the_place_its_time(grid: Grid, day: int, data: st.DataObject) -> None:
    times = grid.times(day)
    if not times:
        return
    index = data.draw(st.integers(0, len(times) - 1))
    off = data.draw(st.integers(-grid.tolerance + 1, grid.tolerance))
    assert grid.place(times[index] + off) == (day, index)
    assert grid.place(times[index] + grid.tolerance + 1) is None


@given(grids, st.integers(10_000 * DAY_MS, 30_000 * DAY_MS))
def test_the_next_time_is_the_first_one_behind(grid: Grid, at: int) -> None:
    found = grid.next_after(at)
    ahead = [each for day in range(at // DAY_MS, at // DAY_MS + 3) for each in grid.times(day) if each > at]
    assert found == ahead[0]


def test_a_grid_needs_a_period_and_may_have_none_in_a_day() -> None:
    with pytest.raises(ValueError, match="period"):
        Grid(0)
    # London: midnight of 26 October 2025 is 23:00 UTC of the 25th, that of the 27th is 00:00 UTC: the UTC day 26 has none.
    autumn = millis(2025, 10, 26) // DAY_MS
    daily = Grid(DAY_MS, 0, "Europe/London")
    assert [len(daily.times(day)) for day in (autumn - 1, autumn, autumn + 1)] == [1, 0, 1]
    assert daily.place(millis(2025, 10, 26, 12)) is None
    spring = millis(2025, 3, 30) // DAY_MS
    assert list(daily.times(spring)) == [millis(2025, 3, 30), millis(2025, 3, 30, 23)]


@pytest.mark.parametrize(
    ("day", "zone", "quarters"),
    [
        (date(2025, 3, 30), "Europe/Berlin", 92),
        (date(2025, 10, 26), "Europe/Berlin", 100),
        (date(2025, 7, 1), "Europe/Berlin", 96),
        (date(2025, 10, 5), "Australia/Lord_Howe", 94),
        (date(2025, 3, 9), "America/New_York", 92),
        (date(2025, 3, 9), "Asia/Shanghai", 96),
    ],
)
def test_a_day_for_people_has_as_many_quarters_as_its_zone_gives_it(day: date, zone: str, quarters: int) -> None:
    grid = Grid(QUARTER)
    start, end = local_day(day, zone)
    assert local_date(start, zone) == day == local_date(end - 1, zone)
    days = [LedgerDay(day=each, places=96, have=2**96 - 1) for each in range(start // DAY_MS, (end - 1) // DAY_MS + 1)]
    found = tally(grid, days, start, end)
    assert (found.expected, found.have, found.missing, found.completeness) == (quarters, quarters, 0, 1.0)


def test_what_is_seen_of_a_meter_tells_its_grid() -> None:
    assert Grid.seen(QUARTER, "UTC", millis(2026, 1, 1, 10, 15)) == Grid(QUARTER)
    assert Grid.seen(QUARTER, "UTC", millis(2026, 1, 1, 10, 17, 30)) == Grid(QUARTER, 150_000)
    assert Grid.seen(HOUR_MS, "UTC", millis(2026, 1, 1, 10, 30)) == Grid(HOUR_MS, 1_800_000)
    assert Grid.seen(DAY_MS, "Europe/Berlin", millis(2026, 7, 1, zone="Europe/Berlin")).offset == 0
    six = Grid.seen(DAY_MS, "Europe/Berlin", millis(2026, 7, 1, 6, zone="Europe/Berlin"))
    assert six.offset == 6 * HOUR_MS
    assert six.place(millis(2026, 1, 1, 6, zone="Europe/Berlin")) is not None


@given(st.integers(0, 2**96 - 1), st.integers(0, 2**96 - 1), st.integers(0, 2**96 - 1))
def test_a_place_is_there_or_void_or_missing_and_nothing_else(have: int, wrapped: int, again: int) -> None:
    day = LedgerDay(day=1, places=96).arrived(have).voiding(wrapped, Reason.WRAPPED).voiding(again, Reason.POWER_DOWN)
    assert day.have == have
    assert day.have | day.voided | day.missing == day.all
    assert not day.have & day.voided
    assert not day.missing & (day.have | day.voided)
    assert day.void.get(Reason.WRAPPED, 0) == wrapped & ~have
    late = day.arrived(again)
    assert not late.voided & again
    assert late.have == have | again
    assert day.reopened(day.all) == LedgerDay(day=1, places=96)
    assert day.voiding(0, Reason.WRAPPED) is day


@given(
    st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=4),
    st.lists(st.integers(0, 2**24 - 1), min_size=4, max_size=4),
)
def test_gaps_are_what_is_not_there_joined_over_midnight(haves: list[int], voids: list[int]) -> None:
    grid = Grid(HOUR_MS)
    days = [
        LedgerDay(day=SOME_DAY + n, places=24).arrived(have).voiding(void, Reason.WRAPPED)
        for n, (have, void) in enumerate(zip(haves, voids, strict=False))
    ]
    expected: list[tuple[int, Reason | None]] = []
    for day in days:
        for place in range(24):
            if not day.have >> place & 1:
                reason = Reason.WRAPPED if day.voided >> place & 1 else None
                expected.append((day.day * DAY_MS + place * HOUR_MS, reason))
    found = gaps(grid, days, 2**60)
    told = [(at, gap.reason) for gap in found for at in range(gap.first, gap.last + 1, HOUR_MS)]
    assert told == expected
    assert sum(gap.count for gap in found) == len(expected)
    assert all(a.last + HOUR_MS < b.first or a.reason is not b.reason for a, b in pairwise(found))
    missing = [at for at, reason in expected if reason is None]
    assert list(missing_times(grid, days, 2**60)) == missing
    half = SOME_DAY * DAY_MS + DAY_MS // 2
    assert list(missing_times(grid, days, half)) == [at for at in missing if at <= half]
    assert sum(gap.count for gap in gaps(grid, days, half)) == sum(at <= half for at, _ in expected)


def test_a_gap_goes_on_over_a_day_without_places() -> None:
    grid = Grid(DAY_MS, 0, "Europe/London")
    autumn = millis(2025, 10, 26) // DAY_MS
    days = [LedgerDay(day=day, places=len(grid.times(day))) for day in range(autumn - 1, autumn + 2)]
    gap = Gap(first=millis(2025, 10, 25, 23), last=millis(2025, 10, 27), count=2)
    assert gaps(grid, days, 2**60) == [gap]


@given(grids, st.integers(10_000, 30_000), st.integers(0, 2**24 - 1))
def test_bits_and_times_are_two_names_of_one_thing(grid: Grid, day: int, bits: int) -> None:
    bits &= (1 << len(grid.times(day))) - 1
    times = list(times_of(grid, day, bits))
    assert times == sorted(times)
    assert bits_of(grid, times) == ({day: bits} if bits else {})
    assert bits_of(grid, [at + grid.tolerance + 1 for at in times]) == {}


def test_what_is_before_the_first_does_not_count_and_what_is_void_has_its_reason() -> None:
    grid = Grid(HOUR_MS)
    day = (
        LedgerDay(day=SOME_DAY, places=24)
        .voiding(0b11, Reason.BEFORE_FIRST)
        .arrived(0b100)
        .voiding(0b1000, Reason.WRAPPED)
    )
    found = tally(grid, [day], SOME_DAY * DAY_MS, (SOME_DAY + 1) * DAY_MS)
    assert (found.expected, found.have, dict(found.void), found.missing) == (22, 1, {Reason.WRAPPED: 1}, 20)
    assert day.expected == 22
    assert tally(grid, [], 0, 1).completeness is None


def test_the_quarters_of_both_clock_changes_are_those_of_a_calendar() -> None:
    """Against a walk of the calendar, hour by hour, instead of arithmetic on bits."""
    for day, hours in ((date(2025, 3, 30), 23), (date(2025, 10, 26), 25)):
        start, end = local_day(day, "Europe/Berlin")
        at, walked = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC), 0
        while at.astimezone(ZoneInfo("Europe/Berlin")).date() == day:
            at, walked = at + timedelta(hours=1), walked + 1
        assert walked == hours == (end - start) // HOUR_MS
