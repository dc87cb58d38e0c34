"""When each meter is due: a heap, decided purely from data and `now`.

Every meter has a grid: multiples of its period, shifted by a phase that its id determines, so that 10,000 meters are
spread evenly over the period and stay so. After a failure a meter leaves its grid and is tried again after a delay that
doubles with each further failure; after a success it returns to the grid. Times are seconds of any monotonic clock.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import Final

RETRY_SECONDS: Final = 10.0
"""delay after the first failure"""
RETRY_CAP_SECONDS: Final = 900.0
NEVER: Final = float("inf")
_STALE_ALLOWED: Final = 64


def fraction(text: str) -> float:
    """A number from 0 up to 1 that the text determines, evenly distributed over texts."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def retry_delay(failures: int, seed: str) -> float:
    """Seconds to wait after a number of failures in a row: doubling, capped, spread by a quarter either way."""
    delay = min(RETRY_CAP_SECONDS, RETRY_SECONDS * 2.0 ** min(failures - 1, 16))
    return delay * (0.75 + 0.5 * fraction(f"{seed}/{failures}"))


def next_slot(now: float, period: float, phase: float) -> float:
    """The first point of the grid after `now`; `phase` from 0 up to 1."""
    shift = phase * period
    slot = shift + ((now - shift) // period + 1.0) * period
    return slot if slot > now else slot + period


class _Entry:
    __slots__ = ("due", "failures", "period", "phase", "since")

    def __init__(self, period: float, phase: float) -> None:
        self.period = period
        self.phase = phase
        self.failures = 0
        self.due = NEVER
        self.since = NEVER
        """when it was due for the read that is under way"""


class Schedule:
    """Which meters are due. A popped meter is not due again before `done`, `failed` or `hurry`.

    Every call costs O(log n), amortised. What became stale stays in the heap until it comes up or outgrows the rest.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, meter_id: str) -> bool:
        return meter_id in self._entries

    def add(self, meter_id: str, period: float, now: float) -> None:
        """Poll a meter every `period` seconds from its next slot on; replaces what was known of it."""
        entry = self._entries[meter_id] = _Entry(period, fraction(meter_id))
        self._push(meter_id, entry, next_slot(now, period, entry.phase))

    def remove(self, meter_id: str) -> None:
        """Never poll a meter again; unknown ids are ignored."""
        self._entries.pop(meter_id, None)

    def hurry(self, meter_id: str, now: float) -> None:
        """Make a meter due now; unknown ids are ignored."""
        entry = self._entries.get(meter_id)
        if entry is not None:
            self._push(meter_id, entry, now)

    def pop(self, now: float) -> str | None:
        """The meter that has been due longest, or None."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, meter_id = heappop(heap)
            entry = self._entries.get(meter_id)
            if entry is not None and entry.due == due:
                entry.since = due
                entry.due = NEVER
                return meter_id
        return None

    def pop_due(self, now: float, limit: int) -> list[str]:
        """Up to `limit` meters that are due, the longest due first."""
        due: list[str] = []
        while len(due) < limit and (meter_id := self.pop(now)) is not None:
            due.append(meter_id)
        return due

    def resume(self, now: float) -> None:
        """Whoever popped meters is gone: each of them is due at its next slot."""
        for meter_id, entry in self._entries.items():
            if entry.due == NEVER:
                self._push(meter_id, entry, next_slot(now, entry.period, entry.phase))

    def next_due(self) -> float:
        """When the next meter is due; NEVER when none will be."""
        heap = self._heap
        while heap:
            due, meter_id = heap[0]
            entry = self._entries.get(meter_id)
            if entry is not None and entry.due == due:
                return due
            heappop(heap)
        return NEVER

    def done(self, meter_id: str, now: float) -> float:
        """The meter was read: it is due at the next slot of its grid. Returns how late it was; unknown ids are ignored."""
        entry = self._entries.get(meter_id)
        if entry is None:
            return 0.0
        entry.failures = 0
        entry.due = due = next_slot(now, entry.period, entry.phase)
        heappush(self._heap, (due, meter_id))
        return now - entry.since if entry.since <= now else 0.0

    def recovered(self, meter_id: str, now: float) -> None:
        """The meter was read outside the schedule: one that waits for a retry returns to its grid."""
        entry = self._entries.get(meter_id)
        if entry is not None and entry.failures and entry.due != NEVER:
            self.done(meter_id, now)

    def failed(self, meter_id: str, now: float, not_before: float = 0.0) -> None:
        """The meter could not be read: it is due after its retry delay. Unknown ids are ignored."""
        entry = self._entries.get(meter_id)
        if entry is not None:
            entry.failures += 1
            self._push(meter_id, entry, max(now + retry_delay(entry.failures, meter_id), not_before))

    def _push(self, meter_id: str, entry: _Entry, due: float) -> None:
        entry.due = due
        heappush(self._heap, (due, meter_id))
        if len(self._heap) > 2 * len(self._entries) + _STALE_ALLOWED:
            self._heap = [(entry.due, meter_id) for meter_id, entry in self._entries.items() if entry.due != NEVER]
            heapify(self._heap)
