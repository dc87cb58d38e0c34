from __future__ import annotations

import dataclasses
import math
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headend.errors import NotFound
from headend.model.reading import Quality, ReadingBatch, Source, Value, to_millis
from headend.storage import readings_sqlite as module
from headend.storage.store import Store

from .conftest import empty, settle

NOON = to_millis(datetime(2026, 3, 1, 12, tzinfo=UTC))
SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000


def batch(
    *points: tuple[str, int, Value],
    meter: str = "m1",
    received_at: int = NOON,
    source: Source = Source.POLL,
    quality: Quality = Quality.GOOD,
) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=source,
        received_at=received_at,
        quantities=[point[0] for point in points],
        measured_at=[point[1] for point in points],
        values=[point[2] for point in points],
        quality=[quality] * len(points),
    )


def rows(store: Store, quantity: str = "e", start: int = -(2**62), end: int = 2**62) -> list[tuple[int, Value]]:
    columns = store.readings.series("m1", quantity, start, end)
    return list(zip(columns.measured_at, columns.values, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    points=st.dictionaries(
        st.tuples(st.sampled_from(["e", "u", "näme 'x'"]), st.integers(-(2**45), 2**45)),
        st.one_of(st.booleans(), st.integers(), st.floats(), st.text(st.characters())),
        max_size=40,
    ),
    received_at=st.integers(0, 2**42),
    source=st.sampled_from(Source),
    quality=st.integers(0, sum(Quality)),
)
def test_readings_come_back_as_they_were_given(
    store: Store,
    points: dict[tuple[str, int], Value],
    received_at: int,
    source: Source,
    quality: int,
) -> None:
    empty(store)
    given_batch = batch(
        *((q, at, v) for (q, at), v in points.items()), received_at=received_at, source=source, quality=Quality(quality)
    )
    assert store.readings.write([given_batch]) == len(points)
    for name in {q for q, _ in points}:
        expected = sorted((at, v) for (q, at), v in points.items() if q == name)
        columns = store.readings.series("m1", name, -(2**62), 2**62)
        assert list(columns.measured_at) == [at for at, _ in expected]
        for got, (at, value) in zip(columns.values, expected, strict=True):
            assert type(got) is type(value)
            assert got == value or (math.isnan(got) and math.isnan(value))  # type: ignore[arg-type]
            receipt = store.readings.receipt("m1", name, at)
            assert (receipt.received_at, receipt.source) == (received_at, source)
        assert set(columns.quality) == {quality}
    assert store.readings.count() == len(points)


def test_the_interval_is_half_open_to_the_millisecond(store: Store) -> None:
    store.readings.write([batch(("e", NOON - 1, 1), ("e", NOON, 2), ("e", NOON + DAY - 1, 3), ("e", NOON + DAY, 4))])
    assert rows(store, start=NOON, end=NOON + DAY) == [(NOON, 2), (NOON + DAY - 1, 3)]
    assert rows(store, start=NOON, end=NOON) == []
    assert rows(store, start=NOON + 1, end=NOON) == []
    assert rows(store, "unknown") == []


def test_a_limit_keeps_the_oldest(store: Store) -> None:
    store.readings.write([batch(*(("e", NOON + n * HOUR, n) for n in range(48)))])
    assert list(store.readings.series("m1", "e", NOON, NOON + 9 * DAY, limit=30).values) == list(range(30))


def test_the_same_batch_twice_is_stored_once_and_a_later_value_wins(store: Store) -> None:
    store.readings.write([batch(("e", NOON, 1), ("u", NOON, 230.0))] * 2)
    store.readings.write([batch(("e", NOON, 2))])
    assert store.readings.count() == 2
    assert rows(store) == [(NOON, 2)]
    assert list(store.readings.latest(quantities=["e"]).values) == [2]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (Quality.GOOD, Quality.ESTIMATED, 1),
        (Quality.ESTIMATED, Quality.GOOD, 2),
        (Quality.ESTIMATED, Quality.ESTIMATED, 2),
        (Quality.CLOCK_INVALID, Quality.ESTIMATED | Quality.MANUAL, 1),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_an_estimate_never_replaces_a_measurement(
    store: Store, first: Quality, second: Quality, kept: int, *, together: bool
) -> None:
    batches = [batch(("e", NOON, 1), quality=first), batch(("e", NOON, 2), quality=second)]
    for group in [batches] if together else [[b] for b in batches]:
        store.readings.write(group)
    assert rows(store) == [(NOON, kept)]
    assert list(store.readings.latest().values) == [kept]


@pytest.mark.parametrize("together", [True, False])
def test_latest_is_the_newest_measurement_not_the_newest_arrival(store: Store, *, together: bool) -> None:
    batches = [
        batch(("e", NOON, 10)),
        batch(("e", NOON - DAY, 8), ("e", NOON - HOUR, 9), source=Source.HISTORY, received_at=NOON + SECOND),
    ]
    for group in [batches] if together else [[b] for b in batches]:
        store.readings.write(group)
    latest = store.readings.latest()
    assert (latest.values, latest.measured_at, latest.sources) == ([10], (NOON,), [Source.POLL])


@pytest.mark.parametrize("together", [True, False])
def test_one_reading_from_the_future_does_not_freeze_the_latest(store: Store, *, together: bool) -> None:
    batches = [batch(("e", NOON + 9000 * DAY, 1)), batch(("e", NOON + SECOND, 2), received_at=NOON + SECOND)]
    for group in [batches] if together else [[b] for b in batches]:
        store.readings.write(group)
    assert list(store.readings.latest().values) == [2]


def test_the_latest_of_one_write_may_be_of_all_kinds(store: Store) -> None:
    now = 10**12
    prompt = batch(("e", now - 500, 230.5), ("u", now - 60_000, ""), ("text", now, "on"), received_at=now)
    old = batch(
        ("old", now - 10**9, 7), ("old text", now - 10**9, "ä"), ("future", now + 10**9, 2**70), received_at=now
    )
    store.readings.write([prompt, old])
    latest = store.readings.latest()
    found = zip(latest.quantities, latest.values, latest.measured_at, latest.received_at, strict=True)
    assert sorted(found) == sorted(
        (quantity, value, at, now)
        for each in (prompt, old)
        for quantity, value, at in zip(each.quantities, each.values, each.measured_at, strict=True)
    )


def test_a_new_series_of_a_new_day_comes_together_with_readings_that_are_there_already(store: Store) -> None:
    known, new = batch(("e", 1000, 1)), batch(("u", 10**12, 2), meter="m2")
    store.readings.write([known])
    for _ in range(2):
        store.readings.write([known, new])
    assert rows(store) == [(1000, 1)]
    assert list(store.readings.series("m2", "u", 0, 2**60).values) == [2]
    assert store.readings.count() == 2


def test_latest_chooses_meters_and_quantities(store: Store) -> None:
    store.readings.write(batch(("e", NOON, n), ("u", NOON, "on"), meter=f"m{n}") for n in range(5))
    latest = store.readings.latest(["m3", "m1", "nobody"], ["u"])
    assert list(zip(latest.meter_ids, latest.quantities, latest.values, strict=True)) == [
        ("m1", "u", "on"),
        ("m3", "u", "on"),
    ]
    assert len(store.readings.latest(limit=7)) == 7
    assert len(store.readings.latest([])) == 0
    assert latest.received_at == (NOON, NOON)


def test_a_series_comes_with_its_receipts(store: Store) -> None:
    late = batch(*(("e", NOON - DAY + n * HOUR, n) for n in range(4)), received_at=NOON, source=Source.HISTORY)
    fresh = batch(("e", NOON, 4), ("u", NOON, 230), received_at=NOON + SECOND)
    store.readings.write([late, fresh])

    found = store.readings.received("m1", "e", NOON - DAY + HOUR, NOON + 1)
    assert list(found.values) == [1, 2, 3, 4]
    assert list(found.received_at) == [NOON, NOON, NOON, NOON + SECOND]
    assert list(found.sources) == [Source.HISTORY] * 3 + [Source.POLL]
    assert list(found.measured_at) == list(store.readings.series("m1", "e", NOON - DAY + HOUR, NOON + 1).measured_at)
    assert list(store.readings.received("m1", "e", NOON - DAY, NOON + 1, 3).values) == [0, 1, 2]
    assert len(store.readings.received("m1", "none", 0, NOON)) == 0


def test_an_unknown_reading_has_no_receipt(store: Store) -> None:
    with pytest.raises(NotFound):
        store.readings.receipt("m1", "e", NOON)


def test_columns_of_different_length_and_foreign_types_store_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.readings.write([batch(("e", NOON, 1)), batch(("e", NOON, None))])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shorter"):
        store.readings.write(
            [
                ReadingBatch(
                    meter_id="m1",
                    source=Source.POLL,
                    received_at=NOON,
                    quantities=["e", "u"],
                    values=[1],
                    measured_at=[NOON, NOON],
                    quality=[0, 0],
                )
            ]
        )
    assert store.readings.count() == 0
    store.readings.write([batch(("e", NOON, 1))])
    assert rows(store) == [(NOON, 1)]


@given(
    values=st.lists(
        st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.booleans(), st.text(max_size=3)),
        min_size=1,
        max_size=60,
    ),
    step=st.sampled_from([1, 60_000, 7 * HOUR]),
    bucket=st.sampled_from([1000, HOUR, DAY, 7 * DAY]),
    start=st.integers(-2, 5),
    origin=st.sampled_from([NOON, 3, -5 * DAY]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@example(values=[2.3e-308, 0.0, 1], step=1, bucket=HOUR, start=-2, origin=3)
def test_buckets_equal_a_plain_computation(
    store: Store, values: Sequence[Value], step: int, bucket: int, start: int, origin: int
) -> None:
    empty(store)
    store.readings.write([batch(*(("e", origin + n * step, v) for n, v in enumerate(values)))])
    since, until = origin + start * step, origin + len(values) * step - 1
    expected: dict[int, list[Any]] = {}
    for n, value in enumerate(values):
        at = origin + n * step
        if since <= at < until and not isinstance(value, str):
            expected.setdefault(at // bucket * bucket, []).append(value)
    columns = store.readings.aggregate("m1", "e", since, until, bucket)
    assert list(columns.start) == list(expected)
    assert list(columns.minimum) == [min(group) for group in expected.values()]
    assert list(columns.maximum) == [max(group) for group in expected.values()]
    assert list(columns.last) == [group[-1] for group in expected.values()]
    assert list(columns.count) == [len(group) for group in expected.values()]
    assert list(columns.mean) == pytest.approx([sum(group) / len(group) for group in expected.values()])


def test_buckets_of_nothing(store: Store) -> None:
    assert len(store.readings.aggregate("m1", "e", 0, NOON, HOUR)) == 0
    with pytest.raises(ValueError, match="bucket"):
        store.readings.aggregate("m1", "e", 0, NOON, 0)


def test_count_and_purge_by_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PURGE_ROWS", 7)
    points = [(q, NOON + n * HOUR, n) for n in range(96) for q in ("e", "u")]
    store.readings.write([batch(*points, received_at=NOON + 9 * DAY, source=Source.HISTORY)])
    assert store.readings.count() == 192
    assert (store.readings.count("m1"), store.readings.count("m1", "e"), store.readings.count("m2")) == (192, 96, 0)
    second_day = NOON // DAY + 1
    assert store.readings.purge(second_day) == 0, "it is not summarised"
    settle(store)
    assert store.readings.purge(second_day) == 24
    assert rows(store)[0] == (second_day * DAY, 12)
    assert store.readings.receipt("m1", "e", second_day * DAY).received_at == NOON + 9 * DAY
    assert store.readings.purge(second_day) == 0
    assert store.readings.purge(second_day + 99) == 168
    assert len(store.readings.latest()) == 2


def test_receipts_go_with_their_readings(sqlite_store: Store) -> None:
    sqlite_store.readings.write([batch(("e", NOON, 1), received_at=NOON + 9 * DAY, source=Source.HISTORY)])
    settle(sqlite_store)
    sqlite_store.readings.purge(NOON // DAY + 1)
    with closing(sqlite3.connect(sqlite_store.name)) as connection:
        assert connection.execute("SELECT count(*) FROM receipts").fetchone() == (0,)


def plan(path: str, query: str, parameters: Any) -> str:
    connection = sqlite3.connect(path)
    text = "\n".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + query, parameters))
    connection.close()
    return text


def test_queries_name_the_quarters_and_use_the_key(sqlite_store: Store) -> None:
    sqlite_store.readings.write([batch(("e", NOON, 1))])
    span = plan(sqlite_store.name, module._SPAN, (1, 2, 3, 4))
    assert span == "SEARCH readings USING PRIMARY KEY (quarter=? AND point>? AND point<?)"
    names = ["first", "last", "base", "bucket", "origin", "skip", "start", "end"]
    given_values = dict.fromkeys(names, 1)
    for query in (module._BUCKETS, module._COUNT):
        text = plan(sqlite_store.name, query, given_values)
        assert "SEARCH readings USING PRIMARY KEY (quarter=? AND point>? AND point<?)" in text
        assert "SCAN readings" not in text


def poll(slot: int, meters: int) -> list[ReadingBatch]:
    """A poll of every meter, a minute long: an energy in Wh, and three values with two, one and no decimals."""
    chance = random.Random(slot)
    batches = []
    for number in range(meters):
        at = NOON + slot * 15 * 60 * SECOND + number * 60 * SECOND // meters
        watts = chance.randrange(4000)
        batches.append(
            batch(
                ("active_energy_import", at, 10_000_000 + number * 37 + slot * 230),
                ("current_l1", at, watts * 100 // 230 / 100),
                ("voltage_l1", at, (2250 + chance.randrange(100)) / 10),
                ("active_power_import", at, watts),
                meter=f"meter-{number:05}",
                received_at=at,
            )
        )
    return batches


@pytest.mark.slow
@pytest.mark.parametrize(("lag", "meters"), [(0, 2500), (1500, 1000)])
def test_polled_readings_take_25_octets_each(sqlite_store: Store, lag: int, meters: int) -> None:
    store = sqlite_store

    def size() -> int:
        with store._database.read() as connection:
            return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one()) * 4096

    store.readings.write(poll(-1, meters))
    empty = size()  # the meters themselves, which take what they take however much history there is
    for slot in range(25):
        late = [dataclasses.replace(one, received_at=one.received_at + lag) for one in poll(slot, meters)]
        for first in range(0, meters, 250):
            store.readings.write(late[first : first + 250])
    assert store.readings.count() == 26 * 4 * meters
    assert (size() - empty) / (25 * 4 * meters) <= 25


@pytest.mark.slow
def test_a_year_of_history_takes_25_octets_a_reading(sqlite_store: Store) -> None:
    store = sqlite_store
    slots = 365 * 96
    rows_of = [poll(slot, 1)[0] for slot in range(slots)]
    for meter in range(5):
        for first in range(0, slots, 2880):
            month = rows_of[first : first + 2880]
            points = [
                (q, one.measured_at[n], one.values[n]) for n, q in enumerate(month[0].quantities) for one in month
            ]
            store.readings.write(
                [batch(*points, meter=f"m{meter}", received_at=NOON + 400 * DAY, source=Source.HISTORY)]
            )
    assert store.readings.count() == 5 * slots * 4
    store.close()
    assert Path(store.name).stat().st_size / (5 * slots * 4) <= 25
