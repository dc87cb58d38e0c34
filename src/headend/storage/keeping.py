"""Keeping: what passes over the bus is stored, and what is delivered is appended to the journal in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from headend.model.event import Event
from headend.model.journal import Item, Segment
from headend.model.reading import ReadingBatch
from headend.storage.journal import Journal
from headend.storage.readings import Readings

Along = Callable[[sa.Connection, Sequence[ReadingBatch]], object]
"""Does in the transaction that stores readings what belongs to them."""


class Keeper:
    """Writes items, for one thread. Events are not stored here but delivered: the recorder keeps them for those who ask."""

    def __init__(self, readings: Readings, journal: Journal | None = None, *along: Along) -> None:
        """Without a journal nothing is delivered."""
        self._readings = readings
        self._journal = journal
        self._along = along
        self._begun: tuple[Sequence[Item], Callable[[sa.Connection], Segment] | None] = ((), None)

    def write(self, items: Sequence[Item]) -> Segment | None:
        """Store items in one transaction; returns what is to be delivered now, if anything.

        Raises StorageError when it did not come to that, or nobody knows: ask again with the same sequence, and nothing is
        stored twice. Raises TypeError, ValueError or OverflowError, and stores nothing, for what no database can take.
        """
        batches = [item for item in items if not isinstance(item, Event)]
        append = self._append(items)
        with self._readings.transaction() as connection:
            self._readings.add(connection, batches)
            for work in self._along:
                work(connection, batches)
            segment = append(connection) if append is not None else None
        self._begun = ((), None)
        return segment

    def _append(self, items: Sequence[Item]) -> Callable[[sa.Connection], Segment] | None:
        if self._journal is None:
            return None
        given, append = self._begun
        if given is not items:
            told = [item for item in items if isinstance(item, Event) or item.quantities]
            append = self._journal.begin(told) if told else None
            self._begun = (items, append)
        return append
