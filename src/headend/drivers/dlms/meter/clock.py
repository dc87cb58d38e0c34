"""The clock (class 8): it can be set, shifted and adjusted, and it keeps the rules of its local time when they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import ClassVar, Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import BOOLEAN, DATE_TIME, INT8, INT16, enumerated, record, require
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method
from headend.drivers.dlms.meter.memory import Memory
from headend.drivers.dlms.meter.times import RuleZone
from headend.drivers.dlms.meter_objects import CLOCK, Association, Refused
from headend.drivers.dlms.meter_types import clock_writer
from headend.model.reading import from_millis
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data, Tag, boolean, encode_data, enum, int8, int16, octet_string, uint8
from headend.protocols.dlms.clock import ClockStatus, CosemDate, CosemDateTime, CosemTime, EpochReader

_QUARTER: Final = 900_000
_MINUTE: Final = 60_000
_LONGEST_SHIFT: Final = 900
_LAST: Final = 221_845_392_000_000
"""The year 9000: beyond it schedules would come to the end of the calendar."""
_FARTHEST_ZONE: Final = 900
_LONGEST_SAVING: Final = 120
_INTERNAL_CRYSTAL: Final = 1
_CLOCK_BASES: Final = range(6)
_LENGTH: Final = 12
_ANYTHING: Final = octet_string(CosemDateTime(CosemDate(), CosemTime()).to_bytes())
_TIME, _TIME_ZONE, _STATUS, _BEGIN, _END, _DEVIATION, _ENABLED, _BASE = 2, 3, 4, 5, 6, 7, 8, 9
_ZONE_RULES: Final = (_TIME_ZONE, _BEGIN, _END, _DEVIATION, _ENABLED)
_PRESET: Final = record(DATE_TIME, DATE_TIME, DATE_TIME)
_SET_FROM, _SET_TO = 4, 5
"""What a log of events has of it, under the time before and under the time after (table idis of event_codes.csv)."""


class Clock(Function):
    """The meter's clock, in the time of the zone of the meter file until other rules are written."""

    class_id = CLOCK
    holds: ClassVar[Holds] = {
        _TIME_ZONE: Held(INT16, int16(0)),
        _BEGIN: Held(DATE_TIME, _ANYTHING),
        _END: Held(DATE_TIME, _ANYTHING),
        _DEVIATION: Held(INT8, int8(0)),
        _ENABLED: Held(BOOLEAN, boolean(False)),  # noqa: FBT003 - an attribute's value
        _BASE: Held(enumerated(*_CLOCK_BASES), enum(_INTERNAL_CRYSTAL)),
    }

    def methods(self) -> dict[int, Method]:
        """adjust_to_quarter, _measuring_period, _minute, _preset_time, preset_adjusting_time, shift_time."""
        zone, made = self.plant.zone, self.made
        self.plant.zone_rule = self.plant.zone_rule or self.zone
        self._write_time = clock_writer(zone)
        self._reader = EpochReader(zone)
        summer_time = any(_local(month, zone).dst() for month in range(1, 13))
        if not self.said.attributes:
            self._initial |= {_DEVIATION: int8(60 if summer_time else 0), _ENABLED: boolean(summer_time)}
            made.reads[_TIME_ZONE] = self._read_time_zone
        made.reads[_TIME] = self._read_time
        made.reads[_STATUS] = self._read_status
        made.writes[_TIME] = self._set_time
        return {
            1: lambda model, _: self._adjust(model, _QUARTER),
            2: lambda model, _: self._adjust(model, self.plant.measuring_period),
            3: lambda model, _: self._adjust(model, _MINUTE),
            4: lambda model, _: self._adjust_to_preset(model),
            5: self._preset,
            6: self._shift,
        }

    def accept(self, model: MeterModel, attribute_id: int, data: Data) -> None:  # noqa: ARG002 - shape of Function
        """Refuse rules by which there is no local time."""
        value = data.value
        if isinstance(value, bytes):
            time = CosemDateTime.from_bytes(value).time
            refused = (time.hour or 0) > 23 or (time.minute or 0) > 59
        else:
            most = {_TIME_ZONE: _FARTHEST_ZONE, _DEVIATION: _LONGEST_SAVING}.get(attribute_id)
            refused = most is not None and isinstance(value, int) and abs(value) > most
        if refused:
            raise Refused(DataAccessResult.OTHER_REASON)

    def zone(self, model: MeterModel) -> tzinfo:
        """By what zone or rules the clock shows its time."""
        written = set(self.said.attributes)
        if isinstance(model.memory, Memory):
            written |= {
                number for class_id, name, number in model.memory.held if (class_id, name) == (CLOCK, self.name)
            }
        if not written & set(_ZONE_RULES):
            return self.plant.zone
        standard = -timedelta(minutes=self._time_zone(model))
        saving = timedelta(minutes=self.plain(model, _DEVIATION)) if self.plain(model, _ENABLED) else timedelta()
        begin, end = (CosemDateTime.from_bytes(self.plain(model, number)) for number in (_BEGIN, _END))
        return RuleZone(standard, begin, end, saving)

    def _time_zone(self, model: MeterModel) -> int:
        """Minutes from local standard time to UTC."""
        key = self.class_id, self.name, _TIME_ZONE
        if _TIME_ZONE in self.said.attributes or (isinstance(model.memory, Memory) and key in model.memory.held):
            minutes: int = self.plain(model, _TIME_ZONE)
            return minutes
        local = from_millis(model.now()).astimezone(self.plant.zone)
        return -(((local.utcoffset() or timedelta()) - (local.dst() or timedelta())) // timedelta(minutes=1))

    def _read_time_zone(self, association: Association) -> bytes:
        return encode_data(int16(self._time_zone(association.model)))

    def _read_time(self, association: Association) -> bytes:
        model = association.model
        if model.memory is None and not self.said.attributes:
            return self._write_time(model.now())
        zone, at = self.zone(model), model.now()
        if zone is self.plant.zone:
            return self._write_time(at)
        local = from_millis(at).astimezone(zone)
        offset = (local.utcoffset() or timedelta()) // timedelta(minutes=1)
        shown = CosemDateTime.from_utc(local, offset, status=ClockStatus.DST if local.dst() else 0)
        return encode_data(octet_string(shown.to_bytes()))

    def _read_status(self, association: Association) -> bytes:
        local = from_millis(association.model.now()).astimezone(self.zone(association.model))
        return encode_data(uint8(ClockStatus.DST if local.dst() else 0))

    # --- setting it ---

    def _set_time(self, association: Association, data: Data) -> None:
        if data.tag not in (Tag.OCTET_STRING, Tag.DATE_TIME) or not isinstance(data.value, bytes):
            raise Refused(DataAccessResult.TYPE_UNMATCHED)
        self._set(association.model, self._moment(association.model, data.value))

    def _moment(self, model: MeterModel, octets: bytes) -> int:
        zone = self.zone(model)
        reader = self._reader if zone is self.plant.zone else EpochReader(zone)
        moment = reader.read(octets) if len(octets) == _LENGTH else None
        if moment is None:
            raise Refused(DataAccessResult.OTHER_REASON)
        return moment

    def _set(self, model: MeterModel, moment: int) -> None:
        if not 0 <= moment < _LAST:
            raise Refused(DataAccessResult.OTHER_REASON)
        self.plant.happened(model, _SET_FROM)
        model.set_clock(moment)
        self.plant.happened(model, _SET_TO)
        self.plant.clock_was_set(model)

    def _adjust(self, model: MeterModel, step: int) -> None:
        """Set the clock to the nearest multiple of so many milliseconds."""
        self._set(model, (model.now() + step // 2) // step * step)

    def _preset(self, model: MeterModel, data: Data | None) -> None:
        """Take a time that is set later, while it is between two others."""
        preset, start, end = (self._moment(model, octets) for octets in require(data, _PRESET))
        self.remember(model, (preset, start, end))

    def _adjust_to_preset(self, model: MeterModel) -> None:
        preset, start, end = self.state(model) or (0, 1, 0)
        if not start <= model.now() <= end:
            raise Refused(DataAccessResult.OTHER_REASON)
        self.remember(model, None)
        self._set(model, preset)

    def _shift(self, model: MeterModel, data: Data | None) -> None:
        seconds: int = require(data, INT16)
        if abs(seconds) > _LONGEST_SHIFT:
            raise Refused(DataAccessResult.OTHER_REASON)
        self._set(model, model.now() + seconds * 1000)


def _local(month: int, zone: tzinfo) -> datetime:
    return datetime(2024, month, 15, tzinfo=UTC).astimezone(zone)
