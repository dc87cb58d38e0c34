"""What is done about failures of a meter, in numbers: from the settings, changed by meter files and networks.

Three levels, from the cheapest on. Level 1: who says "busy", or answers wrongly on a session that is in step, is asked again.
Level 2: a session that had worked and broke, or only errs, is opened anew. Level 3: who keeps failing is left alone for a while
(a circuit breaker, one for the wire and one for each meter on it). Beside them, sessions can be renewed before they fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from headend.errors import ConfigError
from headend.model.reading import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The thresholds. Commands are never repeated, and a refused secret is never tried again, whatever they are."""

    retries: int = 1
    retry_seconds: float = 0.5
    reopenings: int = 1
    reopen_seconds: float = 0.0
    reopen_after: int = 5
    open_after: int = 3
    pause_seconds: float = 20.0
    pause_cap_seconds: float = 450.0
    jitter: float = 0.25
    trials: int = 1
    reopenings_an_hour: int = 15
    renew_reads: int = 0
    renew_seconds: float = 0.0

    def changed(self, said: Mapping[str, Value]) -> Recovery:
        """The same with some numbers changed; raises ConfigError for what is no such number."""
        for name, value in said.items():
            check(name, value)
        return replace(self, **said)  # type: ignore[arg-type] # checked above


DEFAULT: Final = Recovery()

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "retries": (0, 10),
    "retry_seconds": (0, 60),
    "reopenings": (0, 10),
    "reopen_seconds": (0, 600),
    "reopen_after": (0, 1000),
    "open_after": (1, 1000),
    "pause_seconds": (0.1, 86_400),
    "pause_cap_seconds": (0.1, 86_400),
    "jitter": (0, 0.9),
    "trials": (1, 100),
    "reopenings_an_hour": (0, 3600),
    "renew_reads": (0, 1_000_000),
    "renew_seconds": (0, 86_400 * 31),
}
"""least and greatest of each"""

MEANINGS: Final[Mapping[str, str]] = {
    "retries": "how often a read is asked again on the same session when the meter is busy; commands never are",
    "retry_seconds": "pause before each",
    "reopenings": "how often, in one read, a session that had worked before and broke is opened anew",
    "reopen_seconds": "pause before each",
    "reopen_after": "a session is opened anew when so many reads in a row ended in passing errors of the meter on it; 0: never",
    "open_after": "failures in a row after which a meter or wire is left alone (its circuit opens)",
    "pause_seconds": "for how long at first; twice as long after each further failure",
    "pause_cap_seconds": "for how long at most",
    "jitter": "share of a pause by which it is longer or shorter, so that meters that failed together do not return together",
    "trials": "jobs that must succeed after a pause until the circuit is closed; one is let through at a time",
    "reopenings_an_hour": "a meter whose session had to be opened anew so often within an hour is left alone, too; 0: never",
    "renew_reads": "a session is closed politely and opened anew before it breaks, after so many jobs; 0: never",
    "renew_seconds": "or after so many seconds; 0: never",
}


def check(name: str, value: object) -> None:
    """Raise ConfigError unless there is a threshold with this name that may have this value."""
    if name not in BOUNDS:
        raise ConfigError(f"no threshold {name!r} of recovery", hint="one of " + ", ".join(BOUNDS))
    low, high = BOUNDS[name]
    whole = isinstance(getattr(DEFAULT, name), int)
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high:  # type: ignore[operator] # a number, as the line above says
        kind = "whole number" if whole else "number"
        raise ConfigError(f"{name}: expected a {kind} from {low:g} to {high:g}, got {value!r}")
