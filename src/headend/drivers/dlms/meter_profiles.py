"""Load profiles of a virtual meter (class 7): rows are made one after the other, as the client takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from headend.drivers.dlms.meter_objects import LOAD_PROFILE, Association, CosemObject, Refused, static
from headend.drivers.dlms.meter_types import NULL_DATA, Encode, clock_writer
from headend.drivers.dlms.refs import cosem_ref
from headend.errors import DecodeError
from headend.model.objects import ObjectRef
from headend.model.profile import LoadProfile
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
from headend.protocols.dlms.classes import CaptureObject
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.protocols.dlms.selective import EntryDescriptor, RangeDescriptor, from_selection

_CLOCK_CLASS: Final = 8
_FIFO: Final = 1
_SELECTORS: Final = {2: (RangeDescriptor.selector, EntryDescriptor.selector)}
_ARRAY: Final = bytes((Tag.ARRAY,))
_FAR: Final = 1 << 62
_DATE_TIME_LENGTH: Final = 12
_UNSORTED: Final = structure(uint16(0), octet_string(bytes(6)), int8(0), uint16(0))


class LoadBuffer:
    """The rows of one load profile of a meter file."""

    __slots__ = ("_captured", "_clocks", "_encoders", "_profile", "_reader", "_write_time")

    def __init__(self, profile: LoadProfile, encoders: Mapping[ObjectRef, Encode], zone: tzinfo) -> None:
        """`encoders` are those of the objects of the meter file; a column that is none of them is always null."""
        refs = [cosem_ref(ref.address) for ref in profile.columns]
        self._profile = profile
        self._captured = [CaptureObject(ref.class_id, ref.obis, ref.member) for ref in refs]
        self._clocks = [ref.class_id == _CLOCK_CLASS for ref in refs]
        self._encoders = [encoders.get(ref, _null) for ref in profile.columns]
        self._reader = EpochReader(zone)
        self._write_time = clock_writer(zone)

    def to_object(self) -> CosemObject:
        """The object, without its buffer."""
        ref, profile = cosem_ref(self._profile.ref.address), self._profile
        made = CosemObject(LOAD_PROFILE, ref.obis, version=1, selectors=_SELECTORS)

        def entries_in_use(association: Association) -> bytes:
            model = association.model
            return encode_data(uint32(model.entries_in_use(profile, model.now())))

        made.reads |= {
            3: static(array(*(captured.to_data() for captured in self._captured))),
            4: static(uint32(profile.period_seconds)),
            5: static(enum(_FIFO)),
            6: static(_UNSORTED),
            7: entries_in_use,
            8: static(uint32(profile.capacity)),
        }
        return made

    def pieces(self, association: Association, selection: AccessSelection | None) -> Iterator[bytes]:
        """The encoded buffer: the head of the array, then row by row; raises Refused at once for an impossible selection."""
        model, profile = association.model, self._profile
        at = model.now()
        held = model.entries_in_use(profile, at)
        first, last, columns = 1, held, list(range(len(self._captured)))
        if selection is not None:
            try:
                chosen = from_selection(selection)
            except DecodeError as error:
                raise Refused(DataAccessResult.TYPE_UNMATCHED) from error
            if isinstance(chosen, EntryDescriptor):
                first, last = max(1, chosen.from_entry), min(chosen.to_entry or held, held)
                columns = columns[max(0, chosen.from_selected - 1) : chosen.to_selected or None]
            else:
                start, end = self._bounds(chosen)
                first, last = model.entry_range(profile, start, end, at)
                columns = self._chosen_columns(chosen.selected)
        return self._rows(association, range(first, last + 1), columns, at)

    def _rows(self, association: Association, entries: Sequence[int], columns: list[int], at: int) -> Iterator[bytes]:
        yield _ARRAY + encode_length(len(entries))
        row, profile = association.model.row, self._profile
        clocks, encoders = self._clocks, self._encoders
        head = bytes((Tag.STRUCTURE,)) + encode_length(len(columns))
        for entry in entries:
            time, values = row(profile, entry, at)
            rest = iter(values)
            cells = [
                self._write_time(time) if is_clock else encode(next(rest))
                for is_clock, encode in zip(clocks, encoders, strict=True)
            ]
            yield head + b"".join([cells[column] for column in columns])

    def _bounds(self, chosen: RangeDescriptor) -> tuple[int, int]:
        """First and last moment of a range by the clock column; other columns do not restrict."""
        column = chosen.restricting
        if not any(
            is_clock and column.logical_name == captured.logical_name and column.attribute_id == captured.attribute_id
            for captured, is_clock in zip(self._captured, self._clocks, strict=True)
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

    def _chosen_columns(self, selected: Sequence[CaptureObject]) -> list[int]:
        if not selected:
            return list(range(len(self._captured)))
        try:
            return [self._captured.index(column) for column in selected]
        except ValueError:
            raise Refused(DataAccessResult.OBJECT_UNAVAILABLE) from None


def _null(_: object) -> bytes:
    return NULL_DATA
