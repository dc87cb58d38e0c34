"""The clock of a fleet: the time of its world, which may begin anywhere and run faster than ours."""

from __future__ import annotations

import time
from collections.abc import Callable

from headend.errors import ConfigError


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class FleetClock:
    """Milliseconds since the epoch in the world of a fleet; `speed` 60 is a minute each second, 0 stands still."""

    __slots__ = ("_base", "_since", "_wall", "on_change", "speed")

    def __init__(self, *, start: int | None = None, speed: float = 1.0, wall: Callable[[], int] = wall_clock) -> None:
        """`start`: what it shows now, the time of day if None. Raises ConfigError for a speed below 0."""
        self._wall = wall
        self._since = wall()
        self._base = self._since if start is None else start
        self.speed = _checked(speed)
        self.on_change: Callable[[], None] | None = None
        """called when it has been set, or runs at another speed"""

    def __call__(self) -> int:
        """The time of the world."""
        if self.speed == 1.0:
            return self._base + self._wall() - self._since
        return self._base + round((self._wall() - self._since) * self.speed)

    @property
    def reader(self) -> Callable[[], int]:
        """What tells the time until it is set the next time: the clock on the wall itself while it shows the same."""
        return self._wall if self.speed == 1.0 and self._base == self._since else self

    def set(self, *, at: int | None = None, speed: float | None = None) -> None:
        """Let it show another time, or run at another speed, from now on. Raises ConfigError for a speed below 0."""
        speed = self.speed if speed is None else _checked(speed)
        self._base = self() if at is None else at
        self._since = self._wall()
        self.speed = speed
        if self.on_change is not None:
            self.on_change()

    def seconds_until(self, at: int) -> float:
        """Our seconds until it shows a time; infinite while it stands still."""
        if at <= (now := self()):
            return 0.0
        return (at - now) / 1000 / self.speed if self.speed else float("inf")


def _checked(speed: float) -> float:
    if not 0 <= speed <= 1e6:
        raise ConfigError(
            f"a clock does not run at the speed {speed:g}", hint="0 … 1000000; 60 is a minute each second"
        )
    return float(speed)
