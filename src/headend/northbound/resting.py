"""A sink that is switched off: what waits for it in the journal, and what goes before it is switched on again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from headend.model.delivery import SinkState
from headend.model.event import Event, Severity
from headend.model.journal import Cursor, Extent
from headend.model.ranges import Ranges
from headend.northbound.standing import Losses
from headend.services.roster import Clock
from headend.storage.journal import Journal

DAY_MS: Final = 86_400_000


class Resting:
    """Keeps the place of one sink. Belongs to the event loop, but for `load`."""

    def __init__(self, name: str, kind: str, journal: Journal, clock: Clock, publish: Callable[[Event], None]) -> None:
        self.name = name
        self.kind = kind
        self._journal = journal
        self._clock = clock
        self._losses = Losses(name, clock, publish, between_ms=DAY_MS, severity=Severity.WARNING)
        self._cursor = Cursor(0)
        self._backlog = 0
        self._oldest: int | None = None

    def load(self) -> bool:
        """Find out where the sink is; False where it never was anywhere. Blocks."""
        cursor = self._journal.load(self.name)
        if cursor is None:
            return False
        self._cursor = cursor
        self._count()
        return True

    async def purge(self, below: int) -> None:
        """The journal is about to forget what is below a number: so does the sink, and says what it never had."""
        waiting = self._waiting()
        lost = await asyncio.to_thread(self._journal.extent, waiting.below(below))
        if lost.entries:
            waiting.remove(0, below)
            self._cursor = Cursor(max(below, self._cursor.head), tuple(waiting.below(self._cursor.head)))
            await asyncio.to_thread(self._journal.save, self.name, self._cursor)
            self._losses.add(lost)

    async def look(self) -> None:
        """Count anew what waits, and tell what is due."""
        await asyncio.to_thread(self._count)
        self._losses.add(Extent())

    def _waiting(self) -> Ranges:
        return Ranges([*self._cursor.pending, (self._cursor.head, self._journal.head)])

    def _count(self) -> None:
        waiting = self._journal.extent(self._waiting())
        self._backlog, self._oldest = waiting.entries, waiting.first

    @property
    def state(self) -> SinkState:
        """How it is doing."""
        return SinkState(
            name=self.name,
            kind=self.kind,
            enabled=False,
            connected_since=None,
            last_error="",
            last_error_at=None,
            delivered=0,
            refused=0,
            failed=0,
            lost=self._losses.count,
            lost_from=self._losses.first,
            lost_until=self._losses.last,
            backlog=self._backlog,
            oldest=self._oldest,
            lag_seconds=0.0 if self._oldest is None else max(0, self._clock() - self._oldest) / 1000,
            per_minute=0,
            connections=0,
        )
