"""One scan under way: targets are swept, what is open is looked into beside it, and both are stored together in batches.

What was swept is stored with the places that wait to be looked into, in one transaction: whenever it ends, it goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias

from headend.errors import StorageError
from headend.model.device import Noted
from headend.model.discovery import Hit, PortState
from headend.model.scan import ScanHit, ScanJob
from headend.services.discovery.identifying import Identified
from headend.services.discovery.networks import Networks
from headend.services.recorder import PASSING

FLUSH_SECONDS: Final = 0.5
FLUSH_PLACES: Final = 50
"""that were looked into are stored at once"""
MOST_WAITING: Final = 20_000
"""open places; with more of them the sweep waits"""
RETRY_SECONDS: Final = 5.0
IDENTIFIED: Final = "identified"
SKIPPED: Final = "skipped"
NOBODY: Final = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """Some more targets of a scan: what became of them, and how far it is. It can go on from `cursor`."""

    hits: Sequence[Hit]
    cursor: int
    done: int
    targets: int
    """of the scan in all"""
    seconds_left: float | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    """names that could not be swept, and why"""


Counts: TypeAlias = Mapping[tuple[str, PortState], int]
Sweep: TypeAlias = Callable[[ScanJob], AsyncIterator[Swept]]
"""Goes through the targets of a job, from its cursor on, in the order of its seed. Raises errors of the tree."""
Look: TypeAlias = Callable[[ScanHit, ScanJob], Awaitable[Identified]]
"""Finds out who is at a place. Never raises, but for cancellation."""
Keep: TypeAlias = Callable[[ScanJob, Sequence[ScanHit], Counts, Sequence[Identified]], Awaitable[Sequence[Noted]]]
"""Stores what was found. Raises StorageError."""
Tell: TypeAlias = Callable[[ScanJob, Sequence[Noted]], None]
"""Called with how far the scan is, and the devices that were stored since."""


class Hosts:
    """Places that wait, host by host in turn: of one host only so many are under way at once."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._waiting: dict[str, deque[ScanHit]] = {}
        self._under_way: Counter[str] = Counter()
        self._ready: dict[str, None] = {}
        """hosts with a place that may be looked into now, in turn"""

    def add(self, hit: ScanHit) -> None:
        """A place more."""
        self._waiting.setdefault(hit.host, deque()).append(hit)
        self._set_ready(hit.host)

    def take(self) -> ScanHit | None:
        """The next place; None while there is none that may be looked into."""
        if not self._ready:
            return None
        host = next(iter(self._ready))
        del self._ready[host]
        places = self._waiting[host]
        hit = places.popleft()
        if not places:
            del self._waiting[host]
        self._under_way[host] += 1
        self._set_ready(host)
        return hit

    def done(self, host: str) -> None:
        """A place of a host was looked into."""
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]
        self._set_ready(host)

    def _set_ready(self, host: str) -> None:
        if host in self._waiting and self._under_way[host] < self._per_host:
            self._ready[host] = None


