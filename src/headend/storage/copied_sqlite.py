"""Series and readings carried out of SQLite, or into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from headend.storage.copied import Row, Series
from headend.storage.readings_sqlite import EVER, RECEIPT, quarters_of
from headend.storage.sqlite import driver
from headend.storage.values import (
    AGE_SHIFT,
    DAY_MS,
    EPOCH_MS,
    INLINE_AGE,
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


class SqliteCarrier:
    """A `Carrier` of SQLite."""

    def __init__(self) -> None:
        self._quarter = 0
        self._receipts: dict[tuple[int, int], int] = {}
        """numbers of receipts in that quarter, by time and source"""

    def series(self, connection: sa.Connection) -> Iterator[Series]:
        """All series by their numbers."""
        query = "SELECT number, meter_id, quantity, measured_at, received_at, value, note FROM series ORDER BY number"
        for number, meter_id, quantity, at, received_at, stored, note in driver(connection).execute(query):
            latest = None if at is None else _row(number, at, received_at, stored, note)
            yield Series(number, meter_id, quantity, latest)

    def rows(self, connection: sa.Connection) -> Iterator[Row]:
        """All readings, quarter by quarter."""
        sqlite = driver(connection)
        for quarter in quarters_of(connection, *EVER):
            query = "SELECT number, received_at FROM receipts WHERE quarter = ?"
            receipts = dict(sqlite.execute(query, (quarter,)).fetchall())
            begin = EPOCH_MS + quarter * QUARTER_MS
            query = "SELECT point, value, note FROM readings WHERE quarter = ? ORDER BY point"
            for point, stored, note in sqlite.execute(query, (quarter,)):
                at, age = begin + (point & POINT_MASK), note >> AGE_SHIFT
                received_at = at + age if age >= 0 else receipts[-age]
                yield _row(point >> POINT_SHIFT, at, received_at, stored, note)

    def days(self, connection: sa.Connection) -> set[int]:
        """Days that have readings."""
        return {(EPOCH_MS + quarter * QUARTER_MS) // DAY_MS for quarter in quarters_of(connection, *EVER)}

    def put_series(self, connection: sa.Connection, chunk: Iterable[Series]) -> None:
        """Add series."""
        rows: list[tuple[int | str | Stored, ...]] = []
        for each in chunk:
            row = each.latest
            latest: tuple[int | Stored, ...] = (None,) * 4
            if row is not None:
                stored, form = encode_value(row.value)
                latest = (row.measured_at, row.received_at, stored, encode_marks(row.source, row.quality, form))
            rows.append((each.number, each.meter_id, each.quantity, *latest))
        query = """INSERT INTO series (number, meter_id, quantity, measured_at, received_at, value, note)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
        driver(connection).executemany(query, rows).close()

    def put_rows(self, connection: sa.Connection, chunk: Iterable[Row]) -> None:
        """Add readings."""
        rows: list[tuple[int, int, Stored, int]] = []
        for row in chunk:
            quarter, millis = divmod(row.measured_at - EPOCH_MS, QUARTER_MS)
            stored, form = encode_value(row.value)
            age = row.received_at - row.measured_at
            if not 0 <= age < INLINE_AGE:
                age = -self._receipt(connection, quarter, row.received_at, row.source)
            note = age << AGE_SHIFT | encode_marks(row.source, row.quality, form)
            rows.append((quarter, row.series << POINT_SHIFT | millis, stored, note))
        driver(connection).executemany("INSERT INTO readings (quarter, point, value, note) VALUES (?, ?, ?, ?)", rows)

    def _receipt(self, connection: sa.Connection, quarter: int, received_at: int, source: int) -> int:
        if quarter != self._quarter:
            self._quarter = quarter
            self._receipts.clear()
        number = self._receipts.get((received_at, source))
        if number is None:
            (number,) = driver(connection).execute(RECEIPT, (quarter, received_at, source)).fetchone()
            self._receipts[received_at, source] = number
        return number

    def put_numbers(self, connection: sa.Connection, table: sa.Table, chunk: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of a table that has nothing but numbers."""
        columns = table.columns.keys()
        query = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 # of the schema
        driver(connection).executemany(query, chunk).close()

    def make_days(self, connection: sa.Connection, days: Iterable[int]) -> None:
        """Nothing to do."""

    def clear(self, connection: sa.Connection, others: Iterable[str]) -> None:
        """Remove all series and readings, and all rows of other tables; an audit trail that has rows refuses that."""
        for name in ("readings", "receipts", "series", *others):
            driver(connection).execute(f"DELETE FROM {name}").close()  # noqa: S608 # of the schema


def _row(number: int, at: int, received_at: int, stored: Stored, note: int) -> Row:
    return Row(number, at, received_at, decode_value(stored, note), decode_quality(note), note & SOURCE_MASK)
