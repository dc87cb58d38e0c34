"""Pushes and events of a meter, as the model knows them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from headend.drivers.base import Notification, PushList
from headend.drivers.dlms.clocks import clock_text
from headend.drivers.dlms.nodes import first_error, read_data
from headend.drivers.dlms.pushes import Pushed, read_push
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.drivers.mapping import scale
from headend.errors import DecodeError
from headend.model.objects import ObjectRef
from headend.model.reading import to_millis
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.short import InformationReport, VariableName
from headend.protocols.dlms.axdr import decode_data
from headend.standards.codes import find_code
from headend.standards.obis import Obis
from headend.standards.units import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headend.model.objects import ObjectEntry, RawValue
    from headend.protocols.dlms.clock import EpochReader
    from headend.protocols.dlms.short_names import ShortNames

_DATA, _REGISTER, _CLOCK = 1, 3, 8


def to_notification(
    apdu: DataNotification | EventNotification | InformationReport,
    reader: EpochReader,
    entries: Mapping[ObjectRef, ObjectEntry],
    *,
    lists: Iterable[PushList] = (),
    names: ShortNames | None = None,
) -> Notification:
    """One notification; data that cannot be decoded stay octets.

    `entries` are the objects of the meter file, `lists` what the meter pushes without saying what it is, `names` what a
    meter with short names has told.
    """
    if isinstance(apdu, InformationReport):
        return _report(apdu, names)
    if isinstance(apdu, EventNotification):
        value = _plain(apdu.value)
        ref = CosemRef(
            apdu.attribute.class_id, Obis.from_bytes(apdu.attribute.logical_name), apdu.attribute.attribute_id
        )
        at = _moment(apdu.time or b"", reader)
        return Notification(kind="event", body=value, measured_at=at, values={ref.object_ref: value})
    at = _moment(apdu.date_time, reader)
    body = read_data(apdu.body)
    if first_error(body) is not None:
        return Notification(kind="push", body=apdu.body, measured_at=at)
    own = [[None if ref is None else cosem_ref(ref.address) for ref in each] for each in lists]
    values: dict[ObjectRef, RawValue] = {}
    scales: dict[ObjectRef, tuple[int, str]] = {}
    for each in read_push(body, tagged_date_time=apdu.tagged_date_time, lists=own):
        if isinstance(each.raw, list) or each.raw is None:
            continue
        pushed, value = _value(each, entries)
        values[pushed] = value
        entry, told = entries.get(pushed), _scale(each)
        if told is not None and (entry is None or entry.scaler is None):
            scales[pushed] = told
        if at is None and each.is_clock and isinstance(each.raw, bytes):
            at = _moment(each.raw, reader)
    return Notification(kind="push", body=body.plain(), measured_at=at, values=values, scales=scales)


def _report(report: InformationReport, names: ShortNames | None) -> Notification:
    """An information-report: attributes by their short names. Its time is a GeneralizedTime."""
    told = [_plain(data) for data in report.data]
    values = {}
    for variable, value in zip(report.variables, told, strict=True):
        member = names.member(variable.name) if names and isinstance(variable, VariableName) else None
        if member is not None and not member.is_method:
            ref = CosemRef(member.target.class_id, member.target.logical_name, member.number)
            values[ref.object_ref] = clock_text(value) if ref.class_id == _CLOCK else value
    return Notification(kind="event", body=told, measured_at=_generalized_time(report.time or b""), values=values)


def _generalized_time(time: bytes) -> int | None:
    """Milliseconds of YYYYMMDDhhmmssZ; None for any other form, which tells no moment."""
    try:
        moment = datetime.strptime(time.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return to_millis(moment)


def _value(pushed: Pushed, entries: Mapping[ObjectRef, ObjectEntry]) -> tuple[ObjectRef, RawValue]:
    """The object and its value as a read of it would bring it: with the scaler of the meter file where both are told."""
    ref = _ref(pushed, entries)
    entry = entries.get(ref)
    told = _scale(pushed)
    if entry is None or entry.scaler is None or told is None or told[0] == entry.exponent:
        return ref, _clock_or_raw(pushed)
    return ref, scale(pushed.raw, told[0] - entry.exponent)


def _clock_or_raw(pushed: Pushed) -> RawValue:
    """Date-times as text, as reads give them; everything else as it is."""
    return pushed.value if pushed.is_clock else pushed.raw


def _ref(pushed: Pushed, entries: Mapping[ObjectRef, ObjectEntry]) -> ObjectRef:
    """The object; where the push does not tell its class, the meter file does, or else the table of OBIS codes."""
    if pushed.class_id:
        return CosemRef(pushed.class_id, pushed.obis, pushed.attribute_id).object_ref
    code = find_code(pushed.obis)
    likely = _CLOCK if pushed.is_clock else _DATA if isinstance(pushed.raw, bytes | str) else _REGISTER
    classes = (*_CLASSES, *(code.classes if code else ()))
    refs = [CosemRef(class_id, pushed.obis, pushed.attribute_id).object_ref for class_id in classes]
    known = next((ref for ref in refs if ref in entries), None)
    return known or CosemRef(likely, pushed.obis, pushed.attribute_id).object_ref


_CLASSES: Final = (_REGISTER, _DATA, 4, 5, _CLOCK)
"""Classes whose attribute 2 is the value."""


def _scale(pushed: Pushed) -> tuple[int, str] | None:
    """The power of ten from the value to the base unit, and that unit, where the push or its list tells scaler and unit."""
    if pushed.scaler is None:
        return None
    unit = next((unit for unit in units().values() if unit.symbol == pushed.unit), None)
    if unit is None:
        return pushed.scaler, pushed.unit
    prefix = unit.exponent
    return None if prefix is None else (pushed.scaler + prefix, unit.base)


def _moment(date_time: bytes, reader: EpochReader) -> int | None:
    return reader.read(date_time) if len(date_time) == 12 else None


def _plain(data: bytes) -> RawValue:
    try:
        return decode_data(data)[0]
    except DecodeError:
        return data
