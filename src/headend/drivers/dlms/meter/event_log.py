"""Event logs: profiles with a row for each thing that happened to the meter, in the numbering of IDIS.

Of what has a number there a virtual meter writes down that its clock was set and its relay was switched. The names of the
logs say what they are for (IDIS package 2): 0-0:99.98.0 the standard events, 0-0:99.98.1 fraud, 0-0:99.98.2 the disconnector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.functions import Plant
from headend.drivers.dlms.meter.load_profiles import ENTRIES, PERIOD, Columns, LoadBuffer
from headend.drivers.dlms.meter_objects import Association, Refused
from headend.drivers.dlms.meter_types import Encode
from headend.drivers.dlms.refs import cosem_ref
from headend.model.objects import ObjectRef
from headend.model.profile import LoadProfile
from headend.model.reading import Value
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data

TABLES: Final = frozenset(("idis", "longi"))
"""Tables of codes in which IDIS's numbers have their meaning."""

_KEPT: Final[Mapping[int, range]] = {0: range(1, 40), 1: range(40, 47), 2: range(59, 70)}
"""Codes of events by group E of the log that keeps them."""

Row = tuple[int, int]
"""When something happened, by the meter's clock, and its code."""


class EventLog(LoadBuffer):
    """One event log of a meter file: the clock's column and that of the code, and whatever else it captures."""

    def __init__(self, plant: Plant, profile: LoadProfile, values: Mapping[ObjectRef, tuple[int, Encode]]) -> None:
        """As a load profile; its first column that is no clock is the code of the event."""
        super().__init__(plant, profile, values)
        self._kept = _KEPT.get(cosem_ref(profile.ref.address).obis.e, range(0))
        places = zip(self._columns.captured, self._columns.indexes, self._columns.encoders, strict=True)
        column, self._code, encode = next((place for place in places if place[1] >= 0), (None, -1, None))
        made = None if column is None else plant.objects.get((column.class_id, column.logical_name.to_bytes()))
        if column is not None and encode is not None and made is not None:
            made.reads[column.attribute_id] = lambda association: encode(self._last(association))

    def note(self, model: MeterModel, code: int) -> None:
        """Something happened to the meter: write it down, if this is the log for it."""
        if code in self._kept:
            most: int = self.plain(model, ENTRIES)
            self.remember(model, (*self._rows(model), (model.now(), code))[-most:])

    def _rows(self, model: MeterModel) -> tuple[Row, ...]:
        return self.state(model) or ()

    def _last(self, association: Association) -> int:
        rows = self._rows(association.model)
        return rows[-1][1] if rows else 0

    def accept(self, model: MeterModel, attribute_id: int, data: Data) -> None:
        """Refuse a period: a log is written when something happens."""
        if attribute_id == PERIOD:
            raise Refused(DataAccessResult.OTHER_REASON)
        super().accept(model, attribute_id, data)

    def _clear(self, model: MeterModel) -> None:
        self.remember(model, ())

    def _capture(self, model: MeterModel) -> None:  # noqa: ARG002 - whoever the meter is
        """Refuse: what would be the code?"""
        raise Refused(DataAccessResult.OTHER_REASON)

    def _is_touched(self, model: MeterModel) -> bool:
        return self.state(model) is not None

    def _entries(self, model: MeterModel, at: int) -> Sequence[int]:  # noqa: ARG002 - it is never ahead of itself
        """In the order in which it was written, which after its clock was set back is not that of its times."""
        return [time for time, _ in self._rows(model)]

    def _made(
        self, model: MeterModel, columns: Columns, times: Sequence[int], entries: Sequence[int]
    ) -> Iterator[tuple[int, Sequence[Value]]]:
        indexes = [index for index in columns.indexes if index >= 0]
        rows = self._rows(model)
        for entry in entries:
            time, (_, code) = times[entry - 1], rows[entry - 1]
            yield time, [code if index == self._code else model.value(index, time) for index in indexes]
