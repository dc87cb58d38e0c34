"""What becomes of readings, statistics and jobs in the long run: summarised, and removed when the settings say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from headend.runtime.settings import Settings
from headend.services.retention import DAY_MS, retain
from headend.services.summarising import summarise
from headend.storage.levels import LEVELS
from headend.storage.store import Store, wall_millis

STATISTICS_DAYS: Final = 32


def retaining(group: asyncio.TaskGroup, settings: Settings, store: Store) -> list[asyncio.Task[None]]:
    """Start the work; its tasks never end by themselves."""
    storage = settings.storage
    levels = storage.quarter_hour_retention_days, storage.hour_retention_days, storage.day_retention_days
    purges: tuple[tuple[int, Callable[[int], int], str], ...] = (
        (storage.retention_days, store.readings.purge, "readings"),
        *(
            (days, partial(store.summaries.purge, minutes), f"summaries by {minutes} minutes")
            for minutes, days in zip(LEVELS, levels, strict=True)
        ),
        (STATISTICS_DAYS, store.statistics.purge, "statistics"),
        (settings.commands.retention_days, lambda day: store.jobs.purge(day * DAY_MS), "jobs"),
    )
    summarising = summarise(store.summaries.turn, store.summaries.waiting, wall_millis)
    return [
        group.create_task(summarising, name="summaries"),
        *(
            group.create_task(retain(days, purge, wall_millis, what), name=f"retention of {what}")
            for days, purge, what in purges
        ),
    ]
