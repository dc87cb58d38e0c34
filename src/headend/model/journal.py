"""Entries of the journal: what is delivered northbound, each with a number that stays the same however often it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headend.model.event import Event
from headend.model.reading import ReadingBatch

Item: TypeAlias = ReadingBatch | Event

SEGMENT_SHIFT = 20
"""An entry's number is the number of its segment (what was stored in one transaction) times 2**20 plus its place there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch of readings or an event that is stored. Numbers grow in the order of storing and never come back."""

    number: int
    item: Item

    @property
    def id(self) -> str:
        """The number as text: the same for the same entry, for receivers that drop what they have already."""
        return f"{self.number:x}"


@dataclass(frozen=True, slots=True)
class Segment:
    """What was stored in one transaction, and when (milliseconds since the epoch)."""

    number: int
    stored_at: int
    items: Sequence[Item]

    def entries(self) -> list[Entry]:
        """The items with their numbers."""
        return [Entry(number, item) for number, item in enumerate(self.items, self.number << SEGMENT_SHIFT)]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a sink is: it has all below `head`, but for the `pending` half-open ranges of entry numbers."""

    head: int
    pending: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Extent:
    """How many entries there are, and when the first and the last of them were stored (milliseconds since the epoch)."""

    entries: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that a sink will never take, why, and since when (milliseconds since the epoch)."""

    entry: Entry
    reason: str
    at: int
