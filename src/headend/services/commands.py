"""Commands: the one door through which people and programs act on meters.

```text
submit ── what switches supply, clears or changes secrets ──▶ PROPOSED ── confirm ──▶ QUEUED ──▶ RUNNING ──▶ SUCCEEDED, FAILED
   └───── everything else ────────────────────────────────────────────────────────────▲            └──▶ UNKNOWN ── found out
```

A command is sent at most once. That it is RUNNING is on the disk before its first octet leaves; where the answer is missing,
also after the head-end was killed, its outcome is UNKNOWN and is found out by reading. What waits for a meter that cannot
be reached waits until its deadline. The jobs of a meter are carried out one after the other, in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from headend.errors import Conflict, HeadendError, PermissionDenied
from headend.model.audit import HEADEND, Action
from headend.model.event import Event, EventType
from headend.model.job import Command, Job, JobState, Outcome, Verdict
from headend.services.commanding.books import Books
from headend.services.commanding.codes import Codes
from headend.services.commanding.rules import CONFIRMED, NEEDED, READS, Rules, delay, holds_back
from headend.services.commanding.worker import Worker

if TYPE_CHECKING:
    from headend.model.access import Actor
    from headend.model.meter import Secret
    from headend.services.acquisition.lanes import Lanes
    from headend.services.bus import Bus
    from headend.services.commanding.reads import Reads
    from headend.services.roster import Clock, Roster
    from headend.storage.store import Store

LONGEST_SECONDS: Final = 7 * 86_400.0
"""that a command may wait for its meter"""
QUEUE_EVENTS: Final = 50_000

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A job, and when it is to be worked on next (milliseconds)."""

    job: Job
    due: int = 0
    tries: int = 0


