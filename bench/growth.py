"""How fast the last day of one meter is found among many millions of readings, in both databases.

python -m bench.postgresql growth [ROWS [DAYS ...]]    50e6 readings over 14 days (9,300 meters), then over 365 (357 meters)

All days but the last ones are put into the tables in bulk, as polls every 15 minutes would have left them: in PostgreSQL in the
order of arrival, with the index made afterwards; in SQLite in the order of its key. The last 36 hours are written by
`Readings.write`, in groups of a thousand, and end at noon, so that a day lies in two partitions; PostgreSQL is told to vacuum
when three of the slots are still to come, as it would have done by itself while they came. Then the database is closed, the
server stopped, and all its files are dropped from the system's cache. 300 meters drawn by lot are asked for once each (cold), and
once more (warm). Times are by the clock, from the call to the values as Python has them; results go to bench/results/growth.md.
"""

from __future__ import annotations

import math
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.__main__ import FOLDER, machine, table
from bench.common import Result
from bench.postgresql import OPTIONS
from bench.storage import DAY_MS, GROUP, QUANTITIES, SLOT_MS, START, groups, polled
from headend.storage import readings_postgres
from headend.storage.postgres import driver
from headend.storage.store import Store
from headend.storage.values import EPOCH_MS, POINT_SHIFT, QUARTER_MS
from tests.postgres_server import Server, binaries, server

SHAPES = (14, 365)
WRITTEN_SLOTS, DAY_SLOTS, ASKED = 144, 96, 300
UNTIDY_SLOTS = 3
"""of the 48 of the last half day: more than twice what the settings of a partition let wait for the server's autovacuum"""
LIMITS = {"p50": 3.0, "p99": 15.0}

_VALUE = """CASE place % 4 WHEN 0 THEN 10000000 + place / 4 * 37 + slot * 230 WHEN 1 THEN (2250 + chance % 100) * {tenth}
WHEN 2 THEN chance * {hundredth} ELSE chance * 2 END"""
_COPIED = f"""INSERT INTO {{name}} (measured_at, value, series, note)
SELECT {START} + slot * {SLOT_MS} + place / 4 * 60000 / {{meters}}, {_VALUE.format(tenth="0.1::float8", hundredth="0.01::float8")},
place + 1, CASE WHEN place % 4 IN (0, 3) THEN 8 ELSE 0 END FROM (SELECT n / {{series}} AS slot, n % {{series}} AS place,
(random() * 1700)::int AS chance FROM generate_series({{first}}::bigint, {{last}}::bigint) AS n) AS made"""  # noqa: S608 # constants of this module
_CLUSTERED = f"""INSERT INTO readings (quarter, point, value, note)
SELECT ?1, (place + 1) << {POINT_SHIFT} | (slot * {SLOT_MS} + {START - EPOCH_MS} - ?1 * {QUARTER_MS} + place / 4 * 60000 / ?2),
{_VALUE.format(tenth=100, hundredth=10)}, CASE WHEN place % 4 IN (0, 3) THEN 0 ELSE 8 END FROM (SELECT number - 1 AS place,
slot, abs(random() % 1700) AS chance FROM series CROSS JOIN slots ORDER BY number, slot)"""  # noqa: S608 # ditto


@dataclass(frozen=True, slots=True)
class Shape:
    """So many meters for so many days, the last of them until noon."""

    meters: int
    days: int

    @property
    def bulk_days(self) -> int:
        return self.days - 2

    @property
    def end(self) -> int:
        return START + (self.bulk_days * DAY_SLOTS + WRITTEN_SLOTS) * SLOT_MS

    @property
    def rows(self) -> int:
        return (self.bulk_days * DAY_SLOTS + WRITTEN_SLOTS) * self.meters * 4

    def series(self) -> list[tuple[int, str, str]]:
        names = [(meter, quantity) for meter in range(self.meters) for quantity in QUANTITIES]
        return [(number, f"meter-{meter:05}", quantity) for number, (meter, quantity) in enumerate(names, 1)]


def shape(rows: int, days: int) -> Shape:
    return Shape(math.ceil(rows / 4 / ((days - 2) * DAY_SLOTS + WRITTEN_SLOTS)), days)


def fill_postgres(store: Store, made: Shape) -> None:
    with store._database.write() as held:
        cursor = driver(held).cursor()
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL statement_timeout = 0")
        with cursor.copy("COPY series (number, meter_id, quantity) FROM STDIN") as copy:
            for row in made.series():
                copy.write_row(row)
    for day in range(made.bulk_days):
        with store._database.write() as held:
            cursor = driver(held).cursor()
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL statement_timeout = 0")
            since = START // DAY_MS + day
            name, count = readings_postgres._partition(since), DAY_SLOTS * made.meters * 4
            given = {"name": name, "meters": made.meters, "series": made.meters * 4}
            cursor.execute(f"CREATE TABLE {name} (LIKE readings)".encode())
            cursor.execute(_COPIED.format(**given, first=day * count, last=(day + 1) * count - 1).encode())
            cursor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (series, measured_at) INCLUDE (value, note)".encode())
            span = f"FROM ({since * DAY_MS}) TO ({(since + 1) * DAY_MS})"
            cursor.execute(f"ALTER TABLE readings ATTACH PARTITION {name} FOR VALUES {span}".encode())


