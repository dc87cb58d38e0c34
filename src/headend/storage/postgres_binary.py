"""Readings in the binary forms of PostgreSQL: rows as COPY takes them, columns as arrays; pure.

Most rows differ in four or five numbers only. They are made many at once, column by column: octet 0 of all their times, octet 1,
and so on, are put into their places with one step for all rows.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import or_, sub
from typing import Final, NamedTuple, cast

from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from headend.model.reading import ReadingBatch, Value
from headend.storage.values import (
    AGE_SHIFT,
    CAST,
    ESTIMATED,
    EXACT,
    INLINE_AGE,
    INT64,
    WHOLE,
    encode_marks,
    encode_number,
)

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
CHUNK_ROWS: Final = 500
"""handed over at once: the server stores them while the next ones are made"""

_HEAD: Final = struct.Struct(">hiqidiiii")
"""field count; then length and content of measured_at, value, series, note; received_at and words follow"""
_PLACES: Final = (30, 6, 46, 18, 38)
"""where series, measured_at, received_at (if it is there), value and note begin in a row"""
_NULL: Final = b"\xff\xff\xff\xff"
_RECENT: Final = _HEAD.pack(6, 8, 0, 8, 0.0, 4, 0, 4, 0) + _NULL + _NULL
_AGED: Final = _HEAD.pack(6, 8, 0, 8, 0.0, 4, 0, 4, 0) + struct.pack(">iq", 8, 0) + _NULL
KINDS: Final = "iqqdi"
"""kinds of those columns, as `array` has them"""
_TYPES: Final = {"i": 23, "q": 20, "d": 701, "u": 25}
"""types of elements in the catalogue of every server: int, bigint, double precision, text"""


class Columns(NamedTuple):
    """Readings of one meter, as they lie in arrays."""

    numbers: tuple[bytes, ...]
    """Elements of series, measured_at, received_at, value and note: of each its length in four octets, and itself."""
    words: Sequence[str | None] | None
    """None where there are none"""


class Int4s(bytes):
    """A parameter of type integer[]."""

    __slots__ = ()


class Int8s(bytes):
    """A parameter of type bigint[]."""

    __slots__ = ()


class Doubles(bytes):
    """A parameter of type double precision[]."""

    __slots__ = ()


class Texts(bytes):
    """A parameter of type text[]."""

    __slots__ = ()


class _ArrayDumper(Dumper):
    """An array as it is sent."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer:
        """The octets of an array."""
        return bytes(obj)


class Int4Dumper(_ArrayDumper):
    """Of `Int4s`."""

    oid = 1007


class Int8Dumper(_ArrayDumper):
    """Of `Int8s`."""

    oid = 1016


class DoubleDumper(_ArrayDumper):
    """Of `Doubles`."""

    oid = 1022


class TextDumper(_ArrayDumper):
    """Of `Texts`."""

    oid = 1009


def array_of(kind: str, elements: bytes, count: int) -> bytes:
    """An array of one dimension without nulls, as it is sent, of the elements that there are in `Columns`."""
    return struct.pack(">iiIii", 1, 0, _TYPES[kind], count, 1) + elements


def text_of(text: str) -> bytes:
    """A text as element of an array."""
    octets = text.encode()
    return len(octets).to_bytes(4) + octets


def elements_of(kind: str, column: Iterable[float]) -> bytes:
    """The elements of an array; `kind` is that of `array`: i, q or d."""
    octets, width = _octets_of(kind, column)
    return _filled(_empty(width), [(4, octets, width)])


def _empty(width: int) -> bytes:
    return width.to_bytes(4) + bytes(width)


def columns_of(numbers: Iterable[Iterable[float]], words: Sequence[str | None] | None) -> Columns:
    """Columns of numbers as elements."""
    return Columns(tuple(elements_of(kind, column) for kind, column in zip(KINDS, numbers, strict=True)), words)


def _octets_of(kind: str, column: Iterable[float]) -> tuple[bytes, int]:
    """Numbers one behind the other, the most significant octet first; and how many octets each has."""
    made = array(kind, column)
    if sys.byteorder == "little":
        made.byteswap()
    return made.tobytes(), made.itemsize


