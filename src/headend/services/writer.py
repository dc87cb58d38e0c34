"""The writer: takes readings off the bus and gives them to the database, in batches, from one thread.

Where something is delivered northbound it takes events, too, and says what is stored: that, and nothing else, may be
delivered. Its subscription blocks: while the database is slow or away, readings wait in it, and when it is full nobody starts
another poll. Nothing is lost and nothing is written twice by us; a batch that was not acknowledged is written again.
What holds what no database can take is a bug of whoever made it: it is logged, counted and dropped, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from headend import telemetry
from headend.errors import StorageError
from headend.model.event import PASSING_BY, Event, EventType, Severity
from headend.model.journal import Item, Segment
from headend.model.reading import ReadingBatch
from headend.services.bus import BLOCK, Bus, Subscription
from headend.services.roster import Clock

BATCH_READINGS: Final = 1000
"""worth a transaction: what comes meanwhile is waited for"""
MOST_READINGS: Final = 10_000
"""in one transaction, where so many wait: an hour's backlog is not written in small change"""
LINGER_SECONDS: Final = 0.2
"""waited for more of them"""
QUIET_SECONDS: Final = 0.02
"""waited where little comes"""
QUIET_READINGS: Final = 50
"""in that time, at most: that is little"""
RETRY_SECONDS: Final = 1.0
RETRY_CAP_SECONDS: Final = 30.0

log = structlog.get_logger(__name__)


def _weigh(item: Item) -> int:
    """Readings and gaps; a batch weighs something even when it brought nothing."""
    return 1 if isinstance(item, Event) else len(item.quantities) + len(item.missing) or 1


def _readings(items: Sequence[Item]) -> int:
    return sum(len(item.quantities) for item in items if not isinstance(item, Event))


class Writer:
    """Writes what passes over the bus by `write`, a blocking function that raises StorageError.

    It raises TypeError, ValueError or OverflowError, and writes nothing, when an item holds what cannot be stored. After
    a StorageError it is given the very same sequence again. What it returns goes to `stored`, in the order of writing.
    `acknowledged` counts readings that `write` has returned for, `refused` items that were dropped.
    """

    def __init__(
        self,
        bus: Bus,
        write: Callable[[Sequence[Item]], Segment | None],
        *,
        clock: Clock,
        stored: Callable[[Segment], None] | None = None,
        queue_readings: int = 100_000,
    ) -> None:
        """Without `stored` nothing is delivered, and events are left alone."""
        self.acknowledged = 0
        self.refused = 0
        self._bus = bus
        self._write = write
        self._clock = clock
        self._stored = stored
        types = (ReadingBatch,) if stored is None else (ReadingBatch, Event)
        self._queue: Subscription[Item] = bus.subscribe(
            "writer", *types, maxsize=queue_readings, overflow=BLOCK, weigh=_weigh
        )
        self._full = False
        self._in_hand = 0
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Write until `close`; returns when all that was published before is written.

        After `close` a database that is away is tried once more; then the StorageError is raised, with what could not be
        written still in `waiting`.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer") as thread:
            linger, before = QUIET_SECONDS, loop.time()
            while items := await self._queue.take(BATCH_READINGS, linger, MOST_READINGS):
                self._in_hand = sum(map(_weigh, items))
                now = loop.time()
                little = QUIET_READINGS * max(1.0, (now - before) / QUIET_SECONDS)
                linger, before = QUIET_SECONDS if self._in_hand < little else LINGER_SECONDS, now
                kept = [item for item in items if not isinstance(item, Event) or item.type not in PASSING_BY]
                if kept:
                    await self._store(loop, thread, kept)
                self._in_hand = 0
                telemetry.WRITER_QUEUE.set(self.waiting)

    def close(self) -> None:
        """Take nothing more off the bus; `run` flushes and returns."""
        self._closing.set()
        self._queue.close()

    @property
    def stuck(self) -> bool:
        """True while the database refuses what it is given."""
        return self._full

    @property
    def waiting(self) -> int:
        """Weight of what the database has not acknowledged."""
        return self._queue.size + self._in_hand

    async def _store(self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, items: Sequence[Item]) -> None:
        """Write items, again and again until the database takes them."""
        delay = RETRY_SECONDS
        while True:
            last = self._closing.is_set()
            try:
                segment = await loop.run_in_executor(thread, self._write, items)
            except StorageError as error:
                self._report_full(error)
                telemetry.WRITER_QUEUE.set(self.waiting)
                if last:
                    raise
                await self._wait(delay)
                delay = min(2 * delay, RETRY_CAP_SECONDS)
            except (TypeError, ValueError, OverflowError) as error:
                if len(items) > 1:
                    for item in items:
                        await self._store(loop, thread, [item])
                else:
                    self._refuse(items[0], error)
                return
            else:
                break
        if segment is not None and self._stored is not None:
            self._stored(segment)
        readings = _readings(items)
        self.acknowledged += readings
        telemetry.READINGS_STORED.inc(readings)
        if self._full:
            self._full = False
            log.info("database takes readings again", waiting=self._queue.size)
            self._publish(EventType.STORAGE_RECOVERED, Severity.INFO, {})

    def _refuse(self, item: Item, error: Exception) -> None:
        self.refused += 1
        telemetry.BATCHES_REFUSED.inc()
        log.error(
            "batch refused by the database and dropped",
            meter=item.meter_id,
            source=item.type.value if isinstance(item, Event) else item.source.name,
            readings=_readings([item]),
            reason=f"{type(error).__name__}: {error}",
        )

    async def _wait(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._closing.wait()
        except TimeoutError:
            return

    def _report_full(self, error: StorageError) -> None:
        if not self._full:
            self._full = True
            log.error("database does not take readings", code=error.code, reason=str(error))
            self._publish(EventType.STORAGE_FULL, Severity.CRITICAL, {"code": error.code, "reason": str(error)})

    def _publish(self, kind: EventType, severity: Severity, data: dict[str, int | float | str | bool]) -> None:
        self._bus.publish(Event(type=kind, severity=severity, occurred_at=self._clock(), data=data))
