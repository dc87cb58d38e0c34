"""What is done with a job when its time has come: it is carried out, once, or found out what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from headend.drivers.base import Session
from headend.errors import (
    AssociationRejected,
    Conflict,
    HeadendError,
    NotFound,
    SecurityError,
    StorageError,
)
from headend.model.audit import Action
from headend.model.job import Command, CommandKind, Job, JobState, Outcome, Verdict
from headend.model.meter import Meter, Secret
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.turns import Priority
from headend.services.commanding.books import Books
from headend.services.commanding.reads import HISTORY_SECONDS, Found, Reads
from headend.services.commanding.rules import READS, SETTLE_MS, Rules, outcome_after, state_after
from headend.services.roster import Roster
from headend.storage.vault import Secrets as Vault

T = TypeVar("T")

COMMAND_SECONDS: Final = 60.0
"""for one try to reach a meter and to carry out a command"""
_RETRY_SECONDS: Final = 2.0


class Worker:
    """Works on one job at a time for each meter; who calls sees to that."""

    def __init__(self, lanes: Lanes, roster: Roster, books: Books, reads: Reads, vault: Vault, rules: Rules) -> None:
        self._lanes = lanes
        self._roster = roster
        self._books = books
        self._reads = reads
        self._vault = vault
        self._rules = rules

    # --- carrying out ---

    async def carry_out(self, job: Job) -> Job:
        """Carry out a job that is QUEUED; returns it as it is then: QUEUED when the meter was not reached."""
        begun: Job | None = None

        async def work(session: Session) -> Found | None:
            nonlocal begun
            command = await self._command(job)
            begun = await self._begin(job)
            if begun is None:
                return None
            if job.command.kind in READS:
                return await self._reads.run(session, self._roster.state(job.meter_id).meter, command)
            return Found(await session.execute(command), ())

        code = ""
        seconds = HISTORY_SECONDS if job.command.kind is CommandKind.READ_HISTORY else COMMAND_SECONDS
        priority = Priority.REQUEST if job.command.kind in READS else Priority.COMMAND
        try:
            found = await self._lanes.run_job(job.meter_id, work, priority, timeout=seconds, repeat=False)
        except HeadendError as error:
            if begun is None:
                return await self._not_begun(job, error)
            if job.command.kind in READS and error.retryable:
                return await self._put_back(begun, error)
            found, code = Found(outcome_after(error), ()), error.code
        if begun is None or found is None:
            return await self._books.get(job.id)  # cancelled while it waited for its turn
        return await self._end(begun, found, code)

    async def _command(self, job: Job) -> Command:
        if job.command.kind is not CommandKind.CHANGE_SECRET:
            return job.command
        name = str(job.command.params["name"])
        secret = await asyncio.to_thread(self._vault.waiting, job.meter_id, name, job.id)
        return replace(job.command, secret=secret)

    async def _begin(self, job: Job) -> Job | None:
        """Write down that a job is sent now; None where it must not be, any longer."""
        now = self._books.clock()
        if now >= job.deadline:
            return None
        try:
            return await self._books.move(job, JobState.RUNNING, Action.COMMAND_BEGUN, started_at=now)
        except Conflict:
            return None

    async def _not_begun(self, job: Job, error: HeadendError) -> Job:
        """Nothing was sent: wait for the meter where that may help."""
        if error.retryable or isinstance(error, Conflict | StorageError):
            return await self._books.note(job, f"waits for the meter: {error}")
        outcome = Outcome(verdict=Verdict.NOT_SENT, detail=str(error))
        await self._drop_secret(job)
        return await self._books.move(job, JobState.FAILED, Action.COMMAND_FINISHED, outcome, code=error.code)

    async def _put_back(self, job: Job, error: HeadendError) -> Job:
        queued = await self._books.move(job, JobState.QUEUED, None, started_at=None)
        return await self._books.note(queued, f"waits for the meter: {error}")

    async def _end(self, job: Job, found: Found, code: str) -> Job:
        outcome = found.outcome
        state = state_after(outcome)
        if state is JobState.SUCCEEDED:
            await self._adopt_secret(job)
        elif state is JobState.FAILED:
            await self._drop_secret(job)
        marks: dict[str, Any] = {}
        if state is JobState.UNKNOWN:
            marks["verify_by"] = self._books.clock() + round(self._rules.verify_seconds * 1000)
        if found.rows:
            marks["result"] = [dict(row) for row in found.rows]
        return await patiently(
            lambda: self._books.move(job, state, Action.COMMAND_FINISHED, outcome, code=code, **marks)
        )

    # --- finding out ---

    async def look_into(self, job: Job) -> Job:
        """Find out what became of a job that is UNKNOWN; returns it as it is then: the same while it cannot be told."""
        if self._books.clock() >= (job.verify_by or 0):
            return await self._verified(job, Verdict.UNKNOWN, "it could not be found out in time", None)
        if job.command.kind is CommandKind.CHANGE_SECRET:
            return await self._try_secrets(job)
        since = job.started_at or job.created_at

        async def work(session: Session) -> Outcome:
            return await session.verify(job.command, since)

        try:
            outcome = await self._lanes.run_job(
                job.meter_id, work, Priority.COMMAND, timeout=COMMAND_SECONDS, repeat=False
            )
        except HeadendError as error:
            if error.retryable or isinstance(error, SecurityError | Conflict | StorageError):
                return job
            return await self._verified(job, Verdict.UNKNOWN, f"it could not be found out: {error}", None)
        if outcome.verdict is Verdict.REFUSED and self._books.clock() - since < SETTLE_MS:
            return job
        return await self._verified(job, outcome.verdict, outcome.detail, outcome)

    async def _verified(self, job: Job, verdict: Verdict, detail: str, seen: Outcome | None) -> Job:
        """Keep what was found out about a job."""
        before = job.outcome.detail if job.outcome is not None else ""
        said = {
            Verdict.CONFIRMED: "found to be carried out, by reading",
            Verdict.REFUSED: "found not to be carried out, by reading",
        }.get(verdict, detail)
        outcome = Outcome(
            verdict=verdict,
            detail="; ".join(filter(None, (before, said))),
            observed=seen.observed if seen is not None else None,
        )
        return await patiently(
            lambda: self._books.move(job, state_after(outcome), Action.COMMAND_VERIFIED, outcome, verify_by=None)
        )

    async def _try_secrets(self, job: Job) -> Job:
        """Find out which of two secrets a meter has: associate once with the new one, then once with the old one.

        What the meter refuses is not tried a second time (see `headend.services.lockout`). Where it refuses both, both are kept.
        """
        name = str(job.command.params["name"])
        try:
            meter = self._roster.state(job.meter_id).meter
        except NotFound as error:
            return await self._verified(job, Verdict.UNKNOWN, f"it could not be found out: {error}", None)
        kept = await self._kept(meter)
        candidates = [(kept, Verdict.REFUSED)]
        try:
            fresh = await asyncio.to_thread(self._vault.waiting, job.meter_id, name, job.id)
            candidates.insert(0, ({**kept, name: fresh}, Verdict.CONFIRMED))
        except NotFound:  # the head-end was killed after the new secret had taken the place of the old one
            candidates = [(kept, Verdict.CONFIRMED)]
        silent = False
        for secrets, verdict in candidates:
            try:
                await self._lanes.run_job(
                    job.meter_id, _nothing, Priority.COMMAND, timeout=COMMAND_SECONDS, repeat=False, secrets=secrets
                )
            except (SecurityError, AssociationRejected):
                continue
            except HeadendError:  # not reached, or a meter that says nothing to a wrong secret: the other one may tell
                silent = True
                continue
            if len(candidates) > 1:
                await (self._adopt_secret(job) if verdict is Verdict.CONFIRMED else self._drop_secret(job))
            return await self._verified(job, verdict, "", None)
        if silent:
            return job
        text = "the meter takes neither the new secret nor the old one: both are kept"
        return await self._verified(job, Verdict.UNKNOWN, text, None)

    async def _kept(self, meter: Meter) -> Mapping[str, Secret]:
        def read() -> dict[str, Secret]:
            return {name: self._vault.get(meter.id, name) for name in self._vault.names(meter.id)}

        return await asyncio.to_thread(read)

    async def _adopt_secret(self, job: Job) -> None:
        """From now on the new secret is the meter's."""
        if job.command.kind is not CommandKind.CHANGE_SECRET:
            return
        name = str(job.command.params["name"])
        await patiently(lambda: asyncio.to_thread(self._vault.adopt, job.meter_id, name, job.id))
        await self._lanes.release(self._roster.state(job.meter_id).meter)
        await patiently(lambda: self._books.changed(job.meter_id, name, job))

    async def _drop_secret(self, job: Job) -> None:
        """The new secret was never the meter's."""
        if job.command.kind is CommandKind.CHANGE_SECRET:
            name = str(job.command.params["name"])
            await patiently(lambda: asyncio.to_thread(self._vault.drop, job.meter_id, name, job.id))

    async def give_up(self, job: Job, state: JobState, action: Action, *, actor: str, reason: str) -> Job:
        """End a job that was not begun; raises Conflict where it was."""
        outcome = Outcome(verdict=Verdict.NOT_SENT, detail=reason)
        ended = await self._books.move(job, state, action, outcome, actor=actor, code=state.value)
        await self._drop_secret(job)
        return ended


async def _nothing(_session: Session) -> None:
    """To have associated is enough."""


async def patiently(write: Callable[[], Awaitable[T]]) -> T:
    """Write down what has happened, again and again while the disk is full: it is not to be lost."""
    while True:
        try:
            return await write()
        except StorageError as error:
            if error.reason not in ("full", "locked"):
                raise
        await asyncio.sleep(_RETRY_SECONDS)
