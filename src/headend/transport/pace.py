"""How fast targets of a scan may go out: so many a second in all, and so many a second to each /24 or /64. No clock inside.

A limit of r a second lets at most r·t + b out in any t seconds, where b, the burst, is a twentieth of a second's worth and
at least one. A target whose network has had its share waits in a queue of that network; the others go past it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from headend.errors import ConfigError
from headend.model.targets import Target

BURST_SECONDS: Final = 0.05
WAITING: Final = 8192
"""targets that wait for their networks; then the source waits, too"""
REMEMBERED: Final = 1 << 16
"""networks whose last targets are remembered, before those whose share is whole again are forgotten"""
NEVER: Final = float("inf")


class Limit:
    """One limit, for any number of keys: the time at which the share of each is whole again (a generic cell rate algorithm)."""

    __slots__ = ("_bound", "_interval", "_slack", "_whole_at")

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ConfigError(f"a rate of {rate:g} a second: expected more than 0")
        self._interval = 1.0 / rate
        self._slack = (max(1.0, rate * BURST_SECONDS) - 1.0) * self._interval
        self._whole_at: dict[int, float] = {}
        self._bound = REMEMBERED

    def free_at(self, key: int) -> float:
        """When the next one may go; in the past where it may go now."""
        return self._whole_at.get(key, -NEVER) - self._slack

    def take(self, key: int, now: float) -> None:
        """One goes now."""
        whole = self._whole_at.get(key, now)
        self._whole_at[key] = (max(now, whole)) + self._interval
        if len(self._whole_at) > self._bound:
            self._whole_at = {key: whole for key, whole in self._whole_at.items() if whole > now}
            self._bound = max(REMEMBERED, 2 * len(self._whole_at))


class Pace:
    """Lets targets out of their source as the limits allow; None is no limit."""

    def __init__(self, source: Iterator[Target], rate: float | None = None, network_rate: float | None = None) -> None:
        self._source = source
        self._all = None if rate is None else Limit(rate)
        self._each = None if network_rate is None else Limit(network_rate)
        self._queues: dict[int, deque[Target]] = {}
        self._due: list[tuple[float, int]] = []
        self._waiting = 0
        self._drained = False

    @property
    def finished(self) -> bool:
        """All targets are out."""
        return self._drained and not self._waiting

    def next_at(self, now: float) -> float:
        """When there may be something to take: in the past for at once, NEVER when all are out."""
        if self.finished:
            return NEVER
        each = now if not self._drained and self._waiting < WAITING else self._due[0][0]
        return each if self._all is None else max(each, self._all.free_at(0))

    def take(self, now: float, room: int) -> list[Target]:
        """Up to `room` targets that may go out now."""
        if self._all is None and self._each is None:
            taken = list(islice(self._source, room))
            self._drained = len(taken) < room
            return taken
        taken = []
        while len(taken) < room and (self._all is None or self._all.free_at(0) <= now):
            target = self._overdue(now) or self._fresh(now)
            if target is None:
                break
            taken.append(target)
            if self._all is not None:
                self._all.take(0, now)
        return taken

    def _overdue(self, now: float) -> Target | None:
        """One that waited, and whose network may have it now."""
        if self._each is None or not self._due or self._due[0][0] > now:
            return None
        _, network = heappop(self._due)
        queue = self._queues[network]
        target = queue.popleft()
        self._waiting -= 1
        self._each.take(network, now)
        if queue:
            heappush(self._due, (self._each.free_at(network), network))
        else:
            del self._queues[network]
        return target

    def _fresh(self, now: float) -> Target | None:
        """One from the source whose network may have it now; those that may not are queued."""
        while not self._drained and self._waiting < WAITING:
            target = next(self._source, None)
            if target is None:
                self._drained = True
                break
            if self._each is None:
                return target
            network = target[3]
            queue = self._queues.get(network)
            if queue is None:
                if self._each.free_at(network) <= now:
                    self._each.take(network, now)
                    return target
                queue = self._queues[network] = deque()
                heappush(self._due, (self._each.free_at(network), network))
            queue.append(target)
            self._waiting += 1
        return None
