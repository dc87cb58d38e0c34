"""Captures, as the settings bound them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headend.drivers.base import Secrets
from headend.drivers.registry import driver
from headend.model.meter import Meter
from headend.runtime.settings import Settings
from headend.services.acquisition.lanes import Lanes
from headend.services.captures import CaptureLimits, Captures
from headend.services.roster import Roster
from headend.storage.store import wall_millis


def captures(
    settings: Settings, roster: Roster, lanes: Lanes, secrets: Callable[[Meter], Awaitable[Secrets]]
) -> Captures:
    """The captures of a head-end, in the folder `captures` of its data folder."""
    said = settings.capture
    return Captures(
        settings.data_folder / "captures",
        roster,
        lanes,
        driver=driver,
        secrets=secrets,
        clock=wall_millis,
        limits=CaptureLimits(at_once=said.at_once, seconds=said.seconds, octets=said.octets),
    )
