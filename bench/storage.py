"""How fast readings are stored and found again, against the bare SQLite driver on the same tables.

python -m bench.storage growth [ROWS]     rate by fifths, octets a reading, 24 hours of one meter; 10,000 meters x 4 quantities
python -m bench.storage backfill [ROWS]   a year by 15 minutes, meter by meter

Values are those of a real meter: energy an int of Wh, voltage and current floats with one and two decimals, power an int of W.
Rates of the table are per second of processor time, medians of interleaved runs; the two above go by the clock on the wall,
and print one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.common import Result, Settings
from headend.model.reading import ReadingBatch, Source, Value
from headend.storage import readings_sqlite, sqlite
from headend.storage.store import Store
from headend.storage.values import EPOCH_MS, POINT_SHIFT, QUARTER_MS

METERS = 10_000
QUANTITIES = ("active_energy_import", "voltage_l1", "current_l1", "active_power_import")
START = 1_767_225_600_000
SLOT_MS, DAY_MS = 900_000, 86_400_000
GOOD = (0, 0, 0, 0)
SLOTS, GROUP = 8, 1000


def values(meter: int, slot: int, chance: random.Random) -> list[Value]:
    watts = chance.randrange(4000)
    return [
        10_000_000 + meter * 37 + slot * 230,
        2250 / 10 + chance.randrange(100) / 10,
        watts * 100 // 230 / 100,
        watts,
    ]


def polled(slot: int, meters: int = METERS, sets: int = 1) -> list[ReadingBatch]:
    """One poll of every meter, spread over a minute; four values, or so many sets of four."""
    chance = random.Random(slot)
    quantities = QUANTITIES if sets == 1 else [f"{name}_{n}" for n in range(sets) for name in QUANTITIES]
    batches = []
    for meter in range(meters):
        at = START + slot * SLOT_MS + meter * 60_000 // meters
        batches.append(
            ReadingBatch(
                meter_id=f"meter-{meter:05}",
                source=Source.POLL,
                received_at=at,
                quantities=quantities,
                values=[value for _ in range(sets) for value in values(meter, slot, chance)],
                measured_at=(at,) * 4 * sets,
                quality=GOOD * sets,
            )
        )
    return batches


def history(meter: int, first: int, slots: int) -> ReadingBatch:
    """A block of load profile, column by column, fetched long after it was measured."""
    chance = random.Random(meter)
    columns = list(zip(*(values(meter, first + n, chance) for n in range(slots)), strict=True))
    times = [START + (first + n) * SLOT_MS for n in range(slots)]
    return ReadingBatch(
        meter_id=f"meter-{meter:05}",
        source=Source.HISTORY,
        received_at=START + 366 * DAY_MS + meter,
        quantities=[name for name in QUANTITIES for _ in range(slots)],
        values=[value for column in columns for value in column],
        measured_at=times * 4,
        quality=[0] * (4 * slots),
    )


def groups(batches: Sequence[ReadingBatch], size: int) -> Iterator[Sequence[ReadingBatch]]:
    step = max(size // len(batches[0]), 1)
    for first in range(0, len(batches), step):
        yield batches[first : first + step]


def raw(path: Path, slots: list[list[ReadingBatch]], size: int, *, latest: bool) -> float:
    """Seconds of the processor for bare executemany with rows made beforehand, under the store's own settings."""
    Store.open(path, vault_key=None).close()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in sqlite._WRITER:
        connection.execute(pragma)
    names = [(f"meter-{m:05}", q) for m in range(METERS) for q in QUANTITIES]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO series (meter_id, quantity) VALUES (?, ?)", names)
    connection.execute("COMMIT")
    seconds = 0.0
    for batches in slots:
        rows, news = [], []
        for meter, batch in enumerate(batches):
            for n in range(4):
                at, value = batch.measured_at[n], batch.values[n]
                number = meter * 4 + n + 1
                quarter, millis = divmod(at - EPOCH_MS, QUARTER_MS)
                rows.append((quarter, number << POINT_SHIFT | millis, value, 0))
                news.append((number, at, at, value, 0))
        gc.collect()
        since = time.process_time()
        for first in range(0, len(rows), size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(readings_sqlite._INSERT, rows[first : first + size])
            if latest:
                connection.executemany(readings_sqlite._LATEST, news[first : first + size])
            connection.execute("COMMIT")
        seconds += time.process_time() - since
    connection.close()
    return seconds


def ours(path: Path, slots: list[list[ReadingBatch]], size: int) -> float:
    """Seconds of the processor for Store.readings.write with the same readings."""
    with Store.open(path, vault_key=None) as store:
        for group in groups(polled(-1), 1000):
            store.readings.write(group)
        seconds = 0.0
        for batches in slots:
            gc.collect()
            since = time.process_time()
            for group in groups(batches, size):
                store.readings.write(group)
            seconds += time.process_time() - since
    return seconds


def run(settings: Settings) -> list[Result]:
    """Groups of a thousand readings, as the writer makes them, and the growth when it is asked for."""
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        results = [ingest(Path(temporary), settings.repeats)]
        if settings.growth_rows:
            growth(Path(temporary), settings.growth_rows)
    return results


def ingest(folder: Path, repeats: int) -> Result:
    slots = [polled(slot) for slot in range(SLOTS)]
    count = SLOTS * METERS * 4
    runs: dict[str, Callable[[Path], float]] = {
        "raw": lambda path: raw(path, slots, GROUP, latest=True),
        "write": lambda path: ours(path, slots, GROUP),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name, work in runs.items():
            taken[name].append(work(folder / f"{name}-{repeat}.db"))
            for left in folder.iterdir():
                left.unlink()
    rate = {name: count / statistics.median(seconds) for name, seconds in taken.items()}
    return Result(
        benchmark="storage",
        what=f"Readings.write, history and latest, {count:,} readings by {GROUP:,}",
        figure=rate["write"],
        unit="readings/s",
        against="raw executemany, same tables",
        reference=rate["raw"],
        target=0.6,
    )


def growth(folder: Path, rows: int) -> None:
    path = folder / "growth.db"
    slots = max(rows // (METERS * 4), 5)
    fifths, costs, seconds, cpu = [], [], 0.0, 0.0
    with Store.open(path, vault_key=None) as store:
        for slot in range(slots):
            batches = polled(slot)
            since, cpu_since = time.perf_counter(), time.process_time()
            for group in groups(batches, 1000):
                store.readings.write(group)
            seconds, cpu = seconds + time.perf_counter() - since, cpu + time.process_time() - cpu_since
            if (slot + 1) % (slots // 5) == 0:
                fifths.append(round(slots // 5 * METERS * 4 / seconds))
                costs.append(round(cpu / (slots // 5 * METERS * 4) * 1e6, 2))
                seconds = cpu = 0.0
        end = START + slots * SLOT_MS
        day = times_of(lambda m: [store.readings.series(m, q, end - DAY_MS, end) for q in QUANTITIES])
        one = times_of(lambda m: store.readings.series(m, QUANTITIES[1], end - DAY_MS, end))
        chart = times_of(lambda m: store.readings.aggregate(m, QUANTITIES[1], end - 7 * DAY_MS, end, 3_600_000))
        since = time.perf_counter()
        found = len(store.readings.latest())
        latest_ms = round((time.perf_counter() - since) * 1000, 1)
    report(
        bench="growth",
        rows=slots * METERS * 4,
        rows_per_second_by_fifth=fifths,
        cpu_microseconds_a_row_by_fifth=costs,
        octets_per_reading=round(path.stat().st_size / (slots * METERS * 4), 2),
        day_of_one_meter_4_series_ms_p50_p99=day,
        day_of_one_series_ms_p50_p99=one,
        week_by_hours_ms_p50_p99=chart,
        latest_ms={"rows": found, "ms": latest_ms},
    )


def times_of(query: Callable[[str], object]) -> tuple[float, float]:
    chance, taken = random.Random(7), []
    for _ in range(300):
        meter = f"meter-{chance.randrange(METERS):05}"
        since = time.perf_counter()
        query(meter)
        taken.append((time.perf_counter() - since) * 1000)
    taken.sort()
    return round(taken[150], 3), round(taken[296], 3)


def backfill(folder: Path, rows: int) -> None:
    path, month = folder / "backfill.db", 30 * 96
    meters = max(rows // (12 * month * 4), 1)
    seconds = 0.0
    with Store.open(path, vault_key=None) as store:
        for meter in range(meters):
            for part in range(12):
                batch = history(meter, part * month, month)
                since = time.perf_counter()
                store.readings.write([batch])
                seconds += time.perf_counter() - since
    count = meters * 12 * month * 4
    report(
        bench="backfill",
        rows=count,
        meters=meters,
        rows_per_second=round(count / seconds),
        octets_per_reading=round(path.stat().st_size / count, 2),
    )


def report(**fields: object) -> None:
    machine = {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    print(json.dumps({**fields, "machine": machine}), flush=True)


if __name__ == "__main__":
    name, rows = sys.argv[1], int(float((*sys.argv[2:], "1e6")[0]))
    with tempfile.TemporaryDirectory(prefix="headend-bench-") as temporary:
        {"growth": growth, "backfill": backfill}[name](Path(temporary), rows)
