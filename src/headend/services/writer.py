"""The writer: takes readings off the bus and gives them to the database, in batches, from one thread.

Its subscription blocks: while the database is slow or away, readings wait in it, and when it is full nobody starts
another poll. Nothing is lost and nothing is written twice by us; a batch that was not acknowledged is written again.
A batch that holds what no database can take is a bug of whoever made it: it is logged, counted and dropped, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from headend import telemetry
from headend.errors import StorageError
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch
from headend.services.bus import BLOCK, Bus
from headend.services.roster import Clock

BATCH_READINGS: Final = 1000
"""worth a transaction: what comes meanwhile is waited for"""
MOST_READINGS: Final = 10_000
"""in one transaction, where so many wait: an hour's backlog is not written in small change"""
LINGER_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 1.0
RETRY_CAP_SECONDS: Final = 30.0

log = structlog.get_logger(__name__)


def _weigh(batch: ReadingBatch) -> int:
    """Readings and gaps; a batch weighs something even when it brought nothing."""
    return len(batch.quantities) + len(batch.missing) or 1


class Writer:
    """Writes what passes over the bus by `write`, a blocking function that raises StorageError.

    It raises TypeError, ValueError or OverflowError, and writes nothing, when a batch holds what cannot be stored.
    `acknowledged` counts readings that `write` has returned for, `refused` batches that were dropped.
    """

    def __init__(
        self,
        bus: Bus,
        write: Callable[[Sequence[ReadingBatch]], object],
        *,
        clock: Clock,
        queue_readings: int = 100_000,
    ) -> None:
        self.acknowledged = 0
        self.refused = 0
        self._bus = bus
        self._write = write
        self._clock = clock
        self._queue = bus.subscribe("writer", ReadingBatch, maxsize=queue_readings, overflow=BLOCK, weigh=_weigh)
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
            while batches := await self._queue.take(BATCH_READINGS, LINGER_SECONDS, MOST_READINGS):
                self._in_hand = sum(map(_weigh, batches))
                await self._store(loop, thread, batches)
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

    async def _store(
        self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, batches: list[ReadingBatch]
    ) -> None:
        """Write batches, again and again until the database takes them."""
        delay = RETRY_SECONDS
        while True:
            last = self._closing.is_set()
            try:
                await loop.run_in_executor(thread, self._write, batches)
            except StorageError as error:
                self._report_full(error)
                telemetry.WRITER_QUEUE.set(self.waiting)
                if last:
                    raise
                await self._wait(delay)
                delay = min(2 * delay, RETRY_CAP_SECONDS)
            except (TypeError, ValueError, OverflowError) as error:
                if len(batches) > 1:
                    for batch in batches:
                        await self._store(loop, thread, [batch])
                else:
                    self._refuse(batches[0], error)
                return
            else:
                break
        readings = sum(len(batch.quantities) for batch in batches)
        self.acknowledged += readings
        telemetry.READINGS_STORED.inc(readings)
        if self._full:
            self._full = False
            log.info("database takes readings again", waiting=self._queue.size)
            self._publish(EventType.STORAGE_RECOVERED, Severity.INFO, {})

    def _refuse(self, batch: ReadingBatch, error: Exception) -> None:
        self.refused += 1
        telemetry.BATCHES_REFUSED.inc()
        log.error(
            "batch refused by the database and dropped",
            meter=batch.meter_id,
            source=batch.source.name,
            readings=len(batch),
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
