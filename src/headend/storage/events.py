"""Events as they were recorded, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from headend.errors import NotFound
from headend.model.event import Event, EventType, Severity
from headend.storage.engine import Database
from headend.storage.records import StoredEvent
from headend.storage.schema import events as table


class Events:
    """The record of events."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis

    def append(self, events: Iterable[Event]) -> int:
        """Record events in one transaction; returns how many."""
        now = self._millis()
        rows = [
            {
                "type": event.type.value,
                "severity": event.severity.value,
                "meter_id": event.meter_id,
                "occurred_at": event.occurred_at,
                "recorded_at": now,
                "data": dict(event.data),
                "acknowledged_by": "",
            }
            for event in events
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(table.insert(), rows)
        return len(rows)

    def list(
        self,
        *,
        meter_id: str | None = None,
        types: Sequence[EventType] | None = None,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredEvent]:
        """Events by falling number, from the first one below `before`, with since <= occurred_at < until (milliseconds)."""
        query = sa.select(table)
        if meter_id is not None:
            query = query.where(table.c.meter_id == meter_id)
        if types is not None:
            query = query.where(table.c.type.in_([kind.value for kind in types]))
        if since is not None:
            query = query.where(table.c.occurred_at >= since)
        if until is not None:
            query = query.where(table.c.occurred_at < until)
        if before is not None:
            query = query.where(table.c.number < before)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(query.order_by(table.c.number.desc()).limit(limit))]

    def acknowledge(self, number: int, actor: str) -> StoredEvent:
        """Note who has seen an event; the first one to say so stays. Raises NotFound."""
        mine = table.c.number == number
        seen = {"acknowledged_by": actor, "acknowledged_at": self._millis()}
        with self._database.write() as connection:
            connection.execute(table.update().where(mine, table.c.acknowledged_at.is_(None)), seen)
            row = connection.execute(sa.select(table).where(mine)).one_or_none()
        if row is None:
            raise NotFound(f"no event {number}")
        return _stored(row)

    def purge(self, before: int) -> int:
        """Remove what occurred before a time (milliseconds); returns how many."""
        with self._database.write() as connection:
            return connection.execute(table.delete().where(table.c.occurred_at < before)).rowcount


def _stored(row: sa.Row[Any]) -> StoredEvent:
    return StoredEvent(
        number=row.number,
        event=Event(
            type=EventType(row.type),
            severity=Severity(row.severity),
            occurred_at=row.occurred_at,
            meter_id=row.meter_id,
            data=row.data,
        ),
        recorded_at=row.recorded_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
    )
