"""Callers in quarantine, beyond a restart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from headend.model.caller import UnknownCaller
from headend.model.meter import MeterIdentity
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import callers as table


class Callers:
    """The quarantine as it was kept last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, changed: Iterable[UnknownCaller], removed: Iterable[str]) -> None:
        """Write entries that were changed, and forget others, in one transaction."""
        rows = [{"id": each.id, "last_seen": each.last_seen, "entry": dataclasses.asdict(each)} for each in changed]
        gone = [{"gone": each} for each in removed]
        if not rows and not gone:
            return
        with self._database.write() as connection:
            if rows:
                adding = insert(connection, table)
                new = {name: adding.excluded[name] for name in ("last_seen", "entry")}
                connection.execute(adding.on_conflict_do_update(index_elements=["id"], set_=new), rows)
            if gone:
                connection.execute(table.delete().where(table.c.id == sa.bindparam("gone")), gone)

    def list(self) -> Sequence[UnknownCaller]:
        """All entries, the one that was seen last at the end."""
        with self._database.read() as connection:
            return [_caller(row.entry) for row in connection.execute(sa.select(table).order_by(table.c.last_seen))]


def _caller(entry: dict[str, Any]) -> UnknownCaller:
    return UnknownCaller(**{**entry, "identity": MeterIdentity(**entry["identity"])})
