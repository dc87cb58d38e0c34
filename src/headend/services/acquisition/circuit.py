"""The circuit breaker of one meter or one wire: who keeps failing is left alone for a while. Pure."""

from __future__ import annotations

import enum
from typing import Final

from headend.errors import HeadendError, SecurityError
from headend.services.acquisition.schedule import NEVER, retry_delay

OPEN_AFTER: Final = 3
"""failures in a row that open a circuit"""


class CircuitState(enum.Enum):
    """CLOSED lets everything pass, OPEN nothing but what people ask for, HALF_OPEN the next attempt, LOCKED nothing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    LOCKED = "locked"


class Circuit:
    """The failures of one meter or wire in a row, and what follows from them. Times are seconds of a monotonic clock.

    The pause of an open circuit is shorter than the retry delay of the schedule after as many failures, so that a poll
    on its own never meets an open circuit. A SecurityError locks at once: a wrong password is tried once.
    """

    __slots__ = ("error", "failures", "retry_at", "seed")

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.failures = 0
        self.retry_at = 0.0
        self.error: HeadendError | None = None

    def state(self, now: float) -> CircuitState:
        """What the circuit lets pass."""
        if self.retry_at == NEVER:
            return CircuitState.LOCKED
        if self.failures < OPEN_AFTER:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.retry_at else CircuitState.HALF_OPEN

    def succeeded(self) -> None:
        """An attempt went well: close."""
        self.failures = 0
        self.retry_at = 0.0
        self.error = None

    def failed(self, error: HeadendError, now: float) -> None:
        """An attempt failed: count it, and open or lock where it is time."""
        self.failures += 1
        self.error = error
        if isinstance(error, SecurityError):
            self.retry_at = NEVER
        elif self.failures >= OPEN_AFTER:
            self.retry_at = now + 0.5 * retry_delay(self.failures, self.seed)

    def refusal(self, now: float, *, insisting: bool) -> HeadendError | None:
        """The error that an attempt now deserves without being made, or None; people may insist, except on a lock."""
        if self.error is None or now >= self.retry_at:
            return None
        if self.retry_at == NEVER:
            return _again(self.error, "not tried again before the meter is changed")
        if insisting:
            return None
        return _again(self.error, f"not tried again for {self.retry_at - now:.0f} s")


def _again(error: HeadendError, remark: str) -> HeadendError:
    """The same kind of error, with a remark: what was raised once is not raised again, its traceback would grow."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(error.__dict__)
    copy.message = f"{error.message} ({remark})"
    copy.args = (copy.message,)
    return copy
