"""Meters as the head-end keeps them, with a revision for those who change one at the same time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from headend.errors import Conflict, NotFound
from headend.model.alarm import Level
from headend.model.device import DeviceState
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.storage.dialect import has_item
from headend.storage.engine import Database
from headend.storage.ledger import Ledger
from headend.storage.readings import Readings
from headend.storage.records import StoredMeter
from headend.storage.schema import alarm_rules as rules
from headend.storage.schema import devices
from headend.storage.schema import meters as table
from headend.storage.vault import Secrets


class Meters:
    """The table of meters, ordered by id."""

    def __init__(self, database: Database, readings: Readings, secrets: Secrets, ledger: Ledger) -> None:
        self._database = database
        self._secrets = secrets
        self._readings = readings
        self._ledger = ledger

    def put(self, meter: Meter, *, revision: int | None = None) -> int:
        """Add or replace a meter; returns its new revision.

        `revision` is the one that the caller has seen, 0 for a meter that must not exist yet; raises Conflict where it
        is another by now. None replaces whatever is there.
        """
        with self._database.write() as connection:
            known = (
                connection.execute(sa.select(table.c.revision).where(table.c.id == meter.id)).scalar_one_or_none() or 0
            )
            if revision is not None and revision != known:
                raise _conflict(meter.id, revision, known)
            row = {**_row(meter), "revision": known + 1}
            connection.execute(table.update().where(table.c.id == meter.id) if known else table.insert(), row)
        return known + 1

    def put_all(self, meters: Iterable[Meter]) -> tuple[Sequence[Meter], Sequence[Meter]]:
        """Add or replace many at once: all of them or none; returns those that are new and those that were otherwise before.

        What a meter has said about itself stays.
        """
        given = {meter.id: meter for meter in meters}
        added: list[Meter] = []
        changed: list[tuple[Meter, int]] = []
        with self._database.write() as connection:
            known = {row.id: row for row in connection.execute(sa.select(table)) if row.id in given}
            for meter in given.values():
                if meter.id not in known:
                    added.append(meter)
                    continue
                stored = _stored(known[meter.id])
                kept = dataclasses.replace(meter, identity=stored.meter.identity)
                if kept != stored.meter:
                    changed.append((kept, stored.revision + 1))
            if added:
                connection.execute(table.insert(), [{**_row(meter), "revision": 1} for meter in added])
            if changed:
                rows = [{**_row(meter), "revision": revision, "known": meter.id} for meter, revision in changed]
                connection.execute(table.update().where(table.c.id == sa.bindparam("known")), rows)
        return added, [meter for meter, _ in changed]

    def get(self, meter_id: str) -> StoredMeter:
        """One meter; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.id == meter_id)).one_or_none()
        if row is None:
            raise NotFound(f"no meter {meter_id!r}")
        return _stored(row)

    def delete(self, meter_id: str, *, keep_history: bool, revision: int | None = None) -> None:
        """Remove a meter, its secrets and, unless they are kept, its readings; raises NotFound, or Conflict as `put` does."""
        with self._database.write() as connection:
            known = connection.execute(sa.select(table.c.revision).where(table.c.id == meter_id)).scalar_one_or_none()
            if known is None:
                raise NotFound(f"no meter {meter_id!r}")
            if revision is not None and revision != known:
                raise _conflict(meter_id, revision, known)
            connection.execute(table.delete().where(table.c.id == meter_id))
            self._secrets.forget(connection, meter_id)
            again = {"state": DeviceState.NEW.value, "meter_id": ""}
            connection.execute(devices.update().where(devices.c.meter_id == meter_id), again)
            connection.execute(rules.delete().where(rules.c.level == Level.METER.value, rules.c.subject == meter_id))
            if not keep_history:
                self._readings.forget(connection, meter_id)
            self._ledger.forget(connection, meter_id)

    def list(
        self,
        *,
        after: str = "",
        limit: int = 1000,
        search: str = "",
        tag: str | None = None,
        enabled: bool | None = None,
    ) -> Sequence[StoredMeter]:
        """Meters by id, from the first one beyond `after`. `search` is looked for in id, name, serial number and host."""
        with self._database.read() as connection:
            query = _chosen(connection, sa.select(table), search, tag, enabled).where(table.c.id > after)
            return [_stored(row) for row in connection.execute(query.order_by(table.c.id).limit(limit))]

    def count(self, *, search: str = "", tag: str | None = None, enabled: bool | None = None) -> int:
        """How many meters `list` would give in all."""
        with self._database.read() as connection:
            query = _chosen(connection, sa.select(sa.func.count()).select_from(table), search, tag, enabled)
            return int(connection.execute(query).scalar_one())


def _chosen(
    connection: sa.Connection,
    query: sa.Select[Any],
    search: str,
    tag: str | None,
    enabled: bool | None,  # noqa: FBT001 # a filter, not a switch
) -> sa.Select[Any]:
    if search:
        places = (
            table.c.id,
            table.c.name,
            table.c.identity["serial"].as_string(),
            table.c.endpoint["host"].as_string(),
        )
        query = query.where(sa.or_(*(place.icontains(search, autoescape=True) for place in places)))
    if tag is not None:
        query = query.where(has_item(connection, table.c.tags, tag))
    if enabled is not None:
        query = query.where(table.c.enabled == enabled)
    return query


def _row(meter: Meter) -> dict[str, Any]:
    return {
        "id": meter.id,
        "name": meter.name,
        "protocol": meter.protocol,
        "framing": meter.framing,
        "endpoint": {**dataclasses.asdict(meter.endpoint), "kind": meter.endpoint.kind.value},
        "params": dict(meter.params),
        "profile_id": meter.profile_id,
        "identity": dataclasses.asdict(meter.identity),
        "poll_seconds": meter.poll_seconds,
        "enabled": meter.enabled,
        "tags": list(meter.tags),
    }


def _stored(row: sa.Row[Any]) -> StoredMeter:
    fields = dict(row._mapping)  # noqa: SLF001 # the public name of SQLAlchemy for a row as a mapping
    revision = fields.pop("revision")
    endpoint = fields.pop("endpoint")
    return StoredMeter(
        meter=Meter(
            **{
                **fields,
                "endpoint": Endpoint(**{**endpoint, "kind": EndpointKind(endpoint["kind"])}),
                "identity": MeterIdentity(**fields["identity"]),
                "tags": tuple(fields["tags"]),
            }
        ),
        revision=revision,
    )


def _conflict(meter_id: str, revision: int, known: int) -> Conflict:
    if revision == 0:
        return Conflict(f"meter {meter_id!r} exists already")
    return Conflict(
        f"meter {meter_id!r} is at revision {known}, not {revision}", hint="read it again and repeat the change"
    )
