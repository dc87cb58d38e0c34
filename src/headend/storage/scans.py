"""Scans: their jobs, what they found open, and how many targets ended how, network by network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from headend.errors import NotFound
from headend.model.discovery import PortState
from headend.model.discovery_json import progress_from, request_from
from headend.model.scan import ScanHit, ScanJob, ScanProgress, ScanState
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import scan_counts, scan_devices, scan_hits
from headend.storage.schema import scans as table

Counts: TypeAlias = Mapping[tuple[str, PortState], int]
"""How many targets ended how, by network."""
_UNFINISHED: Final = (ScanState.QUEUED.value, ScanState.RUNNING.value)


class Scans:
    """The table of scans, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: ScanJob) -> None:
        """Keep a new one."""
        with self._database.write() as connection:
            connection.execute(table.insert(), _row(job))

    def put(self, job: ScanJob) -> None:
        """Keep what one has become."""
        with self._database.write() as connection:
            connection.execute(table.update().where(table.c.id == job.id), _row(job))

    def get(self, scan_id: str) -> ScanJob:
        """One scan; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.id == scan_id)).one_or_none()
        if row is None:
            raise NotFound(f"no scan {scan_id!r}")
        return _job(row)

    def list(self, *, before: str = "", limit: int = 100) -> Sequence[ScanJob]:
        """Scans, newest first, from the first one before that with the id `before`."""
        query = sa.select(table).order_by(table.c.number.desc()).limit(limit)
        if before:
            query = query.where(table.c.number < _number(before))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def unfinished(self) -> Sequence[ScanJob]:
        """Those that are queued or were running, oldest first."""
        query = sa.select(table).where(table.c.state.in_(_UNFINISHED)).order_by(table.c.number)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def keep(self, job: ScanJob, hits: Iterable[ScanHit], counts: Counts) -> None:
        """Keep how far a scan is with what was found since, in one transaction: it goes on from there."""
        rows = [dataclasses.asdict(hit) for hit in hits]
        more = [
            {"network": network, "state": state.value, "count": count} for (network, state), count in counts.items()
        ]
        with self._database.write() as connection:
            changed = connection.execute(
                table.update().where(table.c.id == job.id).returning(table.c.number), _row(job)
            )
            number = changed.scalar_one_or_none()
            if number is None:
                raise NotFound(f"no scan {job.id!r}")
            if rows:
                adding = insert(connection, scan_hits)
                new = {name: adding.excluded[name] for name in ("at", "banner", "outcome", "note")}
                adding = adding.on_conflict_do_update(index_elements=["scan", "host", "port"], set_=new)
                connection.execute(adding, [{**row, "scan": number} for row in rows])
            if more:
                counting = insert(connection, scan_counts)
                total = {"count": scan_counts.c.count + counting.excluded.count}
                counting = counting.on_conflict_do_update(index_elements=["scan", "network", "state"], set_=total)
                connection.execute(counting, [{**row, "scan": number} for row in more])

    def hits(
        self, scan_id: str, *, after: tuple[str, int] = ("", 0), limit: int = 1000, outcome: str | None = None
    ) -> Sequence[ScanHit]:
        """Open places of a scan by host and port, beyond `after`; `outcome` empty: those that nobody has looked into."""
        column = scan_hits.c
        columns = (column.host, column.port, column.at, column.banner, column.outcome, column.note)
        query = sa.select(*columns).where(column.scan == _number(scan_id))
        query = query.where(sa.tuple_(column.host, column.port) > sa.tuple_(*after))
        if outcome is not None:
            query = query.where(column.outcome == outcome)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(column.host, column.port).limit(limit))
            return [ScanHit(**row._mapping) for row in rows]  # noqa: SLF001 # the public name of a row as a mapping

    def counts(self, scan_id: str) -> Counts:
        """How many targets of a scan ended how, by network."""
        column = scan_counts.c
        query = sa.select(column.network, column.state, column["count"]).where(column.scan == _number(scan_id))
        with self._database.read() as connection:
            return {(row[0], PortState(row[1])): row[2] for row in connection.execute(query)}

    def nobody(self, scan_id: str) -> Mapping[str, int]:
        """Why nobody was found at open places of a scan, and how often."""
        column = scan_hits.c
        query = sa.select(column.note, sa.func.count()).where(
            column.scan == _number(scan_id), column.outcome == "nobody"
        )
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(column.note).order_by(sa.func.count().desc()).limit(100)).all()
        return {row[0]: row[1] for row in rows}

    def purge(self, before: int) -> int:
        """Forget scans that ended before a time (milliseconds), not what they found; returns how many."""
        old = sa.select(table.c.number).where(table.c.ended_at < before)
        with self._database.write() as connection:
            for each in (scan_hits, scan_counts, scan_devices):
                connection.execute(each.delete().where(each.c.scan.in_(old)))
            return connection.execute(table.delete().where(table.c.ended_at < before)).rowcount


def _number(scan_id: str) -> sa.ScalarSelect[Any]:
    return sa.select(table.c.number).where(table.c.id == scan_id).scalar_subquery()


def _row(job: ScanJob) -> dict[str, Any]:
    return {
        **{each.name: getattr(job, each.name) for each in dataclasses.fields(job)},
        "state": job.state.value,
        "request": dataclasses.asdict(job.request),
        "progress": _progress(job.progress),
    }


def _progress(progress: ScanProgress) -> dict[str, Any]:
    states = {state.value: count for state, count in progress.states.items()}
    return {**{each.name: getattr(progress, each.name) for each in dataclasses.fields(progress)}, "states": states}


def _job(row: sa.Row[Any]) -> ScanJob:
    fields = dict(row._mapping)  # noqa: SLF001 # the public name of SQLAlchemy for a row as a mapping
    del fields["number"]
    return ScanJob(
        **{
            **fields,
            "state": ScanState(fields["state"]),
            "request": request_from(fields["request"]),
            "progress": progress_from(fields["progress"]),
        }
    )
