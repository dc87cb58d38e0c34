"""The wires that meters are polled over: who waits for which, whose turn is next, and how much time the dead may cost the living.

Where several meters share a wire, one that does not answer takes time from the others. It gets an allowance: a share of the
wire's time, saved up to a few seconds. Who has failed waits until there is some, and behind all that are well, unless the
allowance is saved up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headend.services.acquisition.poller import Polled

FAILING_SHARE: Final = 1 / 12
"""of a wire's time that meters may cost that do not answer, where others do"""
SAVED_SECONDS: Final = 4.0
"""of it that are saved up at most"""
OWED_SECONDS: Final = 10.0
"""of it that are owed at most, so that nobody is forgotten after many have failed at once"""
KEPT_LATENESSES: Final = 64


class Allowance:
    """Time that failing meters may cost: grows with the clock, falls by what they took, also below nothing. Pure."""

    __slots__ = ("_at", "_saved")

    def __init__(self, now: float) -> None:
        self._at = now
        self._saved = SAVED_SECONDS

    def saved(self, now: float) -> float:
        """How much there is."""
        self._saved = min(SAVED_SECONDS, self._saved + FAILING_SHARE * (now - self._at))
        self._at = now
        return self._saved

    def spend(self, seconds: float, now: float) -> None:
        """A meter that did not answer took so much."""
        self._saved = max(-OWED_SECONDS, self.saved(now) - seconds)

    def ready_at(self, now: float) -> float:
        """When there is some again."""
        return now + max(0.0, -self.saved(now)) / FAILING_SHARE + 1e-3


class Wire:
    """One wire: its meters that wait for the worker which reads over it, and what that was busy with."""

    __slots__ = (
        "_allowance",
        "_doubtful",
        "_waiting",
        "busy_seconds",
        "failing",
        "lateness",
        "meters",
        "served",
        "waiting",
    )

    def __init__(self) -> None:
        self.meters = 0
        self.served = False
        self.failing = 0
        """meters whose last read failed"""
        self.busy_seconds = 0.0
        """since the start"""
        self.lateness: Sequence[float] = ()
        """seconds from being due to being read, of the last reads; kept where several meters share the wire"""
        self.waiting = 0
        """meters that are due and wait"""
        self._allowance: Allowance | None = None
        self._waiting: list[Polled] = []
        self._doubtful: list[Polled] = []

    @property
    def is_mixed(self) -> bool:
        """Some meters answer here and some do not: only then are these held back."""
        return 0 < self.failing < self.meters

    def wait(self, polled: Polled) -> None:
        """A meter is due while another one is read; those that are well wait in the order in which they were due."""
        self.waiting += 1
        (self._doubtful if polled.failed_with else self._waiting).append(polled)

    def next(self, now: float) -> Polled | None:
        """The next meter to read; None when nobody waits, or only such as have no allowance (see `held_back`)."""
        if self._doubtful:
            saved = self._saved(now)
            if saved >= SAVED_SECONDS or (saved > 0 and not self._waiting):
                return self._first(self._doubtful)
        return self._first(self._waiting) if self._waiting else None

    def held_back(self) -> Polled | None:
        """One of those that have to come again when there is an allowance."""
        return self._first(self._doubtful) if self._doubtful else None

    def may(self, polled: Polled, now: float) -> bool:
        """May this meter be read now?"""
        return not polled.failed_with or self._saved(now) > 0

    def again_at(self, now: float) -> float:
        """When one that has failed may be read."""
        return self._allowance.ready_at(now) if self._allowance is not None else now

    def took(self, seconds: float, now: float, *, failed: bool) -> None:
        """A read took so long."""
        self.busy_seconds += seconds
        if failed and self.meters > 1:
            if self._allowance is None:
                self._allowance = Allowance(now - seconds)
            self._allowance.spend(seconds, now)

    def was_late(self, seconds: float) -> None:
        """A meter was read so long after it was due, on a wire that others share."""
        if not isinstance(self.lateness, deque):
            self.lateness = deque(maxlen=KEPT_LATENESSES)
        self.lateness.append(seconds)

    def _first(self, queue: list[Polled]) -> Polled:
        self.waiting -= 1
        return queue.pop(0)

    def _saved(self, now: float) -> float:
        return self._allowance.saved(now) if self._allowance is not None and self.is_mixed else SAVED_SECONDS