def fill_sqlite(path: Path, made: Shape) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TEMPORARY TABLE slots (slot INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO series (number, meter_id, quantity) VALUES (?, ?, ?)", made.series())
    slots = QUARTER_MS // SLOT_MS
    for first in range(0, made.bulk_days * DAY_SLOTS, slots):
        connection.execute("DELETE FROM slots")
        connection.executemany("INSERT INTO slots VALUES (?)", [(first + n,) for n in range(slots)])
        quarter = (START + first * SLOT_MS - EPOCH_MS) // QUARTER_MS
        connection.execute(_CLUSTERED, (quarter, made.meters))
    connection.close()


def write_last(store: Store, made: Shape, tidy: Callable[[], object] = lambda: None) -> None:
    """`tidy` does, before the last slots, what the server does by itself while it takes a day and a half to write all."""
    last = made.bulk_days * DAY_SLOTS + WRITTEN_SLOTS
    for slot in range(made.bulk_days * DAY_SLOTS, last):
        if slot == last - UNTIDY_SLOTS:
            tidy()
        for group in groups(polled(slot, made.meters), GROUP):
            store.readings.write(group)


def forget_cache(folder: Path) -> int:
    """Drop what the system remembers of all files of a folder; returns their octets."""
    os.sync()
    octets = 0
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        octets += file.stat().st_size
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return octets


def times(meters: Sequence[str], query: Callable[[str], object]) -> dict[str, float]:
    taken = []
    for meter in meters:
        since = time.perf_counter()
        query(meter)
        taken.append((time.perf_counter() - since) * 1000)
    taken.sort()
    return {"p50": taken[len(taken) // 2], "p99": taken[math.ceil(len(taken) * 0.99) - 1]}


def asked(store: Store, made: Shape, where: str, note: str) -> Iterator[Result]:
    reads, end = store.readings, made.end
    chosen = random.Random(made.days).sample(range(made.meters), min(ASKED, made.meters))
    meters = [f"meter-{meter:05}" for meter in chosen]
    count = {len(reads.series(meters[0], quantity, end - DAY_MS, end).values) for quantity in QUANTITIES}
    assert count == {DAY_SLOTS}, count

    def day(meter: str) -> None:
        reads.several(meter, QUANTITIES, end - DAY_MS, end)

    among = f"{where}, {made.rows / 1e6:.1f} million readings, {made.meters:,} meters x {made.days} days"
    for kind in ("cold", "warm"):
        for name, value in times(meters[1:], day).items():
            what = f"last 24 hours of one meter, 4 series, {name}, {kind}: {among}"
            limit = LIMITS[name]
            yield Result(benchmark="growth", what=what, figure=value, unit="ms", target=limit, at_most=True, note=note)
    week = times(meters, lambda m: reads.aggregate(m, QUANTITIES[1], end - 7 * DAY_MS, end, 3_600_000))
    for name, value in week.items():
        yield Result(benchmark="growth", what=f"week of one series by hours, {name}: {among}", figure=value, unit="ms")


@contextmanager
def postgresql(running: Server, folder: Path, made: Shape) -> Iterator[tuple[Store, str]]:
    """A store in PostgreSQL that nobody has read since the server began, and what it took."""
    name, since = running.make(), time.monotonic()
    with Store.open(running.url(name), vault_key=None, folder=folder) as store:
        fill_postgres(store, made)
        running.tell("VACUUM (ANALYZE)", name)  # as the server would have done on one of the days after
        write_last(store, made, lambda: running.tell("VACUUM", name))
    took = time.monotonic() - since
    running.stop("fast")
    octets = forget_cache(running.folder / "data" / "base")
    running.start()
    with Store.open(running.url(name), vault_key=None, folder=folder) as store:
        yield store, told(took, octets, made)
    running.drop(name)


@contextmanager
def sqlite(folder: Path, made: Shape) -> Iterator[tuple[Store, str]]:
    """A store in SQLite whose file no cache holds, and what it took."""
    path, since = folder / "growth.db", time.monotonic()
    Store.open(path, vault_key=None).close()
    fill_sqlite(path, made)
    with Store.open(path, vault_key=None) as store:
        write_last(store, made)
    took = time.monotonic() - since
    octets = forget_cache(folder)
    with Store.open(path, vault_key=None) as store:
        yield store, told(took, octets, made)
    for file in folder.glob("growth.db*"):
        file.unlink()


def told(seconds: float, octets: int, made: Shape) -> str:
    return f"made in {seconds:.0f} s, {octets / made.rows:.0f} octets a reading; load average {os.getloadavg()[0]:.1f}"


def grow(rows: int, days: Sequence[int]) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        for each in days:
            made, folder = shape(rows, each), Path(temporary)
            with sqlite(folder, made) as (store, note):
                results += asked(store, made, "SQLite", note)
            print(table(results), flush=True)
            if binaries() is None:
                continue
            with server(OPTIONS) as running, postgresql(running, folder, made) as (store, note):
                results += asked(store, made, "PostgreSQL", note)
            print(table(results), flush=True)
    return results


def main(arguments: Sequence[str]) -> None:
    rows, *days = (int(float(each)) for each in arguments or ("50e6",))
    about, load = machine(), os.getloadavg()[0]
    results = grow(rows, days or SHAPES)
    page = f"""# A day among {rows / 1e6:.0f} million readings

From `python -m bench.postgresql growth {rows:.0e}` on {datetime.now(UTC):%Y-%m-%d}; {about["cpu"]}, {about["cores"]} cores,
{about["kernel"]}, Python {about["python"]}, SQLite {about["sqlite"]}; load average at the start {load:.1f}.
Cold: no page of the database in any cache when the first meter is asked for; warm: the same meters once more.

{table(results)}"""
    (FOLDER / "growth.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
