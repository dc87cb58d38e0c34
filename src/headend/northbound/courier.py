"""The courier: brings what is stored to one sink, at least once, always under the same number.

Where the sink is, is a cursor: what it has not confirmed is a set of ranges of numbers, saved at most a second after it
confirmed something. While the connection stands, what is stored passes through memory as it comes (live); what was
stored while it was away, or did not fit into memory, is read from the journal (backlog). Both go side by side, each in its
order. What the sink refuses for good is narrowed down to single entries and set aside.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final, NoReturn, TypeVar

import structlog

from headend.errors import NotFound, SinkError, SinkRefused, StorageError
from headend.model.delivery import SinkState
from headend.model.event import Event
from headend.model.journal import SEGMENT_SHIFT, Cursor, DeadLetter, Entry, Segment
from headend.model.ranges import Ranges
from headend.northbound.groups import Group, Passes, groups, weigh
from headend.northbound.sink import GROUP, Channel, Paced, Refusal, Sink
from headend.northbound.standing import Standing
from headend.services.roster import Clock
from headend.storage.journal import Journal

LIVE_READINGS: Final = 100_000
"""that wait in memory; more of them become backlog"""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
GOODBYE: Final = 3.0
"""seconds that a sink may take at the end"""
STEADY: Final = 60.0
"""a connection that stood for so many seconds was a good one"""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class _EndError(Exception):
    """The courier is to end: leaves the task group of a connection."""


class Courier:
    """Delivers to one sink while `run` runs. Belongs to the event loop."""

    def __init__(
        self,
        name: str,
        kind: str,
        sink: Sink,
        journal: Journal,
        *,
        clock: Clock,
        publish: Callable[[Event], None],
        passes: Passes = lambda entry: entry,
        confirm_seconds: float = 60.0,
        count: Callable[[Sequence[Entry], bool], None] = lambda _entries, _late: None,
    ) -> None:
        """`count` is told of entries that were confirmed, and whether they were late."""
        self.name = name
        self.connected = asyncio.Event()
        """set while the connection stands"""
        self.standing = Standing(name, kind, clock, publish)
        self.sink = sink
        self._journal = journal
        self._passes = passes
        self._confirm = confirm_seconds
        self._count = count
        self._head = 0
        self._backlog, self._flying = Ranges(), Ranges()
        self._live: deque[Group] = deque()
        self._weight = 0
        self._again: deque[Entry] = deque()
        self._size = GROUP
        self._moved = self._failing = False
        self._ending, self._more_live, self._more_late, self._idle = (asyncio.Event() for _ in range(4))
        self._idle.set()

    # --- what there is to deliver ---

    def load(self) -> None:
        """Find out where the sink is, before anything more is stored. Blocks. A new sink begins with what comes now."""
        cursor, self._head = self._journal.load(self.name), self._journal.head
        if cursor is None:
            self._journal.save(self.name, self._cursor())
            return
        self._backlog = Ranges([*cursor.pending, (cursor.head, self._head)])
        self._backlog.remove(0, self._journal.floor())
        self.standing.backlog = self._journal.count(self._backlog)

    def offer(self, segment: Segment) -> None:
        """Take what was stored just now."""
        start, self._head = self._head, (segment.number + 1) << SEGMENT_SHIFT
        self._moved = True
        if not self.connected.is_set() or self._ending.is_set() or self._weight >= LIVE_READINGS:
            self._late(start, self._head, len(segment.items))
            return
        for group in groups([segment], start, self._head, self._passes, self._size):
            if group.entries:
                self._live.append(group)
                self._flying.add(group.start, group.end)
                self._weight += sum(map(weigh, group.entries))
                self._idle.clear()
                self._more_live.set()

    async def replay(self, since: int, until: int) -> int:
        """Deliver again what was stored at since <= time < until (milliseconds), as late entries; returns how many."""
        head = self._head
        start, end = [min(head, await asyncio.to_thread(self._journal.since, at)) for at in (since, until)]
        count = await asyncio.to_thread(self._journal.count, [(start, end)]) if start < end else 0
        if count:
            self._late(start, end, count)
            self._moved = True
        return count

    async def refused(self) -> Sequence[DeadLetter]:
        """What the sink will never take, the newest first."""
        return await asyncio.to_thread(self._journal.refused, self.name)

    async def retry(self, entry_id: str) -> None:
        """Try a refused entry once more; raises NotFound."""
        for letter in await self.refused():
            if letter.entry.id == entry_id:
                self._again.append(letter.entry)
                self._more_late.set()
                return
        raise NotFound(f"{self.name} has refused no entry {entry_id!r}")

    async def purge(self, below: int) -> None:
        """The journal is about to forget what is below a number: so does the sink, and says what it never had."""
        gone = [*self._backlog.below(below), *self._flying.below(below)]
        if gone:
            lost = await asyncio.to_thread(self._journal.extent, gone)
            self._backlog.remove(0, below)
            self._moved = True
            self.standing.backlog = max(0, self.standing.backlog - lost.entries)
            self.standing.late_since = None
            self.standing.losses.add(lost)

    def _late(self, start: int, end: int, count: int) -> None:
        self._backlog.add(start, end)
        self.standing.backlog += count
        self._more_late.set()

    def _cursor(self) -> Cursor:
        return Cursor(self._head, tuple(Ranges([*self._backlog, *self._flying])))

    # --- the connection ---

    async def run(self) -> None:
        """Connect, deliver, come back after a lost connection, until cancelled; then take leave of the sink. May run again."""
        # Some libraries lose a cancellation that meets them while they connect: the stop is an event of ours.
        self._ending.clear()
        tasks = [
            asyncio.create_task(self._connections(), name=f"sink {self.name}"),
            asyncio.create_task(self._every_second(), name=f"sink {self.name} cursor"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._ending.set()
            try:
                await asyncio.wait(tasks, timeout=GOODBYE)
            finally:
                for task in tasks:
                    task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await self._save()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _connections(self) -> None:
        failures, now = 0, asyncio.get_running_loop().time
        while not self._ending.is_set():
            before, since = self.standing.delivered, now()
            try:
                await self._converse()
            except Exception as error:  # noqa: BLE001 - whatever a sink does wrong must not end the others
                reason = str(self._told(error))
                if not self._ending.is_set():
                    self.standing.away(reason)
            if self.standing.delivered > before or now() - since > STEADY:
                failures = 0
            failures += 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
            with suppress(TimeoutError):
                spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects
                await asyncio.wait_for(self._ending.wait(), pause * spread)

    async def _converse(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._confirm):
                    channel = await stack.enter_async_context(self.sink.session())
            except SinkError:
                self.standing.mute = False  # it cannot be reached: that is another trouble
                raise
            except TimeoutError as error:
                self.standing.mute = True
                raise SinkError(f"no connection within {self._confirm:g} s") from error
            self.standing.here()
            self.connected.set()
            try:
                async with asyncio.TaskGroup() as group:
                    for work in (self._deliver_live, self._deliver_late, self._attend, self._until_the_end):
                        group.create_task(work(channel), name=f"sink {self.name} {work.__name__}")
            except* _EndError:
                pass
            finally:
                self._leave()

    def _leave(self) -> None:
        """What was on its way, and what waited in memory, comes again from the journal."""
        self.connected.clear()
        self.standing.gone()
        for start, end in self._flying:
            self._backlog.add(start, end)
        self.standing.backlog += sum(group.covered for group in self._live) + self.standing.flying
        self.standing.flying = 0
        self._live.clear()
        self._flying = Ranges()
        self._weight = 0
        self._idle.set()

    async def _attend(self, channel: Channel) -> NoReturn:
        await channel.attend()
        raise SinkError("the peer has ended the connection")

    async def _until_the_end(self, _channel: Channel) -> NoReturn:
        await self._ending.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), GOODBYE / 2)
        raise _EndError

    async def _deliver_live(self, channel: Channel) -> NoReturn:
        while True:
            while not self._live:
                self._idle.set()
                self._more_live.clear()
                await self._more_live.wait()
            group = self._next_live()
            self.standing.flying, self.standing.live_since = group.covered, group.stored_at
            await self._bring(channel, group.entries, late=False)
            self._flying.remove(group.start, group.end)
            self.standing.flying, self.standing.live_since = 0, None
            self._weight -= sum(map(weigh, group.entries))
            self._moved = True

    def _next_live(self) -> Group:
        """As many of the groups that wait as go together."""
        first = self._live.popleft()
        entries, end, covered = list(first.entries), first.end, first.covered
        while self._live and len(entries) + len(self._live[0].entries) <= self._size:
            more = self._live.popleft()
            entries += more.entries
            end, covered = more.end, covered + more.covered
        return Group(first.start, end, tuple(entries), covered, first.stored_at)

    async def _deliver_late(self, channel: Channel) -> NoReturn:
        while True:
            self._more_late.clear()
            while self._again:
                await self._once_more(channel, self._again.popleft())
            if not self._backlog:
                self.standing.backlog, self.standing.late_since = 0, None
                await self._more_late.wait()
                continue
            start, end = self._backlog.first
            segments, stop = await self._stored(lambda: self._journal.read(start, end))  # noqa: B023 - awaited at once
            for group in groups(segments, start, stop, self._passes, self._size):
                self.standing.late_since = group.stored_at or None
                await self._bring(channel, group.entries, late=True)
                self._backlog.remove(group.start, group.end)
                self.standing.backlog = max(0, self.standing.backlog - group.covered)
                self._moved = True

    async def _once_more(self, channel: Channel, entry: Entry) -> None:
        if not await self._bring(channel, (entry,), late=True):
            await self._stored(lambda: self._journal.pardon(self.name, entry.number))

    # --- one group ---

    async def _bring(self, channel: Channel, entries: Sequence[Entry], *, late: bool) -> bool:
        """Deliver entries, and set aside those that the sink refuses, which it returns; raises SinkError."""
        if not entries:
            return False
        try:
            refusals = await self._confirmed(channel, entries, late=late)
        except Exception as error:  # a SinkError passes; what else goes wrong with these entries is their fault
            told = self._told(error)
            if not isinstance(told, SinkRefused):
                self.standing.failed(len(entries))
                raise told from error
            if len(entries) > 1:
                middle = len(entries) // 2
                first = await self._bring(channel, entries[:middle], late=late)
                return await self._bring(channel, entries[middle:], late=late) or first
            await self._set_aside(entries[0], str(told))
            return True
        self._size = min(GROUP, self._size * 2)
        if len(refusals) < len(entries):
            self.standing.confirmed(len(entries) - len(refusals))
        if not refusals:
            self._count(entries, late)
            return False
        bad = {refusal.number: refusal.reason for refusal in refusals}
        self._count([entry for entry in entries if entry.number not in bad], late)
        for entry in entries:
            if entry.number in bad:
                await self._set_aside(entry, bad[entry.number])
        return True

    async def _confirmed(self, channel: Channel, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Deliver; a channel that has to pace itself may take longer than others, as long as it gets on."""
        delivering = asyncio.ensure_future(channel.deliver(entries, late=late))
        paced = channel if isinstance(channel, Paced) else None
        try:
            while True:
                before = paced.progress if paced else 0
                done, _ = await asyncio.wait({delivering}, timeout=self._confirm)
                if done:
                    return delivering.result()
                if paced is None or paced.progress == before:
                    break
                self.standing.moved()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
        self._size = max(1, len(entries) // 2)
        self.standing.stuck(self._confirm, len(entries))
        raise SinkError(f"{len(entries)} entries were not confirmed within {self._confirm:g} s")

    async def _set_aside(self, entry: Entry, reason: str) -> None:
        await self._stored(lambda: self._journal.refuse(self.name, entry, reason))
        self.standing.refused(entry.id, reason)

    def _told(self, error: BaseException) -> SinkError:
        """What an error of a sink means."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, SinkError):
            return error
        log.error("a sink failed", sink=self.name, exc_info=error)
        return SinkRefused(f"{type(error).__name__}: {error}")

    # --- the cursor ---

    async def _every_second(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)
            await self._save()
            if self._backlog and self.standing.late_since is None:
                with suppress(StorageError):
                    self.standing.late_since = await asyncio.to_thread(self._journal.stored_at, self._backlog.first[0])
            self.standing.tick()

    async def _save(self) -> None:
        """Keep where the sink is: only what it has confirmed counts as delivered."""
        if not self._moved:
            return
        self._moved = False
        try:
            await asyncio.to_thread(self._journal.save, self.name, self._cursor())
            self._failing = False
        except StorageError as error:
            self._moved = True
            if not self._failing:
                log.error("how far a sink is cannot be kept", sink=self.name, reason=str(error))  # noqa: TRY400 - a fact, not a trace
            self._failing = True

    async def _stored(self, work: Callable[[], T]) -> T:
        """What the database says; while it is away nothing is delivered."""
        try:
            return await asyncio.to_thread(work)
        except StorageError as error:
            raise SinkError(f"the journal cannot be used: {error}") from error

    @property
    def progress(self) -> tuple[bool, float]:
        """Whether it is there and does not have all, and a number that changes when it gets on."""
        now = self.standing.state()
        return now.backlog > 0 and (now.connected_since is not None or self.standing.mute), self.standing.moves

    @property
    def state(self) -> SinkState:
        """How it is doing."""
        return self.standing.state()
