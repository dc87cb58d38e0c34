"""Load profiles (class 7): rows are made one after the other, as the client takes them.

A row is what the columns were at its time, so a profile keeps no rows but the times of its captures: those of its period,
which may have been changed, and those of its method `capture`. One that nobody has touched keeps nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import ClassVar, Final, NamedTuple

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import CAPTURED, UINT32, enumerated, rows
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method, Plant
from headend.drivers.dlms.meter_objects import CLOCK, LOAD_PROFILE, Association, Refused
from headend.drivers.dlms.meter_types import NULL_DATA, Encode, clock_writer
from headend.drivers.dlms.refs import cosem_ref
from headend.errors import DecodeError
from headend.model.objects import ObjectRef
from headend.model.profile import LoadProfile
from headend.model.reading import Value
from headend.protocols.dlms.apdu.descriptor import AccessSelection, DataAccessResult
from headend.protocols.dlms.axdr import (
    Data,
    Tag,
    array,
    encode_data,
    encode_length,
    enum,
    int8,
    octet_string,
    structure,
    uint16,
    uint32,
)
from headend.protocols.dlms.classes import CaptureObject, to_capture_objects
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.protocols.dlms.selective import EntryDescriptor, RangeDescriptor, from_selection

PERIOD, ENTRIES = 4, 8
_CAPTURE_OBJECTS, _SORT_METHOD, _SORT_OBJECT, _IN_USE = 3, 5, 6, 7
_FIFO, _LIFO, _LARGEST, _SMALLEST, _NEAREST, _FARTHEST = range(1, 7)
_SELECTORS: Final = {2: (RangeDescriptor.selector, EntryDescriptor.selector)}
_ARRAY: Final = bytes((Tag.ARRAY,))
_FAR: Final = 1 << 62
_DATE_TIME_LENGTH: Final = 12
_UNSORTED: Final = structure(uint16(0), octet_string(bytes(6)), int8(0), uint16(0))
_MOST_ENTRIES: Final = 100_000
_MOST_COLUMNS: Final = 64
_MOST_SORTED: Final = 10_000
"""Captures among which the largest or smallest are looked for."""
_MOST_CAPTURES: Final = 10_000
_MOST_PERIODS: Final = 100


class Columns(NamedTuple):
    """What a profile captures. `indexes` are places among the objects of the meter file, -1 for the clock."""

    captured: Sequence[CaptureObject]
    indexes: Sequence[int]
    encoders: Sequence[Encode]


class Captures(NamedTuple):
    """When a profile that was touched has captured and will: periods since a moment and until another, and single times."""

    periods: tuple[tuple[int, int, int], ...] = ()
    """(first time, time before which the last one lies, milliseconds between them)"""
    times: tuple[int, ...] = ()


class LoadBuffer(Function):
    """One load profile of a meter file."""

    class_id = LOAD_PROFILE
    version = 1
    holds: ClassVar[Holds] = {
        _CAPTURE_OBJECTS: Held(rows(CAPTURED, most=_MOST_COLUMNS), array()),
        PERIOD: Held(UINT32, uint32(0)),
        _SORT_METHOD: Held(enumerated(*range(_FIFO, _FARTHEST + 1)), enum(_FIFO)),
        _SORT_OBJECT: Held(CAPTURED, _UNSORTED),
        ENTRIES: Held(UINT32, uint32(0)),
    }

    def __init__(self, plant: Plant, profile: LoadProfile, values: Mapping[ObjectRef, tuple[int, Encode]]) -> None:
        """`values` are the places and encoders of the objects of the meter file; a column that is none of them is null."""
        refs = [cosem_ref(ref.address) for ref in profile.columns]
        super().__init__(plant, cosem_ref(profile.ref.address).obis, {})
        self.made.selectors = _SELECTORS
        self._profile = profile
        self._values = {
            CaptureObject(ref.class_id, ref.obis, ref.member): value
            for ref, value in ((cosem_ref(each.address), value) for each, value in values.items())
        }
        captured = [CaptureObject(ref.class_id, ref.obis, ref.member) for ref in refs]
        self._columns = self._to_columns(captured, file=True)
        self._reader = EpochReader(plant.zone)
        self._write_time = clock_writer(plant.zone)
        self._initial |= {
            _CAPTURE_OBJECTS: array(*(column.to_data() for column in captured)),
            PERIOD: uint32(profile.period_seconds),
            ENTRIES: uint32(profile.capacity),
        }
        self.made.reads[_IN_USE] = self._read_entries_in_use

    def methods(self) -> dict[int, Method]:
        """Reset and capture."""
        return {1: lambda model, _: self._clear(model), 2: lambda model, _: self._capture(model)}

    # --- what is written ---

    def _to_columns(self, captured: Sequence[CaptureObject], *, file: bool = False) -> Columns:
        """Raises Refused for a column that a client names and the meter cannot capture."""
        indexes: list[int] = []
        encoders: list[Encode] = []
        for column in captured:
            if column.class_id == CLOCK:
                index, encode = _CLOCK_COLUMN
            elif column in self._values:
                index, encode = self._values[column]
            elif file:
                index, encode = _NO_COLUMN
            else:
                raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
            indexes.append(index)
            encoders.append(encode)
        return Columns(captured, indexes, encoders)

    def accept(self, model: MeterModel, attribute_id: int, data: Data) -> None:
        """Refuse columns that are no objects, and a buffer without end; note when the times change that captures come at."""
        if attribute_id == _CAPTURE_OBJECTS:
            self._to_columns(to_capture_objects(data.plain()))
        elif attribute_id == ENTRIES and not 0 < _whole(data) <= _MOST_ENTRIES:
            raise Refused(DataAccessResult.OTHER_REASON)
        elif attribute_id == PERIOD:
            now = model.now()
            captures = self._captures(model)
            ended = tuple((since, min(until, now + 1), period) for since, until, period in captures.periods)
            going_on = _going_on(now, 1000 * _whole(data))
            self.remember(model, Captures((ended + going_on)[-_MOST_PERIODS:], captures.times))

    def written(self, model: MeterModel, attribute_id: int) -> None:
        """Another kind of rows begins with an empty buffer."""
        if attribute_id in (_CAPTURE_OBJECTS, ENTRIES):
            self._clear(model)

    def _clear(self, model: MeterModel) -> None:
        self.remember(model, Captures(_going_on(model.now(), self._period(model))))

    def _capture(self, model: MeterModel) -> None:
        captures = self._captures(model)
        self.remember(model, captures._replace(times=(*captures.times, model.now())[-_MOST_CAPTURES:]))

    def _period(self, model: MeterModel) -> int:
        """Milliseconds between rows."""
        return 1000 * _whole(self.data(model, PERIOD))

    def _captures(self, model: MeterModel) -> Captures:
        """When it has captured; until it is touched as the meter file says."""
        captures: Captures | None = self.state(model)
        if captures is not None:
            return captures
        profile, now = self._profile, model.now()
        if not model.entries_in_use(profile, now):
            return Captures(_going_on(now, self._period(model)))
        return Captures(((model.row(profile, 1, now)[0], _FAR, self._period(model)),))

    def _is_touched(self, model: MeterModel) -> bool:
        """True when the rows are not those of the meter file."""
        return model.memory is not None and (self.state(model) is not None or self.plain(model, _SORT_METHOD) != _FIFO)

    # --- rows ---

    def _read_entries_in_use(self, association: Association) -> bytes:
        model = association.model
        at = model.now()
        held = len(self._entries(model, at)) if self._is_touched(model) else model.entries_in_use(self._profile, at)
        return encode_data(uint32(held))

    def _entries(self, model: MeterModel, at: int) -> Sequence[int]:
        """The times of the rows of a profile that was touched, in the order in which they are sent."""
        captures = self._captures(model)
        most: int = self.plain(model, ENTRIES)
        method: int = self.plain(model, _SORT_METHOD)
        sorted_by = self._sorted_by(model) if method > _LIFO else None
        newest_first = merge(
            *(_backwards(since, min(until, at + 1), period) for since, until, period in captures.periods),
            sorted((time for time in captures.times if time <= at), reverse=True),
            reverse=True,
        )
        times = list(islice(newest_first, most if sorted_by is None else max(most, _MOST_SORTED)))
        if method == _LIFO:
            return times
        times.reverse()
        if sorted_by is None:
            return times

        def rank(time: int) -> float:
            value = time if sorted_by < 0 else model.value(sorted_by, time)
            amount = value if isinstance(value, int | float) else 0
            if method in (_NEAREST, _FARTHEST):
                amount = abs(amount)
            return -amount if method in (_LARGEST, _FARTHEST) else amount

        return sorted(times, key=rank)[:most]

    def _sorted_by(self, model: MeterModel) -> int | None:
        """The place of the object by which rows are sorted; None where it is no column."""
        wanted = self.plain(model, _SORT_OBJECT)
        columns = self._columns_of(model)
        for captured, index in zip(columns.captured, columns.indexes, strict=True):
            if [captured.class_id, captured.logical_name.to_bytes(), captured.attribute_id] == wanted[:3]:
                return index
        return None

    def _columns_of(self, model: MeterModel) -> Columns:
        data = self.data(model, _CAPTURE_OBJECTS)
        if data is self._initial[_CAPTURE_OBJECTS]:
            return self._columns
        return self._to_columns(to_capture_objects(data.plain()))

    def pieces(self, association: Association, selection: AccessSelection | None) -> Iterator[bytes]:
        """The encoded buffer: the head of the array, then row by row; raises Refused at once for an impossible selection."""
        model, profile = association.model, self._profile
        self.plant.be_up_to_date(model)
        at = model.now()
        columns = self._columns_of(model)
        times = self._entries(model, at) if self._is_touched(model) else None
        held = model.entries_in_use(profile, at) if times is None else len(times)
        chosen_columns = list(range(len(columns.captured)))
        entries: Sequence[int] = range(1, held + 1)
        chosen = None if selection is None else _selected(selection)
        if isinstance(chosen, EntryDescriptor):
            entries = range(max(1, chosen.from_entry), min(chosen.to_entry or held, held) + 1)
            chosen_columns = chosen_columns[max(0, chosen.from_selected - 1) : chosen.to_selected or None]
        elif chosen is not None:
            start, end = self._bounds(chosen, columns)
            if times is None:
                first, last = model.entry_range(profile, start, end, at)
                entries = range(first, last + 1)
            else:
                entries = [entry for entry, time in enumerate(times, 1) if start <= time <= end]
            chosen_columns = _chosen_columns(chosen.selected, columns)
        found = self._filed(model, entries, at) if times is None else self._made(model, columns, times, entries)
        return self._encoded(columns, chosen_columns, len(entries), found)

    def _filed(self, model: MeterModel, entries: Sequence[int], at: int) -> Iterator[tuple[int, Sequence[Value]]]:
        """Rows of the load profile of the meter file."""
        row, profile = model.row, self._profile
        return (row(profile, entry, at) for entry in entries)

    def _made(
        self, model: MeterModel, columns: Columns, times: Sequence[int], entries: Sequence[int]
    ) -> Iterator[tuple[int, Sequence[Value]]]:
        """Rows of a profile that was touched."""
        indexes = [index for index in columns.indexes if index >= 0]
        for entry in entries:
            time = times[entry - 1]
            yield time, [model.value(index, time) for index in indexes]

    def _encoded(
        self, columns: Columns, chosen: list[int], count: int, found: Iterator[tuple[int, Sequence[Value]]]
    ) -> Iterator[bytes]:
        yield _ARRAY + encode_length(count)
        head = bytes((Tag.STRUCTURE,)) + encode_length(len(chosen))
        places = list(zip(columns.indexes, columns.encoders, strict=True))
        for time, values in found:
            rest = iter(values)
            cells = [self._write_time(time) if index < 0 else encode(next(rest)) for index, encode in places]
            yield head + b"".join([cells[column] for column in chosen])

    def _bounds(self, chosen: RangeDescriptor, columns: Columns) -> tuple[int, int]:
        """First and last moment of a range by the clock column; other columns do not restrict."""
        column = chosen.restricting
        if not any(
            index < 0 and column.logical_name == captured.logical_name and column.attribute_id == captured.attribute_id
            for captured, index in zip(columns.captured, columns.indexes, strict=True)
        ):
            raise Refused(DataAccessResult.OTHER_REASON)
        return self._moment(chosen.from_value, -_FAR), self._moment(chosen.to_value, _FAR)

    def _moment(self, data: Data, anything: int) -> int:
        """A date-time as milliseconds; `anything` for one without a date, which does not restrict."""
        octets = data.value
        if not isinstance(octets, bytes) or len(octets) != _DATE_TIME_LENGTH:
            raise Refused(DataAccessResult.TYPE_UNMATCHED)
        moment = self._reader.read(octets)
        if moment is not None:
            return moment
        if CosemDateTime.from_bytes(octets).date.year is None:
            return anything
        raise Refused(DataAccessResult.OTHER_REASON)


def _whole(data: Data) -> int:
    return data.value if isinstance(data.value, int) else 0


def _going_on(now: int, period: int) -> tuple[tuple[int, int, int], ...]:
    """Captures from the next multiple of a period on; none without a period."""
    return ((now // period * period + period, _FAR, period),) if period > 0 else ()


def _backwards(since: int, until: int, period: int) -> range:
    """The multiples of a period from `since` to before `until`, the latest first."""
    last = since + (until - 1 - since) // period * period
    return range(last, since - 1, -period)


def _selected(selection: AccessSelection) -> RangeDescriptor | EntryDescriptor:
    try:
        return from_selection(selection)
    except DecodeError as error:
        raise Refused(DataAccessResult.TYPE_UNMATCHED) from error


def _chosen_columns(selected: Sequence[CaptureObject], columns: Columns) -> list[int]:
    if not selected:
        return list(range(len(columns.captured)))
    captured = list(columns.captured)
    try:
        return [captured.index(column) for column in selected]
    except ValueError:
        raise Refused(DataAccessResult.OBJECT_UNAVAILABLE) from None


def _null(_: Value) -> bytes:
    return NULL_DATA


_CLOCK_COLUMN: Final[tuple[int, Encode]] = -1, _null
_NO_COLUMN: Final[tuple[int, Encode]] = 0, _null
