"""The books: every step of a job goes to the store, the audit trail and the bus, and wakes whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from headend.model.access import Actor
from headend.model.audit import HEADEND, Action, AuditEntry
from headend.model.event import Event, EventType, Severity
from headend.model.job import Command, Job, JobState, Outcome, Verdict
from headend.model.reading import Value
from headend.services.bus import Bus
from headend.services.commanding.rules import READS
from headend.services.roster import Clock
from headend.storage.audit import Audit
from headend.storage.jobs import Jobs

_WAITING: Final = frozenset({JobState.QUEUED, JobState.RUNNING})
_TOLD: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.UNKNOWN, JobState.EXPIRED, JobState.CANCELLED})


class Books:
    """The record of what was asked and done."""

    def __init__(self, jobs: Jobs, audit: Audit, bus: Bus, clock: Clock) -> None:
        self.jobs = jobs
        self._audit = audit
        self._bus = bus
        self.clock = clock
        self._waiters: dict[str, set[asyncio.Event]] = {}

    async def open(self, job: Job, action: Action) -> Job:
        """Record a new job, or find the one that was asked for before; see `Jobs.put`."""
        kept = await asyncio.to_thread(self.jobs.put, job, self._entry(job, action, job.actor, job.outcome))
        if kept.id == job.id:
            self._tell(kept, "")
        return kept

    async def get(self, job_id: str) -> Job:
        """A job as it is now; raises NotFound."""
        return await asyncio.to_thread(self.jobs.get, job_id)

    async def move(
        self,
        job: Job,
        state: JobState,
        action: Action | None,
        outcome: Outcome | None = None,
        *,
        actor: str = HEADEND,
        code: str = "",
        **marks: object,
    ) -> Job:
        """Move a job to another state; raises Conflict where somebody else did. `code` is that of an error, for the event."""
        entry = self._entry(job, action, actor, outcome) if action is not None else None
        moved = await asyncio.to_thread(self.jobs.move, job.id, job.state, state, outcome, entry=entry, marks=marks)
        self._tell(moved, code)
        return moved

    async def note(self, job: Job, text: str) -> Job:
        """Say what a job waits for."""
        if job.note == text:
            return job
        noted = await asyncio.to_thread(self.jobs.note, job.id, text)
        self._tell(noted, "", ended=False)
        return noted

    async def refused(self, actor: Actor, action: Action, meter_id: str, command: Command, reason: str) -> None:
        """Somebody tried what they may not do."""
        data: dict[str, Value] = {"command": command.kind.value, "reason": reason}
        await asyncio.to_thread(self._audit.append, actor.name, action, f"meter:{meter_id}", data)

    async def changed(self, meter_id: str, name: str, job: Job) -> None:
        """A secret of a meter was replaced."""
        data: dict[str, Value] = {"secret": name, "job": job.id}
        await asyncio.to_thread(self._audit.append, job.actor, Action.SECRET_CHANGED, f"meter:{meter_id}", data)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job as soon as it neither waits for its meter nor runs, or as it is after `timeout` seconds."""
        woken = asyncio.Event()
        waiters = self._waiters.setdefault(job_id, set())
        waiters.add(woken)
        try:
            async with asyncio.timeout(timeout):
                while (job := await self.get(job_id)).state in _WAITING:
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            job = await self.get(job_id)
        finally:
            waiters.discard(woken)
            if not waiters and self._waiters.get(job_id) is waiters:
                del self._waiters[job_id]
        return job

    def _entry(self, job: Job, action: Action, actor: str, outcome: Outcome | None) -> AuditEntry | None:
        if job.command.kind in READS:
            return None
        data: dict[str, Value] = {"job": job.id, "command": job.command.kind.value}
        if actor == job.actor:
            data |= {f"param.{name}": value for name, value in job.command.params.items()}
        if outcome is not None:
            data |= {"verdict": outcome.verdict.value, "detail": outcome.detail}
        return AuditEntry(actor=actor, action=action, subject=f"meter:{job.meter_id}", data=data)

    def _tell(self, job: Job, code: str, *, ended: bool = True) -> None:
        for waiter in self._waiters.get(job.id, ()):
            waiter.set()
        data: dict[str, Value] = {"job": job.id, "command": job.command.kind.value, "actor": job.actor}
        self._publish(EventType.JOB_CHANGED, job, Severity.INFO, data | {"state": job.state.value, "note": job.note})
        if ended and job.state in _TOLD and job.command.kind not in READS:
            outcome = job.outcome or Outcome(verdict=Verdict.NOT_SENT, detail=job.state.value)
            severity = Severity.INFO if outcome.verdict is Verdict.CONFIRMED else Severity.WARNING
            data |= {"verdict": outcome.verdict.value, "detail": outcome.detail, "code": code}
            self._publish(EventType.COMMAND_FINISHED, job, severity, data)

    def _publish(self, kind: EventType, job: Job, severity: Severity, data: dict[str, Any]) -> None:
        self._bus.publish(
            Event(type=kind, severity=severity, occurred_at=self.clock(), meter_id=job.meter_id, data=data)
        )
