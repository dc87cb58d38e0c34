"""Load profiles (class 7): by range, by entry, or whole; block by block, whatever the meter allows.

A meter that refuses access by range is asked by entry: the entries that bound the time range are found by bisection. One
that refuses this too is read whole, and the rows outside the range are dropped. Rows always pass that filter, because some
meters answer a range with more than it asks for. Who answers entries with more rows than were asked for counts as one that
refuses them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import tzinfo
from math import inf
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.drivers.dlms.clocks import CLOCK, DATE_TIME_LENGTH, as_meter_writes, date_time_of, epoch_reader
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.drivers.dlms.shape import Shape, ask_shape
from headend.errors import ConfigError, MeterError, RemoteProtocolError, ServiceRefused
from headend.model.objects import HistoryBlock, HistoryRequest, RowFlag
from headend.model.reading import Quality, from_millis
from headend.protocols.dlms.axdr import octet_string
from headend.protocols.dlms.clock import ClockStatus, CosemDateTime
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.rows import RowStream, fill, times
from headend.protocols.dlms.selective import EntryDescriptor, RangeDescriptor

if TYPE_CHECKING:
    from headend.drivers.dlms.access import Access
    from headend.model.objects import ObjectEntry, ObjectRef, RawValue
    from headend.protocols.dlms.classes import CaptureObject

PROFILE_GENERIC: Final = 7
_ENTRIES_IN_USE: Final = 7
_FAR: Final = 4_102_444_800_000
"""2100-01-01, the end of a range that has none."""
_UNTRUSTED: Final = int(ClockStatus.INVALID_VALUE | ClockStatus.DOUBTFUL_VALUE | ClockStatus.INVALID_CLOCK_STATUS)
_UNSPECIFIED: Final = 0xFF
_VALUE: Final = 2
_POWER_DOWN, _CLOCK_ADJUSTED, _CLOCK_INVALID = 0x80, 0x20, 0x02

_Selection: TypeAlias = RangeDescriptor | EntryDescriptor | None
_Way: TypeAlias = Callable[[CosemRef, Shape, HistoryRequest], Awaitable[_Selection]]


class _NoRows(Exception):
    """The load profile has no row in the range."""


class _Misfit(RemoteProtocolError):
    """A row does not fit what the load profile was said to capture: somebody has changed that meanwhile, or it is wrong."""


class Histories:
    """The load profiles of one session; what they capture is asked once."""

    def __init__(self, access: Access, zone: tzinfo, entries: Mapping[ObjectRef, ObjectEntry]) -> None:
        """`entries` are the objects of the meter file."""
        self._access = access
        self._zone = zone
        self._entries = entries
        self._reader = epoch_reader(zone)
        self._shown: CosemDateTime | None = None
        self._asked_clock = False

    async def read(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """The rows of a load profile, in the blocks in which the meter sends them."""
        ref = cosem_ref(request.ref.address)
        if ref.class_id != PROFILE_GENERIC:
            raise ConfigError(f"{ref} is no load profile", hint="load profiles have class 7: 7/1-0:99.1.0.255/2")
        known = ref in self._access.static.shapes
        begun = False
        try:
            async for block in self._blocks(ref, request):
                begun = True
                yield block
        except _Misfit:
            self._access.static.shapes.pop(ref, None)
            if begun or not known:
                raise
            async for block in self._blocks(ref, request):
                yield block

    async def _blocks(self, ref: CosemRef, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """The rows, in the best way that the meter takes."""
        shapes = self._access.static.shapes
        shape = shapes.get(ref)
        if shape is None:
            shape = shapes[ref] = await ask_shape(self._access, ref, self._entries)
        ways = self._ways(shape, request)
        for way in ways:
            begun = False
            try:
                async for block in self._rows(ref, shape, await way(ref, shape, request), request):
                    begun = True
                    yield block
            except MeterError:
                if begun or way is ways[-1]:
                    raise
            except _NoRows:
                return
            else:
                return

    def _ways(self, shape: Shape, request: HistoryRequest) -> Sequence[_Way]:
        """How to select the rows, the best way first."""
        by_entry = request.first_entry is not None or request.last_entry is not None
        bounded = request.start is not None or request.end is not None
        if bounded and not by_entry and shape.clock < 0:
            raise ConfigError(f"{request.ref} captures no time", hint="read it by entry, or whole")
        selects = self._access.conformance & (Conformance.SELECTIVE_ACCESS | Conformance.PARAMETERIZED_ACCESS)
        if not selects or not (by_entry or bounded):
            return (_whole,)
        return (_as_asked, _whole) if by_entry else (self._by_range, self._by_bisection, _whole)

    async def _rows(
        self, ref: CosemRef, shape: Shape, selection: _Selection, request: HistoryRequest
    ) -> AsyncIterator[HistoryBlock]:
        """Read with one selection, and keep what the request asks for."""
        stream, count = RowStream(), 0
        last: tuple[RawValue, ...] = ()
        moment: int | None = None
        access = selection.to_selection() if selection is not None else None
        async for data in self._access.stream(ref, access):
            rows = stream.feed(data)
            if max(stream.announced, count + len(rows)) > _most(selection):
                raise ServiceRefused(f"{ref}: more rows than were asked for", reason="selective-access")
            if not rows:
                continue
            if any(len(row) != len(shape.captured) for row in rows):
                raise _Misfit(f"{ref}: a row that does not fit the capture objects")
            moments: list[int | None] = [None] * len(rows)
            if shape.clock >= 0:
                column = [row[shape.clock] for row in rows]
                moments = times(column, self._reader, period=shape.period, previous=moment)
                moment = moments[-1]
            filled = fill(rows, last)
            last = filled[-1]
            kept = slice(None) if selection is not None else _asked_for(request, count)
            count += len(rows)
            block = _block(shape, filled[kept], moments[kept], request)
            if block.rows:
                yield block
        if not stream.done:
            raise RemoteProtocolError(f"{ref}: the load profile ends in the middle of a row")

    async def _by_range(self, _ref: CosemRef, shape: Shape, request: HistoryRequest) -> _Selection:
        """From and to, both included."""
        start = 0 if request.start is None else request.start
        end = _FAR if request.end is None else request.end
        first, last = await self._meter_time(start), await self._meter_time(end - 1)
        restricting = shape.captured[shape.clock]
        return RangeDescriptor(restricting, octet_string(first), octet_string(last))

    async def _by_bisection(self, ref: CosemRef, shape: Shape, request: HistoryRequest) -> _Selection:
        """The entries whose times bound the range, if the load profile is in the order of time."""
        count = await self._access.get(ref.other(_ENTRIES_IN_USE))
        if not isinstance(count, int) or count < 0:
            raise ServiceRefused(f"{ref}: this is no number of entries: {count!r}", reason="entries_in_use")
        if count == 0:
            raise _NoRows
        if await self._time_of(ref, shape, 1) > await self._time_of(ref, shape, count):
            raise ServiceRefused(f"{ref}: the newest entry comes first", reason="sort_method")
        first = 1 if request.start is None else await self._first_from(ref, shape, count, request.start)
        last = count if request.end is None else await self._first_from(ref, shape, count, request.end) - 1
        if first > last:
            raise _NoRows
        return EntryDescriptor(first, last)

    async def _first_from(self, ref: CosemRef, shape: Shape, count: int, moment: int) -> int:
        """The first entry that is not before a moment; count + 1 when all are."""
        low, high = 1, count + 1
        while low < high:
            middle = (low + high) // 2
            if await self._time_of(ref, shape, middle) < moment:
                low = middle + 1
            else:
                high = middle
        return low

    async def _time_of(self, ref: CosemRef, shape: Shape, entry: int) -> int:
        """Milliseconds of one entry."""
        request = HistoryRequest(ref=ref.object_ref, first_entry=entry, last_entry=entry)
        async for block in self._rows(ref, shape, EntryDescriptor(entry, entry), request):
            if block.times[0] is not None:
                return block.times[0]
        raise ServiceRefused(f"{ref}: entry {entry} has no time", reason="buffer")

    async def _meter_time(self, millis: int) -> bytes:
        """A moment as the meter itself would write it, in whole seconds: its clock shows whether it tells a deviation."""
        if not self._asked_clock:
            (now,) = await self._access.read_refs(CLOCK)
            self._shown, self._asked_clock = date_time_of(now), True
        return as_meter_writes(from_millis(millis), self._shown, self._zone)


async def _as_asked(_ref: CosemRef, _shape: Shape, request: HistoryRequest) -> _Selection:
    """The entries that the request names."""
    return EntryDescriptor(request.first_entry or 1, request.last_entry or 0)


async def _whole(_ref: CosemRef, _shape: Shape, _request: HistoryRequest) -> None:
    """All rows."""


def _most(selection: _Selection) -> float:
    """How many rows a meter may answer with."""
    if isinstance(selection, EntryDescriptor) and selection.to_entry:
        return selection.to_entry - selection.from_entry + 1
    return inf


def _asked_for(request: HistoryRequest, before: int) -> slice:
    """The rows that a request names by entry, among rows that `before` others stand before."""
    last = None if not request.last_entry else max(0, request.last_entry - before)
    return slice(max(0, (request.first_entry or 1) - 1 - before), last)


def _block(
    shape: Shape, rows: Sequence[tuple[RawValue, ...]], moments: Sequence[int | None], request: HistoryRequest
) -> HistoryBlock:
    """The rows in the range, without the clock column."""
    clock, bounded = shape.clock, request.start is not None or request.end is not None
    start = -_FAR if request.start is None else request.start
    end = _FAR if request.end is None else request.end
    at = next((at for at, column in enumerate(shape.captured) if _is_status(column)), -1)
    kept, kept_moments, quality, flags = [], [], [], []
    for row, moment in zip(rows, moments, strict=True):
        if bounded and (moment is None or not start <= moment < end):
            continue
        status = row[at] if at >= 0 else 0
        kept_moments.append(moment)
        quality.append((_quality(row[clock]) if clock >= 0 else 0) | _doubt(status))
        flags.append(_flag(status))
        kept.append(row[:clock] + row[clock + 1 :] if clock >= 0 else row)
    return HistoryBlock(
        columns=shape.columns,
        times=kept_moments,
        rows=kept,
        quality=quality,
        flags=flags if at >= 0 else (),
        period=shape.period or 0,
    )


def _is_status(column: CaptureObject) -> bool:
    """Is this the status of a load profile, 0-b:96.10.e?"""
    name = column.logical_name
    return column.attribute_id == _VALUE and (name.a, name.c, name.d) == (0, 96, 10)


def _flag(status: RawValue) -> RowFlag:
    """What the status of a row says, in the bits that IDIS and the companion specifications after it give it."""
    if not isinstance(status, int):
        return RowFlag(0)
    down = RowFlag.POWER_DOWN if status & _POWER_DOWN else RowFlag(0)
    return down | (RowFlag.CLOCK_SET if status & _CLOCK_ADJUSTED else RowFlag(0))


def _doubt(status: RawValue) -> int:
    return int(Quality.CLOCK_INVALID) if isinstance(status, int) and status & _CLOCK_INVALID else 0


def _quality(date_time: RawValue) -> int:
    """What the clock status says of the time."""
    if isinstance(date_time, bytes) and len(date_time) == DATE_TIME_LENGTH and date_time[11] != _UNSPECIFIED:
        return int(Quality.CLOCK_INVALID) if date_time[11] & _UNTRUSTED else 0
    return 0
