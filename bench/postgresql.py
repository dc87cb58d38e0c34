"""How fast readings are stored in PostgreSQL and found again, against bare COPY of rows made beforehand into the same table.

python -m bench postgresql                  ingest of polls and of load profiles
python -m bench.postgresql growth [ROWS]    a day of one meter among so many rows, here and in SQLite: see bench/growth.py
python -m bench.postgresql summaries [ROWS] what it costs to summarise days of so many rows (1e6), beside SQLite

Both sides of a ratio store the same rows by the same groups, one transaction that waits for the disk for each, into the same
partitions under the same key, on the same server in the same run, in turns. COPY gets its octets ready made and knows neither
duplicates nor the latest of a series; ours is `Readings.write` from batches, with all of that. Rates are per second of
processor time of both sides together, this process and the server's for its connection, medians of interleaved runs.
"""

from __future__ import annotations

import gc
import itertools
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from bench.common import Result, Settings
from bench.storage import DAY_MS, GROUP, METERS, QUANTITIES, START, groups, history, polled, report, times_of
from headend.model.reading import ReadingBatch
from headend.storage import postgres_binary, readings_postgres
from headend.storage.postgres import driver
from headend.storage.store import Store
from tests.postgres_server import Server, binaries, server

OPTIONS = "-c shared_buffers=512MB -c max_wal_size=4GB"
SLOTS, HISTORIES, HISTORY_SLOTS = 6, 20, 2880
METERS_20 = 2_000
BACKLOG = 10_000
"""readings in a transaction where so many wait: what the writer takes at most"""
_ROW = struct.Struct(">hiqidiiii")
Groups = Sequence[Sequence[ReadingBatch]]


