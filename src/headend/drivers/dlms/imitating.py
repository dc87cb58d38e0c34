"""A virtual meter from an object list alone: which objects have values that change, and what load profiles hold. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.errors import HeadendError
from headend.model.objects import ObjectEntry
from headend.model.profile import LoadProfile
from headend.model.quantity import Quantity, for_obis
from headend.protocols.dlms.axdr import Tag, decode_data
from headend.standards.obis import Obis
from headend.standards.units import units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headend.model.profile import ListedObject, MeterProfile

DATA, REGISTER, EXTENDED_REGISTER, LOAD_PROFILE, CLOCK, ASSOCIATION, RELAY = 1, 3, 4, 7, 8, 15, 70
_VALUE: Final = 2
_SCALER_UNIT: Final = 3
_CAPTURE_OBJECTS: Final = 3
_CAPTURE_PERIOD: Final = 4
_PROFILE_ENTRIES: Final = 8
_USUAL_PERIOD: Final = 900
_USUAL_CAPACITY: Final = 2976
_IDENTITY: Final = {
    Obis(0, 0, 42, 0, 0): ("logical_device_name", "{flag}{number:013}"),
    Obis(0, 0, 96, 1, 0): ("serial_number", "{number:08}"),
    Obis(1, 0, 0, 2, 0): ("firmware_version", "{firmware}"),
}
"""what tells who a meter is, where the list does not say it"""
_TYPES: Final = {
    Tag.INT8: "int8", Tag.INT16: "int16", Tag.INT32: "int32", Tag.INT64: "int64",
    Tag.UINT8: "uint8", Tag.UINT16: "uint16", Tag.UINT32: "uint32", Tag.UINT64: "uint64",
    Tag.FLOAT32: "float32", Tag.FLOAT64: "float64",
}  # fmt: skip


def imitate(profile: MeterProfile) -> MeterProfile:
    """The profile with values for the objects of its list, and load profiles of what is told of them."""
    refs = {cosem_ref(each.ref): each for each in profile.listed}
    taken = {cosem_ref(entry.ref.address) for entry in profile.objects}
    made = [
        entry for ref, each in refs.items() if ref not in taken and (entry := _entry(ref, each, profile)) is not None
    ]
    objects = (*profile.objects, *made)
    known = {cosem_ref(entry.ref.address) for entry in objects}
    tables = [table for ref, each in refs.items() if (table := _load_profile(ref, each, known)) is not None]
    versions = [each.version for ref, each in refs.items() if ref.class_id == ASSOCIATION and ref.obis == _CURRENT]
    association = {**profile.association}
    if versions:
        association.setdefault("association_version", min(3, versions[0]))
    return replace(profile, objects=objects, load_profiles=(*profile.load_profiles, *tables), association=association)


_CURRENT: Final = Obis(0, 0, 40, 0, 0)


def _entry(ref: CosemRef, listed: ListedObject, profile: MeterProfile) -> ObjectEntry | None:
    """The value of an object, where it has one that changes, or tells who the meter is."""
    place = ref.other(_VALUE).object_ref
    if ref.class_id == CLOCK:
        return ObjectEntry(ref=place, quantity="meter_time", scaler=0, writable=True)
    if ref.class_id == RELAY:
        return ObjectEntry(ref=place, quantity="relay_closed", scaler=0, type="boolean")
    if ref.class_id == DATA and _VALUE not in listed.values and ref.obis in _IDENTITY:
        quantity, text = _IDENTITY[ref.obis]
        said = text.replace("{flag}", profile.flag or 3 * "X").replace("{firmware}", profile.firmware or "1.0")
        return ObjectEntry(
            ref=place, quantity=quantity, scaler=0, type="octet_string", poll=False, emulate={"value": said}
        )
    if ref.class_id not in (REGISTER, EXTENDED_REGISTER):
        return None
    found = for_obis(ref.obis)
    return None if found is None else _register(place_of=ref, listed=listed, quantity=found)


def _register(place_of: CosemRef, listed: ListedObject, quantity: Quantity) -> ObjectEntry | None:
    """A register of the catalogue with the scaler, unit and type that the list tells, where the unit fits."""
    exponent, unit = _scale(listed.values)
    octets = listed.values.get(_VALUE, b"")
    if unit and unit != quantity.unit:
        return None
    if octets[:1] and octets[0] not in _TYPES:
        return None
    return ObjectEntry(
        ref=place_of.other(_VALUE).object_ref,
        quantity=quantity.key,
        unit=unit or quantity.unit,
        scaler=exponent,
        exponent=exponent,
        type=_TYPES[Tag(octets[0])] if octets else "uint32",
        poll=False,
    )


def _scale(values: Mapping[int, bytes]) -> tuple[int, str]:
    """Power of ten and unit in scaler_unit; nothing where it is not told."""
    try:
        exponent, code = _decoded(values[_SCALER_UNIT])
        unit = units()[code]
        return int(exponent) + (unit.exponent or 0), unit.base
    except (HeadendError, KeyError, TypeError, ValueError):
        return 0, ""


def _decoded(octets: bytes) -> Any:  # noqa: ANN401 - whatever a meter holds
    return decode_data(octets)[0]


def _load_profile(ref: CosemRef, listed: ListedObject, known: set[CosemRef]) -> LoadProfile | None:
    """The load profile whose capture_objects the list tells, with the columns that can be had."""
    if ref.class_id != LOAD_PROFILE or _CAPTURE_OBJECTS not in listed.values:
        return None
    try:
        captured = _decoded(listed.values[_CAPTURE_OBJECTS])
        columns = [
            CosemRef(class_id, Obis.from_bytes(name), attribute_id) for class_id, name, attribute_id, *_ in captured
        ]
    except (HeadendError, TypeError, ValueError):
        return None
    columns = [column for column in columns if column in known]
    if not columns or columns[0].class_id != CLOCK:
        return None
    return LoadProfile(
        ref=ref.other(_VALUE).object_ref,
        period_seconds=_count(listed.values, _CAPTURE_PERIOD, _USUAL_PERIOD),
        capacity=_count(listed.values, _PROFILE_ENTRIES, _USUAL_CAPACITY),
        columns=tuple(column.object_ref for column in columns),
    )


def _count(values: Mapping[int, bytes], attribute_id: int, usual: int) -> int:
    """A number that an attribute tells."""
    try:
        found = _decoded(values[attribute_id])
    except (HeadendError, KeyError):
        return usual
    return found if isinstance(found, int) and found > 0 else usual
