"""Retention: removes readings and alarms that are older than the settings want, once an hour, a piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from headend.errors import StorageError
from headend.services.roster import Clock

EVERY_SECONDS: Final = 3600.0
DAY_MS: Final = 86_400_000

log = structlog.get_logger(__name__)


async def retain(days: int, purge: Callable[[int], int], clock: Clock, what: str = "readings") -> None:
    """Until cancelled, give `purge` the first day (since 1970-01-01, UTC) to keep; 0 days keep everything."""
    while days:
        try:
            removed = await asyncio.to_thread(purge, clock() // DAY_MS - days)
        except StorageError as error:
            log.warning("what is old is not removed", what=what, reason=str(error))
        else:
            if removed:
                log.info("what is old is removed", what=what, count=removed, older_than_days=days)
        await asyncio.sleep(EVERY_SECONDS)
