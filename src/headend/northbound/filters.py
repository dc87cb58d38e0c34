"""What of the journal a sink is to have: some meters, some quantities, with or without history. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from headend.model.event import Event, EventType
from headend.model.journal import Entry
from headend.model.meter import Meter
from headend.model.reading import ReadingBatch, Source
from headend.northbound.groups import Passes

TAG: Final = "tag:"
FAREWELLS: Final = frozenset({EventType.METER_REMOVED, EventType.METER_CHANGED})
KNOWN_TUPLES: Final = 10_000
"""tuples of quantities that are remembered: meters of a file share theirs"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns as `lab-*`; for meters also `tag:NAME`. Without any, everything is chosen."""

    patterns: tuple[str, ...] = ()

    def has(self, name: str, tags: Sequence[str] = ()) -> bool:
        """Whether one of the patterns fits."""
        return not self.patterns or any(self._fits(pattern, name, tags) for pattern in self.patterns)

    def has_meter(self, meter: Meter) -> bool:
        """Whether one of the patterns fits the id or a tag of a meter."""
        return self.has(meter.id, meter.tags)

    @staticmethod
    def _fits(pattern: str, name: str, tags: Sequence[str]) -> bool:
        if pattern.startswith(TAG):
            return any(fnmatchcase(tag, pattern[len(TAG) :]) for tag in tags)
        return fnmatchcase(name, pattern)


def passing(
    meters: Selection,
    quantities: Selection,
    find: Callable[[str], Meter | None],
    *,
    history: bool = True,
    was_chosen: Callable[[str], bool] = lambda _meter_id: False,
) -> Passes:
    """The filter of a sink. Events of the head-end itself always pass; a meter that is gone has no tags any more.

    That a meter which was chosen is gone, or has lost its tag, passes as well: it is the last that the sink hears of it.
    """
    wanted: dict[tuple[str, ...], tuple[int, ...] | None] = {}

    def places(names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Where the quantities are that are wanted; None: all of them are."""
        if names not in wanted:
            if len(wanted) >= KNOWN_TUPLES:
                wanted.clear()
            found = tuple(place for place, name in enumerate(names) if quantities.has(name))
            wanted[names] = None if len(found) == len(names) else found
        return wanted[names]

    def passes(entry: Entry) -> Entry | None:
        item = entry.item
        if meters.patterns and item.meter_id:
            meter = find(item.meter_id)
            fits = meters.has(item.meter_id) if meter is None else meters.has_meter(meter)
            if not fits and not (isinstance(item, Event) and item.type in FAREWELLS and was_chosen(item.meter_id)):
                return None
        if isinstance(item, Event):
            return entry
        if item.source is Source.HISTORY and not history:
            return None
        if not quantities.patterns:
            return entry
        found = places(tuple(item.quantities))
        if found is None:
            return entry
        return Entry(entry.number, _some(item, found)) if found else None

    return passes


def _some(batch: ReadingBatch, places: tuple[int, ...]) -> ReadingBatch:
    return replace(
        batch,
        quantities=tuple(batch.quantities[place] for place in places),
        values=[batch.values[place] for place in places],
        measured_at=[batch.measured_at[place] for place in places],
        quality=[batch.quality[place] for place in places],
    )
