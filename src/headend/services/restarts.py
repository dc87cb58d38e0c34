"""Named tasks that are started again when they end in an error or are stuck, with rest periods that grow. Rests are pure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from headend.errors import ConfigError

HOUR_SECONDS: Final = 3600.0
CAP_SECONDS: Final = 300.0

log = structlog.get_logger(__name__)


class Stuck(RuntimeError):
    """A part of the head-end made no progress, and starting it again did not help."""


class Rests:
    """How long to rest before each restart: first `first` seconds, then twice as long; at most `most` within an hour."""

    __slots__ = ("_first", "_most", "_times")

    def __init__(self, first: float, most: int) -> None:
        self._first = first
        self._most = most
        self._times: deque[float] = deque()

    def next(self, now: float) -> float | None:
        """Take a rest; None when there were too many within the hour."""
        while self._times and self._times[0] <= now - HOUR_SECONDS:
            self._times.popleft()
        if len(self._times) >= self._most:
            return None
        self._times.append(now)
        return float(min(CAP_SECONDS, self._first * 2.0 ** (len(self._times) - 1)))


class Kept:
    """One named task. Await `run`: it ends when the task does, and raises what it died of once that happens too often."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        rests: Rests,
        acted: Callable[[str, str, str], None],
    ) -> None:
        """`acted` is told what, why and what was done."""
        self.name = name
        self._work = work
        self._rests = rests
        self._acted = acted
        self._stuck = ""
        self._inner: asyncio.Task[None] | None = None

    def restart(self, why: str) -> None:
        """It is stuck: end it and start it again."""
        if self._inner is not None and not self._stuck:
            self._stuck = why
            self._inner.cancel()

    async def run(self) -> None:
        """Run it, and run it again after a rest when it fails."""
        loop = asyncio.get_running_loop()
        while True:
            self._stuck = ""
            inner = self._inner = loop.create_task(self._go(), name=self.name)
            try:
                await asyncio.wait({inner})
            finally:
                self._inner = None
                if not inner.done():
                    inner.cancel()
                    await asyncio.gather(inner, return_exceptions=True)
            if inner.cancelled():
                error: BaseException | None = Stuck(f"{self.name}: {self._stuck or 'it was cancelled'}")
            else:
                error = inner.exception()
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if error is None:
                return
            if isinstance(error, ConfigError):
                raise error
            why = self._stuck or f"{type(error).__name__}: {error}"
            rest = self._rests.next(loop.time())
            if rest is None:
                self._acted(self.name, why, "ended the process")
                raise error
            log.error("a part failed and is started again", part=self.name, reason=why, after=rest, exc_info=error)
            self._acted(self.name, why, f"started again after {rest:g} s")
            await asyncio.sleep(rest)

    async def _go(self) -> None:
        await self._work()
