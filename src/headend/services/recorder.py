"""The recorder: keeps events in the database, for those who ask later. An event that cannot be kept is on the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from headend.errors import StorageError
from headend.model.event import Event
from headend.services.bus import Bus

QUEUE_EVENTS: Final = 20_000
BATCH_EVENTS: Final = 500
LINGER_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


class Recorder:
    """Appends what passes over the bus by `append`, a blocking function that raises StorageError."""

    def __init__(self, bus: Bus, append: Callable[[Sequence[Event]], object]) -> None:
        self._append = append
        self._queue = bus.subscribe("recorder", Event, maxsize=QUEUE_EVENTS)

    async def run(self) -> None:
        """Record until `close`."""
        while events := await self._queue.take(BATCH_EVENTS, LINGER_SECONDS):
            try:
                await asyncio.to_thread(self._append, events)
            except StorageError as error:
                for event in events:
                    log.warning("event not kept", type=event.type.value, meter=event.meter_id, reason=str(error))

    def close(self) -> None:
        """Take nothing more; `run` writes what waits and returns."""
        self._queue.close()
