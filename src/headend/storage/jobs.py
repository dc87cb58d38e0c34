"""Jobs: what was asked of meters, by whom, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from headend.errors import Conflict, NotFound
from headend.model.audit import AuditEntry
from headend.model.job import Command, CommandKind, Job, JobState, Outcome, Verdict
from headend.model.meter import NO_PARAMS
from headend.storage.audit import Audit
from headend.storage.engine import Database
from headend.storage.schema import jobs as table

UNFINISHED = (JobState.PROPOSED, JobState.QUEUED, JobState.RUNNING)


class Jobs:
    """The record of jobs. What happens to them is kept in the audit trail by the same transactions, where an entry is given."""

    def __init__(self, database: Database, audit: Audit, millis: Callable[[], int]) -> None:
        self._database = database
        self._audit = audit
        self._millis = millis

    def put(self, job: Job, entry: AuditEntry | None = None) -> Job:
        """Record a new job and return it, or the one that the actor asked for before under the same idempotency key.

        Raises Conflict where that key was used for another request, or the id is taken.
        """
        with self._audit.transaction() as connection:
            known = _asked_before(connection, job)
            if known is not None:
                return known
            if connection.execute(sa.select(table.c.number).where(table.c.id == job.id)).one_or_none():
                raise Conflict(f"a job {job.id!r} exists already")
            connection.execute(table.insert(), _row(job))
            if entry is not None:
                self._audit.add(connection, entry)
        return job

    def get(self, job_id: str) -> Job:
        """One job; raises NotFound."""
        with self._database.read() as connection:
            return _job(_found(connection, job_id))

    def list(
        self,
        *,
        meter_id: str | None = None,
        states: Sequence[JobState] | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[Job]:
        """Jobs, newest first, from the first one older than the job `before`."""
        query = sa.select(table)
        if meter_id is not None:
            query = query.where(table.c.meter_id == meter_id)
        if states is not None:
            query = query.where(table.c.state.in_([state.value for state in states]))
        if before is not None:
            older = sa.select(table.c.number).where(table.c.id == before).scalar_subquery()
            query = query.where(table.c.number < older)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query.order_by(table.c.number.desc()).limit(limit))]

    def move(
        self,
        job_id: str,
        expected: JobState,
        state: JobState,
        outcome: Outcome | None = None,
        *,
        entry: AuditEntry | None = None,
        marks: Mapping[str, Any] = NO_PARAMS,
    ) -> Job:
        """Move a job from the state it is expected in; raises NotFound, or Conflict where somebody else moved it.

        `marks` are other fields to set: `confirmed_by`, `started_at`, `verify_by`, `result`. Its note is taken away.
        A job that is RUNNING now is on the disk when this returns, whatever happens to the machine.
        """
        mine = sa.and_(table.c.id == job_id, table.c.state == expected.value)
        fields = {"state": state.value, "updated_at": self._millis(), "outcome": _outcome_row(outcome), "note": ""}
        with self._audit.transaction() as connection:
            moved = connection.execute(table.update().where(mine), {**fields, **marks}).rowcount
            job = _job(_found(connection, job_id))
            if not moved:
                raise Conflict(f"job {job_id!r} is {job.state.value}, not {expected.value}")
            if entry is not None:
                self._audit.add(connection, entry)
        if state is JobState.RUNNING:
            self._database.sync()
        return job

    def note(self, job_id: str, text: str) -> Job:
        """Say what a job waits for; raises NotFound."""
        with self._database.write() as connection:
            connection.execute(table.update().where(table.c.id == job_id), {"note": text})
            return _job(_found(connection, job_id))

    def in_doubt(self) -> Sequence[Job]:
        """Those with an unknown outcome that is still looked into, oldest first."""
        doubtful = sa.and_(table.c.state == JobState.UNKNOWN.value, table.c.verify_by.is_not(None))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(sa.select(table).where(doubtful).order_by(table.c.number))]

    def unfinished(self) -> Sequence[Job]:
        """Those that wait or are under way, oldest first."""
        states = table.c.state.in_([state.value for state in UNFINISHED])
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(sa.select(table).where(states).order_by(table.c.number))]

    def purge(self, before: int) -> int:
        """Remove jobs that ended before a time (milliseconds); returns how many."""
        ended = sa.and_(table.c.state.not_in([state.value for state in UNFINISHED]), table.c.verify_by.is_(None))
        with self._database.write() as connection:
            return connection.execute(table.delete().where(ended, table.c.updated_at < before)).rowcount


def _asked_before(connection: sa.Connection, job: Job) -> Job | None:
    """The job that the actor asked for under this idempotency key; raises Conflict where it was another one."""
    if not job.idempotency_key:
        return None
    by_key = sa.and_(table.c.actor == job.actor, table.c.idempotency_key == job.idempotency_key)
    row = connection.execute(sa.select(table).where(by_key)).one_or_none()
    if row is None:
        return None
    known = _job(row)
    if (known.meter_id, known.command) != (job.meter_id, job.command):
        raise Conflict(f"the idempotency key {job.idempotency_key!r} was used for another request")
    return known


def _found(connection: sa.Connection, job_id: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(table).where(table.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"no job {job_id!r}")
    return row


def _row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "meter_id": job.meter_id,
        "kind": job.command.kind.value,
        "params": dict(job.command.params),
        "actor": job.actor,
        "idempotency_key": job.idempotency_key or None,
        "state": job.state.value,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "deadline": job.deadline,
        "outcome": _outcome_row(job.outcome),
        "confirm_by": job.confirm_by,
        "confirmed_by": job.confirmed_by,
        "started_at": job.started_at,
        "verify_by": job.verify_by,
        "note": job.note,
        "result": job.result or None,
    }


def _outcome_row(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {"verdict": outcome.verdict.value, "detail": outcome.detail, "observed": outcome.observed}


def _job(row: sa.Row[Any]) -> Job:
    outcome = row.outcome
    return Job(
        id=row.id,
        meter_id=row.meter_id,
        command=Command(kind=CommandKind(row.kind), params=row.params),
        actor=row.actor,
        created_at=row.created_at,
        deadline=row.deadline,
        idempotency_key=row.idempotency_key or "",
        state=JobState(row.state),
        updated_at=row.updated_at,
        outcome=outcome and Outcome(**{**outcome, "verdict": Verdict(outcome["verdict"])}),
        confirm_by=row.confirm_by,
        confirmed_by=row.confirmed_by,
        started_at=row.started_at,
        verify_by=row.verify_by,
        note=row.note,
        result=row.result or (),
    )
