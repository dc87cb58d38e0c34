"""Freshness: which values are of the present. What a meter no longer tells is not shown as if it did, and nothing is repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final

from headend.model.event import EventType
from headend.model.meter import Meter
from headend.model.reading import ReadingBatch, Source
from headend.services.bus import Item
from headend.services.roster import MeterState, Roster

MISSED: Final = 3
"""A value that should have come so often, and did not, is stale."""


def _with_its_meter(_meter: Meter, _quantity: str) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """For how long a value is live, in seconds."""

    least: float = 60.0
    unpolled: float = 3600.0
    """values of meters that are not polled: they push, or somebody posts their readings"""
    every: Callable[[Meter, str], float] = _with_its_meter
    """every how many seconds a quantity is read, where less often than its meter; otherwise 0"""

    def seconds(self, state: MeterState | None, quantity: str = "") -> float:
        """How long after it was received a value is live; without a quantity, one of those that are read most often."""
        own = self.every(state.meter, quantity) if quantity and state is not None else 0.0
        period = 0.0 if state is None or not state.meter.enabled else state.meter.poll_seconds
        return max(MISSED * own, MISSED * period, self.least) if period or own else self.unpolled

    def is_stale(self, state: MeterState | None, quantity: str, received_at: int, now: int) -> bool:
        """Whether a value that was received then is not live now (milliseconds); none is of a meter that is offline."""
        offline = state is not None and state.online is False
        return offline or now - received_at > 1000 * self.seconds(state, quantity)


class _Seen:
    """The values of one meter that are live, and when the first of them ceases to be."""

    __slots__ = ("due", "received")

    def __init__(self) -> None:
        self.due = 0.0
        self.received: dict[str, int] = {}


class Watch:
    """Follows the values that come, and tells of each that it is no longer live. Costs one heap entry per meter."""

    def __init__(self, roster: Roster, clock: Callable[[], int], rules: Freshness) -> None:
        """The clock tells milliseconds."""
        self._roster = roster
        self._clock = clock
        self._rules = rules
        self._seen: dict[str, _Seen] = {}
        self._heap: list[tuple[float, str]] = []
        self._stale: dict[str, list[str]] = {}

    def take(self, item: Item) -> None:
        """What the bus brings."""
        if isinstance(item, ReadingBatch):
            if item.source is not Source.HISTORY and item.quantities:
                seen = self._seen.get(item.meter_id)
                if seen is None:
                    seen = self._seen[item.meter_id] = _Seen()
                    self._plan(item.meter_id, seen, item.received_at)
                seen.received.update(dict.fromkeys(item.quantities, item.received_at))
                if item.meter_id in self._stale:
                    gone = [each for each in self._stale.pop(item.meter_id) if each not in seen.received]
                    self._tell(item.meter_id, gone)
        elif item.type in (EventType.METER_OFFLINE, EventType.METER_REMOVED):
            lost = self._seen.pop(item.meter_id, None)
            if lost is not None:
                self._tell(item.meter_id, list(lost.received))

    def stale(self) -> dict[str, list[str]]:
        """The values that ceased to be live since the last call, by meter."""
        now, heap = self._clock(), self._heap
        while heap and heap[0][0] < now:
            due, meter_id = heappop(heap)
            seen = self._seen.get(meter_id)
            if seen is not None and seen.due == due:
                self._look(meter_id, seen, now)
        told, self._stale = self._stale, {}
        return told

    def _look(self, meter_id: str, seen: _Seen, now: int) -> None:
        state = self._roster.find(meter_id)
        gone = [key for key, at in seen.received.items() if self._rules.is_stale(state, key, at, now)]
        for key in gone:
            del seen.received[key]
        self._tell(meter_id, gone)
        if seen.received:
            first = min(at + 1000 * self._rules.seconds(state, key) for key, at in seen.received.items())
            self._plan(meter_id, seen, now, first)
        else:
            del self._seen[meter_id]

    def _plan(self, meter_id: str, seen: _Seen, now: int, first: float = inf) -> None:
        """Look when the first value ceases to be live; none that comes from now on does so before the time of its meter."""
        seen.due = min(first, now + 1000 * self._rules.seconds(self._roster.find(meter_id)))
        heappush(self._heap, (seen.due, meter_id))

    def _tell(self, meter_id: str, quantities: list[str]) -> None:
        if quantities:
            self._stale.setdefault(meter_id, []).extend(quantities)
