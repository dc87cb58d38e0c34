"""Jobs of discovery: scans that are queued, run one after the other, go on after a restart, and can be cancelled."""

from __future__ import annotations

import asyncio
import secrets as random_bits
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

import structlog

from headend.errors import Conflict, HeadendError, StorageError
from headend.model.audit import Action
from headend.model.device import Noted
from headend.model.event import Event, EventType, Severity
from headend.model.reading import Value
from headend.model.scan import ScanHit, ScanJob, ScanReport, ScanRequest, ScanState
from headend.services.bus import Bus
from headend.services.discovery.credentials import NO_KEY, KeyRing
from headend.services.discovery.identifying import Identified
from headend.services.discovery.looking import Looker
from headend.services.discovery.networks import Networks, reports
from headend.services.discovery.register import Register
from headend.services.discovery.running import SKIPPED, Counts, Run
from headend.services.discovery.sweeping import Asked, Sweeper, endpoint_of
from headend.services.roster import Clock
from headend.storage.store import Store

TELL_SECONDS: Final = 1.0
"""between two events that say how far a scan is"""
QUEUED: Final = 100
"""jobs that may wait"""
_EARLIER: Final = 1_000_000
"""open places of a scan that goes on"""

log = structlog.get_logger(__name__)


class Jobs:
    """All scans. Belongs to the event loop."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        sweeper: Sweeper,
        looker: Looker,
        register: Register,
        keys: KeyRing,
        clock: Clock,
        *,
        places: int,
        per_host: int,
        cycle_ms: int,
    ) -> None:
        """Of so many `places` at once, `per_host` are at one host; none is looked into twice in `cycle_ms`."""
        self._store = store
        self._bus = bus
        self._sweeper = sweeper
        self._looker = looker
        self._register = register
        self._keys = keys
        self._clock = clock
        self._places = places
        self._per_host = per_host
        self._cycle_ms = cycle_ms
        self._queue: deque[ScanJob] = deque()
        self._started: set[str] = set()
        """jobs of this run of the head-end, which are in no need of being taken up again"""
        self._wanted = asyncio.Event()
        self._current: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = ""
        self._cancelled = ""
        self._told = 0.0

    async def start(self, request: ScanRequest, *, actor: str, reason: str = "") -> ScanJob:
        """Queue a scan; it begins when those before it have ended. Raises ConfigError, PermissionDenied, Conflict."""
        self._sweeper.understand(request)
        if len(self._queue) >= QUEUED:
            raise Conflict(f"{len(self._queue)} scans are queued", hint="wait until some have ended")
        job = ScanJob(
            id=random_bits.token_hex(6),
            request=request,
            actor=actor,
            reason=reason,
            created_at=self._clock(),
            seed=random_bits.randbits(32),
        )

        self._started.add(job.id)

        def add() -> None:
            self._store.audit.append(actor, Action.SCAN_STARTED, f"scan:{job.id}", _asked(request, reason))
            self._store.scans.add(job)

        await asyncio.to_thread(add)
        self._queue.append(job)
        self._wanted.set()
        return job

    async def cancel(self, job_id: str, *, actor: str) -> ScanJob:
        """End a scan; what it has found stays. Raises NotFound, and Conflict for one that has ended."""
        job = await self.job(job_id)
        if job.ended:
            raise Conflict(f"the scan {job_id} has ended already")
        await asyncio.to_thread(self._store.audit.append, actor, Action.SCAN_CANCELLED, f"scan:{job_id}")
        if self._running == job_id and self._task is not None:
            self._cancelled = job_id
            self._task.cancel()
            await asyncio.wait({self._task})
            return await self.job(job_id)
        self._queue = deque(each for each in self._queue if each.id != job_id)
        return await self._end(job, ScanState.CANCELLED)

    async def job(self, job_id: str) -> ScanJob:
        """How far a scan is, or how it ended; raises NotFound."""
        running = self._current
        if running is not None and running.job.id == job_id:
            return running.job
        return await asyncio.to_thread(self._store.scans.get, job_id)

    async def jobs(self, *, before: str = "", limit: int = 100) -> Sequence[ScanJob]:
        """Scans, newest first, from the first one before that with the id `before`."""
        found = await asyncio.to_thread(self._store.scans.list, before=before, limit=limit)
        running = self._current
        return [running.job if running is not None and running.job.id == job.id else job for job in found]

    async def hits(
        self, job_id: str, *, after: tuple[str, int] = ("", 0), limit: int = 1000, outcome: str | None = None
    ) -> Sequence[ScanHit]:
        """Open places of a scan by host and port, beyond `after`."""
        return await asyncio.to_thread(self._store.scans.hits, job_id, after=after, limit=limit, outcome=outcome)

    async def report(self, job_id: str) -> ScanReport:
        """What a scan has found, target by target; raises NotFound."""
        job = await self.job(job_id)

        def read() -> ScanReport:
            asked = self._sweeper.understand(job.request)
            networks = Networks(asked.entries)
            devices = self._store.devices.counts(job_id)
            vendors: Counter[str] = Counter()
            protocols: Counter[str] = Counter()
            for vendor, protocol, _, _, count in devices:
                vendors[vendor] += count
                protocols[protocol] += count
            return ScanReport(
                job=job,
                networks=reports(networks, self._store.scans.counts(job_id), devices),
                vendors=dict(vendors.most_common()),
                protocols=dict(protocols.most_common()),
                nobody=self._store.scans.nobody(job_id),
            )

        return await asyncio.to_thread(read)

    async def run(self) -> None:
        """Carry out jobs until cancelled; those that were under way when the head-end ended go on."""
        earlier = await asyncio.to_thread(self._store.scans.unfinished)
        self._queue.extendleft(job for job in reversed(earlier) if job.id not in self._started)
        while True:
            while not self._queue:
                self._wanted.clear()
                await self._wanted.wait()
            job = self._queue.popleft()
            self._running = job.id
            self._task = asyncio.create_task(self._carry_out(job), name=f"scan {job.id}")
            try:
                await asyncio.wait({self._task})
            finally:
                self._task.cancel()
                await asyncio.wait({self._task})
                self._current = self._task = None
                self._running = ""

    async def _carry_out(self, job: ScanJob) -> None:
        """One job, from where it is to its end."""
        fresh = job.started_at is None
        job = replace(job, state=ScanState.RUNNING, started_at=job.started_at or self._clock())
        run: Run | None = None
        try:
            asked = self._sweeper.understand(job.request)
            earlier = await asyncio.to_thread(self._store.scans.hits, job.id, limit=_EARLIER)
            if fresh:
                earlier = [ScanHit(host=place, port=0, at=self._clock()) for place in asked.places]
                self._tell(EventType.SCAN_STARTED, job, {"targets": job.request.targets[:200], "actor": job.actor})
            run = self._current = await self._prepared(job, asked)
            await run.run(earlier)
            left_out = "; ".join(f"{name} was left out: {why}" for name, why in run.left_out.items())
            await self._end(run.job, ScanState.FINISHED, left_out)
        except asyncio.CancelledError:
            if run is not None:
                await self._stored(run)
            if self._cancelled != job.id:
                raise  # the head-end stops: the scan goes on the next time
            await self._end(run.job if run else job, ScanState.CANCELLED)
        except HeadendError as error:
            log.warning("scan failed", scan=job.id, code=error.code, reason=str(error))
            await self._failed(run.job if run else job, str(error))
        except Exception as error:  # a bug of ours ends this scan, not those behind it
            log.exception("scan failed", scan=job.id)
            await self._failed(run.job if run else job, f"internal error: {type(error).__name__}")

    async def _failed(self, job: ScanJob, why: str) -> None:
        try:
            await self._end(job, ScanState.FAILED, why)
        except StorageError as error:
            log.warning("scan not kept", scan=job.id, reason=str(error))

    async def _prepared(self, job: ScanJob, asked: Asked) -> Run:
        recent: Mapping[str, int] = {}
        if not job.request.again:
            recent = await asyncio.to_thread(self._store.devices.seen_at, self._clock() - self._cycle_ms)

        def why_skip(hit: ScanHit) -> str:
            if job.request.again or not hit.port:
                return ""
            wire = endpoint_of(hit).wire
            ours = self._looker.meters_at(wire)
            if ours:
                return f"the meter {ours[0].id} is read there"
            last = max(recent.get(wire, 0), self._looker.looked_at(wire))
            if self._clock() - last < self._cycle_ms:
                return f"looked into {round((self._clock() - last) / 1000)} s before"
            return ""

        return Run(
            job,
            Networks(asked.entries),
            sweep=self._sweeper.sweep(asked),
            look=self._look,
            keep=self._keep,
            tell=self._progressed,
            why_skip=why_skip,
            places=self._places,
            per_host=self._per_host,
        )

    async def _stored(self, run: Run) -> None:
        try:
            await run.store()
        except StorageError as error:
            log.warning("scan not kept", scan=run.job.id, reason=str(error))

    async def _look(self, hit: ScanHit, job: ScanJob) -> Identified:
        """Who is at an open place."""
        endpoint = endpoint_of(hit)
        key = NO_KEY
        try:
            if not hit.port:
                await self._sweeper.check_place(endpoint)
            if job.request.credentials:
                key = await asyncio.to_thread(self._keys.of_group, endpoint.host)
        except HeadendError as error:
            return Identified(endpoint=endpoint, nothing=str(error))
        request = job.request
        return await self._looker.look(
            endpoint, banner=hit.banner, exhaustive=request.exhaustive, key=key, timeout=request.timeout
        )

    async def _keep(
        self, job: ScanJob, hits: Sequence[ScanHit], counts: Counts, found: Sequence[Identified]
    ) -> Sequence[Noted]:
        """Store what a scan has found."""
        noted = await self._register.record(found, job.id)

        def keep() -> None:
            skipped = [endpoint_of(hit).wire for hit in hits if hit.outcome == SKIPPED]
            self._store.devices.seen_again(skipped, job.id)
            self._store.scans.keep(job, hits, counts)

        await asyncio.to_thread(keep)
        return noted

    def _progressed(self, job: ScanJob, noted: Sequence[Noted]) -> None:
        """A scan has gone on: say so, once a second at most, and what it has found."""
        self._register.announce(noted, job.id)
        now = asyncio.get_running_loop().time()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._tell(EventType.SCAN_PROGRESS, job, {})

    async def _end(self, job: ScanJob, state: ScanState, error: str = "") -> ScanJob:
        job = replace(job, state=state, ended_at=self._clock(), error=error)
        await asyncio.to_thread(self._store.scans.put, job)
        if self._current is not None and self._current.job.id == job.id:
            self._current = None
        self._tell(EventType.SCAN_ENDED, job, {"error": error})
        return job

    def _tell(self, kind: EventType, job: ScanJob, more: Mapping[str, Value]) -> None:
        progress = job.progress
        data: dict[str, Value] = {
            "scan": job.id,
            "state": job.state.value,
            "of": progress.targets,
            "done": progress.done,
            "open": progress.open,
            "examined": progress.examined,
            "devices": progress.devices,
            "new": progress.new,
            **({} if progress.seconds_left is None else {"seconds_left": round(progress.seconds_left, 1)}),
            **more,
        }
        self._publish(kind, data)

    def _publish(self, kind: EventType, data: Mapping[str, Value], meter_id: str = "") -> None:
        self._bus.publish(
            Event(type=kind, severity=Severity.INFO, occurred_at=self._clock(), meter_id=meter_id, data=data)
        )


def _asked(request: ScanRequest, reason: str) -> dict[str, Value]:
    """A request as the audit trail keeps it."""
    said = {each.name: getattr(request, each.name) for each in fields(request)}
    return {"reason": reason, **{name: value for name, value in said.items() if value not in (None, "")}}
