"""Invocation counters: ours, which must never repeat under one key, and the other side's, which must always grow."""

from __future__ import annotations

from typing import Final, Protocol

from headend.errors import ReplayDetected, SecurityError

LAST: Final = 0xFFFFFFFF
RESERVE: Final = 256
"""Counters that are reserved at once, so that not every message needs a write. A restart leaves out the rest of them."""


class CounterStore(Protocol):
    """Keeps, by name, the first counter that may still be used. What `reserve` was told must outlive the process."""

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""

    def reserve(self, name: str, free: int) -> None:
        """From now on `free` is the first counter that is free; never lowered."""


class MemoryCounters:
    """A store that lasts as long as the process."""

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free: dict[str, int] = {}

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""
        return self._free.get(name)

    def reserve(self, name: str, free: int) -> None:
        """Take note; a lower number than before is ignored."""
        self._free[name] = max(free, self._free.get(name, 0))


class OwnCounter:
    """The counter of what we send under one key. It only grows, is stored ahead, and is refused at its end.

    Several of them with one name and one store never give the same counter.
    """

    __slots__ = ("_name", "_reserved", "_store", "next")

    def __init__(self, store: CounterStore, name: str) -> None:
        self._store = store
        self._name = name
        self.next = self._reserved = store.load(name) or 0

    def take(self) -> int:
        """A counter that nobody gets again; raises SecurityError when there is none left."""
        counter = self.next
        if counter >= self._reserved:
            counter = max(counter, self._store.load(self._name) or 0)  # others may have reserved meanwhile
        if counter > LAST:
            raise SecurityError("the invocation counter has come to its end", hint="the meter needs a new key")
        if counter >= self._reserved:
            self._reserved = min(counter + RESERVE, LAST + 1)
            self._store.reserve(self._name, self._reserved)
        self.next = counter + 1
        return counter

    def raise_to(self, least: int) -> None:
        """The other side expects at least this counter; a lower one changes nothing."""
        self.next = max(self.next, least)


class ReceivedCounter:
    """The counter of what the other side sends under one key: each must be greater than the one before."""

    __slots__ = ("last",)

    def __init__(self, last: int = -1) -> None:
        self.last = last

    def accept(self, counter: int) -> None:
        """Take note of a counter whose message has proved to be genuine; raises ReplayDetected."""
        if counter <= self.last:
            raise ReplayDetected(f"invocation counter {counter} came after {self.last}")
        self.last = counter
