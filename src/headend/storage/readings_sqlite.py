"""Readings in SQLite: written row by row through the driver. `headend.storage.schema` tells how they lie in the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from sys import intern
from typing import cast

import sqlalchemy as sa

from headend.errors import NotFound
from headend.model.reading import ReadingBatch, Source, Value
from headend.storage import schema, summaries
from headend.storage.levels import Bucket, State, columns_of
from headend.storage.readings import latest_columns
from headend.storage.records import BucketColumns, LatestColumns, Receipt, ReceivedColumns, SeriesColumns
from headend.storage.sqlite import SqliteDatabase, driver
from headend.storage.summaries import STATE, Chosen
from headend.storage.summaries_sqlite import NUMBER, summarise
from headend.storage.values import (
    AGE_SHIFT,
    DAY_MS,
    EPOCH_MS,
    ESTIMATED,
    INLINE_AGE,
    INT64,
    POINT_MASK,
    POINT_SHIFT,
    QUARTER_MS,
    SOURCE_MASK,
    Stored,
    decode_quality,
    decode_value,
    encode_marks,
    encode_value,
)

PURGE_ROWS = 50_000
"""Rows that a purge removes in one transaction, so that writing goes on in between."""

_INSERT = f"""INSERT INTO readings (quarter, point, value, note) VALUES (?, ?, ?, ?)
ON CONFLICT (quarter, point) DO UPDATE SET value = excluded.value, note = excluded.note
WHERE excluded.note & {ESTIMATED} = 0 OR note & {ESTIMATED} <> 0"""  # noqa: S608 # a constant of this module

_LATEST = f"""UPDATE series SET measured_at = ?2, received_at = ?3, value = ?4, note = ?5 WHERE number = ?1 AND (
measured_at IS NULL OR min(?2, ?3) > min(measured_at, received_at)
OR (min(?2, ?3) = min(measured_at, received_at) AND (?5 & {ESTIMATED} = 0 OR note & {ESTIMATED} <> 0)))"""  # noqa: S608 # ditto

RECEIPT = """INSERT INTO receipts (quarter, number, received_at, source)
SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM receipts WHERE quarter = ?1 RETURNING number"""

_RECEIPT_OF = "SELECT received_at, source FROM receipts WHERE quarter = ? AND number = ?"

_SPAN = "SELECT point, value, note FROM readings WHERE quarter = ? AND point >= ? AND point < ? ORDER BY point LIMIT ?"

_QUARTERS = """WITH RECURSIVE quarters (quarter) AS (
SELECT min(quarter) FROM readings WHERE quarter BETWEEN :first AND :last
UNION ALL
SELECT (SELECT min(quarter) FROM readings WHERE quarter > quarters.quarter AND quarter <= :last)
FROM quarters WHERE quarters.quarter IS NOT NULL)"""
"""The quarters that have readings, found by one step in the index each."""
_NAMED = f"{_QUARTERS} SELECT quarter FROM quarters WHERE quarter IS NOT NULL"  # noqa: S608 # a constant of this module

_BUCKETS = f"""{_QUARTERS}, numbers AS (
SELECT (quarters.quarter - :first) * {QUARTER_MS} + (point & {POINT_MASK}) AS at, {NUMBER} AS number
FROM quarters CROSS JOIN readings ON readings.quarter = quarters.quarter AND point >= :base AND point < :base + {POINT_MASK + 1}
WHERE typeof(value) IN ('integer', 'real')), buckets AS (
SELECT (at - :skip) / :bucket AS bucket, min(number) AS low, max(number) AS high, avg(number) AS mean, count(*) AS amount,
max(at) AS last_at FROM numbers WHERE at BETWEEN :start AND :end GROUP BY bucket)
SELECT :origin + bucket * :bucket, low, high, mean, {NUMBER}, amount FROM buckets
JOIN readings ON readings.quarter = :first + last_at / {QUARTER_MS} AND point = :base + last_at % {QUARTER_MS} ORDER BY 1"""  # noqa: S608 # ditto

_COUNT = f"""{_QUARTERS} SELECT count(*) FROM quarters CROSS JOIN readings
ON readings.quarter = quarters.quarter AND point >= :base AND point < :base + {POINT_MASK + 1}"""  # noqa: S608 # ditto

EVER = (-INT64, INT64 - 1)
"""All times."""

_Row = tuple[int, int, Stored, int]
_LatestRow = tuple[int, int, int, Stored, int]


class SqliteReadings:
    """`Readings` in SQLite."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._numbers: dict[
            str, dict[str, int]
        ] = {}  # of series, by meter and quantity; used in write transactions only
        self._version = 0

    def write(self, batches: Iterable[ReadingBatch]) -> int:
        """Store the readings of all batches, and the latest of each series; returns how many."""
        with self.transaction() as connection:
            return self.add(connection, batches)

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that changes the database."""
        return self._database.write(on_failure=self._numbers.clear)

    def add(self, connection: sa.Connection, batches: Iterable[ReadingBatch]) -> int:
        """Store readings, inside a `transaction`."""
        sqlite = driver(connection)
        self._notice_others(sqlite)
        state = State(*sqlite.execute(STATE).fetchone() or ())
        rows, latest, old = self._rows(sqlite, batches, state.border)
        sqlite.executemany(_INSERT, rows).close()
        sqlite.executemany(_LATEST, latest).close()
        if old:
            due = summaries.marks(state, self._times(old))
            sqlite.executemany("INSERT OR IGNORE INTO summary_due (day, series) VALUES (?, ?)", due).close()
        return len(rows)

    def _times(self, batches: Iterable[ReadingBatch]) -> Iterator[tuple[int, int]]:
        """When the readings of batches were measured, and the numbers of their series."""
        for batch in batches:
            numbers = self._numbers[batch.meter_id]
            yield from zip(batch.measured_at, map(numbers.__getitem__, batch.quantities), strict=True)

    def _notice_others(self, sqlite: sqlite3.Connection) -> None:
        """Forget the numbers of series after another process wrote: it may have removed some."""
        (version,) = sqlite.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._numbers.clear()

    def _rows(
        self, sqlite: sqlite3.Connection, batches: Iterable[ReadingBatch], border: int
    ) -> tuple[list[_Row], list[_LatestRow], list[ReadingBatch]]:
        """The rows of batches, the latest of each series, and the batches with readings before a time."""
        rows: list[_Row] = []
        newest: dict[int, _LatestRow] = {}
        old: list[ReadingBatch] = []
        for batch in batches:
            if min(batch.measured_at, default=border) < border:
                old.append(batch)
            numbers = self._numbers_of(sqlite, batch.meter_id, batch.quantities)
            received_at, source = batch.received_at, int(batch.source)
            receipts: dict[int, int] = {}
            for quantity, value, at, quality in zip(
                batch.quantities, batch.values, batch.measured_at, batch.quality, strict=True
            ):
                stored, form = encode_value(value)
                marks = encode_marks(source, quality, form) if quality else form | source
                quarter, millis = divmod(at - EPOCH_MS, QUARTER_MS)
                age = received_at - at
                if not 0 <= age < INLINE_AGE:
                    if quarter not in receipts:
                        receipts[quarter] = sqlite.execute(RECEIPT, (quarter, received_at, source)).fetchone()[0]
                    age = -receipts[quarter]
                number = numbers[quantity]
                rows.append((quarter, number << POINT_SHIFT | millis, stored, age << AGE_SHIFT | marks))
                known = newest.get(number)
                if known is None or _supersedes(at, received_at, marks, known):
                    newest[number] = (number, at, received_at, stored, marks)
        return rows, list(newest.values()), old

    def _numbers_of(self, sqlite: sqlite3.Connection, meter_id: str, quantities: Sequence[str]) -> dict[str, int]:
        numbers = self._numbers.get(meter_id)
        if numbers is None:
            found = sqlite.execute("SELECT quantity, number FROM series WHERE meter_id = ?", (meter_id,))
            numbers = self._numbers[meter_id] = {intern(quantity): number for quantity, number in found}
        for quantity in quantities:
            if quantity not in numbers:
                row = sqlite.execute(
                    "INSERT INTO series (meter_id, quantity) VALUES (?, ?) RETURNING number", (meter_id, quantity)
                ).fetchone()
                numbers[quantity] = row[0]
        return numbers

    def latest(
        self, meter_ids: Sequence[str] | None = None, quantities: Sequence[str] | None = None, limit: int = 100_000
    ) -> LatestColumns:
        """The newest reading of each series, or of those of the named meters and quantities."""
        table = schema.series.c
        query = sa.select(table.meter_id, table.quantity, table.value, table.measured_at, table.note, table.received_at)
        query = query.where(table.measured_at.is_not(None))
        if meter_ids is not None:
            query = query.where(table.meter_id.in_(meter_ids))
        if quantities is not None:
            query = query.where(table.quantity.in_(quantities))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.meter_id, table.quantity).limit(limit)).all()
        meters, names, stored, measured_at, notes, received_at = zip(*rows, strict=True) if rows else ((),) * 6
        values = [decode_value(value, note) for value, note in zip(stored, notes, strict=True)]
        return latest_columns(meters, names, values, measured_at, notes, received_at)

    def series(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> SeriesColumns:
        """Readings with start <= measured_at < end (milliseconds), oldest first, at most `limit`."""
        times: list[int] = []
        values: list[Value] = []
        quality: list[int] = []
        with self._database.read() as connection:
            sqlite = driver(connection)
            base = _base(sqlite, meter_id, quantity)
            for quarter in quarters_of(connection, start, end) if base else ():
                begin = EPOCH_MS + quarter * QUARTER_MS
                low, high = max(start - begin, 0), min(end - begin, QUARTER_MS)
                rows = sqlite.execute(_SPAN, (quarter, base + low, base + high, limit - len(times))).fetchall()
                times += [begin + (point & POINT_MASK) for point, _, _ in rows]
                values += [decode_value(stored, note) for _, stored, note in rows]
                quality += [decode_quality(note) for _, _, note in rows]
                if len(times) >= limit:
                    break
        return SeriesColumns(measured_at=times, values=values, quality=quality)

    def several(self, meter_id: str, quantities: Sequence[str], start: int, end: int) -> dict[str, SeriesColumns]:
        """Some series of a meter, as `series` gives them, by quantity; ask for days, not for years."""
        return {quantity: self.series(meter_id, quantity, start, end) for quantity in quantities}

    def received(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> ReceivedColumns:
        """Readings as `series` gives them, with their receipts; ask for days, not for years."""
        times: list[int] = []
        values: list[Value] = []
        quality: list[int] = []
        received_at: list[int] = []
        sources: list[Source] = []
        with self._database.read() as connection:
            sqlite = driver(connection)
            base = _base(sqlite, meter_id, quantity)
            for quarter in quarters_of(connection, start, end) if base else ():
                begin = EPOCH_MS + quarter * QUARTER_MS
                low, high = max(start - begin, 0), min(end - begin, QUARTER_MS)
                receipts: dict[int, tuple[int, int]] = {}
                for point, stored, note in sqlite.execute(
                    _SPAN, (quarter, base + low, base + high, limit - len(times))
                ):
                    at, age = begin + (point & POINT_MASK), note >> AGE_SHIFT
                    if age < 0 and age not in receipts:
                        receipts[age] = sqlite.execute(_RECEIPT_OF, (quarter, -age)).fetchone()
                    when, source = receipts[age] if age < 0 else (at + age, note & SOURCE_MASK)
                    times.append(at)
                    values.append(decode_value(stored, note))
                    quality.append(decode_quality(note))
                    received_at.append(when)
                    sources.append(Source(source))
                if len(times) >= limit:
                    break
        return ReceivedColumns(
            measured_at=times, values=values, quality=quality, received_at=received_at, sources=sources
        )

    def receipt(self, meter_id: str, quantity: str, measured_at: int) -> Receipt:
        """When and from whom one reading came; raises NotFound where there is no such reading."""
        quarter, millis = divmod(measured_at - EPOCH_MS, QUARTER_MS)
        with self._database.read() as connection:
            sqlite = driver(connection)
            point = _base(sqlite, meter_id, quantity) + millis
            row = sqlite.execute(
                "SELECT note FROM readings WHERE quarter = ? AND point = ?", (quarter, point)
            ).fetchone()
            if row is None:
                raise NotFound(f"meter {meter_id!r} has no reading of {quantity!r} at {measured_at}")
            age = row[0] >> AGE_SHIFT
            if age >= 0:
                return Receipt(received_at=measured_at + age, source=Source(row[0] & SOURCE_MASK))
            received_at, source = sqlite.execute(_RECEIPT_OF, (quarter, -age)).fetchone()
            return Receipt(received_at=received_at, source=Source(source))

    def aggregate(self, meter_id: str, quantity: str, start: int, end: int, bucket: int) -> BucketColumns:
        """Minimum, maximum, mean, last and count of the numbers in each `bucket` milliseconds; buckets start at multiples of it."""
        if bucket <= 0:
            raise ValueError("a bucket lasts at least a millisecond")
        with self._database.read() as connection:
            base = _base(driver(connection), meter_id, quantity)
            if not base or start >= end:
                return columns_of((), bucket)
            return summaries.aggregate(
                connection,
                base >> POINT_SHIFT,
                (start, end),
                bucket,
                lambda low, high: _buckets(connection, base, low, high, bucket),
            )

    def first_day(self, connection: sa.Connection, day: int) -> int | None:
        """The first day not before a day that has readings."""
        query = "SELECT min(quarter) FROM readings WHERE quarter >= ?"
        (quarter,) = driver(connection).execute(query, (_quarter_of(day),)).fetchone()
        return None if quarter is None else (EPOCH_MS + quarter * QUARTER_MS) // DAY_MS

    def summarise(self, connection: sa.Connection, chosen: Chosen) -> None:
        """Make summaries by 15 minutes of chosen series; those that are there stay."""
        summarise(connection, chosen, _quarter_of(chosen.day))

    def count(self, meter_id: str | None = None, quantity: str | None = None) -> int:
        """How many readings are stored: of one series, of one meter, or of all (which walks through the whole table)."""
        with self._database.read() as connection:
            if meter_id is None:
                return int(connection.execute(sa.text("SELECT count(*) FROM readings")).scalar_one())
            bases = [
                number << POINT_SHIFT
                for name, number in _series(driver(connection), meter_id)
                if quantity in {None, name}
            ]
            first, last = _between(*EVER)
            given = {"first": first, "last": last}
            return sum(connection.execute(sa.text(_COUNT), given | {"base": base}).scalar_one() for base in bases)

    def purge(self, before_day: int) -> int:
        """Remove the readings measured before a day (days since 1970-01-01 UTC); returns how many. Latest values stay."""
        removed = 0
        with self._database.write() as connection:
            limit = summaries.let_go(connection, before_day)
            quarters = quarters_of(connection, EVER[0], min(before_day * DAY_MS, EVER[1]))
        for quarter in quarters:
            while (gone := self._remove(quarter, limit)) == PURGE_ROWS:
                removed += gone
            removed += gone
        return removed

    def _remove(self, quarter: int, limit: int) -> int:
        """Remove a part of a quarter of a day, in a transaction of its own, so that writing goes on in between."""
        with self._database.write() as connection:
            if not summaries.may_go(connection, (EPOCH_MS + quarter * QUARTER_MS) // DAY_MS, limit):
                return 0
            sqlite = driver(connection)
            query = "SELECT point FROM readings WHERE quarter = ? ORDER BY point LIMIT 1 OFFSET ?"
            beyond = sqlite.execute(query, (quarter, PURGE_ROWS)).fetchone()
            if beyond is None:
                sqlite.execute("DELETE FROM receipts WHERE quarter = ?", (quarter,)).close()
            query = "DELETE FROM readings WHERE quarter = ? AND point < ?"
            return sqlite.execute(query, (quarter, *(beyond or (INT64 - 1,)))).rowcount

    def forget(self, connection: sa.Connection, meter_id: str) -> None:
        """Remove all readings of a meter, inside a transaction of the caller."""
        sqlite = driver(connection)
        quarters = quarters_of(connection, *EVER)
        known = _series(sqlite, meter_id)
        summaries.forget(connection, [number for _, number in known])
        for _, number in known:
            base = number << POINT_SHIFT
            query = "DELETE FROM readings WHERE quarter = ? AND point BETWEEN ? AND ?"
            sqlite.executemany(query, [(quarter, base, base + POINT_MASK) for quarter in quarters]).close()
        sqlite.execute("DELETE FROM series WHERE meter_id = ?", (meter_id,)).close()
        self._numbers.pop(meter_id, None)


def _supersedes(at: int, received_at: int, marks: int, known: _LatestRow) -> bool:
    """Whether a reading becomes the latest of its series: the same rule as in _LATEST."""
    rank, known_rank = min(at, received_at), min(known[1], known[2])
    return rank > known_rank or (rank == known_rank and (not marks & ESTIMATED or bool(known[4] & ESTIMATED)))


def _series(sqlite: sqlite3.Connection, meter_id: str) -> list[tuple[str, int]]:
    return sqlite.execute("SELECT quantity, number FROM series WHERE meter_id = ?", (meter_id,)).fetchall()


def _base(sqlite: sqlite3.Connection, meter_id: str, quantity: str) -> int:
    """The first point of a series; 0 where there is none, because numbers start at 1."""
    query = "SELECT number FROM series WHERE meter_id = ? AND quantity = ?"
    row = sqlite.execute(query, (meter_id, quantity)).fetchone()
    return row[0] << POINT_SHIFT if row else 0


def _buckets(connection: sa.Connection, base: int, start: int, end: int, bucket: int) -> Sequence[Bucket]:
    """Buckets of the readings of a series between two times."""
    first, last = _between(start, end)
    begin, origin = EPOCH_MS + first * QUARTER_MS, start // bucket * bucket
    given = {"first": first, "last": last, "base": base, "bucket": bucket, "origin": origin}
    given |= {"skip": origin - begin, "start": start - begin, "end": end - 1 - begin}
    return cast("Sequence[Bucket]", connection.execute(sa.text(_BUCKETS), given).all())


def _quarter_of(day: int) -> int:
    """The first quarter of a day."""
    return (day * DAY_MS - EPOCH_MS) // QUARTER_MS


def _between(start: int, end: int) -> tuple[int, int]:
    """The first and the last quarter of start <= time < end."""
    return (start - EPOCH_MS) // QUARTER_MS, (end - 1 - EPOCH_MS) // QUARTER_MS


def quarters_of(connection: sa.Connection, start: int, end: int) -> list[int]:
    """The quarters between two times that have readings."""
    first, last = _between(start, end)
    return [quarter for (quarter,) in driver(connection).execute(_NAMED, {"first": first, "last": last})]