def _filled(template: bytes, columns: Iterable[tuple[int, bytes, int]]) -> bytes:
    """As many templates as columns have numbers, with those at their places."""
    size, filled = len(template), bytearray()
    for place, octets, width in columns:
        filled = filled or bytearray(template * (len(octets) // width))
        for n in range(width):
            filled[place + n :: size] = octets[n::width]
    return bytes(filled)


def encode_rows(
    batches: Iterable[ReadingBatch],
    numbers: Mapping[str, Mapping[str, int]],
    take: Callable[[str, Columns], None],
) -> Iterator[bytes]:
    """Rows of (measured_at, value, series, note, received_at, words), in chunks of about CHUNK_ROWS.

    `take` is given the meter and the columns of each batch. Raises TypeError, ValueError and OverflowError for what is no
    reading.
    """
    chunk: list[ReadingBatch] = []
    form, count = _RECENT, 0
    for batch in batches:
        found = _form_of(batch)
        if chunk and (found is not form or count >= CHUNK_ROWS):
            yield _encode(chunk, form, numbers, take)
            chunk, count = [], 0
        form = found
        chunk.append(batch)
        count += len(batch.quantities)
    if chunk:
        yield _encode(chunk, form, numbers, take)


def _form_of(batch: ReadingBatch) -> bytes:
    """The rows of a batch: with a time of receipt, without one, or (empty) some so, some so."""
    times = batch.measured_at
    first = last = times[0]
    if times.count(first) != len(times):
        first, last = min(times), max(times)
    if batch.received_at - last >= INLINE_AGE:
        return _AGED
    return _RECENT if batch.received_at >= last and batch.received_at - first < INLINE_AGE else b""


class _Readings(NamedTuple):
    """Readings of several batches, column by column."""

    series: list[int]
    measured_at: list[int]
    received_at: list[int]
    values: list[Value]
    quality: list[int]
    sources: list[int]


def _gathered(chunk: Sequence[ReadingBatch], numbers: Mapping[str, Mapping[str, int]]) -> _Readings:
    series, measured_at, received_at, values, quality, sources = gathered = _Readings([], [], [], [], [], [])
    for batch in chunk:
        known, count = numbers[batch.meter_id], len(batch.quantities)
        if not count == len(batch.values) == len(batch.measured_at) == len(batch.quality):
            raise ValueError("the columns of a batch differ: some are shorter than others")
        series += [known[quantity] for quantity in batch.quantities]
        measured_at += batch.measured_at
        received_at += [batch.received_at] * count
        values += batch.values
        quality += batch.quality
        sources += [batch.source] * count
    return gathered


def _encode(
    chunk: Sequence[ReadingBatch],
    form: bytes,
    numbers: Mapping[str, Mapping[str, int]],
    take: Callable[[str, Columns], None],
) -> bytes:
    """The rows of batches that are of one form, all at once where no value needs words."""
    readings = _gathered(chunk, numbers)
    notes = _notes_of(readings, form) if form else None
    words: list[str | None] | None = None
    doubles = cast("list[float]", readings.values)
    if notes is None:
        doubles, words, notes = map(list, zip(*map(encode_reading, *readings[1:]), strict=True))
    columns: tuple[Sequence[float], ...] = *readings[:3], doubles, notes
    given = [_octets_of(kind, column) for kind, column in zip(KINDS, columns, strict=True)]
    if words is None:
        fields = [(place, *each) for place, each in zip(_PLACES, given, strict=True)]
        rows = _filled(form, fields if form is _AGED else [*fields[:2], *fields[3:]])
    else:
        rows = b"".join(map(encode_row, *readings[:3], doubles, notes, words))
    elements = [(_filled(_empty(width), [(4, octets, width)]), 4 + width) for octets, width in given]
    begin = 0
    for batch in chunk:
        end = begin + len(batch.quantities)
        if batch.measured_at.count(batch.measured_at[0]) == end - begin:
            polled = tuple([octets[size * begin : size * end] for octets, size in elements])
            take(batch.meter_id, Columns(polled, words and words[begin:end]))
        else:
            newest = _newest(readings, notes, range(begin, end))
            chosen = ([column[place] for place in newest] for column in columns)
            take(batch.meter_id, columns_of(chosen, words and [words[place] for place in newest]))
        begin = end
    return rows


def _newest(readings: _Readings, notes: Sequence[int], places: range) -> Collection[int]:
    """The places of the newest readings of each series."""
    begin, end = places.start, places.stop
    ranks = list(map(min, readings.measured_at[begin:end], readings.received_at[begin:end]))
    newest: dict[int, int] = {}
    for place, number, rank in zip(places, readings.series[begin:end], ranks, strict=True):
        found = newest.get(number)
        if (
            found is None
            or rank > ranks[found - begin]
            or (rank == ranks[found - begin] and notes[place] & ESTIMATED <= notes[found] & ESTIMATED)
        ):
            newest[number] = place
    return newest.values()


def _notes_of(readings: _Readings, form: bytes) -> list[int] | None:
    """The notes of readings, if none of their values needs words."""
    least = -EXACT
    notes = [
        0
        if (kind := type(value)) is float
        else WHOLE
        if kind is int and least <= value <= EXACT  # type: ignore[operator] # it is an int
        else CAST
        if kind is bool
        else -1
        for value in readings.values
    ]
    if -1 in notes:
        return None
    notes = list(map(or_, notes, readings.sources))
    if any(readings.quality):
        notes = [note | encode_marks(0, flags, 0) for note, flags in zip(notes, readings.quality, strict=True)]
    if form is _RECENT:
        ages = map(sub, readings.received_at, readings.measured_at)
        notes = [note | age << AGE_SHIFT for note, age in zip(notes, ages, strict=True)]
    return notes


def encode_reading(
    measured_at: int, received_at: int, value: Value, quality: int, source: int
) -> tuple[float, str | None, int]:
    """The value, words and note of a reading."""
    double, words, form = encode_number(value)
    note, age = encode_marks(source, quality, form), received_at - measured_at
    if max(abs(measured_at), abs(received_at)) >= INT64:
        raise OverflowError("a time of a reading is out of all bounds")
    if 0 <= age < INLINE_AGE:
        note |= age << AGE_SHIFT
    return double, words, note


def encode_row(series: int, measured_at: int, received_at: int, double: float, note: int, words: str | None) -> bytes:
    """One row of `encode_rows`."""
    received = _NULL if 0 <= received_at - measured_at < INLINE_AGE else struct.pack(">iq", 8, received_at)
    text = _NULL if words is None else text_of(words)
    return _HEAD.pack(6, 8, measured_at, 8, double, 4, series, 4, note) + received + text
