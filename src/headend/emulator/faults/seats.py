"""Who may connect to a meter that is off, reboots, or takes one connection at a time; for the meters of a group."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from typing import Final

from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.faults.wire import FaultyLink

_SINGLE: Final = (FaultKind.ONE_SESSION, FaultKind.ZOMBIE)


class Entry(enum.Enum):
    """What becomes of a connection."""

    SERVED = "served"
    DROPPED = "dropped"
    UNHEARD = "unheard"
    """it stands, and nobody says anything on it"""


class Seats:
    """What is known of the connections of meters where that matters, by address."""

    __slots__ = ("_held", "_now", "_rebooting", "_sitting", "off")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sitting: dict[int, FaultyLink] = {}
        self._held: dict[int, float] = {}
        self._rebooting: dict[int, float] = {}
        self.off: set[int] = set()
        """addresses at which nobody is"""

    def enter(self, address: int, wire: FaultyLink, faults: Sequence[Fault]) -> Entry:
        """Somebody connects."""
        if address in self.off:
            return Entry.DROPPED
        if self._rebooting.get(address, 0.0) > self._now():
            return Entry.UNHEARD
        self._rebooting.pop(address, None)
        if any(fault.kind in _SINGLE for fault in faults):
            return self.sit(address, wire, faults)
        return Entry.SERVED

    def sit(self, address: int, wire: FaultyLink, faults: Sequence[Fault]) -> Entry:
        """Somebody is connected to a meter that takes one connection."""
        sitting = self._sitting.get(address)
        if (sitting is not None and sitting is not wire) or self._held.get(address, 0.0) > self._now():
            return Entry.DROPPED
        self._sitting[address] = wire
        seconds = max((fault.seconds for fault in faults if fault.kind is FaultKind.ZOMBIE), default=0.0)
        wire.watch(lambda: self._leave(address, wire, seconds))
        return Entry.SERVED

    def _leave(self, address: int, wire: FaultyLink, seconds: float) -> None:
        if self._sitting.get(address) is wire:
            del self._sitting[address]
            if seconds:
                self._held[address] = self._now() + seconds

    def stand(self, address: int) -> None:
        """The meter takes as many connections as it gets again."""
        self._sitting.pop(address, None)
        self._held.pop(address, None)

    def reboot(self, address: int, seconds: float) -> None:
        """The meter is away for a time, and has forgotten its connections after it."""
        self.stand(address)
        self._rebooting[address] = self._now() + seconds
