"""All that one database holds into another, whichever they are: all of it, compared row by row, or nothing.

Rows go through as values, not as either database keeps them, a few thousand at a time. Before the transaction ends, each
table is read back and compared with what was taken out: by its count and by the sum of digests of its rows, for which their
order does not matter. JSON and texts are compared as PostgreSQL can hold them: it knows neither NUL nor numbers that are none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from headend.errors import ConfigError, StorageError
from headend.storage import schema
from headend.storage.copied import CHUNK, Carrier
from headend.storage.dialect import continue_numbers, last_number
from headend.storage.engine import Database

Told = Callable[[str, int], None]
"""Is told the name of a table and how many of its rows were copied or compared since."""

PAGE = 200
"""Rows of other tables that are held at once: some are large."""
_NUMBERS = (schema.summaries, schema.summary_due)
"""Tables of nothing but numbers, of which there are many."""
DAYS_AT_ONCE = 100
"""Days that are made in one transaction: each takes locks of the server until it ends."""
_MASK = (1 << 128) - 1
_CARRIED = (schema.series, schema.readings, schema.receipts)
_TABLES = [table for table in schema.metadata.sorted_tables if table not in _CARRIED]
_T = TypeVar("_T")


class _Sum:
    """Count and sum of the digests of rows."""

    def __init__(self) -> None:
        self.count = self._sum = 0

    def add(self, row: tuple[Any, ...]) -> None:
        digest = hashlib.blake2b(repr(row).encode(), digest_size=16).digest()
        self._sum = self._sum + int.from_bytes(digest) & _MASK
        self.count += 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sum) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment] # it changes


def copy_all(source: Database, target: Database, told: Told, *, replace: bool = False) -> Mapping[str, int]:
    """Copy all tables; returns how many rows each has. Raises ConfigError where the target holds something already.

    `replace` removes that first, in the same transaction. The target must have nobody else who writes.
    """
    with source.read() as connection:
        out, days = _carrier(connection), _carrier(connection).days(connection)
    with target.read() as connection:
        into = _carrier(connection)
        if not replace and (full := _filled(connection)):
            raise ConfigError(f"{target.name} is not empty: it has {', '.join(full)}", hint="name an empty database")
    for some in _chunks(sorted(days), DAYS_AT_ONCE):
        with target.write() as connection:
            into.make_days(connection, some)
    with target.write() as connection:
        connection.execute(schema.vault_proof.delete())
        if replace:
            into.clear(connection, [table.name for table in reversed(_TABLES)])
        with source.read() as reader:
            sums = _copy(reader, connection, out, into, told)
        if sums != _sums(connection, into, told):
            raise StorageError(
                f"{target.name}: what was written is not what was read; nothing was kept", reason="damaged"
            )
    return {name: each.count for name, each in sums.items()}


def _copy(source: sa.Connection, target: sa.Connection, out: Carrier, into: Carrier, told: Told) -> dict[str, _Sum]:
    sums: dict[str, _Sum] = {}
    for table in _TABLES:
        sums[table.name] = total = _Sum()
        if table in _NUMBERS:
            for chunk in _chunks(_numbers(source, table), CHUNK):
                into.put_numbers(target, table, chunk)
                _count(total, chunk, table.name, told)
            continue
        for page in _chunks(_rows(source, table), PAGE):
            target.execute(table.insert(), [dict(row) for row in page])
            _count(total, (_comparable(tuple(row.values())) for row in page), table.name, told)
    sums["series"] = total = _Sum()
    for known in _chunks(out.series(source), CHUNK):
        into.put_series(target, known)
        _count(total, ((each.number, each.meter_id, each.quantity, each.latest) for each in known), "series", told)
    sums["readings"] = total = _Sum()
    for rows in _chunks(out.rows(source), CHUNK):
        into.put_rows(target, rows)
        _count(total, rows, "readings", told)
    for table in (*_TABLES, schema.series):
        if table.dialect_options["sqlite"]["autoincrement"]:
            continue_numbers(target, table, last_number(source, table))
    return sums


def _sums(connection: sa.Connection, carrier: Carrier, told: Told) -> dict[str, _Sum]:
    sums = {table.name: _Sum() for table in _TABLES} | {"series": _Sum(), "readings": _Sum()}
    for table in _TABLES:
        if table in _NUMBERS:
            for chunk in _chunks(_numbers(connection, table), CHUNK):
                _count(sums[table.name], chunk, table.name, told)
            continue
        for page in _chunks(_rows(connection, table), PAGE):
            _count(sums[table.name], (_comparable(tuple(row.values())) for row in page), table.name, told)
    for known in _chunks(carrier.series(connection), CHUNK):
        rows = [(each.number, each.meter_id, each.quantity, each.latest) for each in known]
        _count(sums["series"], rows, "series", told)
    for taken in _chunks(carrier.rows(connection), CHUNK):
        _count(sums["readings"], taken, "readings", told)
    return sums


def _count(total: _Sum, rows: Iterable[tuple[Any, ...]], name: str, told: Told) -> None:
    before = total.count
    for row in rows:
        total.add(row)
    told(name, total.count - before)


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[sa.RowMapping]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    with connection.execute(query, execution_options={"yield_per": PAGE}) as result:
        yield from result.mappings()


def _numbers(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, ...]]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    with connection.execute(query, execution_options={"yield_per": CHUNK}) as result:
        yield from map(tuple, result)


def _filled(connection: sa.Connection) -> list[str]:
    """Tables that have rows. The proof of a vault key is no such: an empty database has it from being opened."""
    tables = [schema.series, *(table for table in _TABLES if table is not schema.vault_proof)]
    return [
        table.name
        for table in tables
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
    ]


def _carrier(connection: sa.Connection) -> Carrier:
    if connection.dialect.name == "postgresql":
        from headend.storage.copied_postgres import PostgresCarrier  # noqa: PLC0415 # its driver may not be installed

        return PostgresCarrier()
    from headend.storage.copied_sqlite import SqliteCarrier  # noqa: PLC0415 # as above

    return SqliteCarrier()


def _comparable(value: Any) -> Any:  # noqa: ANN401 # whatever a column holds
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {_comparable(name): _comparable(each) for name, each in value.items()}
    return tuple(_comparable(each) for each in value) if isinstance(value, list | tuple) else value


def _chunks(rows: Iterable[_T], size: int) -> Iterator[list[_T]]:
    some = iter(rows)
    while chunk := list(islice(some, size)):
        yield chunk
