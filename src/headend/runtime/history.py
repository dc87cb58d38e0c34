"""Load profiles in a running head-end: made from the settings, and run beside the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from headend.model.access import Actor
from headend.model.job import Command, Job
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.runtime.settings import Settings
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.commands import Commands
from headend.services.history.clocks import Clocks
from headend.services.history.collector import Collector
from headend.services.history.completeness import Completeness
from headend.services.history.logs import Logs
from headend.services.retention import retain
from headend.services.roster import Roster
from headend.storage.store import Store, wall_millis

FINISH_SECONDS: Final = 2.0


def make_completeness(
    settings: Settings,
    store: Store,
    bus: Bus,
    roster: Roster,
    lanes: Lanes,
    profile: Callable[[Meter], MeterProfile | None],
    commands: Commands,
) -> Completeness:
    """The ledger with who fills it; nothing runs yet."""

    async def submit(meter_id: str, command: Command, actor: Actor, key: str) -> Job:
        return await commands.submit(meter_id, command, actor, key=key)

    collector, logs = None, None
    if settings.ledger.enabled:
        clocks = (
            Clocks(lanes, bus, wall_millis, settings.ledger.clock_rules, submit) if settings.ledger.clocks else None
        )
        collector = Collector(
            roster,
            lanes,
            bus,
            store.ledger,
            profile=profile,
            clock=wall_millis,
            rules=settings.ledger.rules,
            clocks=clocks,
        )
        logs = Logs(
            roster,
            lanes,
            bus,
            events=store.events,
            readings=store.readings,
            profile=profile,
            clock=wall_millis,
            rules=settings.ledger.rules,
        )
    return Completeness(store.ledger, wall_millis, collector, logs)


@asynccontextmanager
async def completing(
    group: asyncio.TaskGroup, completeness: Completeness, settings: Settings, store: Store
) -> AsyncIterator[None]:
    """Keep load profiles complete until the block ends; what is under way then has a moment to end."""
    beside = [
        group.create_task(completeness.run(), name="completeness"),
        group.create_task(
            retain(settings.storage.retention_days, store.ledger.purge, wall_millis, "ledger days"),
            name="retention of ledger days",
        ),
    ]
    readers = [reader for reader in (completeness.collector, completeness.logs) if reader is not None]
    reading = [group.create_task(reader.run(), name="history") for reader in readers]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        for reader in readers:
            reader.stop()
        if reading:
            await asyncio.wait(reading, timeout=FINISH_SECONDS)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
