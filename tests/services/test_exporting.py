"""Scheduled exports: each day once, caught up after a downtime, never half a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from headend.errors import StorageError
from headend.model.event import Event, EventType
from headend.model.reading import to_millis
from headend.services.bus import Bus
from headend.services.exporting import Exporter, Order, file_name, next_period, write_file
from headend.services.exports import Document, Exports
from headend.storage.store import Store
from tests.new_database import laid
from tests.northbound.exports.world import DAY, HOUR, IMPORT, exports, meter, put, register, utc

START = utc(2026, 3, 27)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(laid(tmp_path / "headend.db"), vault_key=None) as store:
        yield store


def order(folder: Path, *, zone: str = "", hourly: bool = False, first: date | None = None) -> Order:
    document = Document(start=0, end=1, created_at=0, zone=zone)
    return Order(name="daily", format="csv", folder=folder, document=document, hourly=hourly, first=first)


class Clock:
    now = START

    def __call__(self) -> int:
        return self.now


def exporter(store: Store, folder: Path, clock: Clock, *orders: Order) -> tuple[Exporter, Bus]:
    bus = Bus()
    found = exports(store, meter("m1"))
    made = Exports(found.formats.values(), store.readings, lambda _ids: [meter("m1")], lambda _meter: None, clock)
    return Exporter(made, orders, folder / "cursors", bus), bus


async def test_each_day_is_written_once_it_is_over(store: Store, tmp_path: Path) -> None:
    put(store, "m1", IMPORT, register(START, START + 5 * DAY))
    clock, folder = Clock(), tmp_path / "out"
    said = order(folder)
    running, _ = exporter(store, tmp_path, clock, said)

    clock.now = START + DAY + HOUR - 1
    await running.catch_up(replace(said, first=date(2026, 3, 27)))
    assert not folder.exists()
    clock.now = START + DAY + HOUR
    await running.catch_up(said)
    assert [each.name for each in folder.iterdir()] == ["daily-20260327.csv"]
    assert len((folder / "daily-20260327.csv").read_text().splitlines()) == 97

    clock.now = START + 4 * DAY + 2 * HOUR
    again, _ = exporter(store, tmp_path, clock, said)  # after a downtime of three days
    await again.catch_up(said)
    assert sorted(each.name for each in folder.iterdir()) == [f"daily-202603{day}.csv" for day in (27, 28, 29, 30)]
    before = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
    await again.catch_up(said)
    assert {each.name: each.stat().st_mtime_ns for each in folder.iterdir()} == before


def test_days_are_those_of_the_zone_whatever_clocks_do(tmp_path: Path) -> None:
    """29 March 2026 has 23 hours in Berlin, 25 October has 25."""
    said = order(tmp_path, zone="Europe/Berlin", first=date(2026, 3, 28))
    periods, cursor = [], None
    for _ in range(215):
        period = next_period(said, cursor, utc(2026, 12, 1))
        assert period is not None
        periods.append(period)
        cursor = period[1]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(periods))
    hours = {file_name(said, start, ""): (end - start) // HOUR for start, end in periods}
    assert {name: long for name, long in hours.items() if long != 24} == {"daily-20260329": 23, "daily-20261025": 25}


def test_an_hour_that_comes_twice_has_two_files(tmp_path: Path) -> None:
    said = order(tmp_path, zone="Europe/Berlin", hourly=True)
    cursor, names = utc(2026, 10, 25), []
    while period := next_period(said, cursor, utc(2026, 10, 25, 4)):
        names.append(file_name(said, period[0], ".csv"))
        cursor = period[1]
    assert names == ["daily-20261025T0200+0200.csv", "daily-20261025T0200+0100.csv", "daily-20261025T0300+0100.csv"]


def test_without_a_cursor_it_begins_with_what_is_over(tmp_path: Path) -> None:
    now = to_millis(datetime(2026, 3, 28, 12, 30, tzinfo=UTC))
    assert next_period(order(tmp_path), None, now) == (START, START + DAY)
    assert next_period(order(tmp_path, hourly=True), None, now) == (START + DAY + 10 * HOUR, START + DAY + 11 * HOUR)
    assert next_period(order(tmp_path, first=date(2026, 3, 1)), None, now) == (utc(2026, 3, 1), utc(2026, 3, 2))


async def test_a_failure_is_told_once_and_made_up(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    clock.now = START + DAY + timedelta(hours=3) // timedelta(milliseconds=1)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    said = order(blocked)
    running, bus = exporter(store, tmp_path, clock, said)
    told = bus.subscribe("test", Event)
    await running.catch_up(said)
    await running.catch_up(said)
    blocked.unlink()
    await running.catch_up(said)
    told.close()
    found = [each async for each in told]  # once
    assert [each.type for each in found] == [EventType.EXPORT_FAILED]
    assert (blocked / "daily-20260327.csv").exists()


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise StorageError("the disk is full", reason="full")

    place = tmp_path / "there" / "export.csv"
    with pytest.raises(StorageError):
        write_file(place, broken())
    assert list(place.parent.iterdir()) == []
    write_file(place, [b"who", b"le"])
    with pytest.raises(StorageError):
        write_file(place, broken())
    assert place.read_bytes() == b"whole"
    assert [each.name for each in place.parent.iterdir()] == ["export.csv"]
