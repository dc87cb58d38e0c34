"""Finding the installed drivers: entry points of the group `headend.drivers`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from headend.errors import ConfigError

if TYPE_CHECKING:
    from headend.drivers.base import Driver

GROUP = "headend.drivers"


@cache
def driver_names() -> tuple[str, ...]:
    """Names of the installed drivers, sorted; none of them is imported."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def driver(name: str) -> Driver:
    """The driver of a protocol, imported when first asked for; raises ConfigError for a name that is not installed."""
    for point in entry_points(group=GROUP, name=name):
        return cast("Driver", point.load())
    raise ConfigError(f"no driver for protocol {name!r}", hint="installed: " + ", ".join(driver_names()))
