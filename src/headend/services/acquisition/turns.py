"""Whose turn it is: one job at a time, the most urgent first, the others wait in a bounded queue until their deadlines."""

from __future__ import annotations

import asyncio
import enum
from heapq import heapify, heappop, heappush
from typing import Final

from headend.errors import Busy, HeadendError, LinkTimeout
from headend.transport.deadline import Sweeper

MAX_WAITING: Final = 64
"""jobs that may wait for one wire"""


class Priority(enum.IntEnum):
    """Who goes first when several wait for one wire."""

    COMMAND = 0
    REQUEST = 1
    """somebody waits for the answer"""
    POLL = 2


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

    __slots__ = ("_order", "_sweeper", "_waiting", "_wire", "busy")

    def __init__(self, wire: str, sweeper: Sweeper) -> None:
        self.busy = False
        self._wire = wire
        self._sweeper = sweeper
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._order = 0

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

    def pass_on(self) -> None:
        """Give the turn to the most urgent of those that wait; without any the wire is free."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.granted.done():
                turn.granted.set_result(None)
                return
        self.busy = False

    def refuse(self, error: HeadendError) -> None:
        """Let all that wait fail."""
        for _, _, turn in self._waiting:
            turn.refuse(error)
