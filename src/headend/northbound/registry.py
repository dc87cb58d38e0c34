"""Finding the installed kinds of sinks: entry points of the group `headend.sinks`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from headend.errors import ConfigError

if TYPE_CHECKING:
    from headend.northbound.sink import SinkKind

GROUP = "headend.sinks"


@cache
def sink_kinds() -> tuple[str, ...]:
    """Names of the installed kinds, sorted; none of them is imported."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def sink_kind(name: str) -> SinkKind:
    """A kind of sink, imported when first asked for; raises ConfigError for a name that is not installed."""
    for point in entry_points(group=GROUP, name=name):
        return cast("SinkKind", point.load())
    raise ConfigError(f"no kind of sink {name!r}", hint="installed: " + ", ".join(sink_kinds()))
