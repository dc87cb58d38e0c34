"""The journal: what goes in comes out, once, under one number for ever."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.errors import StorageError
from headend.model.event import Event, EventType, Severity
from headend.model.journal import SEGMENT_SHIFT, Cursor, Entry, Item, Segment
from headend.model.reading import Missing, ReadingBatch, Source
from headend.storage import journal as module
from headend.storage.journal import Journal
from headend.storage.keeping import Keeper
from headend.storage.schema import segments
from headend.storage.segments import decode_items, encode_items
from headend.storage.store import Store

TEXT = st.text(st.characters())
TIME = st.integers(-(1 << 62), 1 << 62)
VALUE = st.one_of(st.booleans(), st.integers(), st.floats(), TEXT)


@st.composite
def batches(draw: st.DrawFn) -> ReadingBatch:
    rows = draw(st.lists(st.tuples(TEXT, VALUE, TIME, st.integers(0, 63)), max_size=6))
    quantities, values, times, quality = zip(*rows, strict=True) if rows else ((),) * 4
    return ReadingBatch(
        meter_id=draw(TEXT),
        source=draw(st.sampled_from(Source)),
        received_at=draw(TIME),
        quantities=quantities,
        values=list(values),
        measured_at=list(times),
        quality=list(quality),
        missing=tuple(
            Missing(ref=ref, quantity=quantity, code=code, reason=reason)
            for ref, quantity, code, reason in draw(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), max_size=2))
        ),
        load_profile=draw(TEXT),
    )


EVENTS = st.builds(
    Event,
    type=st.sampled_from(EventType),
    severity=st.sampled_from(Severity),
    occurred_at=TIME,
    meter_id=TEXT,
    data=st.dictionaries(TEXT, VALUE, max_size=3),
)


def exact(value: Any) -> Any:
    """What tells apart all that is apart: nan equals itself, 1 is not True, 0.0 not -0.0."""
    return (type(value), struct.pack("d", value) if isinstance(value, float) and value == value else str(value))  # noqa: PLR0124 - nan


def plain(item: Item) -> Any:
    if isinstance(item, Event):
        data = {key: exact(value) for key, value in item.data.items()}
        return (item.type, item.severity, item.occurred_at, item.meter_id, data)
    values = [exact(value) for value in item.values]
    columns = (list(item.quantities), list(item.measured_at), list(item.quality))
    return (item.meter_id, item.source, item.received_at, columns, values, item.missing, item.load_profile)


@given(st.lists(st.one_of(batches(), EVENTS), max_size=5))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_item_comes_out_as_it_went_in(items: list[Item]) -> None:
    assert [plain(item) for item in decode_items(encode_items(items))] == [plain(item) for item in items]


def test_what_json_has_no_words_for() -> None:
    values = [float("nan"), float("inf"), -float("inf"), 1 << 200, -(1 << 63), "\ud800", "null", True, 1, 1.0, -0.0]
    item = batch("m\udfff", values)
    (back,) = decode_items(encode_items([item]))
    assert plain(back) == plain(item)


def test_what_is_no_value_is_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError):
        encode_items([batch("m", [object()])])


def test_a_segment_of_usual_polls_is_small() -> None:
    names = tuple(f"voltage_l{n}" for n in range(20))
    items = [batch(f"meter-{n:05}", [230.5 + n / 100] * 20, quantities=names) for n in range(100)]
    assert len(encode_items(items)) < 100 * 20 * 4


def batch(meter: str, values: list[Any], at: int = 5, quantities: tuple[str, ...] = ()) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.POLL,
        received_at=at,
        quantities=quantities or tuple(f"q{n}" for n in range(len(values))),
        values=values,
        measured_at=[at] * len(values),
        quality=[0] * len(values),
    )


def event(meter: str = "m1") -> Event:
    return Event(type=EventType.METER_OFFLINE, severity=Severity.WARNING, occurred_at=7, meter_id=meter)


def kept(store: Store, *items: Item) -> Segment:
    segment = Keeper(store.readings, store.journal).write(items)
    assert segment is not None
    return segment


def test_readings_and_their_segment_are_stored_together(store: Store) -> None:
    first = kept(store, batch("m1", [1, 2]), batch("m2", []), event())
    second = kept(store, batch("m1", [3], at=6))
    assert store.readings.count() == 3
    assert second.number == first.number + 1
    assert [type(item) for item in first.items] == [ReadingBatch, Event], "what brought nothing is not delivered"
    found, end = store.journal.read(0, store.journal.head)
    assert [each.number for each in found] == [first.number, second.number]
    assert end == store.journal.head
    numbers = [entry.number for each in found for entry in each.entries()]
    assert numbers == [
        first.number << SEGMENT_SHIFT,
        (first.number << SEGMENT_SHIFT) + 1,
        second.number << SEGMENT_SHIFT,
    ]
    assert Entry(numbers[0], first.items[0]).id == f"{numbers[0]:x}"


def test_without_sinks_nothing_is_appended(store: Store) -> None:
    assert Keeper(store.readings).write([batch("m1", [1])]) is None
    assert store.journal.read(0, store.journal.head)[0] == []


def test_what_is_refused_by_the_database_is_not_in_the_journal(store: Store) -> None:
    keeper = Keeper(store.readings, store.journal)
    with pytest.raises(TypeError):
        keeper.write([batch("m1", [1]), batch("m2", [None])])
    assert store.readings.count() == 0
    kept(store, batch("m3", [1]))
    found, _ = store.journal.read(0, store.journal.head)
    assert [item.meter_id for each in found for item in each.items] == ["m3"]
    assert store.journal.count([(0, store.journal.head)]) == 1


def test_a_commit_of_which_nobody_knows_the_end_is_not_delivered_twice(store: Store) -> None:
    """The database commits, and the answer is lost: the writer asks again with the same items."""
    failures = iter([True, False])

    class Lossy(type(store.readings)):  # type: ignore[misc] # the class of the fixture's own part
        @contextmanager
        def transaction(self) -> Iterator[sa.Connection]:
            with super().transaction() as connection:
                yield connection
            if next(failures):
                raise StorageError("connection lost")

    keeper = Keeper(Lossy(store._database), store.journal)
    items = [batch("m1", [1]), event()]
    with pytest.raises(StorageError):
        keeper.write(items)
    segment = keeper.write(items)
    assert segment is not None
    found, _ = store.journal.read(0, store.journal.head)
    assert [each.number for each in found] == [segment.number]
    assert store.journal.count([(0, store.journal.head)]) == 2


def test_numbers_never_come_back(tmp_path: Path) -> None:
    now = 1_800_000_000_000
    with Store.open(tmp_path / "a.db", vault_key=None, millis=lambda: now) as store:
        number = kept(store, event()).number
    with Store.open(tmp_path / "a.db", vault_key=None, millis=lambda: 0) as store:
        number, before = kept(store, event()).number, number
        assert number > before, "not even when the clock goes back"
        store.journal.save("mqtt", Cursor(store.journal.head))
        store.journal.purge(store.journal.head)
    with Store.open(tmp_path / "a.db", vault_key=None, millis=lambda: 0) as store:
        assert kept(store, event()).number > number, "not even when all of them were purged"
    with Store.open(tmp_path / "b.db", vault_key=None, millis=lambda: now + 1000) as store:
        assert kept(store, event()).number > before, "not even in a database that never heard of them"


def test_pages_end_where_enough_was_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ITEMS", 4)
    stored = [kept(store, *(event() for _ in range(3))) for _ in range(5)]
    start, read, pages = stored[0].number << SEGMENT_SHIFT, [], 0
    while start < store.journal.head:
        found, start = store.journal.read(start, store.journal.head)
        read += [each.number for each in found]
        pages += 1
    assert read == [each.number for each in stored]
    assert pages == 3


@given(st.lists(st.integers(1, 4), max_size=5), st.data())
@settings(max_examples=8, deadline=None)
def test_counting_entries(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject) -> None:
    with Store.open(tmp_path_factory.mktemp("count") / "a.db", vault_key=None) as store:
        numbers = []
        for size in sizes:
            numbers += [entry.number for entry in kept(store, *(event() for _ in range(size))).entries()]
        if numbers:
            store.journal.purge(data.draw(st.sampled_from(numbers)))
            numbers = [number for number in numbers if number >= store.journal.floor()]
        edges = st.sampled_from([0, *numbers, *(number + 1 for number in numbers), store.journal.head])
        start, end = sorted((data.draw(edges), data.draw(edges)))
        assert store.journal.count([(start, end)]) == sum(1 for number in numbers if start <= number < end)


def test_what_is_older_or_more_than_wanted_goes(tmp_path: Path) -> None:
    times = iter(range(1_800_000_000_000, 1_800_000_100_000, 1000))
    with Store.open(tmp_path / "a.db", vault_key=None, millis=lambda: next(times)) as store:
        stored = [kept(store, event()) for _ in range(6)]
        journal = store.journal
        assert journal.surplus(stored[2].stored_at, 1 << 40) == stored[2].number << SEGMENT_SHIFT
        assert journal.purge(stored[2].number << SEGMENT_SHIFT) == 2
        assert journal.floor() == stored[2].number << SEGMENT_SHIFT
        assert journal.since(stored[3].stored_at) == stored[3].number << SEGMENT_SHIFT
        assert journal.stored_at(0) == stored[2].stored_at
        octets = 2 * len(encode_items([event()]))
        assert journal.surplus(0, octets) == stored[4].number << SEGMENT_SHIFT
        journal.purge(journal.surplus(1 << 60, 0))
        assert journal.read(0, journal.head)[0] == []
        assert journal.floor() == journal.head


def test_what_is_just_being_stored_is_no_surplus(store: Store) -> None:
    append = store.journal.begin([event()])
    below = store.journal.surplus(1 << 60, 0)
    with store.journal._database.write() as connection:
        segment = append(connection)
    store.journal.purge(below)
    assert [each.number for each in store.journal.read(0, store.journal.head)[0]] == [segment.number]


def test_cursors_are_as_they_were_saved(store: Store) -> None:
    assert store.journal.load("a") is None
    cursor = Cursor(1 << 62, ((1, 5), (1 << 61, (1 << 61) + 3)))
    store.journal.save("a", Cursor(7))
    store.journal.save("a", cursor)
    store.journal.save("b", Cursor(8))
    assert store.journal.load("a") == cursor


def test_dead_letters_keep_their_content_and_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEAD_LETTERS", 3)
    for number in range(6):
        store.journal.refuse("a", Entry(number, event(f"m{number}")), "too long")
    store.journal.refuse("b", Entry(1, event()), "no")
    letters = store.journal.refused("a")
    assert sorted(letter.entry.number for letter in letters) == [3, 4, 5]
    assert {letter.entry.item.meter_id for letter in letters} == {"m3", "m4", "m5"}
    store.journal.pardon("a", 4)
    assert sorted(letter.entry.number for letter in store.journal.refused("a")) == [3, 5]


def test_a_damaged_segment_does_not_hold_up_the_others(store: Store) -> None:
    first, second = kept(store, event()), kept(store, event())
    with store._database.write() as connection:
        damaged = sa.update(segments).where(segments.c.number == first.number).values(content=b"\x00\x01")
        connection.execute(damaged)
    found, _ = store.journal.read(0, Journal(store._database, lambda: 0).head)
    assert [(each.number, len(each.items)) for each in found] == [(first.number, 0), (second.number, 1)]
