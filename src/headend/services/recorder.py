"""The recorder: keeps events in the database, for those who ask later. An event that cannot be kept is on the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from headend.errors import HeadendError, StorageError
from headend.model.event import PASSING_BY, Event
from headend.services.bus import Bus

QUEUE_EVENTS: Final = 20_000
BATCH_EVENTS: Final = 500
LINGER_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 2.0
PASSING: Final = ("full", "locked", "away")
"""Reasons of a StorageError that pass: events wait for that, and the oldest are dropped when their queue is full."""

log = structlog.get_logger(__name__)


class Recorder:
    """Appends what passes over the bus by `append`, a blocking function that raises errors of the tree."""

    def __init__(self, bus: Bus, append: Callable[[Sequence[Event]], object]) -> None:
        self._append = append
        self._closing = asyncio.Event()
        self._queue = bus.subscribe("recorder", Event, maxsize=QUEUE_EVENTS)

    async def run(self) -> None:
        """Record until `close`."""
        while events := await self._queue.take(BATCH_EVENTS, LINGER_SECONDS):
            events = [event for event in events if event.type not in PASSING_BY]
            try:
                await self._keep(events)
            except StorageError as error:
                for event in events:
                    _not_kept(event, error)
            except (HeadendError, TypeError, ValueError, OverflowError):  # it holds what no database can take
                await self._one_by_one(events)

    async def _keep(self, events: Sequence[Event]) -> None:
        """Append events, again and again while the disk is full, but for the last time when it is time to stop."""
        while True:
            last = self._closing.is_set()
            try:
                await asyncio.to_thread(self._append, events)
            except StorageError as error:
                if last or error.reason not in PASSING:
                    raise
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), RETRY_SECONDS)
            else:
                return

    async def _one_by_one(self, events: Sequence[Event]) -> None:
        """Keep those of a batch that can be kept."""
        for event in events:
            try:
                await asyncio.to_thread(self._append, [event])
            except (HeadendError, TypeError, ValueError, OverflowError) as error:
                _not_kept(event, error)

    def close(self) -> None:
        """Take nothing more; `run` writes what waits and returns."""
        self._closing.set()
        self._queue.close()


def _not_kept(event: Event, error: Exception) -> None:
    log.warning(
        "event not kept", type=event.type.value, meter=event.meter_id, reason=f"{type(error).__name__}: {error}"
    )
