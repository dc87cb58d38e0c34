"""Statistics of meters by slots of fifteen minutes: added to while a slot lasts, read back for charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from headend.model.statistics import CLASSES, COUNTS, Figures
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import statistics as table

_CLASSES: Final = [f"class_{index}" for index in range(CLASSES)]
_SUMS: Final = [*COUNTS, "seconds", *_CLASSES]
_PURGE_MS: Final = 86_400_000


class Statistics:
    """Rows are added up where a slot is written several times."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, slot: int, figures: Mapping[str, Figures]) -> None:
        """Count figures of meters (by id) in the slot that begins at a time (milliseconds)."""
        if not figures:
            return
        rows = [{"meter_id": meter_id, "slot": slot, **_row(each)} for meter_id, each in figures.items()]
        with self._database.write() as connection:
            statement = insert(connection, table)
            new, old = statement.excluded, table.c
            changes: dict[str, Any] = {name: old[name] + new[name] for name in _SUMS}
            none_before = sa.or_(old.fastest == 0, sa.and_(new.fastest > 0, new.fastest < old.fastest))
            changes["fastest"] = sa.case((none_before, new.fastest), else_=old.fastest)
            changes["slowest"] = sa.case((new.slowest > old.slowest, new.slowest), else_=old.slowest)
            connection.execute(
                statement.on_conflict_do_update(index_elements=[old.slot, old.meter_id], set_=changes), rows
            )

    def of_meter(self, meter_id: str, start: int, end: int) -> Sequence[tuple[int, Figures]]:
        """The slots of a meter that begin within start <= time < end, the oldest first."""
        query = sa.select(table).where(table.c.meter_id == meter_id, table.c.slot >= start, table.c.slot < end)
        with self._database.read() as connection:
            return [(row["slot"], _figures(row)) for row in connection.execute(query.order_by(table.c.slot)).mappings()]

    def of_fleet(self, start: int, end: int) -> Sequence[tuple[int, Figures]]:
        """The slots of all meters together."""
        fastest = sa.func.min(sa.case((table.c.fastest > 0, table.c.fastest)))
        sums = [sa.cast(sa.func.sum(table.c[name]), table.c[name].type).label(name) for name in _SUMS]
        query = sa.select(
            table.c.slot,
            *sums,
            sa.func.coalesce(fastest, 0.0).label("fastest"),
            sa.func.max(table.c.slowest).label("slowest"),
        )
        query = query.where(table.c.slot >= start, table.c.slot < end).group_by(table.c.slot).order_by(table.c.slot)
        with self._database.read() as connection:
            return [(row["slot"], _figures(row)) for row in connection.execute(query).mappings()]

    def purge(self, day: int) -> int:
        """Remove all slots before a day (since 1970-01-01, UTC); returns how many rows went."""
        with self._database.write() as connection:
            return connection.execute(table.delete().where(table.c.slot < day * _PURGE_MS)).rowcount


def _row(figures: Figures) -> dict[str, int | float]:
    row = {name: getattr(figures, name) for name in (*COUNTS, "seconds", "fastest", "slowest")}
    return {**row, **dict(zip(_CLASSES, figures.classes, strict=True))}


def _figures(row: sa.RowMapping) -> Figures:
    values = {name: row[name] for name in (*COUNTS, "seconds", "fastest", "slowest")}
    return Figures(**values, classes=[int(row[name]) for name in _CLASSES])
