"""Ranges against sets of integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headend.model.ranges import Ranges

RANGE = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(st.lists(st.tuples(st.booleans(), RANGE), max_size=30), st.integers(0, 40))
def test_ranges_are_sets_of_integers(changes: list[tuple[bool, tuple[int, int]]], limit: int) -> None:
    ranges, expected = Ranges(), set[int]()
    for adds, (start, end) in changes:
        (ranges.add if adds else ranges.remove)(start, end)
        (expected.update if adds else expected.difference_update)(range(start, end))
        assert {number for one in ranges for number in range(*one)} == expected
        flat = [edge for one in ranges for edge in one]
        assert flat == sorted(set(flat)), "they overlap or touch"
    assert {number for number in range(41) if number in ranges} == expected
    assert bool(ranges) is bool(expected)
    below = {number for one in ranges.below(limit) for number in range(*one)}
    assert below == {number for number in expected if number < limit}
