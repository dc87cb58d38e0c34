"""Series and readings carried out of PostgreSQL, or into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from headend.storage.copied import CHUNK, Row, Series
from headend.storage.latest_postgres import UNNEST, Latest
from headend.storage.postgres import driver
from headend.storage.postgres_binary import HEADER, TRAILER, columns_of, encode_reading, encode_row
from headend.storage.readings_postgres import COPY, make_days, partitions_of
from headend.storage.values import (
    AGE_SHIFT,
    DAY_MS,
    DAYS,
    EPOCH_MS,
    INT64,
    QUARTER_MS,
    SOURCE_MASK,
    decode_number,
    decode_quality,
)

_SERIES = f"""SELECT series.number, series.meter_id, quantity, found.measured_at, found.received_at, found.value, found.words,
found.note FROM series LEFT JOIN (SELECT each.*, words ->> number::text AS words FROM latest CROSS JOIN {UNNEST}) AS found
ON found.number = series.number ORDER BY series.number"""  # noqa: S608 # constants
_ROWS = f"""SELECT series, measured_at, received_at, value, words, note FROM readings
WHERE measured_at >= %s::bigint AND measured_at <= %s::bigint
ORDER BY (measured_at - {EPOCH_MS}) / {QUARTER_MS}, series, measured_at"""  # noqa: S608 # constants
_PUT = "INSERT INTO series (number, meter_id, quantity) VALUES (%s, %s, %s)"


class PostgresCarrier:
    """A `Carrier` of PostgreSQL."""

    def series(self, connection: sa.Connection) -> Iterator[Series]:
        """All series by their numbers."""
        with driver(connection).cursor(name="carried", scrollable=False) as cursor:
            cursor.itersize = CHUNK
            for number, meter_id, quantity, at, received_at, double, words, note in cursor.execute(_SERIES):
                latest = None if at is None else _row(number, at, received_at, double, words, note)
                yield Series(number, meter_id, quantity, latest)

    def rows(self, connection: sa.Connection) -> Iterator[Row]:
        """All readings, day by day."""
        spans = [(day * DAY_MS, (day + 1) * DAY_MS - 1) for day in sorted(self.days(connection))]
        beyond = (-INT64, DAYS.start * DAY_MS - 1), (DAYS.stop * DAY_MS, INT64 - 1)
        for span in (beyond[0], *spans, beyond[1]):
            with driver(connection).cursor(name="carried", scrollable=False) as cursor:
                cursor.itersize = CHUNK
                for number, at, received_at, double, words, note in cursor.execute(_ROWS, span):
                    when = at + (note >> AGE_SHIFT) if received_at is None else received_at
                    yield _row(number, at, when, double, words, note)

    def days(self, connection: sa.Connection) -> set[int]:
        """Days that have partitions."""
        driver(connection).execute("LOCK TABLE readings IN ACCESS SHARE MODE")  # no day is dropped meanwhile
        return {day for day, _ in partitions_of(connection)}

    def put_series(self, connection: sa.Connection, chunk: Iterable[Series]) -> None:
        """Add series."""
        chosen = list(chunk)
        with driver(connection).cursor() as cursor:
            cursor.executemany(_PUT, [(each.number, each.meter_id, each.quantity) for each in chosen])
            latest = Latest()
            latest.know(cursor, {each.meter_id for each in chosen})
            for each in chosen:
                if each.latest is not None:
                    at, received_at, value, note, words = _fields(each.latest)
                    latest.renew(
                        each.meter_id, columns_of([[each.number], [at], [received_at], [value], [note]], [words])
                    )
            latest.write(cursor)

    def put_rows(self, connection: sa.Connection, chunk: Iterable[Row]) -> None:
        """Add readings, of days that were made."""
        with driver(connection).cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(b"".join([HEADER, *(encode_row(row.series, *_fields(row)) for row in chunk), TRAILER]))

    def put_numbers(self, connection: sa.Connection, table: sa.Table, chunk: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of a table that has nothing but numbers."""
        copying = f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN"
        with driver(connection).cursor() as cursor, cursor.copy(copying.encode()) as copy:
            for row in chunk:
                copy.write_row(row)

    def make_days(self, connection: sa.Connection, days: Iterable[int]) -> None:
        """Make the partitions of some days."""
        with driver(connection).cursor() as cursor:
            make_days(cursor, days)

    def clear(self, connection: sa.Connection, others: Iterable[str]) -> None:
        """Remove all series and readings, and all rows of other tables; the audit trail would refuse that."""
        connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER audit_no_change")
        for name in ("readings", "series", "latest", *others):
            connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608 # of the schema
        connection.exec_driver_sql("ALTER TABLE audit ENABLE TRIGGER audit_no_change")
        connection.exec_driver_sql("SELECT nextval('readings_removals')")


def _row(number: int, at: int, received_at: int, double: float, words: str | None, note: int) -> Row:
    return Row(number, at, received_at, decode_number(double, words, note), decode_quality(note), note & SOURCE_MASK)


def _fields(row: Row) -> tuple[int, int, float, int, str | None]:
    """A row as it lies in the table, but for its series."""
    double, words, note = encode_reading(*row[1:])
    return row.measured_at, row.received_at, double, note, words
