"""Whose turn it is: one job at a time, the most urgent first, the others wait in a bounded queue until their deadlines.

Who is next is decided a moment after a turn ends, so that whoever goes on from one job to the next is among those that wait.
What is least urgent gets a turn now and then, however much else there is.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heapify, heappop, heappush
from typing import Final

from headend.errors import Busy, HeadendError, LinkTimeout
from headend.transport.deadline import Sweeper

MAX_WAITING: Final = 64
"""jobs that may wait for one wire"""
BACKFILL_EVERY: Final = 12
"""turns, one of which is for backfill where that waits"""


class Priority(enum.IntEnum):
    """Who goes first when several wait for one wire."""

    COMMAND = 0
    REQUEST = 1
    """somebody waits for the answer"""
    BILLING = 2
    """registers and profiles that are billed by, at their time"""
    POLL = 3
    """live values"""
    BACKFILL = 4
    """what was missed: in pieces, between everything else"""


class _Turn:
    """A job that waits for the lane; the sweeper expires it."""

    __slots__ = ("deadline", "granted", "wire")

    def __init__(self, wire: str, deadline: float) -> None:
        self.wire = wire
        self.deadline = deadline
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        self.refuse(LinkTimeout(f"{self.wire} was busy with other work until the deadline"))

    def refuse(self, error: HeadendError) -> None:
        if not self.granted.done():
            self.granted.set_exception(error)


class Turns:
    """The turn on one wire.

    Who finds `busy` false sets it and goes ahead; who finds it true awaits `wait`. Whoever had the turn calls `pass_on`.
    """

    __slots__ = ("_order", "_passed_over", "_sweeper", "_waiting", "_wire", "busy")

    def __init__(self, wire: str, sweeper: Sweeper) -> None:
        self.busy = False
        self._wire = wire
        self._sweeper = sweeper
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._order = 0
        self._passed_over = 0
        """turns that others had while backfill waited"""

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    async def wait(self, priority: Priority, deadline: float) -> None:
        """Wait for the turn until `deadline`; raises Busy when too many wait, LinkTimeout when it did not come in time."""
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(f"{len(self._waiting)} jobs wait for {self._wire} already", hint="try again later")
        turn = _Turn(self._wire, deadline)
        self._order += 1
        heappush(self._waiting, (priority, self._order, turn))
        self._sweeper.add(turn)
        try:
            await turn.granted
        except BaseException:
            granted = turn.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.pass_on()
            else:
                self._waiting = [each for each in self._waiting if each[2] is not turn]
                heapify(self._waiting)
            raise
        finally:
            self._sweeper.discard(turn)

    @asynccontextmanager
    async def held(self, priority: Priority, deadline: float) -> AsyncIterator[None]:
        """Have the turn as long as the block lasts; raises Busy, and LinkTimeout when it did not come in time."""
        if self.busy:
            await self.wait(priority, deadline)
        self.busy = True
        try:
            yield
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        """Give the turn to the most urgent of those that wait by the next iteration of the loop; without any the wire is free."""
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._grant)
        else:
            self.busy = False

    def _grant(self) -> None:
        while self._waiting:
            turn = self._take()
            if not turn.granted.done():
                turn.granted.set_result(None)
                return
        self.busy = False

    def _take(self) -> _Turn:
        """The most urgent turn, or the oldest backfill when that was passed over too often."""
        waiting = self._waiting
        backfill = min((each for each in waiting if each[0] == Priority.BACKFILL), default=None)
        if backfill is not None and waiting[0] is not backfill:
            self._passed_over += 1
            if self._passed_over >= BACKFILL_EVERY:
                waiting.remove(backfill)
                heapify(waiting)
                self._passed_over = 0
                return backfill[2]
        elif backfill is not None:
            self._passed_over = 0
        return heappop(waiting)[2]

    def refuse(self, error: HeadendError) -> None:
        """Let all that wait fail."""
        for _, _, turn in self._waiting:
            turn.refuse(error)
