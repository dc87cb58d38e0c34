"""Readings: one value of one quantity of one meter at one time, and the batch of columns they travel in."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

Value: TypeAlias = int | float | str | bool
"""What a reading holds: amounts in the base unit of their quantity, texts and switches as they are."""


class Quality(enum.IntFlag):
    """Why a value may not be what it seems; 0 is good. Stored in one octet."""

    GOOD = 0
    ESTIMATED = 0x01
    CLOCK_INVALID = 0x02
    OUT_OF_RANGE = 0x04
    MISSING = 0x08
    PRECISION = 0x10
    MANUAL = 0x20


class Source(enum.IntEnum):
    """Who brought the batch."""

    POLL = 0
    PUSH = 1
    HISTORY = 2
    EMULATED = 3
    SUBMITTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A value that was asked for and did not come: `code` is the error's code, `reason` its text."""

    ref: str
    quantity: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value. `measured_at` is aware UTC; an amount is in the base unit of its quantity."""

    meter_id: str
    quantity: str
    value: Value
    measured_at: datetime
    quality: Quality = Quality.GOOD


@dataclass(slots=True, kw_only=True)
class ReadingBatch:
    """What one read, push or history block brought, as parallel columns. Nobody changes one: it goes to all subscribers.

    Not frozen all the same: that would make it three times as dear, and one is made for every read of every meter.

    Times are integers: milliseconds since 1970-01-01T00:00Z. `Reading` rows with aware times are made at the edges by
    `readings()`. The columns `quantities` and `quality` may be shared between batches: never change them.
    """

    meter_id: str
    source: Source
    received_at: int
    quantities: Sequence[str]
    values: Sequence[Value]
    measured_at: Sequence[int]
    quality: Sequence[int]
    missing: tuple[Missing, ...] = field(default=())
    load_profile: str = ""
    """the load profile of the meter whose rows these are, by its address: the ledger counts them when they are stored"""

    def __len__(self) -> int:
        return len(self.quantities)

    def readings(self) -> Iterator[Reading]:
        """The rows, for screens, texts and tests."""
        for quantity, value, at, quality in zip(
            self.quantities, self.values, self.measured_at, self.quality, strict=True
        ):
            yield Reading(
                meter_id=self.meter_id,
                quantity=quantity,
                value=value,
                measured_at=from_millis(at),
                quality=Quality(quality),
            )


def to_millis(at: datetime) -> int:
    """Milliseconds since the epoch of an aware time; raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a time needs its zone")
    return round(at.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """The aware UTC time of milliseconds since the epoch."""
    return datetime.fromtimestamp(millis / 1000, UTC)
