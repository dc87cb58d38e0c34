"""The newest reading of each series in PostgreSQL: one row a meter, with an array for each column.

A row is changed as a whole, so that a poll of twenty values changes one row, not twenty. What is in the rows of meters that
this process writes is remembered here; a revision tells whether another process has changed a row since, which is then read again.
All of it happens inside write transactions, which wait for each other.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from itertools import accumulate, groupby, repeat
from operator import itemgetter
from typing import Any, Final, TypeAlias

import psycopg

from headend.storage.postgres_binary import (
    KINDS,
    Columns,
    Doubles,
    Int4s,
    Int8s,
    Texts,
    array_of,
    columns_of,
    elements_of,
    text_of,
)
from headend.storage.values import ESTIMATED, INT64

UNNEST: Final = """unnest(latest.series, latest.measured_at, latest.received_at, latest.value, latest.note)
AS each (number, measured_at, received_at, value, note)"""
"""To a row for each series, in FROM behind `latest`."""
_KNOW: Final = f"""SELECT meter_id, revision, number, each.measured_at, each.received_at, each.value, each.note,
words ->> number::text FROM latest CROSS JOIN {UNNEST} WHERE meter_id = ANY(%s) ORDER BY meter_id"""  # noqa: S608 # a constant
_PUT: Final = """INSERT INTO latest (meter_id, revision, series, measured_at, received_at, value, note, words)
SELECT meter_id, revision, (%s::int[])[low:high], (%s::bigint[])[low:high], (%s::bigint[])[low:high],
(%s::double precision[])[low:high], (%s::int[])[low:high], words::jsonb
FROM unnest(%s::text[], %s::bigint[], %s::int[], %s::int[], %s::text[]) AS new (meter_id, revision, low, high, words)
ON CONFLICT (meter_id) DO UPDATE SET revision = excluded.revision, series = excluded.series,
measured_at = excluded.measured_at, received_at = excluded.received_at, value = excluded.value, note = excluded.note,
words = excluded.words WHERE latest.revision = excluded.revision - 1 RETURNING meter_id"""

_INT, _LONG, _DOUBLE = struct.Struct(">ii"), struct.Struct(">iq"), struct.Struct(">id")
_ELEMENTS: Final = _INT, _LONG, _LONG, _DOUBLE, _INT
_ARRAYS: Final = Int4s, Int8s, Int8s, Doubles, Int4s
"""of the numbers of `Columns`"""
_Row: TypeAlias = tuple[int, int, int, float, int, str | None]
"""series, measured_at, received_at, value, note, words"""


class _Meter:
    """What the row of a meter holds, or will hold; `rank` is the latest of its readings."""

    __slots__ = ("columns", "name", "rank", "revision")

    def __init__(self, meter_id: str) -> None:
        self.name = text_of(meter_id)
        self.revision = 0
        self.rank = -INT64
        self.columns = Columns((b"",) * len(KINDS), None)

    def renew(self, columns: Columns) -> bool:
        """Take over what is newer; an estimate does not replace a measurement of the same time. Tells if any was."""
        return self._replace(columns) or self.merge(columns)

    def _replace(self, columns: Columns) -> bool:
        """Put a poll, received at one time, into the place of an earlier one of the same quantities, if no more is to do."""
        series, measured_at, received_at, *_ = columns.numbers
        begin, rest = divmod(self.columns.numbers[0].find(series), _INT.size)
        rank = min(_LONG.unpack_from(measured_at)[1], _LONG.unpack_from(received_at)[1])
        same = measured_at == measured_at[: _LONG.size] * (len(measured_at) // _LONG.size)
        if begin < 0 or rest or not same or rank <= self.rank or columns.words or self.columns.words:
            return False
        self.rank = rank
        if len(series) == len(self.columns.numbers[0]):
            self.columns = columns
        else:
            parts = zip(self.columns.numbers, columns.numbers, _ELEMENTS, strict=True)
            self.columns = Columns(tuple([_put(old, new, begin * kind.size) for old, new, kind in parts]), None)
        return True

    def merge(self, columns: Columns) -> bool:
        """Take over what is newer, reading by reading, however each of them came; tells if any was."""
        newest = {row[0]: row for row in _rows(self.columns)}
        renewed = False
        for row in _rows(columns):
            old = newest.get(row[0])
            if old is None or _replaces(row, old):
                newest[row[0]] = row
                self.rank = max(self.rank, _rank(row))
                renewed = True
        if renewed:
            self.columns = _columns(newest.values())
        return renewed


def _put(old: bytes, new: bytes, begin: int) -> bytes:
    return old[:begin] + new + old[begin + len(new) :]


def _rows(columns: Columns) -> Iterable[_Row]:
    read = [map(itemgetter(1), each.iter_unpack(to)) for each, to in zip(_ELEMENTS, columns.numbers, strict=True)]
    return zip(*read, columns.words or repeat(None), strict=False)


def _columns(rows: Iterable[_Row]) -> Columns:
    *numbers, words = zip(*rows, strict=True)
    return columns_of(numbers, words if any(words) else None)


def _rank(row: _Row) -> int:
    return min(row[1], row[2])


def _replaces(new: _Row, old: _Row) -> bool:
    if _rank(new) != _rank(old):
        return _rank(new) > _rank(old)
    return new != old and (not new[4] & ESTIMATED or bool(old[4] & ESTIMATED))


class Latest:
    """The rows of all meters that were written by this process."""

    def __init__(self) -> None:
        self._meters: dict[str, _Meter] = {}
        self._renewed: set[str] = set()

    def clear(self) -> None:
        """Forget all: it may be otherwise in the database."""
        self._meters.clear()
        self._renewed.clear()

    def know(self, cursor: psycopg.Cursor[Any], meter_ids: Iterable[str]) -> None:
        """Read the rows of meters that are not known yet."""
        unknown = [meter_id for meter_id in meter_ids if meter_id not in self._meters]
        if unknown:
            self._meters.update(_read(cursor, unknown))

    def renew(self, meter_id: str, columns: Columns) -> None:
        """Take over newer readings of a meter that is known."""
        if self._meters[meter_id].renew(columns):
            self._renewed.add(meter_id)

    def write(self, cursor: psycopg.Cursor[Any]) -> None:
        """Write the rows that have changed."""
        changed, self._renewed = self._renewed, set()
        refused = self._put(cursor, changed)
        if refused:  # another process has written them; it cannot again before this transaction ends
            for meter_id, there in _read(cursor, refused).items():
                there.merge(self._meters[meter_id].columns)
                self._meters[meter_id] = there
            self._put(cursor, refused)

    def _put(self, cursor: psycopg.Cursor[Any], meter_ids: Iterable[str]) -> list[str]:
        """Write rows; returns those that are of another revision than the one we know."""
        chosen = {meter_id: self._meters[meter_id] for meter_id in meter_ids}
        if not chosen:
            return []
        cursor.execute(_PUT, _arrays_of(chosen.values()))
        written = {row[0] for row in cursor.fetchall()} if cursor.rowcount < len(chosen) else chosen.keys()
        for meter_id in written:
            chosen[meter_id].revision += 1
        return [meter_id for meter_id in chosen if meter_id not in written]


def _read(cursor: psycopg.Cursor[Any], meter_ids: list[str]) -> dict[str, _Meter]:
    found = {meter_id: _Meter(meter_id) for meter_id in meter_ids}
    for meter_id, given in groupby(cursor.execute(_KNOW, [meter_ids]), itemgetter(0)):
        meter, rows = found[meter_id], list(given)
        meter.revision = rows[0][1]
        meter.columns = _columns(row[2:] for row in rows)
        meter.rank = max(_rank(row[2:]) for row in rows)
    return found


def _arrays_of(meters: Iterable[_Meter]) -> tuple[object, ...]:
    """The parameters of _PUT."""
    chosen = list(meters)
    count = len(chosen)
    columns = [b"".join(column) for column in zip(*(meter.columns.numbers for meter in chosen), strict=True)]
    ends = [*accumulate(len(meter.columns.numbers[0]) // _INT.size for meter in chosen)]
    return (
        *(made(array_of(kind, each, ends[-1])) for made, kind, each in zip(_ARRAYS, KINDS, columns, strict=True)),
        Texts(array_of("u", b"".join([meter.name for meter in chosen]), count)),
        Int8s(array_of("q", elements_of("q", [meter.revision + 1 for meter in chosen]), count)),
        Int4s(array_of("i", elements_of("i", [begin + 1 for begin in (0, *ends[:-1])]), count)),
        Int4s(array_of("i", elements_of("i", ends), count)),
        [_words(meter.columns) for meter in chosen] if any(meter.columns.words for meter in chosen) else None,
    )


def _words(columns: Columns) -> str | None:
    """The texts of a meter by the numbers of their series, as JSON."""
    if not columns.words:
        return None
    named = zip((number for _, number in _INT.iter_unpack(columns.numbers[0])), columns.words, strict=True)
    return json.dumps({str(number): text for number, text in named if text is not None})
