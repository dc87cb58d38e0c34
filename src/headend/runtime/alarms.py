"""Alarms in a running head-end: made from the settings, run beside the rest, and forgotten when they are old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from headend.errors import ConfigError
from headend.model.alarm import RATINGS
from headend.model.alarm_rules import Layer, resolve
from headend.model.profile import MeterProfile
from headend.runtime.settings import AlarmSettings
from headend.services.alarms.service import Alarms
from headend.services.bus import Bus
from headend.services.retention import DAY_MS, retain
from headend.services.roster import Roster
from headend.storage.store import Store, wall_millis

FINISH_SECONDS: Final = 2.0


def layer_of(settings: AlarmSettings) -> Layer:
    """The settings as the most general layer of rules; raises ConfigError."""
    named = ("nominal_voltage", "rated_current", "rated_power")
    ratings = {name: getattr(settings, name) for name in named if getattr(settings, name)}
    layer: Layer = {RATINGS: ratings, **settings.rules}
    try:
        resolve((layer,))
    except ConfigError as error:
        raise ConfigError(f"alarms.rules.{error}") from None
    return layer


def alarms_of(
    settings: AlarmSettings, roster: Roster, bus: Bus, store: Store, profile: Callable[[str], MeterProfile]
) -> Alarms:
    """The alarm service; it does nothing yet. Raises ConfigError."""
    return Alarms(
        roster,
        bus,
        store,
        profile=profile,
        clock=wall_millis,
        settings=layer_of(settings),
        late_ms=round(settings.late_seconds * 1000),
    )


@asynccontextmanager
async def watching(
    group: asyncio.TaskGroup, alarms: Alarms, settings: AlarmSettings, store: Store
) -> AsyncIterator[None]:
    """Judge what is on the bus, from when all meters are watched until the block ends, and then what is there still."""
    running = group.create_task(alarms.run(), name="alarms")
    keeping = group.create_task(
        retain(settings.retention_days, lambda day: store.alarms.purge(day * DAY_MS), wall_millis, "alarms"),
        name="alarm-retention",
    )
    try:
        await alarms.ready.wait()
        yield
    finally:
        keeping.cancel()
        alarms.close()
        await asyncio.wait({running}, timeout=FINISH_SECONDS)
        running.cancel()
