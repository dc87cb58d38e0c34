"""Commands put together: what the settings say, and the parts that they work on."""

from __future__ import annotations

from collections.abc import Callable

from headend.drivers.registry import driver
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.runtime.settings import CommandSettings
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.commanding.reads import Reads
from headend.services.commanding.rules import Rules
from headend.services.commands import Commands
from headend.services.roster import Roster
from headend.storage.store import Store, wall_millis


def make_commands(
    settings: CommandSettings,
    store: Store,
    bus: Bus,
    roster: Roster,
    lanes: Lanes,
    profile: Callable[[Meter], MeterProfile | None],
) -> Commands:
    """The one door for commands."""
    rules = Rules(
        four_eyes=settings.confirm == "four-eyes",
        confirm_seconds=settings.confirm_seconds,
        deadline_seconds=settings.deadline,
        verify_seconds=settings.verify,
    )
    reads = Reads(bus, wall_millis, driver=driver, profile=profile)
    return Commands(lanes, roster, bus, wall_millis, store=store, reads=reads, rules=rules)
