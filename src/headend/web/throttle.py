"""Slowing down who guesses passwords."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from headend.web.problems import Refused


@dataclass(slots=True)
class _Record:
    failures: float
    at: float


class Throttle:
    """Counts failures by key; they fade, one every `fade_seconds`. A key with `allowed` failures has to wait."""

    MAX_KEYS = 10_000

    def __init__(self, clock: Callable[[], float], *, allowed: int, fade_seconds: float) -> None:
        self._clock = clock
        self._allowed = allowed
        self._fade = fade_seconds
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def check(self, key: str) -> None:
        """Raise Refused while `key` has to wait."""
        failures = self._failures(key)
        if failures > self._allowed - 1:
            seconds = int((failures - self._allowed + 1) * self._fade) + 1
            raise Refused(
                "too-many-requests",
                f"too many failed attempts; wait {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def failed(self, key: str) -> None:
        """Count a failure."""
        self._records[key] = _Record(self._failures(key) + 1, self._clock())
        self._records.move_to_end(key)
        while len(self._records) > self.MAX_KEYS:
            self._records.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._records.pop(key, None)

    def _failures(self, key: str) -> float:
        record = self._records.get(key)
        if record is None:
            return 0.0
        return max(0.0, record.failures - (self._clock() - record.at) / self._fade)
