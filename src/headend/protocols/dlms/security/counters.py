"""Invocation counters: ours, which must never repeat under one key, and the other side's, which must always grow.

Two messages under one key with one system title and one counter give everybody the difference of their contents, and the
key of the authentication: nothing is as dangerous here as a counter that goes back. So ours are reserved in a store before
they are used, in blocks, and nobody is believed who wants to lower them. Nor is anybody believed who wants to raise them to
the end of their range: what a meter says of the counter that it expects is not authenticated, and a forged answer could use
up a key with one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import ReplayDetected, SecurityError

if TYPE_CHECKING:
    from headend.protocols.base import CounterStore

LAST: Final = 0xFFFFFFFF
BLOCK: Final = 256
"""Counters that are reserved at once, so that not every message needs a write. A restart leaves out the rest of them."""
HIGHEST_CLAIM: Final = 0xF0000000
"""What somebody else says may raise our counter this far; 268 million messages are always left."""


class MemoryCounters:
    """A store that lasts as long as the process."""

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free: dict[str, int] = {}

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""
        return self._free.get(name)

    def reserve(self, name: str, least: int, count: int) -> int:
        """Reserve counters in a row."""
        first = max(least, self._free.get(name, 0))
        self._free[name] = first + count
        return first


class OwnCounter:
    """The counter of what we send under one key. It only grows, is reserved ahead, and is refused at its end.

    Several of them with one name and one store never give the same counter.
    """

    __slots__ = ("_name", "_reserved", "_store", "next")

    def __init__(self, store: CounterStore, name: str) -> None:
        self._store = store
        self._name = name
        self.next = self._reserved = store.load(name) or 0

    def take(self) -> int:
        """A counter that nobody gets again; raises SecurityError when there is none left."""
        if self.next >= self._reserved:
            self.begin(self.reserve())
        counter = self.next
        if counter > LAST:
            raise SecurityError("the invocation counter has come to its end", hint="the meter needs a new key")
        self.next = counter + 1
        return counter

    @property
    def left(self) -> int:
        """How many may be taken before the store is asked again."""
        return self._reserved - self.next

    def reserve(self) -> int:
        """The first counter of a new block, for `begin`. Asks the store, which may take its time, and changes nothing here."""
        return self._store.reserve(self._name, self.next, BLOCK)

    def begin(self, first: int) -> None:
        """Go on with a block that was reserved; not if ours has been raised beyond it meanwhile."""
        if first >= self.next:
            self.next = first
            self._reserved = min(first + BLOCK, LAST + 1)

    def raise_to(self, least: int) -> None:
        """The other side says that it expects at least this counter; a lower one changes nothing.

        Raises SecurityError for one that would leave us too few: whoever says so need not be the meter.
        """
        if least <= self.next:
            return
        if least > HIGHEST_CLAIM:
            raise SecurityError(
                f"the meter says that it expects invocation counter {least}, which is above {HIGHEST_CLAIM}: "
                "that is not believed, because it would use up the key",
                hint="find out who answers there; if the meter really counts so high, change its keys: new ones count anew",
            )
        self.next = least


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


class KeptCounter(ReceivedCounter):
    """The same for messages outside of associations: the store remembers the last one, on its disk before it counts."""

    __slots__ = ("_name", "_store")

    def __init__(self, store: CounterStore, name: str) -> None:
        super().__init__((store.load(name) or 0) - 1)
        self._name = name
        self._store = store

    def accept(self, counter: int) -> None:
        """As above; the store may take its time."""
        super().accept(counter)
        self._store.reserve(self._name, counter, 1)
