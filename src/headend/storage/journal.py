"""The journal: what is delivered northbound, in segments that are stored in one transaction with the readings themselves.

Segments have numbers of their own, given before the transaction so that it can be tried again without storing anything
twice. They begin where the clock says (4096 for each second since 2020): numbers that a power failure took with it, or that
a restored backup does not know, are not given a second time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
import structlog

from headend.model.journal import SEGMENT_SHIFT, Cursor, DeadLetter, Entry, Extent, Item, Segment
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import segments, sink_cursors, sink_refusals
from headend.storage.segments import decode_items, encode_items

EPOCH_MS: Final = 1_577_836_800_000
PER_SECOND: Final = 4096
PAGE_SEGMENTS: Final = 64
PAGE_ITEMS: Final = 2000
PAGE_OCTETS: Final = 1 << 19
"""compressed; what is read at once ends where one of the three is passed"""
PURGE_SEGMENTS: Final = 2000
"""removed in one transaction, so that writing goes on in between"""
DEAD_LETTERS: Final = 1000
"""kept for each sink; the oldest go"""

log = structlog.get_logger(__name__)


class Journal:
    """Segments, how far each sink is, and what sinks refused. `append` is for whoever writes readings; one process has it."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis
        with database.read() as connection:
            newest = connection.execute(_columns().order_by(segments.c.number.desc()).limit(1)).one_or_none()
            size = sa.select(sa.func.length(segments.c.content)).where(
                segments.c.number == (newest.number if newest else 0)
            )
            octets = connection.execute(size).scalar() or 0
            heads = [_to_cursor(state).head for state in connection.execute(sa.select(sink_cursors.c.state)).scalars()]
        after = max(newest.number + 1 if newest else 1, max(heads, default=0) >> SEGMENT_SHIFT)
        self._number = max(after, (millis() - EPOCH_MS) // 1000 * PER_SECOND)
        self._items = newest.earlier_entries + newest.entries if newest else 0
        self._octets = newest.earlier_octets + octets if newest else 0

    @property
    def head(self) -> int:
        """The number above which no entry is stored yet."""
        return self._number << SEGMENT_SHIFT

    def begin(self, items: Sequence[Item]) -> Callable[[sa.Connection], Segment]:
        """What appends a segment in a transaction of the caller: once, also when it is tried again after a failure.

        Raises TypeError or ValueError for what is no value.
        """
        content = encode_items(items)
        segment = Segment(self._number, self._millis(), tuple(items))
        self._number += 1
        items_before, octets_before = self._items, self._octets

        def append(connection: sa.Connection) -> Segment:
            row = {
                "number": segment.number,
                "stored_at": segment.stored_at,
                "entries": len(segment.items),
                "earlier_entries": items_before,
                "earlier_octets": octets_before,
                "content": content,
            }
            connection.execute(insert(connection, segments).values(row).on_conflict_do_nothing())
            self._items, self._octets = items_before + len(segment.items), octets_before + len(content)
            return segment

        return append

    def read(self, start: int, end: int) -> tuple[list[Segment], int]:
        """The oldest segments with entries at start <= number < end, a page of them, and the number that the page ends before."""
        first, last = start >> SEGMENT_SHIFT, -(-end >> SEGMENT_SHIFT)
        heads = _columns().where(segments.c.number >= first, segments.c.number < last)
        with self._database.read() as connection:
            found = connection.execute(heads.order_by(segments.c.number).limit(PAGE_SEGMENTS)).all()
            page = [row for row in found if _fits(row, found[0])]
            if not page:
                return [], end
            whole = sa.select(segments.c.number, segments.c.stored_at, segments.c.content)
            whole = whole.where(segments.c.number.between(page[0].number, page[-1].number))
            rows = connection.execute(whole.order_by(segments.c.number)).all()
        complete = len(page) == len(found) < PAGE_SEGMENTS
        stop = end if complete else min(end, (page[-1].number + 1) << SEGMENT_SHIFT)
        return [Segment(row.number, row.stored_at, _items_of(row.number, row.content)) for row in rows], stop

    def count(self, ranges: Iterable[tuple[int, int]]) -> int:
        """How many entries are stored in half-open ranges of numbers."""
        with self._database.read() as connection:
            return sum(_earlier(connection, end) - _earlier(connection, start) for start, end in ranges)

    def extent(self, ranges: Iterable[tuple[int, int]]) -> Extent:
        """How many entries are stored in half-open ranges of numbers, and in which time."""
        count, times = 0, list[int]()
        with self._database.read() as connection:
            for start, end in ranges:
                if found := _earlier(connection, end) - _earlier(connection, start):
                    count += found
                    inside = segments.c.number.between(start >> SEGMENT_SHIFT, end - 1 >> SEGMENT_SHIFT)
                    query = sa.select(sa.func.min(segments.c.stored_at), sa.func.max(segments.c.stored_at))
                    times += connection.execute(query.where(inside)).one()
        return Extent(count, min(times, default=None), max(times, default=None))

    def stored_at(self, number: int) -> int | None:
        """When the first entry at or behind a number was stored; None where there is none."""
        query = sa.select(segments.c.stored_at).where(segments.c.number >= number >> SEGMENT_SHIFT)
        with self._database.read() as connection:
            found: int | None = connection.execute(query.order_by(segments.c.number).limit(1)).scalar()
        return found

    def since(self, at: int) -> int:
        """The number of the first entry stored at a time (milliseconds) or later."""
        query = sa.select(segments.c.number).where(segments.c.stored_at >= at).order_by(segments.c.number).limit(1)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return self.head if found is None else found << SEGMENT_SHIFT

    # --- retention ---

    def floor(self) -> int:
        """The number of the oldest entry that is kept; the head where there is none."""
        return self.since(-1)

    def surplus(self, before: int, octets: int) -> int:
        """The number below which entries are older than a time, or beyond the newest so many octets; 0 where there are none.

        Only what is stored counts: the head is ahead of what is just being stored, which nobody has yet.
        """
        with self._database.read() as connection:
            newest = connection.execute(_columns().order_by(segments.c.number.desc()).limit(1)).one_or_none()
            if newest is None:
                return 0
            young = sa.and_(segments.c.stored_at >= before, segments.c.earlier_octets >= self._octets - octets)
            oldest = sa.select(segments.c.number).where(young).order_by(segments.c.number).limit(1)
            found = connection.execute(oldest).scalar()
        return int(newest.number + 1 if found is None else found) << SEGMENT_SHIFT

    def purge(self, below: int) -> int:
        """Remove the segments whose entries are all below a number; returns how many."""
        removed: int = 0
        while True:
            some = sa.select(segments.c.number).where(segments.c.number < below >> SEGMENT_SHIFT)
            some = some.order_by(segments.c.number).limit(PURGE_SEGMENTS)
            with self._database.write() as connection:
                gone: int = connection.execute(segments.delete().where(segments.c.number.in_(some))).rowcount
            removed += gone
            if gone < PURGE_SEGMENTS:
                return removed

    # --- how far each sink is ---

    def load(self, sink: str) -> Cursor | None:
        """How far a sink was; None for one that is new."""
        query = sa.select(sink_cursors.c.state).where(sink_cursors.c.sink == sink)
        with self._database.read() as connection:
            state = connection.execute(query).scalar_one_or_none()
        return None if state is None else _to_cursor(state)

    def save(self, sink: str, cursor: Cursor) -> None:
        """Keep how far a sink is."""
        row = {
            "sink": sink,
            "saved_at": self._millis(),
            "state": {"head": cursor.head, "pending": [list(each) for each in cursor.pending]},
        }
        with self._database.write() as connection:
            fresh = insert(connection, sink_cursors).values(row)
            connection.execute(fresh.on_conflict_do_update(index_elements=["sink"], set_=row))

    def forget(self, but: Collection[str]) -> None:
        """Forget all sinks but some."""
        with self._database.read() as connection:
            known = {row.sink: _to_cursor(row.state) for row in connection.execute(sa.select(sink_cursors))}
        if gone := known.keys() - set(but):
            waited = {sink: self.count([*known[sink].pending, (known[sink].head, self.head)]) for sink in sorted(gone)}
            with self._database.write() as connection:
                for table in (sink_cursors, sink_refusals):
                    connection.execute(table.delete().where(table.c.sink.in_(gone)))
            log.warning("sinks are forgotten that the settings do not name", entries_that_waited=waited)

    # --- what sinks refused ---

    def refuse(self, sink: str, entry: Entry, reason: str) -> None:
        """Set an entry aside, with its content: it outlives the journal."""
        table = sink_refusals
        row = {
            "sink": sink,
            "entry": entry.number,
            "at": self._millis(),
            "reason": reason[:500],
            "content": encode_items([entry.item]),
        }
        surplus = sa.select(table.c.entry).where(table.c.sink == sink)
        surplus = surplus.order_by(table.c.at.desc(), table.c.entry.desc()).limit(1).offset(DEAD_LETTERS)
        with self._database.write() as connection:
            fresh = insert(connection, table).values(row)
            connection.execute(fresh.on_conflict_do_update(index_elements=["sink", "entry"], set_=row))
            connection.execute(table.delete().where(table.c.sink == sink, table.c.entry.in_(surplus)))

    def refused(self, sink: str, limit: int = DEAD_LETTERS) -> list[DeadLetter]:
        """What a sink refused, the newest first."""
        query = sa.select(sink_refusals).where(sink_refusals.c.sink == sink)
        query = query.order_by(sink_refusals.c.at.desc(), sink_refusals.c.entry.desc()).limit(limit)
        with self._database.read() as connection:
            return [_to_letter(row) for row in connection.execute(query)]

    def pardon(self, sink: str, number: int) -> None:
        """Forget that a sink refused an entry."""
        mine = (sink_refusals.c.sink == sink, sink_refusals.c.entry == number)
        with self._database.write() as connection:
            connection.execute(sink_refusals.delete().where(*mine))


def _columns() -> sa.Select[tuple[int, int, int, int]]:
    """All but the content."""
    table = segments.c
    return sa.select(table.number, table.entries, table.earlier_entries, table.earlier_octets)


def _fits(row: sa.Row[Any], first: sa.Row[Any]) -> bool:
    """Whether what goes before leaves room in the page."""
    items, octets = row.earlier_entries - first.earlier_entries, row.earlier_octets - first.earlier_octets
    return bool(items < PAGE_ITEMS and octets < PAGE_OCTETS)


def _earlier(connection: sa.Connection, number: int) -> int:
    """How many entries there are below a number, counted from some beginning."""
    segment, place = number >> SEGMENT_SHIFT, number & ((1 << SEGMENT_SHIFT) - 1)
    query = _columns().where(segments.c.number >= segment).order_by(segments.c.number).limit(1)
    found = connection.execute(query).one_or_none()
    if found is not None:
        return int(found.earlier_entries) + (min(place, found.entries) if found.number == segment else 0)
    newest = connection.execute(_columns().order_by(segments.c.number.desc()).limit(1)).one_or_none()
    return int(newest.earlier_entries + newest.entries) if newest else 0


def _items_of(number: int, content: bytes) -> list[Item]:
    """The items of a segment; none where it cannot be read: that must not hold up the others."""
    try:
        return decode_items(content)
    except (ValueError, KeyError, IndexError, TypeError, zlib.error) as error:
        log.error("segment of the journal cannot be read", number=number, reason=repr(error))  # noqa: TRY400 - a fact, not a trace
        return []


def _to_letter(row: sa.Row[Any]) -> DeadLetter:
    return DeadLetter(Entry(row.entry, decode_items(row.content)[0]), row.reason, row.at)


def _to_cursor(state: dict[str, Any]) -> Cursor:
    return Cursor(state["head"], tuple((start, end) for start, end in state["pending"]))
