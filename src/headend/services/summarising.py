"""Summarising: readings of days that are over become summaries, which charts of long times are made of.

The work is done in short turns, each followed by a pause as long as it took, so that writing, and whoever reads, go first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from headend import telemetry
from headend.errors import StorageError
from headend.services.retention import DAY_MS
from headend.services.roster import Clock

EVERY_SECONDS: Final = 900.0
SETTLE_MS: Final = 3_600_000
"""after midnight (UTC) until a day is summarised: most of what comes late has come then"""

log = structlog.get_logger(__name__)


class Turn(Protocol):
    """What a turn did."""

    @property
    def day(self) -> int | None:
        """The day (since 1970-01-01, UTC) that it completed."""
        ...

    @property
    def readings(self) -> int:
        """How many readings it summarised."""
        ...

    @property
    def more(self) -> bool:
        """Is there more to do?"""
        ...


async def summarise(turn: Callable[[int], Turn], waiting: Callable[[], int], clock: Clock) -> None:
    """Until cancelled, call `turn` with the first day that is not to be summarised yet; `waiting` counts what came late."""
    while True:
        try:
            telemetry.SUMMARIES_DUE.set(await asyncio.to_thread(waiting))
            await _catch_up(turn, clock)
        except StorageError as error:
            log.warning("readings are not summarised", reason=str(error))
        await asyncio.sleep(EVERY_SECONDS)


async def _catch_up(turn: Callable[[int], Turn], clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    readings, more = 0, True
    while more:
        since = loop.time()
        done = await asyncio.to_thread(turn, (clock() - SETTLE_MS) // DAY_MS)
        telemetry.READINGS_SUMMARISED.inc(done.readings)
        readings, more = readings + done.readings, done.more
        if done.day is not None:
            log.info("a day is summarised", day=done.day, readings=readings)
            readings = 0
        await asyncio.sleep(loop.time() - since)
