"""What is delivered at once: groups of entries, made of segments of the journal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from headend.model.event import Event
from headend.model.journal import Entry, Segment

MOST_READINGS: Final = 20_000
"""in a group, unless one entry alone has more"""

Passes: TypeAlias = Callable[[Entry], Entry | None]
"""What a sink is to have of an entry: all, some of its readings, or nothing."""


@dataclass(frozen=True, slots=True)
class Group:
    """All entries with start <= number < end that a sink is to have; `covered` counts those that it is not to have, too."""

    start: int
    end: int
    entries: tuple[Entry, ...]
    covered: int
    stored_at: int
    """when the oldest of them was stored"""


def weigh(entry: Entry) -> int:
    """Readings; an event is one."""
    return 1 if isinstance(entry.item, Event) else len(entry.item.quantities)


def groups(segments: Iterable[Segment], start: int, end: int, passes: Passes, most: int) -> Iterator[Group]:
    """Groups of at most so many entries that cover start <= number < end, in their order."""
    taken: list[Entry] = []
    covered = weight = stored_at = 0
    for segment in segments:
        for entry in segment.entries():
            if not start <= entry.number < end:
                continue
            passed = passes(entry)
            more = weigh(passed) if passed is not None else 0
            if taken and passed is not None and (len(taken) >= most or weight + more > MOST_READINGS):
                yield Group(start, entry.number, tuple(taken), covered, stored_at)
                start, taken, covered, weight, stored_at = entry.number, [], 0, 0, 0
            stored_at = stored_at or segment.stored_at
            covered += 1
            weight += more
            if passed is not None:
                taken.append(passed)
    if start < end:
        yield Group(start, end, tuple(taken), covered, stored_at)
