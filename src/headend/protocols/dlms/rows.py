"""Profile buffers (attribute 2 of class 7): rows of plain values, fast, whole or as they arrive.

Rows that look alike are unpacked together (see layout); whatever differs, a null-data here, a longer string there, is
decoded one by one, and a new layout is tried later. Rows come raw: null-data is None and a difference is a `Delta`;
`times` and `fill` give them their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import TYPE_CHECKING, Final, cast

from headend.errors import DecodeError
from headend.protocols.dlms.axdr_plain import (
    CutShort,
    Delta,
    Plain,
    Tag,
    TypeDescription,
    cut_short,
    decode_compact_header,
    decode_data,
    decode_length,
    decode_untagged,
)
from headend.protocols.dlms.layout import Layout, Row, learn, learn_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headend.protocols.dlms.clock import EpochReader

MAX_ROW: Final = 0xFFFF
"""Octets of the longest row that a RowStream waits for."""

_SHORT_RUN: Final = 8
_WINDOW: Final = 2048


def _one(buf: bytes, at: int, end: int) -> tuple[Row, int]:
    """Decode one row with tags."""
    value, after = decode_data(buf, at, end, depth=1)
    if not isinstance(value, list):
        raise _no_row(at, buf[at])
    return tuple(value), after


def _one_compact(description: TypeDescription, buf: bytes, at: int, end: int) -> tuple[Row, int]:
    """Decode one row without tags."""
    try:
        value, after = decode_untagged(description, buf, at)
    except (IndexError, StructError):
        raise cut_short(end) from None
    if after > end:
        raise cut_short(end)
    if not isinstance(value, list):
        raise _no_row(at, description.tag)
    return tuple(value), after


def _no_row(at: int, tag: int) -> DecodeError:
    return DecodeError("profile buffer", offset=at, expected="a structure for each row", got=f"tag {tag:02X}")


@dataclass(frozen=True, slots=True)
class _Source:
    """What the beginning of a buffer tells: at most how many rows and octets follow, and how to read them."""

    rows: int
    octets: int | None
    learn: Callable[[bytes, int], Layout | None]
    one: Callable[[bytes, int, int], tuple[Row, int]]

    def take(self, buf: bytes, at: int, end: int, limit: int) -> tuple[list[Row], int]:
        """Up to `limit` rows from `at` on, as many as are complete before `end`, and the offset after them."""
        rows: list[Row] = []
        singly = 1
        try:
            while len(rows) < limit and at < end:
                found = self._run(buf, at, end, limit - len(rows))
                rows += found[0]
                at = found[1]
                if len(found[0]) >= _SHORT_RUN:
                    singly = 1
                    continue
                for _ in range(min(singly, limit - len(rows))):
                    if at < end:
                        row, at = self.one(buf, at, end)
                        rows.append(row)
                singly = min(2 * singly, 1024)
        except CutShort:
            pass
        return rows, at

    def _run(self, buf: bytes, at: int, end: int, limit: int) -> tuple[list[Row], int]:
        """The rows from `at` on that are like the first one."""
        try:
            layout = self.learn(buf, at)
        except (IndexError, DecodeError):
            layout = None  # decoding the row will say what is wrong
        if layout is None:
            return [], at
        size = layout.row.size
        count = layout.count(buf, at, min(limit, (end - at) // size, _WINDOW))
        return (list(layout.rows(buf, at, count)) if count else []), at + count * size


def _source(buf: bytes, at: int) -> tuple[_Source, int]:
    """Read the beginning of a buffer: an array, a compact-array, or null-data instead of an empty one."""
    try:
        tag = buf[at]
        if tag == Tag.NULL:
            return _Source(0, None, learn, _one), at + 1
        if tag == Tag.ARRAY:
            count, at = decode_length(buf, at + 1)
            return _Source(count, None, learn, _one), at
        if tag == Tag.COMPACT_ARRAY:
            description, at, end = decode_compact_header(buf, at + 1)
            octets = end - at
            return _Source(octets, octets, partial(learn_compact, description), partial(_one_compact, description)), at
    except IndexError:
        raise cut_short(len(buf)) from None
    raise DecodeError("profile buffer", offset=at, expected="array or compact-array", got=f"tag {tag:02X}")


def decode_rows(buf: bytes, offset: int = 0, end: int | None = None) -> tuple[list[Row], int]:
    """All rows of the profile buffer at `offset`, not beyond `end`, and the offset after it; or raises DecodeError.

    The rows hold what `decode_data` returns for the same octets. A buffer that is null-data has no rows.
    """
    limit = len(buf) if end is None else end
    source, at = _source(buf, offset)
    if source.octets is None:
        rows, at = source.take(buf, at, limit, source.rows)
        if len(rows) < source.rows or at > limit:
            raise cut_short(limit)
        return rows, at
    if at + source.octets > limit:
        raise cut_short(limit)
    stop = at + source.octets
    rows, at = source.take(buf, at, stop, source.rows)
    if at != stop:
        raise DecodeError("compact-array", offset=at, expected="whole rows", got="a part of one")
    return rows, at


class RowStream:
    """Rows of a profile buffer that arrives in pieces, such as the blocks of a long GET: holds no more than one row.

    `done` is true after the last row; `feed` raises DecodeError for octets that can never be rows of this buffer.
    """

    __slots__ = ("_left", "_octets", "_pending", "_source")

    def __init__(self) -> None:
        self._pending = b""
        self._source: _Source | None = None
        self._left = 0
        self._octets: int | None = None

    @property
    def done(self) -> bool:
        """True when all rows have been returned."""
        return self._source is not None and (self._octets == 0 if self._octets is not None else self._left == 0)

    @property
    def announced(self) -> int:
        """How many rows the buffer said to have; 0 while that is not known, and for a compact-array, which does not say."""
        return self._source.rows if self._source is not None and self._octets is None else 0

    def feed(self, data: bytes) -> list[Row]:
        """The rows that these octets complete."""
        buf, at = self._pending + data, 0
        rows: list[Row] = []
        if self._source is None:
            try:
                self._source, at = _source(buf, 0)
            except CutShort:
                pass
            else:
                self._left, self._octets = self._source.rows, self._source.octets
        if self._source is not None:
            rows, after = self._take(self._source, buf, at)
            at = after
        if len(buf) - at > (0 if self.done else MAX_ROW):
            raise DecodeError("profile buffer", offset=at, expected="no more octets", got=str(len(buf) - at))
        self._pending = buf[at:]
        return rows

    def _take(self, source: _Source, buf: bytes, at: int) -> tuple[list[Row], int]:
        end = len(buf) if self._octets is None else min(len(buf), at + self._octets)
        rows, after = source.take(buf, at, end, self._left)
        self._left -= len(rows)
        if self._octets is not None:
            self._octets -= after - at
            if self._octets == end - after > 0:
                raise DecodeError("compact-array", offset=after, expected="whole rows", got="a part of one")
        return rows, after


def times(
    column: Sequence[Plain], reader: EpochReader, *, period: int | None = None, previous: int | None = None
) -> list[int | None]:
    """Milliseconds since 1970 of a column of date-times.

    null-data means `period` milliseconds after the row before (`previous` for the first one). None where there is no
    moment: nothing to count from, wildcards in the date-time, another type.
    """
    octets = cast("Sequence[bytes]", column)
    try:
        if set(map(len, octets)) == {12}:
            return reader.read_all(b"".join(octets))
    except TypeError:
        pass  # not all of them are date-times
    moments: list[int | None] = []
    for value in column:
        if isinstance(value, bytes) and len(value) == 12:
            previous = reader.read(value)
        elif value is None and previous is not None and period is not None:
            previous += period
        else:
            previous = None
        moments.append(previous)
    return moments


def fill(rows: Sequence[Row], previous: Row = ()) -> list[Row]:
    """Put absolute values for null-data (unchanged since the row before) and for deltas (to be added to it).

    `previous` is the last filled row of the block before; values that nothing stands before stay as they are.
    """
    filled: list[Row] = []
    for row in rows:
        if None in row or Delta in map(type, row):
            before = previous + (None,) * (len(row) - len(previous))
            previous = tuple(_absolute(value, last) for value, last in zip(row, before, strict=False))
        else:
            previous = row
        filled.append(previous)
    return filled


def _absolute(value: Plain, last: Plain) -> Plain:
    if value is None:
        return last
    if isinstance(value, Delta) and isinstance(last, int):
        return last + int(value)
    return value
