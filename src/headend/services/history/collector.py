"""The collector: asks each meter for the intervals that the ledger lacks, piece by piece, until all is there or void.

After each period of a load profile, and a time for the meter to settle, its meter is due. Nothing is kept for the meters that
are not: a heap says who is next. What was lacking when the head-end ended lacks still when it starts: the ledger is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Final

import structlog

from headend import telemetry
from headend.drivers.mapping import history_batch
from headend.errors import (
    AccessDenied,
    CapabilityError,
    ConfigError,
    HeadendError,
    NotConnected,
    NotFound,
    ObjectUndefined,
    SecurityError,
)
from headend.model.event import Event, EventType, Severity
from headend.model.intervals import DAY_MS, Grid, Reason, missing_times
from headend.model.meter import Meter
from headend.model.objects import HistoryBlock, HistoryRequest, RowFlag
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.schedule import fraction, retry_delay
from headend.services.acquisition.turns import Priority
from headend.services.bus import Bus
from headend.services.history.clocks import Clocks
from headend.services.history.counters import falls
from headend.services.history.gaps import Piece, flags_of, pieces, reasons, repeated, wanted
from headend.services.history.kept import Kept, Rules, rows_of, who_answers
from headend.services.roster import Clock, MeterState, Roster
from headend.storage.ledger import Book, Ledger

OFF: Final = "history:off"
"""A tag: the load profiles of this meter are not kept complete."""
ZONE: Final = "zone:"
"""A tag that says in which time zone a meter stands: `zone:Europe/Berlin`."""
WAKE_SECONDS: Final = 60.0
"""A clock may be set: nobody sleeps longer."""
PIECE_SECONDS: Final = 120.0
_DOUBT_MS: Final = 300_000
"""After so long a meter is asked again for what it had not; if it has not then, it never will."""
_PARKED_MS: Final = 6 * 3_600_000
_HURRY_MS: Final = 5_000

log = structlog.get_logger(__name__)


class Collector:
    """Keeps the load profiles of all enabled meters complete that have any."""

    def __init__(
        self,
        roster: Roster,
        lanes: Lanes,
        bus: Bus,
        ledger: Ledger,
        *,
        profile: Callable[[Meter], MeterProfile | None],
        clock: Clock,
        rules: Rules,
        clocks: Clocks | None = None,
    ) -> None:
        """With `clocks`, those of the meters that are asked are measured."""
        self._clocks = clocks
        self.rules = rules
        self._roster = roster
        self._lanes = lanes
        self._bus = bus
        self._ledger = ledger
        self._profile = profile
        self._clock = clock
        self._kept: dict[str, list[Kept]] = {}
        self._heap: list[tuple[int, int, Kept]] = []
        self._pushed = 0
        self._busy: set[Kept] = set()
        self._stopping = False
        self._woken = asyncio.Event()
        self._events = bus.subscribe("history", Event, maxsize=20_000)
        roster.follow(self._follow)

    async def run(self) -> None:
        """Ask until `stop`; returns when what is under way has ended."""
        await asyncio.to_thread(self._ledger.extend, self._clock())
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(), name="history events")
            while not self._stopping:
                for kept in self._due():
                    self._busy.add(kept)
                    group.create_task(self._visit(kept), name=f"history of {kept.meter_id}")
                await self._pause()
            listening.cancel()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._events.close()
        self._woken.set()

    @property
    def busy(self) -> int:
        """How many load profiles are being read."""
        return len(self._busy)

    async def refill(self, meter_id: str, start: int, end: int) -> int:
        """Ask a meter at once for what is not there in a half-open span, even if it was given up; returns how much that is.

        Raises NotFound.
        """
        books = await asyncio.to_thread(self._ledger.books, meter_id)
        if not books:
            raise NotFound(f"there is no ledger of meter {meter_id!r}")
        count = 0
        for book in books:
            count += await asyncio.to_thread(partial(self._ledger.reopen, book, start, end, arrived=False))
        for kept in self._kept.get(meter_id, ()):
            kept.doubted.clear()
            kept.failures = 0
            self._push(kept, self._clock())
        return count

    # who is due

    def _follow(self, meter_id: str, state: MeterState | None) -> None:
        self._kept.pop(meter_id, None)
        if state is None or not state.meter.enabled or OFF in state.meter.tags:
            return
        profile = self._profile(state.meter)
        chosen = [each for each in profile.load_profiles if each.period_seconds > 0] if profile is not None else []
        self._kept[meter_id] = [Kept(meter_id, each) for each in chosen]
        spread = round(self.rules.spread_seconds * 1000 * fraction(meter_id))
        for kept in self._kept[meter_id]:
            self._push(kept, self._clock() + spread)

    def _push(self, kept: Kept, due: int) -> None:
        kept.due = due
        self._pushed += 1
        heappush(self._heap, (due, self._pushed, kept))
        self._woken.set()

    def _due(self) -> Sequence[Kept]:
        """Who is due, as far as there is room."""
        now = self._clock()
        found: list[Kept] = []
        room = self.rules.at_once - len(self._busy) if self._bus.has_room() else 0
        while self._heap and self._heap[0][0] <= now and len(found) < room:
            due, _, kept = heappop(self._heap)
            if kept.due == due and kept not in self._busy and kept in self._kept.get(kept.meter_id, ()):
                found.append(kept)
        return found

    async def _pause(self) -> None:
        """Until somebody is due and there is room, or something has changed."""
        self._woken.clear()
        wait = WAKE_SECONDS
        if self._heap and len(self._busy) < self.rules.at_once and self._bus.has_room():
            wait = min(wait, max(0.0, (self._heap[0][0] - self._clock()) / 1000))
        if self._stopping:
            return
        try:
            async with asyncio.timeout(wait):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _listen(self) -> None:
        """Ask those again who failed, as soon as they are there again."""
        async for event in self._events:
            if event.type in (EventType.METER_ONLINE, EventType.METER_CONNECTED):
                for kept in self._kept.get(event.meter_id, ()):
                    kept.serial = None
                    if kept.failures and kept not in self._busy:
                        self._push(kept, self._clock() + round(_HURRY_MS * fraction(kept.meter_id)))

    # a visit

    async def _visit(self, kept: Kept) -> None:
        """Ask for all that lacks, and say when to come again."""
        try:
            due = await self._ask(kept)
        except HeadendError as error:
            due = self._failed(kept, error)
        else:
            kept.failures, kept.failed_with = 0, ""
        finally:
            self._busy.discard(kept)
        self._push(kept, due)

    def _failed(self, kept: Kept, error: HeadendError) -> int:
        """When to come again after an error."""
        kept.failures += 1
        kept.serial = None
        if error.code != kept.failed_with:
            kept.failed_with = error.code
            log.info("load profile not read", meter=kept.meter_id, code=error.code, reason=str(error))
        telemetry.HISTORY_FAILURES.labels(error.code).inc()
        if isinstance(
            error, CapabilityError | ConfigError | ObjectUndefined | AccessDenied | SecurityError | NotConnected
        ):
            return self._clock() + _PARKED_MS
        seed = f"{kept.meter_id}/{kept.load_profile.ref}"
        return self._clock() + round(1000 * retry_delay(kept.failures, seed))

    async def _ask(self, kept: Kept) -> int:
        """Ask for all that lacks; returns when to come again."""
        state, now = self._roster.state(kept.meter_id), self._clock()
        book = await self._open(kept, state.meter, now)
        days = await asyncio.to_thread(self._ledger.open_days, book.number)
        late = 0 if self._clocks is None else self._clocks.behind(kept.meter_id)
        until = (
            now - round(self.rules.settle_seconds * 1000) - late
        )  # a meter has not yet recorded what it thinks is to come
        missing = set(missing_times(book.grid, days, until))
        kept.on_way &= missing
        kept.doubted &= missing
        lacking = sorted(missing - kept.on_way)
        if self._clocks is not None and (lacking or self._clocks.waits(kept.meter_id)):
            await self._clocks.look(kept.meter_id, book.grid.period)
        if lacking:
            if await self._exchanged(kept, book, now):
                return now
            kept.newest = max(kept.newest, await asyncio.to_thread(self._ledger.newest, book))
            for piece in pieces(
                book.grid, lacking, most=self.rules.rows, kept=kept.load_profile.capacity, now=self._clock()
            ):
                await self._bus.room()
                await self._read(kept, book, piece)
        slot = book.grid.next_after(self._clock() - round(self.rules.settle_seconds * 1000))
        spread = min(self.rules.spread_seconds * 1000, book.grid.period / 4) * fraction(kept.meter_id)
        due = slot + round(self.rules.settle_seconds * 1000 + spread) + late % book.grid.period
        if self._clocks is not None and self._clocks.waits(kept.meter_id):
            due = min(due, self._clock() + book.grid.period // 2)
        return min(due, self._clock() + _DOUBT_MS) if kept.doubted else due

    async def _read(self, kept: Kept, book: Book, piece: Piece) -> None:
        """One request: what it brings is published, what it should have brought is judged."""
        ref, tolerance = kept.load_profile.ref, book.grid.tolerance
        behind = piece.last + book.grid.period  # the row that says why those before it are not there
        request = HistoryRequest(ref=ref, start=piece.first - tolerance, end=behind + tolerance + 1)
        blocks = await self._lanes.run_job(
            kept.meter_id, partial(rows_of, request), Priority.BACKFILL, timeout=PIECE_SECONDS
        )
        arrived: set[int] = set()
        flags: dict[int, RowFlag] = {}
        for block in blocks:
            flags |= flags_of(block)
            arrived |= self._publish(kept, book, wanted(block, book.grid, piece.lacking, piece))
        if again := repeated(at for block in blocks for at in block.times):
            data: dict[str, Value] = {"first": piece.first, "last": piece.last, "count": again}
            self._tell(EventType.INTERVALS_REPEATED, kept, data, Severity.WARNING)
        kept.on_way |= arrived
        kept.newest = max(kept.newest, *flags, 0) if flags else kept.newest
        lost = [at for at in piece.lacking if at not in arrived]
        if lost:
            await self._judge(kept, book, lost, flags)

    def _publish(self, kept: Kept, book: Book, block: HistoryBlock) -> set[int]:
        """Hand rows on; returns the intervals that they are."""
        batch = history_batch(kept.meter_id, block, self._clock())
        if not batch.quantities:
            return set()
        batch.load_profile = book.load_profile
        telemetry.HISTORY_ROWS.inc(len(block.rows))
        for fall in falls(batch, kept.counters):
            kept.serial = None
            data: dict[str, Value] = {
                "quantity": fall.quantity,
                "before": fall.before,
                "after": fall.after,
                "measured_at": fall.at,
                "rolled_over": fall.rolled_over,
            }
            self._tell(EventType.COUNTER_FELL, kept, data, Severity.WARNING)
        self._bus.publish(batch)
        found = set()
        for at in set(batch.measured_at):
            place = book.grid.place(at)
            if place is not None:
                found.add(book.grid.times(place[0])[place[1]])
        return found

    async def _judge(self, kept: Kept, book: Book, lost: Collection[int], flags: dict[int, RowFlag]) -> None:
        """What a meter did not answer with: never there, if it says so twice, or has written over it."""
        oldest, _ = await self._oldest(kept)
        found = reasons(book.grid, lost, flags, newest=kept.newest, oldest=oldest)
        sure = {at: why for at, why in found.items() if why is Reason.WRAPPED or at in kept.doubted}
        kept.doubted = (kept.doubted | set(found)) - set(sure)
        if sure:
            await self._void(kept, book, sure)

    async def _void(self, kept: Kept, book: Book, found: dict[int, Reason]) -> None:
        count = await asyncio.to_thread(self._ledger.void, book, found)
        if not count:
            return
        for reason in sorted(set(found.values()), key=lambda each: each.value):
            times = [at for at, each in found.items() if each is reason]
            data: dict[str, Value] = {
                "reason": reason.value,
                "first": min(times),
                "last": max(times),
                "count": len(times),
            }
            self._tell(EventType.INTERVALS_LOST, kept, data, Severity.WARNING)

    # what a meter is asked besides

    async def _oldest(self, kept: Kept) -> tuple[int | None, int]:
        """The time of the oldest row that the meter holds, if it has any, and its period as it says."""
        request = HistoryRequest(ref=kept.load_profile.ref, first_entry=1, last_entry=1)
        blocks = await self._lanes.run_job(
            kept.meter_id, partial(rows_of, request), Priority.BACKFILL, timeout=PIECE_SECONDS
        )
        times = [at for block in blocks for at in block.times if at is not None]
        return (min(times) if times else None), max((block.period for block in blocks), default=0)

    async def _open(self, kept: Kept, meter: Meter, now: int) -> Book:
        """The ledger of a load profile, with places up to today; of a meter that is new, from its oldest row on."""
        book = kept.book
        if book is not None and book.opened >= now // DAY_MS:
            return book
        address = kept.load_profile.ref.address
        known = [each for each in await asyncio.to_thread(self._ledger.books, meter.id) if each.load_profile == address]
        if known:
            grid, since = known[0].grid, known[0].since
        else:
            oldest, told = await self._oldest(kept)
            period = told or kept.load_profile.period_seconds * 1000
            zone = self._zone(meter)
            grid = Grid(period, 0, zone) if oldest is None else Grid.seen(period, zone, oldest)
            since = max(now - round(self.rules.backfill_days * DAY_MS), now if oldest is None else oldest)
        opened = partial(
            self._ledger.open, meter.id, address, grid, since=since, until=now, name=kept.load_profile.name
        )
        book = kept.book = await asyncio.to_thread(opened)
        return book

    def _zone(self, meter: Meter) -> str:
        tagged = (tag.removeprefix(ZONE) for tag in meter.tags if tag.startswith(ZONE))
        return next(tagged, meter.params.get("zone", self.rules.zone))

    async def _exchanged(self, kept: Kept, book: Book, now: int) -> bool:
        """Is it another meter than before? What that one recorded and nobody has read never arrives."""
        if kept.serial is None:
            identity = await self._lanes.run_job(kept.meter_id, who_answers, Priority.BACKFILL, timeout=PIECE_SECONDS)
            kept.serial = identity.serial or identity.logical_device_name
        serial = kept.serial
        if not serial or serial == book.serial:
            return False
        if book.serial:
            data: dict[str, Value] = {"before": book.serial, "after": serial}
            self._tell(EventType.METER_EXCHANGED, kept, data, Severity.WARNING)
            oldest, _ = await self._oldest(kept)
            begin = max(await asyncio.to_thread(self._ledger.newest, book), (oldest or now) - 1)
            days = await asyncio.to_thread(self._ledger.open_days, book.number)
            await self._void(kept, book, dict.fromkeys(missing_times(book.grid, days, begin), Reason.METER_EXCHANGED))
            kept.newest = 0
            kept.counters.clear()
        named = partial(self._ledger.open, book.meter_id, book.load_profile, book.grid)
        kept.book = await asyncio.to_thread(partial(named, since=book.since, until=now, serial=serial))
        return bool(book.serial)

    def _tell(self, kind: EventType, kept: Kept, data: dict[str, Value], severity: Severity) -> None:
        data = {"load_profile": kept.load_profile.ref.address, **data}
        self._bus.publish(
            Event(type=kind, severity=severity, occurred_at=self._clock(), meter_id=kept.meter_id, data=data)
        )
