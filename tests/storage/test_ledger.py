from __future__ import annotations

import pytest

from headend.errors import NotFound
from headend.model.intervals import DAY_MS, HOUR_MS, Grid, Reason, gaps
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.reading import ReadingBatch, Source
from headend.storage.keeping import Keeper
from headend.storage.ledger import Book, Line, mark
from headend.storage.store import Store

DAY = 20_500
START = DAY * DAY_MS
QUARTER = 900_000
GRID = Grid(QUARTER)
REF = "7/1-0:99.1.0.255/2"


def rows(*times: int, meter: str = "m", load_profile: str = REF) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.HISTORY,
        received_at=START,
        quantities=("active_energy_import",) * len(times),
        values=range(len(times)),
        measured_at=times,
        quality=(0,) * len(times),
        load_profile=load_profile,
    )


def opened(store: Store, meter: str = "m", *, since: int = START, days: int = 2) -> Book:
    return store.ledger.open(meter, REF, GRID, since=since, until=START + days * DAY_MS - 1, name="hourly", serial="1")


def missing(store: Store, book: Book) -> list[int]:
    return [
        at
        for gap in gaps(book.grid, store.ledger.open_days(book.number), 2**60)
        if gap.reason is None
        for at in range(gap.first, gap.last + 1, QUARTER)
    ]


def test_what_is_stored_is_marked_and_nothing_else(store: Store) -> None:
    book = opened(store)
    everything = [START + n * QUARTER for n in range(192)]
    assert missing(store, book) == everything
    between = START + 7 * 60_000
    Keeper(store.readings, None, mark).write(
        [rows(everything[3], everything[100], between), rows(everything[4], load_profile="")]
    )
    Keeper(store.readings, None, mark).write(
        [rows(everything[3], everything[191] + 20_000), rows(START, meter="another")]
    )
    here = {everything[3], everything[100], everything[191]}
    assert missing(store, book) == [at for at in everything if at not in here]
    (first, second) = store.ledger.days(book.number, DAY, DAY + 9)
    assert (first.have, second.have) == (1 << 3, 1 << 4 | 1 << 95)
    assert store.ledger.days(book.number, DAY - 5, DAY - 1) == []


def test_nothing_is_marked_when_nothing_is_stored(store: Store) -> None:
    book = opened(store)
    bad = rows(START)
    bad.values = [object()]  # type: ignore[list-item]
    with pytest.raises(TypeError):
        Keeper(store.readings, None, mark).write([rows(START + QUARTER), bad])
    assert len(missing(store, book)) == 192
    assert store.readings.count() == 0


def test_a_row_of_a_day_that_is_not_open_yet_opens_it(store: Store) -> None:
    book = opened(store, days=1)
    Keeper(store.readings, None, mark).write([rows(START + 3 * DAY_MS), rows(START - HOUR_MS)])
    (day,) = store.ledger.days(book.number, DAY + 1, DAY + 9)
    assert (day.day, day.have) == (DAY + 3, 1)
    again = opened(store, days=5)
    assert again.opened == DAY + 4
    assert [each.have for each in store.ledger.days(book.number, DAY, DAY + 9)] == [0, 0, 0, 1, 0]


def test_what_lies_before_the_first_is_not_expected(store: Store) -> None:
    book = opened(store, since=START + 4 * QUARTER + 1, days=1)
    assert missing(store, book)[0] == START + 5 * QUARTER
    assert store.ledger.fleet(DAY, DAY) == [Line(key=str(DAY), expected=91, arrived=0, void=0)]


