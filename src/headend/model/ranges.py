"""Sets of integers as half-open ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Ranges that neither overlap nor touch, in their order."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._starts, number)
        return place > 0 and number < self._ends[place - 1]

    @property
    def first(self) -> tuple[int, int]:
        """The lowest range; IndexError where there is none."""
        return self._starts[0], self._ends[0]

    def add(self, start: int, end: int) -> None:
        """Put start <= number < end into the set."""
        if start >= end:
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [start], [end]

    def remove(self, start: int, end: int) -> None:
        """Take start <= number < end out of the set."""
        if start >= end:
            return
        low, high = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if low >= high:
            return
        left = [(self._starts[low], start)] if self._starts[low] < start else []
        right = [(end, self._ends[high - 1])] if end < self._ends[high - 1] else []
        kept = left + right
        self._starts[low:high], self._ends[low:high] = [one for one, _ in kept], [one for _, one in kept]

    def below(self, limit: int) -> list[tuple[int, int]]:
        """What of the set is below a number."""
        return [(start, min(end, limit)) for start, end in self if start < limit]
