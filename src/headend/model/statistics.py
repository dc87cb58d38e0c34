"""How well a meter is reached: what was asked and answered, how much of it, and how long it took. Pure.

Figures are kept by slots of fifteen minutes and added up for any longer time. Times of reads are counted by classes, so that
percentiles of an hour, a day or a fleet follow from the same rows; a percentile lies within its class, whose bounds are known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

SLOT_MS: Final = 900_000
BOUNDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""seconds: a class reaches up to and including its bound; the last one has none"""
CLASSES: Final = len(BOUNDS) + 1


@dataclass(slots=True, kw_only=True)
class Figures:
    """What was counted of one meter, or of several, over some time. Octets are those of the link, with all framing."""

    reads_ok: int = 0
    reads_failed: int = 0
    requests: int = 0
    responses: int = 0
    octets_in: int = 0
    octets_out: int = 0
    sessions: int = 0
    """that were opened"""
    readings: int = 0
    """that polls brought"""
    scales_used: int = 0
    """scalers and units that values needed and that the meter has to tell"""
    scales_asked: int = 0
    """of them, those that it was asked for; the others were remembered"""
    messages: int = 0
    """entries, batches of readings and events, that sinks have confirmed: each counts once for each sink"""
    messages_late: int = 0
    """of them, those that had to wait in the journal"""
    reconnections: int = 0
    """sessions that were opened after the first since the start, or since the meter was changed"""
    seconds: float = 0.0
    """of all reads that went well"""
    fastest: float = 0.0
    """seconds; 0 where nothing was read"""
    slowest: float = 0.0
    classes: list[int] = field(default_factory=lambda: [0] * CLASSES)
    """reads that went well, by how long they took"""

    def took(self, seconds: float) -> None:
        """A read went well."""
        self.classes[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        if seconds > self.slowest:  # noqa: PLR1730 - max() would cost as much as all the rest
            self.slowest = seconds
        if seconds < self.fastest or not self.fastest:
            self.fastest = seconds

    def add(self, other: Figures) -> None:
        """Count what the other has counted, too."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds += other.seconds
        self.classes = [a + b for a, b in zip(self.classes, other.classes, strict=True)]
        if other.fastest and (not self.fastest or other.fastest < self.fastest):
            self.fastest = other.fastest
        self.slowest = max(self.slowest, other.slowest)

    @property
    def is_empty(self) -> bool:
        """True where nothing was counted."""
        return not any(getattr(self, name) for name in COUNTS)

    @property
    def success(self) -> float | None:
        """The share of reads that went well, 0 to 1; None where none was tried."""
        tried = self.reads_ok + self.reads_failed
        return self.reads_ok / tried if tried else None

    @property
    def remembered(self) -> float | None:
        """The share of scalers that were remembered, 0 to 1; None where the meter has to tell none."""
        return 1 - self.scales_asked / self.scales_used if self.scales_used else None

    @property
    def mean(self) -> float | None:
        """Seconds that a read took on average; None where none went well."""
        timed = sum(self.classes)
        return self.seconds / timed if timed else None

    def percentile(self, share: float) -> float | None:
        """Seconds within which `share` (0 to 1) of the reads ended, by proportion within its class; None where there were none."""
        timed = sum(self.classes)
        if not timed:
            return None
        wanted, seen = share * timed, 0
        for index, count in enumerate(self.classes):
            if count and seen + count >= wanted:
                low = max(BOUNDS[index - 1] if index else 0.0, self.fastest)
                high = min(BOUNDS[index] if index < len(BOUNDS) else self.slowest, self.slowest)
                return min(high, low + (high - low) * max(0.0, wanted - seen) / count)
            seen += count
        return self.slowest


COUNTS: Final = tuple(
    each.name for each in fields(Figures) if each.name not in {"seconds", "fastest", "slowest", "classes"}
)
"""Figures that are whole numbers, and simply added up."""


def total(many: Iterable[Figures]) -> Figures:
    """All of them together."""
    found = Figures()
    for each in many:
        found.add(each)
    return found
