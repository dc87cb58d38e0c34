from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headend.services.acquisition.schedule import (
    NEVER,
    RETRY_CAP_SECONDS,
    RETRY_SECONDS,
    Schedule,
    fraction,
    next_slot,
    retry_delay,
)

IDS = st.sampled_from([f"meter-{n}" for n in range(6)])
PERIODS = st.sampled_from([1.0, 15.0, 60.0, 900.0, 86400.0])


@given(now=st.floats(0, 1e9), period=st.floats(0.1, 86400), phase=st.floats(0, 1, exclude_max=True))
def test_the_next_slot_is_after_now_and_no_more_than_a_period_away(now: float, period: float, phase: float) -> None:
    slot = next_slot(now, period, phase)
    assert now < slot <= now + period * 1.000001 + 1e-6


@given(failures=st.integers(1, 10_000), seed=st.text())
def test_the_retry_delay_doubles_up_to_its_cap_within_a_quarter(failures: int, seed: str) -> None:
    plain = min(RETRY_SECONDS * 2 ** min(failures - 1, 40), RETRY_CAP_SECONDS)
    assert 0.75 * plain <= retry_delay(failures, seed) < 1.25 * plain
    assert retry_delay(failures, seed) == retry_delay(failures, seed)


def test_ten_thousand_meters_are_spread_evenly_and_each_is_due_once_a_period() -> None:
    schedule = Schedule()
    for number in range(10_000):
        schedule.add(f"meter-{number:05}", 60.0, 1000.0)
    seen: list[str] = []
    per_second: list[int] = []
    for second in range(1, 61):
        now = 1000.0 + second
        due = schedule.pop_due(now, 100_000)
        per_second.append(len(due))
        seen += due
        for meter_id in due:
            schedule.done(meter_id, now)
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == 10_000
    # a binomial with n = 10,000 and p = 1/60 stays within five deviations of its mean
    assert all(abs(count - 10_000 / 60) < 5 * (10_000 / 60) ** 0.5 for count in per_second)


def test_ids_are_spread_evenly_from_zero_to_one() -> None:
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int(10 * fraction(f"{number}"))] += 1
    assert all(850 < count < 1150 for count in tenths)


def test_a_meter_is_polled_on_its_own_grid_again_after_failures() -> None:
    schedule = Schedule()
    schedule.add("a", 60.0, 0.0)
    first = schedule.next_due()
    assert schedule.pop(first) == "a"
    schedule.failed("a", first)
    retry = schedule.next_due()
    assert 7.5 <= retry - first <= 12.5
    assert schedule.pop(retry - 0.01) is None
    assert schedule.pop(retry) == "a"
    schedule.failed("a", retry, not_before=retry + 100)
    assert schedule.next_due() == retry + 100
    assert schedule.pop(retry + 100) == "a"
    schedule.done("a", retry + 100)
    assert (schedule.next_due() - first) % 60 == pytest.approx(0, abs=1e-6)


def test_a_read_outside_the_schedule_ends_the_wait_for_a_retry_only() -> None:
    schedule = Schedule()
    schedule.add("a", 3600.0, 0.0)
    due = schedule.next_due()
    schedule.recovered("a", 0.0)
    assert schedule.next_due() == due
    assert schedule.pop(due) == "a"
    schedule.recovered("a", due)
    assert schedule.next_due() == NEVER, "in flight: whoever popped it says how it ended"
    schedule.failed("a", due)
    schedule.recovered("a", due + 1)
    assert schedule.next_due() == due + 3600


def test_hurrying_does_not_let_the_heap_grow() -> None:
    schedule = Schedule()
    schedule.add("a", 60.0, 0.0)
    for number in range(10_000):
        schedule.hurry("a", number / 1000)
    assert len(schedule._heap) < 200
    assert schedule.pop_due(10.0, 10) == ["a"]


def test_unknown_meters_are_ignored() -> None:
    schedule = Schedule()
    schedule.remove("x")
    schedule.done("x", 1.0)
    schedule.failed("x", 1.0)
    schedule.hurry("x", 1.0)
    schedule.recovered("x", 1.0)
    assert schedule.next_due() == NEVER
    assert schedule.pop_due(1e9, 10) == []
    assert "x" not in schedule


class ScheduleAgainstAList(RuleBasedStateMachine):
    """The heap against the plainest model: a dictionary of when each meter is due."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.now = 1000.0
        self.due: dict[str, float] = {}
        self.known: dict[str, tuple[float, int]] = {}

    @rule(meter_id=IDS, period=PERIODS)
    def add(self, meter_id: str, period: float) -> None:
        self.schedule.add(meter_id, period, self.now)
        self.known[meter_id] = (period, 0)
        self.due[meter_id] = next_slot(self.now, period, fraction(meter_id))

    @rule(meter_id=IDS)
    def remove(self, meter_id: str) -> None:
        self.schedule.remove(meter_id)
        self.known.pop(meter_id, None)
        self.due.pop(meter_id, None)

    @rule(meter_id=IDS)
    def hurry(self, meter_id: str) -> None:
        self.schedule.hurry(meter_id, self.now)
        if meter_id in self.known:
            self.due[meter_id] = self.now

    @rule(meter_id=IDS)
    def done(self, meter_id: str) -> None:
        self.schedule.done(meter_id, self.now)
        if meter_id in self.known:
            period, _ = self.known[meter_id]
            self.known[meter_id] = (period, 0)
            self.due[meter_id] = next_slot(self.now, period, fraction(meter_id))

    @rule(meter_id=IDS)
    def failed(self, meter_id: str) -> None:
        self.schedule.failed(meter_id, self.now)
        if meter_id in self.known:
            period, failures = self.known[meter_id]
            self.known[meter_id] = (period, failures + 1)
            self.due[meter_id] = self.now + retry_delay(failures + 1, meter_id)

    @rule(seconds=st.floats(0, 2000), limit=st.integers(0, 8))
    def pass_time(self, seconds: float, limit: int) -> None:
        self.now += seconds
        expected = sorted((due, meter_id) for meter_id, due in self.due.items() if due <= self.now)[:limit]
        assert self.schedule.pop_due(self.now, limit) == [meter_id for _, meter_id in expected]
        for _, meter_id in expected:
            del self.due[meter_id]

    @invariant()
    def agrees(self) -> None:
        assert len(self.schedule) == len(self.known)
        assert self.schedule.next_due() == min(self.due.values(), default=NEVER)


ScheduleAgainstAList.TestCase.settings = settings(max_examples=40, deadline=None)
TestScheduleAgainstAList = ScheduleAgainstAList.TestCase
