"""The circuit breaker of one meter or one wire: who keeps failing is left alone for a while. Pure.

```text
                 often enough                     the pause is over, and somebody tries
    CLOSED ──────────────────────────▶ OPEN ──────────────────────────────────────────▶ HALF_OPEN
      ▲                                 ▲                 one failure                       │
      │                                 └───────────────────────────────────────────────────┤
      └─────────────────────────────────────────────────────────────────────────────────────┘
                                           as many successes as are wanted

    a SecurityError leads from everywhere to LOCKED, which only success with other secrets ends, or a change of the meter
```
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from headend.errors import HeadendError, SecurityError
from headend.model.recovery import DEFAULT, Recovery
from headend.services.acquisition.schedule import NEVER, fraction

HOUR_SECONDS: Final = 3600.0
MAX_REOPENINGS: Final = 1000
"""that are remembered where their number is not limited"""


class CircuitState(enum.Enum):
    """CLOSED lets everything pass, OPEN nothing but what people ask for, HALF_OPEN one attempt at a time, LOCKED nothing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    LOCKED = "locked"


class Trigger(enum.Enum):
    """What happens to a circuit."""

    SUCCEEDED = "succeeded"
    """an attempt went well, and more must"""
    PROVEN = "proven"
    """an attempt went well, as many as are wanted"""
    FAILED = "failed"
    """an attempt failed, not yet often enough in a row"""
    TRIPPED = "tripped"
    """an attempt failed once more than is allowed, or sessions had to be opened anew too often"""
    REFUSED = "refused"
    """the meter refused a secret, or one of us could not decipher the other"""
    RESTED = "rested"
    """the pause is over, and somebody tries"""


_S, _T = CircuitState, Trigger
TRANSITIONS: Final[Mapping[CircuitState, Mapping[Trigger, CircuitState]]] = {
    _S.CLOSED: {_T.TRIPPED: _S.OPEN, _T.REFUSED: _S.LOCKED},
    _S.OPEN: {
        _T.SUCCEEDED: _S.HALF_OPEN,
        _T.PROVEN: _S.CLOSED,
        _T.REFUSED: _S.LOCKED,
        _T.RESTED: _S.HALF_OPEN,
    },
    _S.HALF_OPEN: {
        _T.PROVEN: _S.CLOSED,
        _T.FAILED: _S.OPEN,
        _T.TRIPPED: _S.OPEN,
        _T.REFUSED: _S.LOCKED,
    },
    _S.LOCKED: {_T.SUCCEEDED: _S.CLOSED, _T.PROVEN: _S.CLOSED},
}
"""All transitions; what is not there changes nothing."""


class Circuit:
    """The failures of one meter or wire in a row, and what follows from them. Times are seconds of a monotonic clock."""

    __slots__ = ("error", "failures", "opened_at", "pauses", "reopenings", "retry_at", "seed", "state", "successes")

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.state = CircuitState.CLOSED
        self.failures = 0
        """in a row"""
        self.successes = 0
        """in a row, since it is half-open"""
        self.pauses = 0
        """in a row"""
        self.retry_at = 0.0
        self.opened_at = 0.0
        self.error: HeadendError | None = None
        self.reopenings: tuple[float, ...] = ()
        """when sessions had to be opened anew, within the last hour"""

    def succeeded(self, rules: Recovery = DEFAULT) -> None:
        """An attempt went well: close when that was the last one wanted."""
        self.successes += 1
        self.failures = 0
        was_open = self.state is not CircuitState.CLOSED
        done = not was_open or self.successes >= rules.trials
        self._go(Trigger.PROVEN if done else Trigger.SUCCEEDED)
        self.retry_at = 0.0
        if self.state is CircuitState.CLOSED:
            self.successes = self.pauses = 0
            self.error = None
            if was_open:
                self.reopenings = ()

    def failed(self, error: HeadendError, now: float, rules: Recovery = DEFAULT) -> None:
        """An attempt failed: count it, and open or lock where it is time."""
        self.failures += 1
        self.successes = 0
        self.error = error
        if isinstance(error, SecurityError):
            self._go(Trigger.REFUSED)
            self.retry_at = NEVER
        elif self.state is CircuitState.CLOSED and self.failures < rules.open_after:
            self._go(Trigger.FAILED)
        elif self.state is not CircuitState.LOCKED:
            self._trip(now, rules)

    def reopened(self, error: HeadendError, now: float, rules: Recovery = DEFAULT) -> None:
        """A session that broke with this error is open again: where that was too often, open."""
        recent = (*(at for at in self.reopenings if at > now - HOUR_SECONDS), now)
        times = self.reopenings = recent[-(rules.reopenings_an_hour or MAX_REOPENINGS) :]
        if self.state is CircuitState.CLOSED and 0 < rules.reopenings_an_hour <= len(times):
            self.error = error
            self._trip(now, rules)

    def refusal(self, now: float, *, insisting: bool) -> HeadendError | None:
        """The error that an attempt now deserves without being made, or None; people may insist, except on a lock."""
        if self.state is CircuitState.OPEN and now >= self.retry_at:
            self._go(Trigger.RESTED)
        if self.error is None or now >= self.retry_at:
            return None
        if self.state is CircuitState.LOCKED:
            return _again(self.error, "not tried again before the meter is changed")
        if insisting:
            return None
        return _again(self.error, f"not tried again for {self.retry_at - now:.0f} s")

    def reopened_within_an_hour(self, now: float) -> int:
        """How many sessions had to be opened anew."""
        return sum(at > now - HOUR_SECONDS for at in self.reopenings)

    def _trip(self, now: float, rules: Recovery) -> None:
        if self.state is CircuitState.CLOSED:
            self.opened_at = now
        self._go(Trigger.TRIPPED)
        self.pauses += 1
        self.retry_at = now + pause(self.pauses, self.seed, rules)

    def _go(self, trigger: Trigger) -> None:
        self.state = TRANSITIONS[self.state].get(trigger, self.state)


def pause(number: int, seed: str, rules: Recovery = DEFAULT) -> float:
    """Seconds that a circuit stays open for the n-th time in a row: doubling, capped, then spread either way."""
    plain = min(rules.pause_cap_seconds, rules.pause_seconds * 2.0 ** min(number - 1, 32))
    return plain * (1.0 - rules.jitter + 2.0 * rules.jitter * fraction(f"{seed}/{number}"))


def _again(error: HeadendError, remark: str) -> HeadendError:
    """The same kind of error, with a remark: what was raised once is not raised again, its traceback would grow."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(error.__dict__)
    copy.message = f"{error.message} ({remark})"
    copy.args = (copy.message,)
    return copy
