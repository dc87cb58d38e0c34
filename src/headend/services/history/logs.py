"""Logs of meters, whose rows come when they come: billing values become readings, entries of event logs become events.

A load profile without a period is one of them. It is asked for what is newer than what is known, which the store tells: after
a restart nothing is said twice and nothing is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import structlog

from headend import telemetry
from headend.drivers.mapping import history_batch, scale
from headend.errors import HeadendError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Meter
from headend.model.objects import HistoryBlock, HistoryRequest
from headend.model.profile import LoadProfile, MeterProfile, event_code
from headend.model.reading import Value
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.schedule import fraction, retry_delay
from headend.services.acquisition.turns import Priority
from headend.services.bus import Bus
from headend.services.history.collector import OFF, PIECE_SECONDS
from headend.services.history.kept import Rules, rows_of
from headend.services.roster import Clock, MeterState, Roster
from headend.storage.events import Events
from headend.storage.readings import Readings

TICK_SECONDS: Final = 15.0
EVERY_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
OVERLAP_MS: Final = 3_600_000
"""A meter's clock may have been set back since it was asked: so far back it is asked once more, and nothing is told twice."""
MOST_TEXT: Final = 200
_KNOWN: Final = 1000

Entry = tuple[int, int, str]
"""Time, code and further values of an entry of an event log."""

log = structlog.get_logger(__name__)


class Log:
    """One log of one meter."""

    __slots__ = ("busy", "due", "failures", "known", "load_profile", "meter_id", "since")

    def __init__(self, meter_id: str, load_profile: LoadProfile, due: int) -> None:
        self.meter_id = meter_id
        self.load_profile = load_profile
        self.due = due
        self.busy = False
        self.failures = 0
        self.since: int | None = None
        """the latest time of what is known; None before it is known what is stored"""
        self.known: set[Entry] = set()
        """entries that were told already, of those that may come once more"""


def entries_of(block: HistoryBlock) -> Iterator[Entry]:
    """The entries of an event log."""
    for at, row in zip(block.times, block.rows, strict=True):
        code = event_code(row)
        if at is None or code is None:
            continue
        rest = list(row)
        rest.remove(code)
        shown = (scale(value, 0) for value in rest)
        yield at, code, " ".join(str(value) for value in shown if value is not None)[:MOST_TEXT]


class Logs:
    """Reads the logs of all enabled meters that have any."""

    def __init__(
        self,
        roster: Roster,
        lanes: Lanes,
        bus: Bus,
        *,
        events: Events,
        readings: Readings,
        profile: Callable[[Meter], MeterProfile | None],
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._lanes = lanes
        self._bus = bus
        self._events = events
        self._readings = readings
        self._profile = profile
        self._clock = clock
        self._rules = rules
        self._logs: dict[str, list[Log]] = {}
        self._stopping = asyncio.Event()
        self._room = asyncio.Semaphore(rules.at_once)
        roster.follow(self._follow)

    async def run(self) -> None:
        """Read until `stop`; returns when what is under way has ended."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                now = self._clock()
                for each in [
                    each for logs in self._logs.values() for each in logs if each.due <= now and not each.busy
                ]:
                    each.busy = True
                    group.create_task(self._visit(each), name=f"log of {each.meter_id}")
                try:
                    async with asyncio.timeout(TICK_SECONDS):
                        await self._stopping.wait()
                except TimeoutError:
                    continue

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def _follow(self, meter_id: str, state: MeterState | None) -> None:
        self._logs.pop(meter_id, None)
        profile = None if state is None else self._profile(state.meter)
        if state is None or profile is None or not state.meter.enabled or OFF in state.meter.tags:
            return
        due = self._clock() + round(self._rules.spread_seconds * 1000 * fraction(meter_id))
        chosen = [each for each in profile.load_profiles if each.period_seconds <= 0]
        if chosen:
            self._logs[meter_id] = [Log(meter_id, each, due) for each in chosen]

    async def _visit(self, each: Log) -> None:
        try:
            async with self._room:
                if not self._stopping.is_set():
                    await self._read(each)
        except HeadendError as error:
            each.failures += 1
            telemetry.HISTORY_FAILURES.labels(error.code).inc()
            log.info("log not read", meter=each.meter_id, code=error.code, reason=str(error))
            each.due = self._clock() + round(
                1000 * retry_delay(each.failures, f"{each.meter_id}/{each.load_profile.ref}")
            )
        else:
            each.failures = 0
            each.due = self._clock() + EVERY_MS
        finally:
            each.busy = False

    async def _read(self, each: Log) -> None:
        if each.since is None:
            await asyncio.to_thread(self._remember, each, self._clock())
        since = each.since or 0
        request = HistoryRequest(ref=each.load_profile.ref, start=max(0, since - OVERLAP_MS))
        blocks = await self._lanes.run_job(
            each.meter_id, partial(rows_of, request), Priority.BILLING, timeout=PIECE_SECONDS
        )
        newest = since
        for block in blocks:
            await self._bus.room()
            if any(column.quantity for column in block.columns):
                await self._bill(each, block)
            else:
                self._tell(each, block)
            newest = max(newest, *(at for at in block.times if at is not None), 0) if block.times else newest
        each.since = newest
        each.known = {entry for entry in each.known if entry[0] >= newest - OVERLAP_MS}

    def _remember(self, each: Log, now: int) -> None:
        """What of the log was told before this process began."""
        told = self._events.list(meter_id=each.meter_id, types=[EventType.METER_EVENT], limit=_KNOWN)
        address = each.load_profile.ref.address
        mine = [stored.event for stored in told if stored.event.data.get("load_profile") == address]
        each.known = {(event.occurred_at, int(event.data["code"]), str(event.data["values"])) for event in mine}
        newest = max((event.occurred_at for event in mine), default=0)
        each.since = max(newest, now - round(self._rules.backfill_days * DAY_MS))

    def _tell(self, each: Log, block: HistoryBlock) -> None:
        """Entries that are new become events at their own time."""
        for at, code, values in entries_of(block):
            if (at, code, values) in each.known:
                continue
            each.known.add((at, code, values))
            data: dict[str, Value] = {
                "load_profile": each.load_profile.ref.address,
                "name": each.load_profile.name,
                "code": code,
                "text": each.load_profile.event_text(code),
                "values": values,
            }
            kind = EventType.METER_EVENT
            self._bus.publish(
                Event(type=kind, severity=Severity.INFO, occurred_at=at, meter_id=each.meter_id, data=data)
            )

    async def _bill(self, each: Log, block: HistoryBlock) -> None:
        """Values of the end of a billing period become readings of that time, unless they are stored already."""
        batch = history_batch(each.meter_id, block, self._clock())
        fresh = [
            at
            for at in sorted(set(batch.measured_at))
            if not await self._stored(batch.meter_id, batch.quantities[0], at)
        ]
        kept = [index for index, at in enumerate(batch.measured_at) if at in fresh]
        if kept:
            batch.quantities = [batch.quantities[index] for index in kept]
            batch.values = [batch.values[index] for index in kept]
            batch.quality = [batch.quality[index] for index in kept]
            batch.measured_at = [batch.measured_at[index] for index in kept]
            self._bus.publish(batch)

    async def _stored(self, meter_id: str, quantity: str, at: int) -> bool:
        found = await asyncio.to_thread(self._readings.series, meter_id, quantity, at, at + 1)
        return len(found.measured_at) > 0