@dataclass(slots=True, eq=False)
class _Desk:
    """What is to be done at one meter."""

    proposals: list[Job] = field(default_factory=list)
    queue: list[_Waiting] = field(default_factory=list)
    doubts: list[_Waiting] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Commands:
    """Takes commands, has them confirmed, and sees that each is carried out once."""

    def __init__(
        self,
        lanes: Lanes,
        roster: Roster,
        bus: Bus,
        clock: Clock,
        *,
        store: Store,
        reads: Reads,
        rules: Rules | None = None,
    ) -> None:
        self.rules = rules or Rules()
        self._lanes = lanes
        self._roster = roster
        self._bus = bus
        self._clock = clock
        self._vault = store.secrets
        self._reads = reads
        self._books = Books(store.jobs, store.audit, bus, clock)
        self._worker = Worker(lanes, roster, self._books, reads, store.secrets, self.rules)
        self._codes = Codes()
        self._desks: dict[str, _Desk] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- what people and programs ask ---

    async def submit(
        self,
        meter_id: str,
        command: Command,
        actor: Actor,
        *,
        key: str = "",
        seconds: float | None = None,
    ) -> Job:
        """Ask for a command; returns its job at once, QUEUED or PROPOSED: then `Job.code` is what the actor confirms it with.

        The same `key` of the same actor is the same job. It expires when nobody could begin it for `seconds`. Raises
        PermissionDenied, NotFound, ConfigError for parameters that make no sense, Conflict for a key of another request.
        """
        await self._permit(actor, meter_id, command)
        meter = self._roster.state(meter_id).meter
        self._reads.check(meter, command)
        now = self._clock()
        proposed = command.kind in CONFIRMED
        patience = min(self.rules.deadline_seconds if seconds is None else seconds, LONGEST_SECONDS)
        job = Job(
            id=uuid4().hex,
            meter_id=meter_id,
            command=replace(command, secret=None),
            actor=actor.name,
            created_at=now,
            updated_at=now,
            deadline=now + round(patience * 1000),
            idempotency_key=key,
            state=JobState.PROPOSED if proposed else JobState.QUEUED,
            confirm_by=now + round(self.rules.confirm_seconds * 1000) if proposed else None,
        )
        kept = await self._open(job, command.secret)
        if kept.id == job.id:
            self._place(kept)
        return replace(kept, code=self._codes.of(kept)) if kept.state is JobState.PROPOSED else kept

    async def _open(self, job: Job, secret: Secret | None) -> Job:
        """Record a job, or find the one that was asked for before. A new secret goes to the vault and nowhere else."""
        action = Action.COMMAND_PROPOSED if job.state is JobState.PROPOSED else Action.COMMAND_SUBMITTED
        if secret is None:
            return await self._books.open(job, action)
        name = str(job.command.params["name"])
        await asyncio.to_thread(self._vault.keep_waiting, job.meter_id, name, job.id, secret)
        kept: Job | None = None
        try:
            kept = await self._books.open(job, action)
        finally:
            if kept is None or kept.id != job.id:
                await asyncio.to_thread(self._vault.drop, job.meter_id, name, job.id)
        if kept.id != job.id and not kept.ended:
            waiting = await asyncio.to_thread(self._vault.waiting, kept.meter_id, name, kept.id)
            if waiting != secret:
                raise Conflict(f"the idempotency key {job.idempotency_key!r} was used for another secret")
        return kept

    async def confirm(self, job_id: str, actor: Actor, code: str = "") -> Job:
        """Confirm a proposal: its actor with the code, or somebody else who has the right. To repeat that is no error.

        Raises PermissionDenied, NotFound, Conflict for what waits for no confirmation (any longer).
        """
        job = await self._books.get(job_id)
        await self._permit(actor, job.meter_id, job.command)
        if job.confirmed_by == actor.name:
            return job
        if job.state is not JobState.PROPOSED:
            raise Conflict(f"job {job_id!r} is {job.state.value} and waits for no confirmation")
        if self._clock() >= min(job.confirm_by or 0, job.deadline):
            self._wake(job.meter_id)
            raise Conflict(f"the time to confirm job {job_id!r} is over", hint="ask for the command anew")
        if actor.name == job.actor:
            await self._check_code(job, actor, code)
        queued = await self._books.move(
            job, JobState.QUEUED, Action.COMMAND_CONFIRMED, actor=actor.name, confirmed_by=actor.name
        )
        self._codes.forget(job)
        self._place(queued)
        return queued

    async def cancel(self, job_id: str, actor: Actor) -> Job:
        """Take a job back that was not begun; raises Conflict where it was, PermissionDenied, NotFound."""
        job = await self._books.get(job_id)
        if job.actor != actor.name:
            await self._permit(actor, job.meter_id, job.command)
        if job.state not in (JobState.PROPOSED, JobState.QUEUED):
            raise Conflict(f"job {job_id!r} is {job.state.value}: it cannot be taken back")
        reason = f"cancelled by {actor.name}"
        ended = await self._worker.give_up(
            job, JobState.CANCELLED, Action.COMMAND_CANCELLED, actor=actor.name, reason=reason
        )
        self._leave(ended)
        return ended

    async def get(self, job_id: str) -> Job:
        """A job as it is now; raises NotFound."""
        return await self._books.get(job_id)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """A job as soon as it neither waits for its meter nor runs, or as it is after `timeout` seconds; raises NotFound."""
        return await self._books.wait(job_id, timeout)

    async def _permit(self, actor: Actor, meter_id: str, command: Command) -> None:
        needed = NEEDED[command.kind]
        if not actor.role.includes(needed):
            reason = f"{command.kind.value} needs the role {needed.value}, {actor.name} is {actor.role.value}"
            await self._books.refused(actor, Action.RIGHT_REFUSED, meter_id, command, reason)
            raise PermissionDenied(reason)

    async def _check_code(self, job: Job, actor: Actor, code: str) -> None:
        """Let the actor of a job confirm it with its code; raises PermissionDenied."""
        if self.rules.four_eyes:
            reason = "another person has to confirm it"
        elif self._codes.check(job, code):
            return
        else:
            reason = "this is not its confirmation code"
        await self._books.refused(actor, Action.CONFIRMATION_REFUSED, job.meter_id, job.command, reason)
        if self._codes.exhausted(job):
            why = "too many wrong confirmation codes"
            await self._worker.give_up(job, JobState.CANCELLED, Action.COMMAND_CANCELLED, actor=HEADEND, reason=why)
            self._leave(job)
        raise PermissionDenied(reason)

    # --- the desks ---

    async def run(self) -> None:
        """Look when meters come back; until cancelled."""
        events = self._bus.subscribe("commands", Event, maxsize=QUEUE_EVENTS)
        try:
            async for event in events:
                if event.type in (EventType.METER_ONLINE, EventType.METER_CONNECTED):
                    self._wake(event.meter_id, at_once=True)
        finally:
            events.close()
            await self.aclose()

    async def aclose(self) -> None:
        """Work on nothing more; what was begun is found out after the next start."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def recover(self) -> None:
        """Take up what an earlier process has left, before anything new is asked for."""
        jobs = self._books.jobs
        for doubt in await asyncio.to_thread(jobs.in_doubt):
            self._place(doubt)
        for job in await asyncio.to_thread(jobs.unfinished):
            if job.state is not JobState.RUNNING:
                self._place(job)
            elif job.command.kind in READS:
                self._place(await self._books.move(job, JobState.QUEUED, None, started_at=None))
            else:
                outcome = Outcome(verdict=Verdict.UNKNOWN, detail="the head-end stopped while it was under way")
                verify_by = self._clock() + round(self.rules.verify_seconds * 1000)
                unknown = await self._books.move(
                    job, JobState.UNKNOWN, Action.COMMAND_FINISHED, outcome, verify_by=verify_by
                )
                self._place(unknown)

    def _place(self, job: Job) -> None:
        """Put a job on the desk of its meter, where its state belongs."""
        if self._closed or job.ended:
            return
        self._leave(job)
        desk = self._desks.get(job.meter_id)
        if desk is None:
            desk = self._desks[job.meter_id] = _Desk()
            task = asyncio.create_task(self._work(job.meter_id, desk), name=f"commands to {job.meter_id}")
            self._tasks.add(task)
            task.add_done_callback(self._done)
        if job.state is JobState.PROPOSED:
            desk.proposals.append(job)
        elif job.state is JobState.QUEUED:
            desk.queue.append(_Waiting(job))
        else:
            desk.doubts.append(_Waiting(job, due=self._clock() + round(delay(1) * 1000), tries=1))
        desk.wake.set()

    def _leave(self, job: Job) -> None:
        """Take a job off the desk of its meter."""
        desk = self._desks.get(job.meter_id)
        if desk is not None:
            desk.proposals = [each for each in desk.proposals if each.id != job.id]
            desk.queue = [each for each in desk.queue if each.job.id != job.id]
            desk.doubts = [each for each in desk.doubts if each.job.id != job.id]
            desk.wake.set()

    def _wake(self, meter_id: str, *, at_once: bool = False) -> None:
        desk = self._desks.get(meter_id)
        if desk is not None:
            if at_once:
                for waiting in (*desk.queue, *desk.doubts):
                    waiting.due = 0
            desk.wake.set()

    async def _work(self, meter_id: str, desk: _Desk) -> None:
        """Work at a desk until nothing is left on it."""
        try:
            while desk.proposals or desk.queue or desk.doubts:
                desk.wake.clear()
                try:
                    worked = await self._step(desk)
                except HeadendError as error:  # the books cannot be written: nothing is begun before they can
                    log.warning("commands wait", meter=meter_id, code=error.code, reason=str(error))
                    worked = False
                if not worked:
                    await self._rest(desk)
        finally:
            del self._desks[meter_id]

    async def _step(self, desk: _Desk) -> bool:
        """Do what is due; False when nothing is."""
        now = self._clock()
        for job in desk.proposals:
            if now >= min(job.confirm_by or 0, job.deadline):
                return await self._expire(job, "nobody has confirmed it in time")
        for doubt in desk.doubts:
            if now >= doubt.due:
                self._again(doubt)
                found = await self._worker.look_into(doubt.job)
                if found is not doubt.job:
                    self._leave(found)
                return True
        if not desk.queue:
            return False
        first = desk.queue[0]
        if now >= first.job.deadline:
            return await self._expire(first.job, first.job.note or "the meter was not reached in time")
        held = next((doubt.job for doubt in desk.doubts if holds_back(doubt.job, first.job)), None)
        if held is not None:
            kind = held.command.kind.value
            first.job = await self._books.note(
                first.job, f"waits until it is known what became of {kind}, job {held.id}"
            )
            return False
        if now < first.due:
            return False
        self._again(first)
        done = await self._worker.carry_out(first.job)
        if done.state is JobState.QUEUED:
            first.job = done
        else:
            self._leave(done)
            self._place(done)
        return True

    def _again(self, waiting: _Waiting) -> None:
        waiting.tries += 1
        waiting.due = self._clock() + round(delay(waiting.tries) * 1000)

    async def _expire(self, job: Job, reason: str) -> bool:
        self._leave(job)
        with contextlib.suppress(Conflict):
            await self._worker.give_up(job, JobState.EXPIRED, Action.COMMAND_EXPIRED, actor=HEADEND, reason=reason)
        self._codes.forget(job)
        return True

    async def _rest(self, desk: _Desk) -> None:
        """Wait until something is due, or somebody wakes the desk."""
        times = [min(job.confirm_by or 0, job.deadline) for job in desk.proposals]
        times += [doubt.due for doubt in desk.doubts]
        if desk.queue:
            first = desk.queue[0]
            times += [first.job.deadline] + ([first.due] if first.due > self._clock() else [])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, (min(times, default=0) - self._clock()) / 1000)):
                await desk.wake.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("commands of a meter have stopped", task=task.get_name(), exc_info=task.exception())
