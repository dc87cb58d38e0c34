"""Intervals from readings: exact, never negative, never across an exchange, and what they add up to."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from headend.model.interval import Derivation, Form, Interval, form_of
from headend.model.quantity import quantity
from headend.model.reading import Quality, Source, Value
from headend.services.intervals import Row, differences, from_steps, given, moments, to_steps

QUARTER = 900_000
LIMIT = 10_000_000


def rows(*points: tuple[int, Value], quality: int = 0) -> list[Row]:
    return [(at, value, quality, at + 5000, Source.HISTORY) for at, value in points]


def quarters(found: list[Row], start: int, end: int, *, digits: int = 3) -> list[Interval]:
    made = differences(found, start * QUARTER, end * QUARTER, QUARTER, digits=digits, limit=LIMIT)
    return [
        Interval(each.start // QUARTER, each.end // QUARTER, *(getattr(each, name) for name in Interval.__slots__[2:]))
        for each in made
    ]


def amounts(found: list[Interval]) -> list[tuple[int, object]]:
    return [(each.start, each.value) for each in found]


def test_a_register_at_the_ends_of_intervals_gives_its_differences() -> None:
    found = quarters(rows((0, 100), (QUARTER, 150), (2 * QUARTER, 150), (3 * QUARTER, 151)), 0, 3)
    assert amounts(found) == [(0, 50), (1, 0), (2, 1)]
    assert {type(each.value) for each in found} == {int}
    assert [each.read_at for each in found] == [n * QUARTER + 5000 for n in (1, 2, 3)]
    assert {(each.quality, each.status) for each in found} == {(Quality.GOOD, 0)}


def test_decimals_are_subtracted_exactly() -> None:
    """0.3 - 0.1 is 0.19999999999999998 in floats."""
    assert amounts(quarters(rows((0, 0.1), (QUARTER, 0.3), (2 * QUARTER, 1.3)), 0, 2)) == [(0, Decimal("0.2")), (1, 1)]


def test_a_missing_reading_is_a_gap_and_nothing_is_put_there() -> None:
    found = quarters(rows((0, 100), (QUARTER, 150), (3 * QUARTER, 300), (4 * QUARTER, 310)), 0, 4)
    assert amounts(found) == [(0, 50), (3, 10)]


def test_a_reading_flagged_missing_is_none() -> None:
    flagged = rows((QUARTER, 150), quality=Quality.MISSING)
    assert amounts(quarters([*rows((0, 100)), *flagged, *rows((2 * QUARTER, 200))], 0, 2)) == []


def test_readings_beside_the_grid_are_interpolated_and_said_to_be() -> None:
    minute = 60_000
    found = quarters(rows(*((n * minute + 20_000, 100 + 10 * n) for n in range(-2, 33))), 0, 2)
    assert amounts(found) == [(0, 150), (1, 150)]
    assert {each.quality for each in found} == {Quality.ESTIMATED}
    assert all(each.status & Derivation.INTERPOLATED for each in found)


def test_a_poll_within_a_hundredth_of_the_period_stands_for_its_time() -> None:
    found = quarters(rows((8999, 100), (QUARTER - 9000, 150), (QUARTER + 30_000, 190)), 0, 1)
    assert amounts(found) == [(0, 50)]
    assert found[0].quality is Quality.GOOD


@pytest.mark.parametrize(
    ("before", "after", "grown"),
    [
        pytest.param(99_999_990, 15, 25, id="eight decimal digits"),
        pytest.param(999_990, 5, 15, id="six decimal digits"),
        pytest.param(2**32 - 6, 4, 10, id="32 bits"),
        pytest.param((2**32 - 6) * 10, 40, 100, id="32 bits of ten Wh"),
    ],
)
def test_a_register_that_rolls_over_goes_on(before: int, after: int, grown: int) -> None:
    found = quarters(rows((0, before - 7), (QUARTER, before), (2 * QUARTER, after), (3 * QUARTER, after + 3)), 0, 3)
    assert amounts(found) == [(0, 7), (1, grown), (2, 3)]
    assert [bool(each.status & Derivation.ROLLED_OVER) for each in found] == [False, True, False]


@pytest.mark.parametrize("after", [0, 12, 400_000, 900_000_000])
def test_no_interval_spans_an_exchange_of_the_meter(after: int) -> None:
    found = quarters(rows((0, 500_000), (QUARTER, 500_100), (2 * QUARTER, after), (3 * QUARTER, after + 30)), 0, 3)
    assert amounts(found) == [(0, 100), (2, 30)]


def test_an_exchange_between_two_polls_of_one_interval_is_seen() -> None:
    """The difference of the ends alone would look right."""
    found = quarters(rows((0, 1000), (300_000, 1010), (600_000, 990), (QUARTER, 1015), (2 * QUARTER, 1020)), 0, 2)
    assert amounts(found) == [(1, 5)]


@examples(
    grown=st.lists(st.integers(0, 2_000), min_size=2, max_size=40),
    offset=st.integers(0, 59_999),
    first=st.integers(0, 10**9),
)
def test_intervals_add_up_to_what_the_register_counted(grown: list[int], offset: int, first: int) -> None:
    """Whatever lies between readings: each minute is read, a second here or there."""
    points, value = [], first
    for minute, each in enumerate([0, *grown, *[0] * 20]):
        value += each
        points.append((minute * 60_000 + offset, value))
    last = points[-1][0] // QUARTER
    found = quarters(rows(*points), 0, last)
    assert all(each.value >= 0 for each in found)
    starts = [each.start for each in found]
    assert starts == list(range(starts[0], last)) if starts else True
    at_end = [each.value for each in found]
    total = sum(at_end)
    assert 0 <= total <= value - first


@examples(values=st.lists(st.floats(0, 1e9, width=32), min_size=2, max_size=30))
def test_no_difference_is_negative_or_beyond_the_limit(values: list[float]) -> None:
    found = quarters(rows(*((n * QUARTER, value) for n, value in enumerate(values))), 0, len(values) - 1)
    assert all(0 <= each.value <= LIMIT // 4 for each in found)


@pytest.mark.parametrize("bad", ["text", True, float("nan"), float("inf"), 1e38, -(10**30)])
def test_what_is_no_number_is_passed_over(bad: Value) -> None:
    assert to_steps(bad, 3) is None
    assert list(moments(rows((0, bad), (1, 2)), 0, 10, digits=3)) == [
        Interval(1, 1, 2, Quality(0), 0, 5001, Source.HISTORY)
    ]


@examples(value=st.decimals(0, 10**9, places=3))
def test_thousandths_are_kept_exactly(value: Decimal) -> None:
    assert from_steps(to_steps(float(value), 3) or 0, 3) == value


def test_what_the_meter_measured_by_intervals_ends_where_it_is_stamped() -> None:
    found = list(given(rows((QUARTER, 50), (2 * QUARTER + 3000, 60)), 0, 2 * QUARTER, QUARTER, digits=0))
    assert [(each.start, each.end, each.value) for each in found] == [(0, QUARTER, 50), (QUARTER, 2 * QUARTER, 60)]


def test_a_row_before_its_time_is_a_shorter_interval() -> None:
    """As when power comes back, or the clock is set."""
    found = list(
        given(rows((QUARTER, 50), (QUARTER + 400_000, 9), (2 * QUARTER, 11)), 0, 2 * QUARTER, QUARTER, digits=0)
    )
    assert [(each.start, each.end) for each in found] == [
        (0, QUARTER),
        (QUARTER, QUARTER + 400_000),
        (QUARTER + 400_000, 2 * QUARTER),
    ]
    assert [bool(each.status & Derivation.OFF_GRID) for each in found] == [False, True, True]


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("active_energy_import_total", Form.REGISTER),
        ("active_energy_import_t2", Form.REGISTER),
        ("active_energy_billing_import_total", Form.MOMENT),
        ("active_energy_interval_import_total", Form.INTERVAL),
        ("active_power_avg_import_total", Form.INTERVAL),
        ("voltage_avg_l1", Form.INTERVAL),
        ("active_demand_max_import_total", Form.MOMENT),
        ("voltage_l1", Form.MOMENT),
        ("serial_number", None),
    ],
)
def test_the_kind_of_a_quantity_says_how_it_becomes_intervals(key: str, form: Form | None) -> None:
    assert form_of(quantity(key)) is form
