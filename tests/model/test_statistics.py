"""Figures: what is added up, and percentiles that lie within the class of the true one."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.statistics import BOUNDS, CLASSES, Figures, total

SECONDS = st.floats(min_value=0.0001, max_value=120, allow_nan=False)


def of(times: list[float]) -> Figures:
    made = Figures(reads_ok=len(times))
    for each in times:
        made.took(each)
    return made


@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_lies_in_the_class_of_the_true_one(times: list[float], share: float) -> None:
    figures = of(times)
    true = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    found = figures.percentile(share)
    assert found is not None
    index = bisect_left(BOUNDS, true)
    assert (BOUNDS[index - 1] if index else 0.0) <= found <= (BOUNDS[index] if index < len(BOUNDS) else max(times))
    assert min(times) <= found <= max(times)


@given(st.lists(st.lists(SECONDS, max_size=20), max_size=5))
def test_figures_together_are_those_of_all_reads(parts: list[list[float]]) -> None:
    together, whole = total(of(each) for each in parts), of([each for part in parts for each in part])
    assert together.classes == whole.classes
    assert (together.fastest, together.slowest, together.reads_ok) == (whole.fastest, whole.slowest, whole.reads_ok)
    assert together.seconds == pytest.approx(whole.seconds)


def test_nothing_counted_says_nothing() -> None:
    empty = Figures()
    assert (empty.success, empty.mean, empty.percentile(0.5), empty.is_empty) == (None, None, None, True)
    assert len(empty.classes) == CLASSES


def test_success_is_a_share_of_what_was_tried() -> None:
    figures = Figures(reads_ok=3, reads_failed=1)
    assert figures.success == 0.75
    assert not figures.is_empty
