"""Summaries by 15 minutes, hour and day: whatever happens when, they say what a plain computation says."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.reading import Value
from headend.storage import summaries, summaries_sqlite, summarising
from headend.storage.levels import RAW, State, pieces
from headend.storage.store import Store

from .conftest import again, empty, settle
from .test_readings import DAY, HOUR, NOON, batch

MINUTE = 60_000
TODAY = NOON // DAY
FOREVER = (-(2**60), 2**60)
LEVELS = (15, 60, 1440)

Slot = tuple[float, float, float, float, int]
"""Lowest, highest, mean, last, count."""


def slot_of(values: Iterable[float]) -> Slot:
    given = list(values)
    return min(given), max(given), sum(given) / len(given), given[-1], len(given)


def together(slots: Iterable[Slot]) -> Slot:
    given = list(slots)
    count = sum(slot[4] for slot in given)
    mean = sum(slot[2] * slot[4] for slot in given) / count
    return min(slot[0] for slot in given), max(slot[1] for slot in given), mean, given[-1][3], count


def grouped(rows: Mapping[int, Value], span: int) -> dict[int, Slot]:
    """Slots of so many milliseconds of the numbers among rows, by when they begin."""
    numbers = sorted((at, float(value)) for at, value in rows.items() if not isinstance(value, str))
    return {
        begin: slot_of(number for _, number in group)
        for begin, group in itertools.groupby(numbers, lambda row: row[0] // span * span)
    }


def merged(slots: Iterable[tuple[int, Slot]], span: int) -> dict[int, Slot]:
    """Slots of so many milliseconds out of finer ones, which are in order."""
    return {
        begin: together(slot for _, slot in group)
        for begin, group in itertools.groupby(slots, lambda row: row[0] // span * span)
    }


def asked(store: Store, meter: str, quantity: str, span: tuple[int, int], bucket: int) -> dict[int, Slot]:
    found = store.readings.aggregate(meter, quantity, *span, bucket)
    columns = (found.minimum, found.maximum, found.mean, found.last, found.count)
    assert list(found.start) == sorted(set(found.start))
    return dict(zip(found.start, zip(*columns, strict=True), strict=True))


def alike(found: Mapping[int, Slot], expected: Mapping[int, Slot]) -> bool:
    assert list(found) == list(expected), (found, expected)
    for begin, slot in found.items():
        assert slot == pytest.approx(expected[begin], rel=1e-9, abs=1e-9)
    return True


class Model:
    """What a series should have: its readings; of days whose readings are gone the slots of each level."""

    def __init__(self) -> None:
        self.rows: dict[int, Value] = {}
        self.slots: dict[int, dict[int, Slot]] = {minutes: {} for minutes in LEVELS}

    def day(self, day: int) -> dict[int, Value]:
        return {at: value for at, value in self.rows.items() if at // DAY == day}

    def let_go(self, day: int, kept: Mapping[int, int]) -> None:
        """The readings of a day go for the first time."""
        for minutes in LEVELS:
            if day >= kept[minutes]:
                self.slots[minutes].update(grouped(self.day(day), minutes * MINUTE))

    def take_in(self, day: int, kept: Mapping[int, int]) -> None:
        """What came late for a day fills the slots that are missing of the finest level, of which others are made."""
        levels = [minutes for minutes in LEVELS if day >= kept[minutes]]
        if not levels:
            return
        finest = self.slots[levels[0]]
        self.slots[levels[0]] = dict(sorted((grouped(self.day(day), levels[0] * MINUTE) | finest).items()))
        for fine, coarse in itertools.pairwise(levels):
            of_day = sorted((at, slot) for at, slot in self.slots[fine].items() if at // DAY == day)
            made = merged(of_day, coarse * MINUTE)
            others = {at: slot for at, slot in self.slots[coarse].items() if at // DAY != day}
            self.slots[coarse] = dict(sorted((others | made).items()))

    def purge(self, minutes: int, before: int) -> None:
        self.slots[minutes] = {at: slot for at, slot in self.slots[minutes].items() if at // DAY >= before}

    def buckets(self, span: tuple[int, int], bucket: int, raw_from: int, kept: Mapping[int, int]) -> dict[int, Slot]:
        """Of the days whose readings are gone, the slots of the finest level, each where it begins."""
        rows: list[tuple[int, Slot]] = []
        for at, value in self.rows.items():
            day = at // DAY
            if (day >= raw_from or all(day < each for each in kept.values())) and not isinstance(value, str):
                rows.append((at, slot_of([float(value)])))
        for minutes in LEVELS:
            finer = [each for each in LEVELS if each < minutes]
            rows += [
                (at, slot)
                for at, slot in self.slots[minutes].items()
                if at // DAY < raw_from and all(at // DAY < kept[each] for each in finer)
            ]
        return merged(sorted(row for row in rows if span[0] <= row[0] < span[1]), bucket)


METERS, QUANTITIES = ("a", "b"), ("e", "u")
SERIES = list(itertools.product(METERS, QUANTITIES))
TIMES = st.one_of(
    st.integers(0, 4 * DAY // MINUTE - 1).map(lambda n: TODAY * DAY + n * MINUTE),
    st.tuples(st.integers(0, 3), st.sampled_from([-1, 0, 1, 15 * MINUTE, HOUR - 1, HOUR, 6 * HOUR])).map(
        lambda given: (TODAY + given[0]) * DAY + given[1]
    ),
    st.sampled_from([-5 * DAY, NOON + 40_000 * DAY]),
)
VALUES = st.one_of(
    st.integers(-(10**6), 10**6), st.integers(0, 9999).map(lambda n: n / 10), st.booleans(), st.just("x")
)
WRITTEN = st.lists(st.tuples(st.sampled_from(SERIES), TIMES, VALUES), min_size=1, max_size=12)
DAYS = st.integers(TODAY, TODAY + 4)


class Levels(RuleBasedStateMachine):
    """Writing, summarising and removing in any order."""

    store: Store

    @initialize()
    def begin(self) -> None:
        """With nothing there."""
        empty(self.store)
        self.store.summaries._series = self.store.summaries._due = 1
        self.models = {series: Model() for series in SERIES}
        self.raw_from = 0
        self.kept = dict.fromkeys(LEVELS, 0)
        self.late: set[tuple[tuple[str, str], int]] = set()

    @rule(rows=WRITTEN)
    def write(self, rows: list[tuple[tuple[str, str], int, Value]]) -> None:
        """Readings of any day."""
        self.store.readings.write([batch((series[1], at, value), meter=series[0]) for series, at, value in rows])
        for series, at, value in rows:
            self.models[series].rows[at] = value
            if 0 <= at // DAY < self.raw_from:
                self.late.add((series, at // DAY))

    @rule(turns=st.integers(1, 4), before=DAYS)
    def turns(self, turns: int, before: int) -> None:
        """A part of the work; of what came late for days that are gone, only all of it, so that the model is simple."""
        if self.late:
            self.settle(before)
        for _ in range(turns):
            self.store.summaries.turn(before)

    @rule(before=DAYS)
    def settle(self, before: int) -> None:
        """All of the work."""
        settle(self.store, before)
        for series, day in self.late:
            self.models[series].take_in(day, self.kept)
        self.late.clear()

    @rule(before=DAYS, broken=st.sampled_from(["remove", "merge", "save_state"]))
    def crash(self, before: int, broken: str) -> None:
        """A turn ends in the middle."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(summaries, broken, lambda *_: 1 // 0)
            try:
                self.store.summaries.turn(before)
            except ZeroDivisionError:
                return
        if self.late:
            self.settle(before)

    @rule(before=DAYS)
    def purge(self, before: int) -> None:
        """Readings go, as far as the store thinks it right: that it knows what it lets go of is seen in the answers."""
        if self.late:
            self.settle(before)
        self.store.readings.purge(before)
        with self.store._database.read() as connection:
            gone_before = summaries.state_of(connection).raw_from
        assert self.raw_from <= gone_before <= max(before, self.raw_from)
        for series, model in self.models.items():
            for day in sorted({at // DAY for at in model.rows if at // DAY in range(self.raw_from, gone_before)}):
                if day > 0:
                    model.let_go(day, self.kept)
            model.rows = {at: value for at, value in model.rows.items() if at // DAY >= min(before, gone_before)}
            left = self.store.readings.series(*series, *FOREVER)
            assert set(left.measured_at) == model.rows.keys()
        self.raw_from = gone_before

    @rule(minutes=st.sampled_from(LEVELS), before=DAYS)
    def purge_level(self, minutes: int, before: int) -> None:
        """Summaries go."""
        if self.late:
            self.settle(before)
        self.store.summaries.purge(minutes, before)
        self.kept[minutes] = max(self.kept[minutes], before)
        for model in self.models.values():
            model.purge(minutes, before)

    @rule(meter=st.sampled_from(METERS))
    def forget(self, meter: str) -> None:
        """A meter goes."""
        with self.store.readings.transaction() as connection:
            self.store.readings.forget(connection, meter)
        for series in SERIES:
            if series[0] == meter:
                self.models[series] = Model()
        self.late = {each for each in self.late if each[0][0] != meter}

    @rule(
        series=st.sampled_from(SERIES),
        span=st.one_of(
            st.just(FOREVER),
            st.tuples(TIMES, TIMES).map(lambda given: (min(given), max(given))),
            st.tuples(DAYS, DAYS).map(lambda given: (min(given) * DAY, max(given) * DAY)),
        ),
        bucket=st.sampled_from([MINUTE, 15 * MINUTE, 45 * MINUTE, HOUR, 2 * HOUR, DAY, 7 * DAY]),
    )
    def look(self, series: tuple[str, str], span: tuple[int, int], bucket: int) -> None:
        """The buckets are those of the model."""
        if self.late:
            self.settle(TODAY)
        expected = self.models[series].buckets(span, bucket, self.raw_from, self.kept)
        assert alike(asked(self.store, *series, span, bucket), expected)


def test_whatever_happens_buckets_are_those_of_a_plain_computation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summarising, "TURN_READINGS", 5)
    most = 60 if store.name.endswith(".db") else 12  # each statement is a journey to the server
    machine = type("OfStore", (Levels,), {"store": store})
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # as Hypothesis has it
        machine,
        settings=settings(
            max_examples=most, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


# --- one thing at a time ---


def polled(day: int, step: int = MINUTE, quantity: str = "e") -> list[tuple[str, int, Value]]:
    return [(quantity, day * DAY + at, at // MINUTE % 7) for at in range(0, DAY, step)]


def rows_of(store: Store, minutes: int) -> list[tuple[Any, ...]]:
    with store._database.read() as connection:
        query = f"SELECT day, slot, count, low, high, mean, last FROM summaries WHERE minutes = {minutes} ORDER BY 1, series, 2"  # noqa: S608 # a number
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def due(store: Store) -> list[tuple[int, int]]:
    with store._database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT day, series FROM summary_due ORDER BY 1, 2")]


def test_a_day_has_its_slots_on_every_level(store: Store) -> None:
    store.readings.write([batch(*polled(TODAY))])
    settle(store, TODAY)
    assert rows_of(store, 15) == [], "it is not over"
    settle(store, TODAY + 1)
    assert [len(rows_of(store, minutes)) for minutes in LEVELS] == [96, 24, 1]
    assert rows_of(store, 15)[1] == (TODAY, 1, 15, 0.0, 6.0, pytest.approx(sum(n % 7 for n in range(15, 30)) / 15), 1.0)
    assert rows_of(store, 60)[23] == (
        TODAY,
        23,
        60,
        0.0,
        6.0,
        pytest.approx(sum(n % 7 for n in range(1380, 1440)) / 60),
        4.0,
    )
    assert rows_of(store, 1440) == [
        (TODAY, 0, 1440, 0.0, 6.0, pytest.approx(sum(n % 7 for n in range(1440)) / 1440), 4.0)
    ]


def test_a_chart_is_made_of_the_coarsest_level_that_will_do(store: Store) -> None:
    """Seen by what is in the levels, where that is changed by hand."""
    store.readings.write([batch(*polled(TODAY))])
    settle(store, TODAY + 1)
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE summaries SET last = minutes + 0.5")
    for bucket, level in ((5 * MINUTE, None), (15 * MINUTE, 15), (45 * MINUTE, 15), (2 * HOUR, 60), (DAY, 1440)):
        found = store.readings.aggregate("m1", "e", TODAY * DAY, (TODAY + 1) * DAY, bucket)
        assert set(found.last) <= ({level + 0.5} if level else set(range(7)))
    ragged = store.readings.aggregate("m1", "e", TODAY * DAY + MINUTE, TODAY * DAY + DAY - HOUR - MINUTE, DAY)
    assert list(ragged.count) == [1440 - 62]
    store.readings.write([batch(("e", TODAY * DAY + MINUTE, 5))])
    assert list(store.readings.aggregate("m1", "e", TODAY * DAY, (TODAY + 1) * DAY, DAY).last) == [4], "it is due"


def test_polling_leaves_no_marks_and_what_is_late_leaves_one_a_day(store: Store) -> None:
    store.readings.write([batch(*polled(TODAY - 1, HOUR), *polled(TODAY, HOUR))])
    settle(store, TODAY)
    store.readings.write([batch(*polled(TODAY, HOUR), ("new", NOON, 1))])
    assert due(store) == []
    store.readings.write([batch(*polled(TODAY - 1, HOUR), *polled(TODAY, HOUR), ("e", -5 * DAY, 1))])
    assert len(due(store)) == store.summaries.waiting() == 1
    with again(store) as other:  # another process
        other.readings.write([batch(("other", (TODAY - 3) * DAY, 1))])
    assert [day for day, _ in due(store)] == [TODAY - 3, TODAY - 1]
    settle(store, TODAY)
    assert due(store) == []
    assert [row[0] for row in rows_of(store, 1440)] == [TODAY - 3, TODAY - 1]


def test_a_day_in_work_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarising, "TURN_READINGS", 24)
    store.summaries._series = 1
    store.readings.write([batch(*polled(TODAY, HOUR, name)) for name in "abc"])
    assert store.summaries.turn(TODAY + 1).readings == 24
    with monkeypatch.context() as patch:
        patch.setattr(summaries, "save_state", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            store.summaries.turn(TODAY + 1)
    assert len(rows_of(store, 1440)) == 1, "a turn is done, or is not"
    store.readings.write([batch(("a", NOON + 1, 9), ("c", NOON + 1, 9))])
    assert len(due(store)) == 1, "of the one that is done already"
    with again(store) as other:
        other.summaries._series = 1
        turns = [other.summaries.turn(TODAY + 1) for _ in range(3)]
    assert [(turn.day, turn.readings) for turn in turns] == [(None, 24), (TODAY, 25), (None, 25)]
    assert [row[2] for row in rows_of(store, 1440)] == [25, 24, 25]


def test_nothing_goes_before_it_is_summarised(store: Store) -> None:
    store.readings.write([batch(*polled(TODAY, HOUR), *polled(TODAY + 1, HOUR))])
    assert store.readings.purge(TODAY + 2) == 0
    settle(store, TODAY + 1)
    store.readings.write([batch(("e", NOON + 1, 9))])
    assert store.readings.purge(TODAY + 2) == 0, "the first day is due, the second not summarised"
    settle(store, TODAY + 1)
    assert store.readings.purge(TODAY + 2) == 25
    assert store.readings.count() == 24
    found = store.readings.aggregate("m1", "e", TODAY * DAY, (TODAY + 1) * DAY, MINUTE)
    assert (len(found), sum(found.count), found.start[12]) == (24, 25, NOON), "finer than what is left: slots"


def test_what_is_late_fills_but_replaces_nothing_once_readings_are_gone(store: Store) -> None:
    store.readings.write([batch(("e", NOON, 1), ("e", NOON + 2 * HOUR, 3))])
    settle(store, TODAY + 1)
    store.readings.purge(TODAY + 1)
    store.readings.write([batch(("e", NOON, 1), ("e", NOON + 1, 50), ("e", NOON + HOUR, 2), ("u", NOON, 7))])
    settle(store, TODAY + 1)
    hours = store.readings.aggregate("m1", "e", TODAY * DAY, (TODAY + 1) * DAY, HOUR)
    assert (list(hours.last), list(hours.count)) == ([1, 2, 3], [1, 1, 1])
    day = store.readings.aggregate("m1", "e", TODAY * DAY, (TODAY + 1) * DAY, DAY)
    assert (list(day.maximum), list(day.mean), list(day.count)) == ([3], [2], [3])
    assert list(store.readings.aggregate("m1", "u", TODAY * DAY, (TODAY + 1) * DAY, DAY).mean) == [7]
    assert store.readings.purge(TODAY + 1) == 4
    assert store.readings.count() == 0


def test_each_level_is_kept_for_its_own_time(store: Store) -> None:
    store.readings.write([batch(*polled(TODAY, HOUR), *polled(TODAY + 1, HOUR))])
    settle(store, TODAY + 2)
    store.readings.purge(TODAY + 2)
    assert store.summaries.purge(15, TODAY + 1) == 24
    assert store.summaries.purge(15, TODAY) == 0, "what is gone stays gone"
    span = (TODAY * DAY, (TODAY + 2) * DAY)
    assert len(store.readings.aggregate("m1", "e", *span, 15 * MINUTE)) == 48
    store.summaries.purge(60, TODAY + 1)
    assert len(store.readings.aggregate("m1", "e", *span, 15 * MINUTE)) == 1 + 24
    assert list(store.readings.aggregate("m1", "e", *span, DAY).count) == [24, 24]
    store.readings.write([batch(("e", NOON, 99), ("new", NOON, 1))])
    settle(store, TODAY + 2)
    assert [len([row for row in rows_of(store, minutes) if row[0] == TODAY]) for minutes in LEVELS] == [0, 0, 2]
    assert store.summaries.purge(1440, TODAY + 2) == 3


def test_a_purge_of_summaries_goes_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarising, "PURGE_ROWS", 200)  # two series of a day
    store.readings.write([batch(*polled(TODAY, 15 * MINUTE), meter=f"m{n}") for n in range(7)])
    settle(store, TODAY + 1)
    assert store.summaries.purge(15, TODAY + 1) == 7 * 96
    assert rows_of(store, 15) == []
    assert len(rows_of(store, 60)) == 7 * 24


def test_a_meter_that_goes_takes_its_summaries_along(store: Store) -> None:
    meter = Meter(
        id="m1", name="", protocol="dlms", framing="wrapper", endpoint=Endpoint(kind=EndpointKind.TCP, host="192.0.2.1")
    )
    store.meters.put(meter, revision=0)
    written = [batch(*polled(TODAY, HOUR)), batch(*polled(TODAY, HOUR), meter="m2")]
    store.readings.write(written)
    settle(store, TODAY + 1)
    store.readings.write(written)
    store.meters.delete("m1", keep_history=False)
    assert [len(rows_of(store, minutes)) for minutes in LEVELS] == [24, 24, 1]
    assert len(due(store)) == 1
    store.meters.put(meter, revision=0)
    store.readings.write([batch(("e", NOON, 5))])
    settle(store, TODAY + 1)
    assert list(store.readings.aggregate("m1", "e", *FOREVER, DAY).count) == [1]
    assert list(store.readings.aggregate("m2", "e", *FOREVER, DAY).count) == [24]


def test_odd_numbers_stop_nothing(store: Store) -> None:
    """Sums beyond what a double holds are an error in PostgreSQL, and infinities have no mean."""
    huge, inf = 1.7e308, float("inf")
    given = [("big", huge), ("big", huge), ("both", inf), ("both", -inf), ("none", float("nan")), ("on", True)]
    store.readings.write([batch(*((name, NOON + n, value) for n, (name, value) in enumerate(given)))])
    settle(store, TODAY + 1)
    store.readings.purge(TODAY + 1)
    assert store.readings.count() == 0
    assert list(store.readings.aggregate("m1", "big", *FOREVER, DAY).maximum) == [huge]
    both = store.readings.aggregate("m1", "both", *FOREVER, DAY)
    assert (both.minimum[0], both.maximum[0], both.mean[0]) == (-inf, inf, None)
    assert len(store.readings.aggregate("m1", "none", *FOREVER, DAY)) == 0
    assert list(store.readings.aggregate("m1", "on", *FOREVER, DAY).mean) == [1]


def test_pieces_are_what_was_asked_for_and_no_more() -> None:
    state = State(day=TODAY, raw_from=TODAY - 3, quarter_hours_from=TODAY - 5)
    end = TODAY * DAY + HOUR
    start = (TODAY - 7) * DAY + 10 * MINUTE
    assert pieces(state, 1, [TODAY - 2, TODAY - 4], start, end, HOUR) == [
        (60, start, (TODAY - 2) * DAY),  # a ragged end of gone days, too: the finest level left is that of hours
        (RAW, (TODAY - 2) * DAY, (TODAY - 1) * DAY),
        (60, (TODAY - 1) * DAY, TODAY * DAY),
        (RAW, TODAY * DAY, end),
    ]
    assert pieces(State(), 1, [], *FOREVER, DAY) == [(RAW, *FOREVER)]
    assert pieces(State(day=TODAY, series=9), 8, [], *FOREVER, DAY)[-1] == (RAW, (TODAY + 1) * DAY, FOREVER[1])


def test_a_day_is_summarised_without_sorting_it(sqlite_store: Store) -> None:
    sqlite_store.readings.write([batch(*polled(TODAY))])
    query = summaries_sqlite._SUMMARISE.format(number="number >= 1 AND number < 9")
    with closing(sqlite3.connect(sqlite_store.name)) as connection:
        connection.execute(summaries_sqlite._SLOTS[0])
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", {"day": TODAY, "quarter": 0})]
    assert "SEARCH readings USING PRIMARY KEY (quarter=? AND point>? AND point<?)" in plan
    assert not any("TEMP B-TREE" in step or "SCAN readings" in step for step in plan)


def test_a_series_is_found_in_its_level_by_the_key(store: Store) -> None:
    store.readings.write([batch(*polled(TODAY + day, HOUR), meter=f"m{n}") for day in range(5) for n in range(20)])
    settle(store, TODAY + 5)
    query = summaries._OF_SERIES.replace(":days", f"({TODAY}, {TODAY + 2})")
    sqlite = store.name.endswith(".db")
    for known in (False, True):
        with store._database.write() as connection:
            if known:
                connection.exec_driver_sql("ANALYZE summaries")
            explained = sa.text(f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {query}")
            plan = "\n".join(row[-1] for row in connection.execute(explained, {"minutes": 60, "series": 3}))
        for found in ("(minutes=? AND day=? AND series=?)",) if sqlite else ("day = ANY", "series = '3'"):
            assert found in plan, plan
