"""How fast readings are stored: counts seen once a second, over the last ten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Pulse:
    """Remembers a growing count, beat by beat."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._beats: deque[tuple[float, int]] = deque(maxlen=11)

    def beat(self, count: int) -> None:
        """The count at this moment."""
        self._beats.append((self._clock(), count))

    def rate(self) -> float:
        """Growth a second over the beats that are remembered."""
        if not self._beats or self._beats[-1][0] <= self._beats[0][0]:
            return 0.0
        (first, before), (last, now) = self._beats[0], self._beats[-1]
        return (now - before) / (last - first)

    @property
    def uptime(self) -> int:
        """Seconds since it began."""
        return int(self._clock() - self._started)
