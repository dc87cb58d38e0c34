"""Statistics: once a minute, what was counted of each meter since the last time goes to the store, by slots of fifteen minutes.

Nothing is done for a meter that did nothing. A kill of the process loses the figures of a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from headend.errors import StorageError
from headend.model.statistics import CLASSES, COUNTS, SLOT_MS, Figures
from headend.services.roster import Clock, MeterState, Roster

EVERY_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Statistician:
    """Gives `store` (blocking; raises StorageError) the slot and the figures of its meters."""

    def __init__(self, roster: Roster, store: Callable[[int, Mapping[str, Figures]], None], clock: Clock) -> None:
        self._roster = roster
        self._store = store
        self._clock = clock
        self._flushing = asyncio.Lock()
        self._waiting: dict[int, dict[str, Figures]] = {}
        """by slot: what the database has not taken"""

    async def run(self) -> None:
        """Until cancelled; then the rest is stored."""
        try:
            while True:
                await asyncio.sleep(EVERY_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Store what was counted; what the database does not take now goes with the next time, for an hour."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        slot = self._clock() // SLOT_MS * SLOT_MS
        waiting = self._waiting.setdefault(slot, {})
        for state in self._roster:
            found = _since(state)
            if found is not None:
                waiting.setdefault(state.meter.id, Figures()).add(found)
        for old in sorted(self._waiting):
            if self._waiting[old]:
                try:
                    await asyncio.to_thread(self._store, old, self._waiting[old])
                except StorageError as error:
                    log.warning("statistics are not stored", reason=str(error))
                    break
            del self._waiting[old]
        for old in sorted(self._waiting)[:-4]:
            del self._waiting[old]


def _since(state: MeterState) -> Figures | None:
    """What a meter did since the last time, None where that is nothing; from now on it counts as taken over."""
    seen = state.figures
    if all(getattr(state, name) == getattr(seen, name) for name in COUNTS):
        return None
    counted = {name: getattr(state, name) for name in COUNTS}
    since = Figures(
        **{name: value - getattr(seen, name) for name, value in counted.items()},
        seconds=seen.seconds,
        fastest=seen.fastest,
        slowest=seen.slowest,
        classes=seen.classes,
    )
    state.figures = Figures(**counted, classes=[0] * CLASSES)
    return since