def spent(connection: psycopg.Connection) -> float:
    """Seconds of the processor that this process and the server's for a connection have taken so far."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def days_of(cursor: psycopg.Cursor, writes: Groups) -> None:
    for day in sorted({at // DAY_MS for group in writes for batch in group for at in batch.measured_at}):
        name = readings_postgres._partition(day)
        span = f"FROM ({day * DAY_MS}) TO ({(day + 1) * DAY_MS})"
        cursor.execute(f"CREATE TABLE {name} PARTITION OF readings FOR VALUES {span}".encode())


def raw(running: Server, writes: Groups, folder: Path) -> float:
    """Bare COPY of octets made beforehand."""
    name = running.make()
    Store.open(running.url(name), vault_key=None, folder=folder).close()
    numbers: dict[str, dict[str, int]] = {}
    count = itertools.count(1)
    made = []
    for group in writes:
        rows = []
        for batch in group:
            for quantity, at, value in zip(batch.quantities, batch.measured_at, batch.values, strict=True):
                known = numbers.setdefault(batch.meter_id, {})
                number = known.get(quantity) or known.setdefault(quantity, next(count))
                rows.append(_ROW.pack(4, 8, at, 8, float(value), 4, number, 4, 0))
        made.append(b"".join([postgres_binary.HEADER, *rows, postgres_binary.TRAILER]))
    with Store.open(running.url(name), vault_key=None, folder=folder) as store, store._database.write() as held:
        connection = driver(held)
        cursor = connection.cursor()
        days_of(cursor, writes)
        connection.commit()
        gc.collect()
        since = spent(connection)
        for data in made:
            with cursor.copy("COPY readings (measured_at, value, series, note) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(data)
            connection.commit()
        seconds = spent(connection) - since
    running.drop(name)
    return seconds


def ours(running: Server, before: Groups, writes: Groups, folder: Path, *, twice: bool = False) -> float:
    """Our own way, into a database that knows the series already."""
    name = running.make()
    with Store.open(running.url(name), vault_key=None, folder=folder) as store:
        for group in [*before, *(writes if twice else ())]:
            store.readings.write(group)
        with store._database.write() as connection:
            backend = driver(connection)
        gc.collect()
        since = spent(backend)
        for group in writes:
            store.readings.write(group)
        seconds = spent(backend) - since
    running.drop(name)
    return seconds


def run(settings: Settings) -> list[Result]:
    if binaries() is None:
        return []
    with server(OPTIONS) as running, tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        folder = Path(temporary)
        profiles = [[history(meter, 0, HISTORY_SLOTS)] for meter in range(HISTORIES)]
        months = f"{HISTORIES} meters x 4 load profiles of a month"
        before = list(groups(polled(-1), BACKLOG))
        results = ingest(running, folder, settings.repeats, before, profiles, months, 0.4)
        for size in (GROUP, BACKLOG):
            polls = [group for slot in range(SLOTS) for group in groups(polled(slot, METERS_20, 5), size)]
            what = f"{SLOTS} polls of {METERS_20:,} meters, 20 values each, by {size:,} readings"
            results += ingest(running, folder, settings.repeats, [polled(-1, METERS_20, 5)], polls, what, 0.4)
        polls = [group for slot in range(SLOTS) for group in groups(polled(slot), GROUP)]
        what = f"{SLOTS} polls of {METERS:,} meters, 4 values each, by {GROUP:,} readings"
        results += ingest(running, folder, settings.repeats, before, polls, what, None)
    return results


def ingest(
    running: Server, folder: Path, repeats: int, before: Groups, writes: Groups, what: str, target: float | None
) -> list[Result]:
    count = sum(len(batch) for group in writes for batch in group)
    runs: dict[str, Callable[[], float]] = {
        "copy": lambda: raw(running, writes, folder),
        "write": lambda: ours(running, before, writes, folder),
        "again": lambda: ours(running, before, writes, folder, twice=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, work in runs.items():
            taken[name].append(work())
    rate = {name: count / statistics.median(seconds) for name, seconds in taken.items()}
    first = Result(
        benchmark="postgresql",
        what=f"Readings.write, {what}",
        figure=rate["write"],
        unit="readings/s",
        against="bare COPY, same key",
        reference=rate["copy"],
        target=target,
    )
    again = replace(first, what=f"… all of it for the second time, {what}", figure=rate["again"], target=None)
    return [first, again]


def summaries(rows: int) -> None:
    """A day of meters that are polled every minute, and every 15 minutes, summarised; and charts of it before and after."""
    with server(OPTIONS) as running, tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        folder = Path(temporary)
        for minutes in (1, 15):
            for where in (running.url(running.make()), str(folder / f"summaries-{minutes}.db")):
                with Store.open(where, vault_key=None, folder=folder) as store:
                    _summarise(store, minutes, rows)


def _summarise(store: Store, minutes: int, rows: int) -> None:
    slots = 1440 // minutes
    meters = max(rows // (slots * 4), 1)
    for slot in range(slots):
        moved = (slot * minutes - slot * 15) * 60_000
        for group in groups(polled(slot, meters), 10_000):
            at = [[time + moved for time in batch.measured_at] for batch in group]
            store.readings.write(
                [replace(b, measured_at=times, received_at=times[0]) for b, times in zip(group, at, strict=True)]
            )
    end = START + DAY_MS
    charts = [times_of(lambda m: store.readings.aggregate(_of(m, meters), QUANTITIES[1], START, end, 3_600_000))]
    used, wall, longest, readings, more = 0.0, 0.0, 0.0, 0, True
    while more:
        cpu, since = _cpu(store), time.perf_counter()
        turn = store.summaries.turn(end // DAY_MS)
        taken = time.perf_counter() - since
        used, wall, longest = used + _cpu(store) - cpu, wall + taken, max(longest, taken)
        readings, more = readings + turn.readings, turn.more
    charts.append(times_of(lambda m: store.readings.aggregate(_of(m, meters), QUANTITIES[1], START, end, 3_600_000)))
    report(
        bench="summaries",
        store=store.name.partition(":")[0] if "://" in store.name else "sqlite",
        every_minutes=minutes,
        rows=readings,
        cpu_microseconds_a_row=round(used / readings * 1e6, 2),
        wall_microseconds_a_row=round(wall / readings * 1e6, 2),
        longest_turn_ms=round(longest * 1000),
        day_by_hours_ms_p50_p99_before_and_after=charts,
    )


def _of(meter: str, meters: int) -> str:
    return f"meter-{int(meter[-5:]) % meters:05}"


def _cpu(store: Store) -> float:
    """Seconds of the processor so far, of this process and, where there is one, the server's for the writing connection."""
    with store._database.write() as connection:
        return spent(driver(connection)) if connection.dialect.name == "postgresql" else time.process_time()


if __name__ == "__main__":
    if sys.argv[1] == "growth":
        from bench import growth  # it needs this module

        growth.main(sys.argv[2:])
    else:
        summaries(int(float((*sys.argv[2:], "1e6")[0])))
