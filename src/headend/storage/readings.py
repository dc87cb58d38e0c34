"""Readings: written in batches, read as columns, whichever database holds them.

A reading is known by meter, quantity and time of measurement. Written again it is still one row: the last write wins,
except that an estimated value never replaces a measured one. The latest reading of a series is the one with the greatest
time of measurement; a time ahead of its receipt counts as the receipt, so that one wrong clock cannot freeze the display.
Readings of meters that are not registered are kept under their id like any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa

from headend.model.reading import ReadingBatch, Source, Value
from headend.storage.records import BucketColumns, LatestColumns, Receipt, ReceivedColumns, SeriesColumns
from headend.storage.summaries import Chosen
from headend.storage.values import SOURCE_MASK, decode_quality

_SOURCES = {source.value: source for source in Source}


class Readings(Protocol):
    """History and latest values. `write` is for the writer thread; the rest may run beside it."""

    def write(self, batches: Iterable[ReadingBatch]) -> int:
        """Store the readings of all batches, and the latest of each series, in one transaction; returns how many.

        A value that is no `Value`, quality flags beyond the octet's six and times beyond 64 bits are errors of the caller:
        TypeError, ValueError, OverflowError.
        """
        ...

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that changes the database, for who stores other things together with readings."""
        ...

    def add(self, connection: sa.Connection, batches: Iterable[ReadingBatch]) -> int:
        """Store readings as `write` does, inside a `transaction`."""
        ...

    def latest(
        self, meter_ids: Sequence[str] | None = None, quantities: Sequence[str] | None = None, limit: int = 100_000
    ) -> LatestColumns:
        """The newest reading of each series, or of those of the named meters and quantities."""
        ...

    def series(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> SeriesColumns:
        """Readings with start <= measured_at < end (milliseconds), oldest first, at most `limit`."""
        ...

    def several(self, meter_id: str, quantities: Sequence[str], start: int, end: int) -> dict[str, SeriesColumns]:
        """Some series of a meter, as `series` gives them, by quantity; ask for days, not for years."""
        ...

    def received(self, meter_id: str, quantity: str, start: int, end: int, limit: int = 1_000_000) -> ReceivedColumns:
        """Readings as `series` gives them, with their receipts; ask for days, not for years."""
        ...

    def receipt(self, meter_id: str, quantity: str, measured_at: int) -> Receipt:
        """When and from whom one reading came; raises NotFound where there is no such reading."""
        ...

    def aggregate(self, meter_id: str, quantity: str, start: int, end: int, bucket: int) -> BucketColumns:
        """Minimum, maximum, mean, last and count of the numbers in each `bucket` milliseconds; buckets start at multiples of it.

        Where summaries say the same, they are taken. Of days whose readings are gone they are all there is: then a slot that
        no bucket holds as a whole is in the one in which it begins.
        """
        ...

    def first_day(self, connection: sa.Connection, day: int) -> int | None:
        """The first day not before a day that may have readings."""
        ...

    def summarise(self, connection: sa.Connection, chosen: Chosen) -> None:
        """Make summaries by 15 minutes of chosen series, inside a transaction of the caller; those that are there stay."""
        ...

    def count(self, meter_id: str | None = None, quantity: str | None = None) -> int:
        """How many readings are stored: of one series, of one meter, or of all (which walks through the whole table)."""
        ...

    def purge(self, before_day: int) -> int:
        """Remove the readings measured before a day (days since 1970-01-01 UTC); returns how many. Latest values stay.

        So do the first day that is not summarised, or must be again, and all after it.
        """
        ...

    def forget(self, connection: sa.Connection, meter_id: str) -> None:
        """Remove all readings of a meter and their summaries, inside a transaction of the caller."""
        ...


def latest_columns(
    meter_ids: Sequence[str],
    quantities: Sequence[str],
    values: Sequence[Value],
    measured_at: Sequence[int],
    notes: Sequence[int],
    received_at: Sequence[int],
) -> LatestColumns:
    """What `latest` gives, from the columns of the table and values that are decoded already."""
    return LatestColumns(
        meter_ids=meter_ids,
        quantities=quantities,
        values=values,
        measured_at=measured_at,
        quality=[decode_quality(note) for note in notes],
        received_at=received_at,
        sources=[_SOURCES[note & SOURCE_MASK] for note in notes],
    )