def test_what_never_arrives_has_a_reason_until_it_does(store: Store) -> None:
    book = opened(store, days=1)
    Keeper(store.readings, None, mark).write([rows(START)])
    reasons = {START: Reason.WRAPPED, START + QUARTER: Reason.WRAPPED, START + 2 * QUARTER: Reason.POWER_DOWN}
    assert store.ledger.void(book, reasons) == 2
    assert store.ledger.void(book, reasons) == 0
    assert store.ledger.reasons(DAY, DAY) == {Reason.WRAPPED: 1, Reason.POWER_DOWN: 1}
    assert missing(store, book)[0] == START + 3 * QUARTER
    assert store.ledger.fleet(DAY, DAY) == [Line(key=str(DAY), expected=96, arrived=1, void=2)]
    Keeper(store.readings, None, mark).write([rows(START + QUARTER)])
    assert store.ledger.reasons(DAY, DAY) == {Reason.POWER_DOWN: 1}
    assert store.ledger.reopen(book, START, START + 4 * QUARTER, arrived=False) == 2
    assert missing(store, book)[0] == START + 2 * QUARTER
    assert store.ledger.reopen(book, START, START + 4 * QUARTER, arrived=True) == 4
    assert missing(store, book)[0] == START


def test_a_whole_day_is_not_looked_at_again(store: Store) -> None:
    book = opened(store)
    Keeper(store.readings, None, mark).write([rows(*(START + n * QUARTER for n in range(96)))])
    assert [day.day for day in store.ledger.open_days(book.number)] == [DAY + 1]


def test_ledgers_go_on_while_nothing_comes(store: Store) -> None:
    opened(store, "a", days=1)
    opened(store, "b", days=3)
    assert store.ledger.extend(START + 2 * DAY_MS) == 1
    assert [(line.expected, line.missing) for line in store.ledger.fleet(DAY, DAY + 5)] == [(192, 192)] * 3
    assert store.ledger.extend(START + 2 * DAY_MS) == 0


def test_the_figures_of_a_fleet(store: Store) -> None:
    for name, count in (("a", 96), ("b", 24), ("c", 48)):
        opened(store, name, days=1)
        Keeper(store.readings, None, mark).write([rows(*(START + n * QUARTER for n in range(count)), meter=name)])
    opened(store, "d", since=START + DAY_MS // 2, days=1)
    (line,) = store.ledger.fleet(DAY, DAY)
    assert (line.expected, line.arrived, line.completeness) == (336, 168, 0.5)
    assert [each.key for each in store.ledger.worst(DAY, DAY, limit=3)] == ["d", "b", "c"]
    assert Line(key="", expected=0, arrived=0, void=0).completeness is None
    noon = store.ledger.due(START + DAY_MS // 2)
    assert (noon.expected, noon.arrived) == (3 * 49 + 1, 168)


def test_another_grid_begins_where_the_old_one_ends(store: Store) -> None:
    opened(store)
    Keeper(store.readings, None, mark).write([rows(START + 8 * QUARTER)])
    hourly = store.ledger.open("m", REF, Grid(HOUR_MS), since=START, until=START + DAY_MS - 1)
    assert hourly.grid == Grid(HOUR_MS)
    assert hourly.since == START + 8 * QUARTER + 1
    assert store.ledger.fleet(DAY, DAY) == [Line(key=str(DAY), expected=21, arrived=0, void=0)]
    again = store.ledger.open("m", REF, GRID, since=START, until=START + DAY_MS - 1)
    assert again.since == hourly.since


def test_ledgers_are_found_by_name_and_go_with_their_meter(store: Store) -> None:
    meter = Meter(id="m", protocol="dlms", framing="", endpoint=Endpoint(kind=EndpointKind.TCP, host="h", port=1))
    store.meters.put(meter)
    book = opened(store)
    assert store.ledger.book("m", "hourly") == store.ledger.book("m", REF) == book
    assert store.ledger.books() == [book]
    with pytest.raises(NotFound, match="'daily'"):
        store.ledger.book("m", "daily")
    other = store.ledger.open("m", REF, GRID, since=START, until=START, serial="2")
    assert (other.serial, other.since) == ("2", START)
    assert store.ledger.purge(DAY + 1) == 1
    store.meters.delete("m", keep_history=True)
    assert store.ledger.books("m") == []
    assert store.ledger.fleet(0, 30_000) == []