class Run:
    """One scan, run once. `job` is how far it is."""

    def __init__(
        self,
        job: ScanJob,
        networks: Networks,
        *,
        sweep: Sweep | None,
        look: Look,
        keep: Keep,
        tell: Tell,
        why_skip: Callable[[ScanHit], str],
        places: int,
        per_host: int,
    ) -> None:
        """`sweep` None: there is nothing to sweep. `why_skip` says why a place is not looked into; empty where it is."""
        self.job = job
        self._networks = networks
        self._sweep = sweep
        self._look = look
        self._keep = keep
        self._tell = tell
        self._why_skip = why_skip
        self._places = places
        self._time = asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts = Hosts(per_host)
        self._known: frozenset[tuple[str, int]] = frozenset()
        """places that an earlier run has looked into"""
        self.left_out: Mapping[str, str] = {}
        self._states: Counter[PortState] = Counter(job.progress.states)
        self._left: float | None = None
        self._mean = 0.0
        self._hits: dict[tuple[str, int], ScanHit] = {}
        self._counts: Counter[tuple[str, PortState]] = Counter()
        self._found: list[Identified] = []
        self._changed = asyncio.Event()
        self._storing = asyncio.Lock()

    async def run(self, earlier: Sequence[ScanHit] = ()) -> None:
        """Go through all of it; `earlier` are places that an earlier run has found open.

        Raises errors of the tree. What was found until then is stored whatever happens.
        """
        writing = asyncio.create_task(self._write(), name=f"scan {self.job.id} writing")
        try:
            self._known = frozenset((hit.host, hit.port) for hit in earlier)
            self._set(waiting=0)
            for hit in earlier:
                if not hit.outcome:
                    self._queue(hit)
            async with contextlib.AsyncExitStack() as stack:
                if self._sweep is not None:
                    swept_all = self._sweep(self.job)
                    stack.push_async_callback(_closed, swept_all)
                    async for swept in swept_all:
                        self._take(swept)
                        await self._settled(writing, lambda: self.job.progress.waiting <= MOST_WAITING)
            self._left = 0.0
            await self._settled(writing, lambda: not self._tasks)
        finally:
            writing.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(writing, *self._tasks, return_exceptions=True)
        await self.store()

    async def store(self) -> None:
        """Store what was found since the last time; raises StorageError."""
        async with self._storing:
            hits, counts, found = list(self._hits.values()), self._counts, self._found
            self._hits, self._counts, self._found = {}, Counter(), []
            job = self.job
            try:
                noted = await self._keep(job, hits, counts, found)
            except BaseException:
                self._hits = {(hit.host, hit.port): hit for hit in hits} | self._hits
                self._counts = counts + self._counts
                self._found = found + self._found
                raise
            progress = self.job.progress
            self._set(
                devices=progress.devices + len({each.device.id for each in noted}),
                new=progress.new + sum(each.new for each in noted),
            )
            self._tell(self.job, noted)

    async def _write(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    while len(self._found) < FLUSH_PLACES:
                        self._changed.clear()
                        await self._changed.wait()
            if self._hits or self._counts or self._found:
                try:
                    await self.store()
                except StorageError as error:
                    if error.reason not in PASSING:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)

    async def _settled(self, writing: asyncio.Task[None], condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; raises what ended the writing."""
        while not condition():
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                self._changed.clear()
                await asyncio.wait({writing, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            if writing.done():
                writing.result()

    def _take(self, swept: Swept) -> None:
        """Some more targets were swept."""
        for hit in swept.hits:
            self._states[hit.state] += 1
            self._counts[self._networks.group(hit.host), hit.state] += 1
            if hit.state is PortState.OPEN and (hit.host, hit.port) not in self._known:
                self._queue(ScanHit(host=hit.host, port=hit.port, at=hit.at, banner=hit.banner))
        self._left = swept.seconds_left
        self.left_out = swept.left_out
        self.job = replace(self.job, cursor=swept.cursor)
        self._set(targets=swept.targets, done=swept.done, states=dict(self._states))

    def _queue(self, hit: ScanHit) -> None:
        """An open place waits to be looked into."""
        self._hits[hit.host, hit.port] = hit
        if not self.job.request.examine:
            return
        if why := self._why_skip(hit):
            self._hits[hit.host, hit.port] = replace(hit, outcome=SKIPPED, note=why)
            self._set(skipped=self.job.progress.skipped + 1)
            return
        self._hosts.add(hit)
        self._set(waiting=self.job.progress.waiting + 1)
        self._start()

    def _start(self) -> None:
        """Look into as many places as may be at once."""
        while len(self._tasks) < self._places and (hit := self._hosts.take()) is not None:
            task = asyncio.create_task(self._place(hit), name=f"discovery of {hit.host}:{hit.port}")
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, hit.host))

    async def _place(self, hit: ScanHit) -> None:
        began = self._time()
        found = await self._look(hit, self.job)
        outcome = IDENTIFIED if found.found else NOBODY
        self._hits[hit.host, hit.port] = replace(hit, outcome=outcome, note=found.nothing)
        if found.found:
            self._found.append(found)
        taken = self._time() - began
        self._mean = taken if not self._mean else self._mean * 0.98 + taken * 0.02
        progress = self.job.progress
        self._set(
            waiting=progress.waiting - 1,
            examined=progress.examined + 1,
            nobody=progress.nobody + (not found.found),
        )

    def _ended(self, host: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._hosts.done(host)
        if not task.cancelled():
            self._start()
        self._changed.set()

    def _set(self, **fields: object) -> None:
        """Note how far it is."""
        progress = replace(self.job.progress, **fields)  # type: ignore[arg-type] # names of its own fields
        looking = progress.waiting * self._mean / self._places
        left = None if self._left is None else max(self._left, looking)
        self.job = replace(self.job, progress=replace(progress, seconds_left=left))
        self._changed.set()


async def _closed(sweep: AsyncIterator[Swept]) -> None:
    """End a sweep that was left early."""
    aclose = getattr(sweep, "aclose", None)
    if aclose is not None:
        await aclose()
