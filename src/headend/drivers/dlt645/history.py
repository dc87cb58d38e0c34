"""Load records of a meter, by time or counted from the oldest, some rows at a time; and its event records, one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.events import RECORDS, EventRecord, code_of, decode_event, is_event
from headend.drivers.dlt645.records import GROUPS, LoadRecord, decode_records, group_of
from headend.drivers.dlt645.refs import DataRef, data_ref
from headend.drivers.dlt645.values import entries_of, meaning, quantity_of
from headend.errors import ConfigError, ObjectUndefined, RemoteProtocolError
from headend.model.objects import HistoryBlock, HistoryColumn, HistoryRequest
from headend.model.reading import from_millis, to_millis
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.requests import Read
from headend.standards.dlt645 import Version, find_register

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import tzinfo

    from headend.model.objects import ObjectEntry, ObjectRef
    from headend.model.profile import MeterProfile

_ROWS: Final = 12
"""Rows that are asked for at a time."""
_EARLIEST: Final = 0x06000000
_FROM: Final = 0x06000001


class Histories:
    """The load records of one session."""

    __slots__ = ("_ask", "_entries", "_profile", "_zone")

    def __init__(
        self, ask: Callable[[Read, Version], Awaitable[bytes]], zone: tzinfo, profile: MeterProfile | None
    ) -> None:
        self._ask = ask
        self._zone = zone
        self._profile = profile
        self._entries = entries_of(profile)

    async def read(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """The rows that are asked for, in the order of time; those of event records are their code and what they say besides."""
        ref = data_ref(request.ref.address)
        if ref.version is Version.V2007 and is_event(ref.di):
            if (block := await self._events(ref, request)) is not None:
                yield block
            return
        class_number = ref.di >> 16 & 0xFF
        if ref.version is not Version.V2007 or ref.di >> 24 != 6 or class_number > len(GROUPS):
            raise ConfigError(
                f"{ref} is no load record", hint="load records are 06000001 to 06060001, event records such as 03110001"
            )
        count = 0
        columns: Sequence[HistoryColumn] | None = None
        async for records in self._records(ref, request.start):
            first, count = count + 1, count + len(records)
            chosen = [
                (at, record) for place, record in enumerate(records, first)
                if (at := self._time(record)) is not None and _is_wanted(request, place, at)
            ]  # fmt: skip
            if chosen:
                columns = columns or self._columns(request.ref, class_number, chosen[0][1])
                yield _block(columns, chosen)
            if self._is_past(request, count, records[-1]):
                return

    async def _events(self, ref: DataRef, request: HistoryRequest) -> HistoryBlock | None:
        """The event records that are asked for: the meter is asked from the newest on, as far back as is wanted."""
        found: list[tuple[int, EventRecord]] = []
        for back in range(RECORDS):
            try:
                octets = await self._ask(Read(ref.di + back), Version.V2007)
            except ObjectUndefined:
                break
            record = decode_event(ref.di, octets)
            at = None if record is None else self._moment(record.time)
            if record is None or at is None:
                break
            found.append((at, record))
            if request.start is not None and at < request.start:
                break
        found.reverse()
        chosen = [each for place, each in enumerate(found, 1) if _is_wanted(request, place, each[0])]
        if not chosen:
            return None
        return HistoryBlock(
            columns=(HistoryColumn(ref=request.ref), HistoryColumn(ref=request.ref)),
            times=[at for at, _ in chosen],
            rows=[(code_of(ref.di), record.text) for _, record in chosen],
            quality=[0] * len(chosen),
        )

    async def _records(self, ref: DataRef, start: int | None) -> AsyncIterator[Sequence[LoadRecord]]:
        """All rows from a time on, or from the oldest, some at a time."""
        kind = ref.di & 0xFF0000
        request = Read(_EARLIEST | kind, _ROWS)
        if start is not None:
            request = Read(_FROM | kind, _ROWS, Moment.from_datetime(from_millis(start).astimezone(self._zone)))
        last = None
        while True:
            try:
                records = decode_records(await self._ask(request, Version.V2007))
            except ObjectUndefined:
                return
            if not records:
                return
            yield records
            time = records[-1].time.to_datetime() if records[-1].time else None
            if time is None or (last is not None and time <= last):
                raise RemoteProtocolError(f"{ref}: the load records do not go on in time")
            last = time
            request = Read(_FROM | kind, _ROWS, Moment.from_datetime(time + timedelta(minutes=1)))

    def _time(self, record: LoadRecord) -> int | None:
        return None if record.time is None else self._moment(record.time)

    def _moment(self, time: Moment) -> int | None:
        shown = time.to_datetime()
        return None if shown is None else to_millis(shown.replace(tzinfo=self._zone))

    def _is_past(self, request: HistoryRequest, count: int, record: LoadRecord) -> bool:
        """Nothing more is wanted behind this row."""
        at = self._time(record)
        by_time = request.end is not None and at is not None and at >= request.end
        return by_time or (request.last_entry is not None and count >= request.last_entry)

    def _columns(self, ref: ObjectRef, class_number: int, record: LoadRecord) -> Sequence[HistoryColumn]:
        """Those of the meter file among what the record holds; without a file, all of that."""
        identifiers = [di for di in group_of(class_number) if di in record.values]
        for profile in self._profile.load_profiles if self._profile else ():
            if profile.ref == ref:
                named = [data_ref(column.address).di for column in profile.columns]
                identifiers = [di for di in named if di in record.values]
        return [_column(di, self._entries) for di in identifiers]


def _column(di: int, entries: Mapping[ObjectRef, ObjectEntry]) -> HistoryColumn:
    ref = DataRef(di, Version.V2007).object_ref
    known, register, entry = meaning(di, Version.V2007), find_register(di), entries.get(ref)
    quantity = quantity_of(register) if register else None
    key = entry.quantity if entry else quantity.key if quantity else ""
    return HistoryColumn(ref=ref, quantity=key, unit=known.unit, exponent=known.exponent)


def _is_wanted(request: HistoryRequest, place: int, at: int) -> bool:
    after = request.start is None or at >= request.start
    before = request.end is None or at < request.end
    return after and before and (request.first_entry or 1) <= place <= (request.last_entry or place)


def _block(columns: Sequence[HistoryColumn], chosen: Sequence[tuple[int, LoadRecord]]) -> HistoryBlock:
    identifiers = [data_ref(column.ref.address).di for column in columns]
    return HistoryBlock(
        columns=tuple(columns),
        times=[at for at, _ in chosen],
        rows=[tuple(record.values.get(di) for di in identifiers) for _, record in chosen],
        quality=[0] * len(chosen),
    )
