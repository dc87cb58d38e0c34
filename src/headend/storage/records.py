"""What the store gives back: plain records and parallel columns, free of SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headend.model.event import Event
from headend.model.meter import Meter
from headend.model.reading import Source, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesColumns:
    """The readings of one quantity of one meter, oldest first; times in milliseconds since the epoch."""

    measured_at: Sequence[int]
    values: Sequence[Value]
    quality: Sequence[int]

    def __len__(self) -> int:
        return len(self.measured_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedColumns(SeriesColumns):
    """Readings of a series, with when each was received (milliseconds) and from whom."""

    received_at: Sequence[int]
    sources: Sequence[Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestColumns:
    """The newest reading of each series, ordered by meter and quantity."""

    meter_ids: Sequence[str]
    quantities: Sequence[str]
    values: Sequence[Value]
    measured_at: Sequence[int]
    quality: Sequence[int]
    received_at: Sequence[int]
    sources: Sequence[Source]

    def __len__(self) -> int:
        return len(self.meter_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketColumns:
    """Numbers of one series by spans of time, for charts; spans without a number are left out.

    `start` is the first millisecond of the bucket. Texts take no part; a switch counts as 0 or 1.
    """

    start: Sequence[int]
    minimum: Sequence[float]
    maximum: Sequence[float]
    mean: Sequence[float]
    last: Sequence[float]
    count: Sequence[int]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How a reading came: when it was received (milliseconds) and from whom."""

    received_at: int
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMeter:
    """A meter and the revision it is at; the revision grows by one with each change."""

    meter: Meter
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event and what became of it. Numbers grow in the order of recording; times in milliseconds."""

    number: int
    event: Event
    recorded_at: int
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
