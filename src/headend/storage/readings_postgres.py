"""Readings in PostgreSQL: copied in binary form, or merged by key where some are there already; one partition a day (UTC).

`readings` is keyed by series and time, and the key's index holds value and note, too: a span of a series is a few pages of
that index, in order, however its rows came. A day is a table of its own, made before the first reading of it arrives and
dropped as a whole. `values` tells how values lie in the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from headend.errors import NotFound
from headend.model.reading import ReadingBatch, Source
from headend.storage import summaries
from headend.storage.latest_postgres import Latest
from headend.storage.levels import LEVELS, MINUTE_MS, Bucket, State, columns_of
from headend.storage.postgres import PostgresDatabase, driver
from headend.storage.postgres_binary import HEADER, TRAILER, encode_rows
from headend.storage.readings import latest_columns
from headend.storage.records import BucketColumns, LatestColumns, Receipt, ReceivedColumns, SeriesColumns
from headend.storage.summaries import COLUMNS, UP, Chosen, scaled
from headend.storage.values import (
    AGE_SHIFT,
    DAY_MS,
    DAYS,
    ESTIMATED,
    INT64,
    SOURCE_MASK,
    WHOLE,
    WORDS,
    decode_number,
    decode_quality,
)

DROP_SECONDS: Final = 2
"""How long a drop of a day waits for those who read; they queue behind it meanwhile."""

_VACUUM: Final = "autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000"
"""The server marks soon which rows everybody sees: until then a span is not read from the index alone. What was marked before
is skipped, so that a day is gone through once altogether."""
_COLUMNS: Final = "measured_at, value, series, note, received_at, words"
COPY: Final = f"COPY readings ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"

_SAVEPOINT: Final = "SAVEPOINT added"
"""The end of the transaction releases it."""
_BEGIN: Final = f"""SELECT last_value + is_called::int, {", ".join(State._fields)}
FROM readings_removals LEFT JOIN summary_state ON true; SET LOCAL plan_cache_mode = auto; {_SAVEPOINT}"""  # noqa: S608 # ditto
"""All in one round trip. What follows names no days: its plans may be kept."""
_INCOMING: Final = f"""CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS
SELECT {_COLUMNS} FROM readings WITH NO DATA"""  # noqa: S608 # constants of this module
_STAGE: Final = f"COPY incoming ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_DUE: Final = (
    """INSERT INTO summary_due (day, series) SELECT * FROM unnest(%s::int[], %s::int[]) ON CONFLICT DO NOTHING"""
)
_MERGE: Final = f"""INSERT INTO readings ({_COLUMNS})
SELECT DISTINCT ON (series, measured_at) {_COLUMNS} FROM incoming ORDER BY series, measured_at, note & {ESTIMATED}, ctid DESC
ON CONFLICT (series, measured_at) DO UPDATE SET value = excluded.value, note = excluded.note,
received_at = excluded.received_at, words = excluded.words
WHERE (excluded.note & {ESTIMATED} = 0 OR readings.note & {ESTIMATED} <> 0)
AND (readings.value, readings.note, readings.received_at, readings.words)
IS DISTINCT FROM (excluded.value, excluded.note, excluded.received_at, excluded.words)"""  # noqa: S608 # ditto

_NUMBERS: Final = "SELECT meter_id, quantity, number FROM series WHERE meter_id = ANY(%s)"
_NUMBER: Final = """INSERT INTO series (meter_id, quantity) SELECT * FROM unnest(%s::text[], %s::text[])
ON CONFLICT (meter_id, quantity) DO UPDATE SET meter_id = excluded.meter_id RETURNING meter_id, quantity, number"""

_LATEST: Final = """SELECT series.meter_id, quantity, value[place], words ->> number::text, measured_at[place], note[place],
received_at[place] FROM series JOIN latest ON latest.meter_id = series.meter_id
CROSS JOIN LATERAL (SELECT array_position(latest.series, number) AS place OFFSET 0) AS found"""

_SPAN: Final = """SELECT measured_at, value, note FROM readings
WHERE series = (SELECT number FROM series WHERE meter_id = %s AND quantity = %s)
AND measured_at >= %s::bigint AND measured_at < %s::bigint ORDER BY measured_at LIMIT %s"""
_SPANS: Final = """SELECT quantity, rows.* FROM series CROSS JOIN LATERAL (SELECT measured_at, value, note FROM readings
WHERE readings.series = series.number AND measured_at >= %s::bigint AND measured_at < %s::bigint ORDER BY measured_at) AS rows
WHERE meter_id = %s AND quantity = ANY(%s)"""
_RECEIVED: Final = """SELECT measured_at, value, words, note, received_at FROM readings
WHERE series = %s AND measured_at >= %s::bigint AND measured_at < %s::bigint ORDER BY measured_at LIMIT %s"""
_WORDS: Final = f"""SELECT measured_at, words FROM readings
WHERE series = (SELECT number FROM series WHERE meter_id = %s AND quantity = %s)
AND measured_at >= %s::bigint AND measured_at <= %s::bigint AND note & {WORDS} = {WORDS}"""  # noqa: S608 # ditto

_IS_NUMBER: Final = f"value <> 'NaN' AND (note & {WORDS} <> {WORDS} OR abs(value) < {INT64})"
"""Texts and integers beyond 64 bits take no part in buckets."""
_MEAN: Final = f"nullif(sum({scaled('value')}) / count(*) * {UP!r}, 'NaN')"
_BUCKETS: Final = f"""WITH buckets AS (SELECT (measured_at - %(origin)s::bigint) / %(bucket)s::bigint AS bucket,
min(value) AS low, max(value) AS high, {_MEAN} AS mean, count(*) AS amount, bool_and(note & {WHOLE} <> 0) AS whole,
max(measured_at) AS last_at FROM readings
WHERE series = %(series)s AND measured_at >= %(start)s::bigint AND measured_at < %(end)s::bigint AND {_IS_NUMBER} GROUP BY 1)
SELECT %(origin)s::bigint + bucket * %(bucket)s::bigint, low, high, mean,
(SELECT value FROM readings WHERE series = %(series)s AND measured_at = last_at
AND measured_at >= %(start)s::bigint AND measured_at < %(end)s::bigint), amount, whole FROM buckets ORDER BY 1"""  # noqa: S608 # ditto

_SUMMARISE: Final = f"""INSERT INTO summaries ({COLUMNS})
SELECT {LEVELS[0]}, :day, series, slot, amount, low, high, mean,
(SELECT value FROM readings WHERE series = slots.series AND measured_at = latest AND measured_at >= :begin AND measured_at < :end)
FROM (SELECT series, (measured_at - :begin) / {LEVELS[0] * MINUTE_MS} AS slot, count(*) AS amount,
min(value) AS low, max(value) AS high, {_MEAN} AS mean, max(measured_at) AS latest
FROM readings WHERE {{series}} AND measured_at >= :begin AND measured_at < :end AND {_IS_NUMBER}
GROUP BY series, slot) AS slots ON CONFLICT DO NOTHING"""  # noqa: S608 # ditto


class PostgresReadings:
    """`Readings` in PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        # what is known of the database; used in write transactions only
        self._numbers: dict[str, dict[str, int]] = {}
        self._days: set[int] = set()
        self._latest = Latest()
        self._removals = 0

    def write(self, batches: Iterable[ReadingBatch]) -> int:
        """Store the readings of all batches, and the latest of each series; returns how many."""
        with self.transaction() as connection:
            return self.add(connection, batches)

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that changes the database."""
        return self._database.write(on_failure=self._know_nothing)

    def add(self, connection: sa.Connection, batches: Iterable[ReadingBatch]) -> int:
        """Store readings, inside a `transaction`."""
        given = [batch for batch in batches if batch.quantities]
        if not given:
            return 0
        with driver(connection).cursor() as cursor:
            state = self._notice_others(cursor)
            made = self._number(cursor, given), self._make_days(cursor, given)
            if any(made):  # these stay, whatever becomes of the rows
                cursor.execute(_SAVEPOINT)
            self._latest.know(cursor, {batch.meter_id for batch in given})
            encoding, chunks = encode_rows(given, self._numbers, self._latest.renew), [HEADER]
            try:
                with cursor.copy(COPY) as copy:
                    copy.write(HEADER)
                    for chunk in encoding:
                        chunks.append(chunk)
                        copy.write(chunk)
                    copy.write(TRAILER)
            except psycopg.errors.UniqueViolation:  # some of them are there already, or twice among these
                cursor.execute("ROLLBACK TO SAVEPOINT added")
                chunks.extend(encoding)
                cursor.execute(_INCOMING)
                with cursor.copy(_STAGE) as copy:
                    copy.write(b"".join([*chunks, TRAILER]))
                cursor.execute(_MERGE)
            self._latest.write(cursor)
            old = [batch for batch in given if min(batch.measured_at) < state.border]
            if old:
                due = summaries.marks(state, self._times(old))
                cursor.execute(_DUE, [[day for day, _ in due], [number for _, number in due]])
        return sum(len(batch.quantities) for batch in given)

    def _know_nothing(self) -> None:
        self._numbers.clear()
        self._days.clear()
        self._latest.clear()

    def _notice_others(self, cursor: psycopg.Cursor[Any]) -> State:
        """Forget what is known after somebody removed series or days; returns how far summaries are."""
        cursor.execute(_BEGIN)
        removals, *state = cursor.fetchone() or (0, None)
        if removals != self._removals:
            self._know_nothing()
            self._removals = removals
        return State(*state) if state[0] is not None else State()

    def _number(self, cursor: psycopg.Cursor[Any], batches: Sequence[ReadingBatch]) -> bool:
        """See to it that all series have numbers, and that we know them; tells whether any was made."""
        numbers = self._numbers
        unknown = {batch.meter_id for batch in batches if batch.meter_id not in numbers}
        if unknown:
            found: dict[str, dict[str, int]] = {meter_id: {} for meter_id in unknown}
            for meter_id, quantity, number in cursor.execute(_NUMBERS, [list(unknown)]):
                found[meter_id][quantity] = number
            numbers.update(found)
        new = {
            (batch.meter_id, quantity)
            for batch in batches
            if not all(map(numbers[batch.meter_id].__contains__, batch.quantities))
            for quantity in set(batch.quantities).difference(numbers[batch.meter_id])
        }
        if new:
            meter_ids, quantities = zip(*sorted(new), strict=True)
            for meter_id, quantity, number in cursor.execute(_NUMBER, [list(meter_ids), list(quantities)]):
                numbers[meter_id][quantity] = number
        return bool(new)

    def _make_days(self, cursor: psycopg.Cursor[Any], batches: Sequence[ReadingBatch]) -> bool:
        """Make the partitions of days that have none; tells whether there may have been any."""
        times = [batch.measured_at for batch in batches]
        first, last = min(map(min, times)) // DAY_MS, max(map(max, times)) // DAY_MS
        days = {first, last}
        if last - first > 1:
            days = {at // DAY_MS for column in times for at in column}
        made = make_days(cursor, days - self._days)
        self._days.update(made)
        return bool(made)

    def _times(self, batches: Iterable[ReadingBatch]) -> Iterator[tuple[int, int]]:
        """When the readings of batches were measured, and the numbers of their series."""
        for batch in batches:
            numbers = self._numbers[batch.meter_id]
            yield from zip(batch.measured_at, map(numbers.__getitem__, batch.quantities), strict=True)

    def latest(
        self, meter_ids: Sequence[str] | None = None, quantities: Sequence[str] | None = None, limit: int = 100_000
    ) -> LatestColumns:
        """The newest reading of each series, or of those of the named meters and quantities."""
        chosen, given = ["place IS NOT NULL"], []
        for column, wanted in (("series.meter_id", meter_ids), ("quantity", quantities)):
            if wanted is not None:
                chosen.append(f"{column} = ANY(%s)")
                given.append(list(wanted))
        query = f"{_LATEST} WHERE {' AND '.join(chosen)} ORDER BY series.meter_id, quantity LIMIT %s"
        with self._database.read() as connection, driver(connection).cursor(binary=True) as cursor:
            rows = cursor.execute(query.encode(), [*given, limit]).fetchall()
        meters, names, doubles, words, measured_at, notes, received_at = zip(*rows, strict=True) if rows else ((),) * 7
        values = [decode_number(*each) for each in zip(doubles, words, notes, strict=True)]
        return latest_columns(meters, names, values, measured_at, notes, received_at)

    def series(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> SeriesColumns:
        """Readings with start <= measured_at < end (milliseconds), oldest first, at most `limit`."""
        given = [meter_id, quantity, start, end, limit]
        words: dict[int, str] = {}
        with self._database.glance() as connection, connection.cursor(binary=True) as cursor:
            rows = cursor.execute(_SPAN, given).fetchall() if start < end else []
        if WORDS in {note & WORDS for _, _, note in rows}:  # once more: both of one snapshot
            with self._database.read() as held, driver(held).cursor(binary=True) as cursor:
                rows = cursor.execute(_SPAN, given).fetchall()
                between = (rows[0][0], rows[-1][0]) if rows else (start, start)
                words = dict(cursor.execute(_WORDS, [meter_id, quantity, *between]).fetchall())
        return _columns(rows, words)

    def several(self, meter_id: str, quantities: Sequence[str], start: int, end: int) -> dict[str, SeriesColumns]:
        """Some series of a meter, as `series` gives them, by quantity; ask for days, not for years. One round trip."""
        found: dict[str, list[tuple[int, float, int]]] = {quantity: [] for quantity in quantities}
        if start < end:
            with self._database.glance() as connection, connection.cursor(binary=True) as cursor:
                for row in cursor.execute(_SPANS, [start, end, meter_id, list(found)]).fetchall():
                    found[row[0]].append(row[1:])
        return {
            quantity: self.series(meter_id, quantity, start, end)
            if WORDS in {note & WORDS for _, _, note in rows}
            else _columns(rows, {})
            for quantity, rows in found.items()
        }

    def received(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> ReceivedColumns:
        """Readings as `series` gives them, with their receipts; ask for days, not for years."""
        with self._database.read() as connection, driver(connection).cursor(binary=True) as cursor:
            number = _series(cursor, meter_id, quantity)
            rows = cursor.execute(_RECEIVED, [number, start, end, limit]).fetchall() if number and start < end else []
        return ReceivedColumns(
            measured_at=[row[0] for row in rows],
            values=[decode_number(double, words, note) for _, double, words, note, _ in rows],
            quality=[decode_quality(row[3]) for row in rows],
            received_at=[at + (note >> AGE_SHIFT) if when is None else when for at, _, _, note, when in rows],
            sources=[Source(row[3] & SOURCE_MASK) for row in rows],
        )

    def receipt(self, meter_id: str, quantity: str, measured_at: int) -> Receipt:
        """When and from whom one reading came; raises NotFound where there is no such reading."""
        query = "SELECT note, received_at FROM readings WHERE series = %s AND measured_at = %s::bigint"
        with self._database.read() as connection, driver(connection).cursor(binary=True) as cursor:
            row = cursor.execute(query, [_series(cursor, meter_id, quantity), measured_at]).fetchone()
        if row is None:
            raise NotFound(f"meter {meter_id!r} has no reading of {quantity!r} at {measured_at}")
        note, received_at = row
        age = note >> AGE_SHIFT
        return Receipt(
            received_at=measured_at + age if received_at is None else received_at, source=Source(note & SOURCE_MASK)
        )

    def aggregate(self, meter_id: str, quantity: str, start: int, end: int, bucket: int) -> BucketColumns:
        """Minimum, maximum, mean, last and count of the numbers in each `bucket` milliseconds; buckets start at multiples of it.

        Integers beyond 2**53 take part as the nearest double.
        """
        if bucket <= 0:
            raise ValueError("a bucket lasts at least a millisecond")
        with self._database.read() as connection, driver(connection).cursor(binary=True) as cursor:
            number = _series(cursor, meter_id, quantity)
            if not number or start >= end:
                return columns_of((), bucket)
            return summaries.aggregate(
                connection, number, (start, end), bucket, lambda low, high: _buckets(cursor, number, low, high, bucket)
            )

    def first_day(self, connection: sa.Connection, day: int) -> int | None:
        """The first day not before a day that has a partition."""
        return next((each for each, _ in partitions_of(connection) if each >= day), None)

    def summarise(self, connection: sa.Connection, chosen: Chosen) -> None:
        """Make summaries by 15 minutes of chosen series; those that are there stay."""
        chosen.execute(connection, _SUMMARISE, begin=chosen.day * DAY_MS, end=(chosen.day + 1) * DAY_MS)

    def count(self, meter_id: str | None = None, quantity: str | None = None) -> int:
        """How many readings are stored: of one series, of one meter, or of all (which walks through the whole table)."""
        query = "SELECT count(*) FROM readings"
        given: dict[str, str] = {}
        if meter_id is not None:
            query += " WHERE series IN (SELECT number FROM series WHERE meter_id = :meter"
            query += " AND quantity = :quantity)" if quantity is not None else ")"
            given = {"meter": meter_id} | ({} if quantity is None else {"quantity": quantity})
        with self._database.read() as connection:
            return int(connection.execute(sa.text(query), given).scalar_one())

    def purge(self, before_day: int) -> int:
        """Remove the readings measured before a day (days since 1970-01-01 UTC); returns how many. Latest values stay."""
        with self._database.write() as connection:
            limit = summaries.let_go(connection, before_day)
            old = [(day, name) for day, name in partitions_of(connection) if day < min(before_day, limit)]
        removed = sum(self._drop(day, name, limit) for day, name in old)
        before = sa.text(
            "DELETE FROM readings WHERE measured_at < :before AND (measured_at < :first OR measured_at >= :last)"
        )
        given = {"before": before_day * DAY_MS, "first": DAYS.start * DAY_MS, "last": DAYS.stop * DAY_MS}
        with self._database.write() as connection:
            return removed + connection.execute(before, given).rowcount

    def _drop(self, day: int, name: str, limit: int) -> int:
        """Remove a day in a transaction of its own, so that writing goes on in between."""
        with self._database.read() as connection:
            rows = _rows_of(connection, name)
        with self._database.write() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{DROP_SECONDS}s'")
            if not summaries.may_go(connection, day, limit):
                return 0
            connection.exec_driver_sql(f"DROP TABLE {name}")
            connection.exec_driver_sql("SELECT nextval('readings_removals')")
        return rows

    def forget(self, connection: sa.Connection, meter_id: str) -> None:
        """Remove all readings of a meter, inside a transaction of the caller."""
        given = {"meter": meter_id}
        numbers = "SELECT number FROM series WHERE meter_id = :meter"
        summaries.forget(connection, list(connection.execute(sa.text(numbers), given).scalars()))
        connection.execute(sa.text(f"DELETE FROM readings WHERE series IN ({numbers})"), given)  # noqa: S608 # a constant
        connection.execute(sa.text("DELETE FROM latest WHERE meter_id = :meter"), given)
        connection.execute(sa.text("DELETE FROM series WHERE meter_id = :meter"), given)
        connection.exec_driver_sql("SELECT nextval('readings_removals')")


def _columns(rows: Sequence[tuple[int, float, int]], words: Mapping[int, str]) -> SeriesColumns:
    """Rows of time, value and note; `words` by time."""
    return SeriesColumns(
        measured_at=[at for at, _, _ in rows],
        values=[decode_number(double, words.get(at), note) for at, double, note in rows],
        quality=[decode_quality(note) for _, _, note in rows],
    )


def _series(cursor: psycopg.Cursor[Any], meter_id: str, quantity: str) -> int:
    """The number of a series; 0 where there is none, because numbers start at 1."""
    query = "SELECT number FROM series WHERE meter_id = %s AND quantity = %s"
    row = cursor.execute(query, [meter_id, quantity]).fetchone()
    return int(row[0]) if row else 0


def _buckets(cursor: psycopg.Cursor[Any], number: int, start: int, end: int, bucket: int) -> list[Bucket]:
    """Buckets of the readings of a series between two times; numbers of which all are whole are integers."""
    given = {"series": number, "origin": start // bucket * bucket, "bucket": bucket, "start": start, "end": end}
    rows = cursor.execute(_BUCKETS, given).fetchall()
    return [(row[0], int(row[1]), int(row[2]), row[3], int(row[4]), row[5]) if row[6] else row[:6] for row in rows]


def make_days(cursor: psycopg.Cursor[Any], days: Iterable[int]) -> Sequence[int]:
    """Make the partitions of those days that have none; returns the days that have partitions of their own."""
    needed = sorted(day for day in days if day in DAYS)
    for day in needed:
        name = _partition(day)
        cursor.execute("SELECT to_regclass(%s)", [name])
        if cursor.fetchone() == (None,):  # made first and attached then: nobody who reads has to wait for that
            cursor.execute(f"CREATE TABLE {name} (LIKE readings) WITH ({_VACUUM})".encode())
            span = f"FROM ({day * DAY_MS}) TO ({(day + 1) * DAY_MS})"
            cursor.execute(f"ALTER TABLE readings ATTACH PARTITION {name} FOR VALUES {span}".encode())
    return needed


def _partition(day: int) -> str:
    return f"readings_{datetime.fromtimestamp(day * 86_400, UTC):%Y%m%d}"


def partitions_of(connection: sa.Connection) -> list[tuple[int, str]]:
    """The days that have partitions, oldest first, and the names of these."""
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'readings'::regclass ORDER BY 1"
    names = [name for name in connection.exec_driver_sql(query).scalars() if name[-8:].isdigit()]
    return [
        (int(datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).timestamp()) // 86_400, name) for name in names
    ]


def _rows_of(connection: sa.Connection, partition: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {partition}").scalar_one())  # noqa: S608 # a name of ours
