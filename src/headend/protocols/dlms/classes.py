"""Structured attributes of COSEM classes (IEC 62056-6-2): from the plain values of `decode_data`, and back to `Data`.

Only attributes with a structure that head-end and meter must both understand; what attributes and methods are called
stands in `headend.standards.cosem`. Values of another structure raise DecodeError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import (
    NULL,
    Data,
    array,
    boolean,
    enum,
    int8,
    int16,
    octet_string,
    structure,
    uint8,
    uint16,
)
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headend.protocols.dlms.axdr import Plain


class ScalerUnit(NamedTuple):
    """A value times 10**`scaler` is in `unit`, a code of `headend.standards.units`."""

    scaler: int
    unit: int

    def to_data(self) -> Data:
        """Structure of integer and enum."""
        return structure(int8(self.scaler), enum(self.unit))


def to_scaler_unit(value: Plain) -> ScalerUnit:
    """Attribute scaler_unit of classes 3, 4, 5 and 61."""
    scaler, unit = _elements("scaler_unit", value, int, int)
    return ScalerUnit(scaler, unit)


@dataclass(frozen=True, slots=True)
class CaptureObject:
    """capture_object_definition: what a column of a profile holds; `data_index` 0 is the whole attribute."""

    class_id: int
    logical_name: Obis
    attribute_id: int
    data_index: int = 0

    def to_data(self) -> Data:
        """Structure of class, logical name, attribute and index."""
        name = octet_string(self.logical_name.to_bytes())
        return structure(uint16(self.class_id), name, int8(self.attribute_id), uint16(self.data_index))


def to_capture_object(value: Plain) -> CaptureObject:
    """One capture_object_definition."""
    class_id, name, attribute_id, index = _elements("capture_object_definition", value, int, bytes, int, int)
    return CaptureObject(class_id, Obis.from_bytes(name), attribute_id, index)


def to_capture_objects(value: Plain) -> list[CaptureObject]:
    """Attribute capture_objects of classes 7 and 62."""
    return [to_capture_object(each) for each in _array("capture_objects", value)]


def base_name_to_data(base_name: int) -> Data:
    """A base name as object lists hold it, a signed number."""
    return int16(base_name - 0x10000 if base_name & 0x8000 else base_name)


class AccessRight(IntFlag):
    """What an association may do with an attribute or method, in the bits of association version 3."""

    NONE = 0x00
    READ = 0x01
    WRITE = 0x02
    AUTHENTICATED_REQUEST = 0x04
    ENCRYPTED_REQUEST = 0x08
    SIGNED_REQUEST = 0x10
    AUTHENTICATED_RESPONSE = 0x20
    ENCRYPTED_RESPONSE = 0x40
    SIGNED_RESPONSE = 0x80


INVOKE: Final = AccessRight.READ
"""The bit that lets a method be invoked."""


@dataclass(frozen=True, slots=True)
class ObjectListEntry:
    """One object that an association shows: rights by attribute and by method id, access selectors by attribute id."""

    class_id: int
    version: int
    logical_name: Obis
    attributes: Mapping[int, AccessRight] = field(default_factory=dict)
    methods: Mapping[int, AccessRight] = field(default_factory=dict)
    selectors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def to_data(self, association_version: int) -> Data:
        """The object_list_element as an association LN of that version writes it."""
        return structure(
            uint16(self.class_id),
            uint8(self.version),
            octet_string(self.logical_name.to_bytes()),
            structure(*self._rights(association_version)),
        )

    def to_short_rights(self, base_name: int) -> Data:
        """The access_rights_element of an association SN; modes are those of version 1 of association LN."""
        return structure(base_name_to_data(base_name), *self._rights(1))

    def _rights(self, association_version: int) -> tuple[Data, Data]:
        attributes = [
            structure(
                int8(attribute_id), enum(_attribute_mode(right, association_version)), self._selectors(attribute_id)
            )
            for attribute_id, right in self.attributes.items()
        ]
        methods = [
            structure(int8(method_id), _method_mode(right, association_version))
            for method_id, right in self.methods.items()
        ]
        return array(*attributes), array(*methods)

    def _selectors(self, attribute_id: int) -> Data:
        selectors = self.selectors.get(attribute_id)
        return array(*map(int8, selectors)) if selectors else NULL


def to_object_list(value: Plain, association_version: int) -> list[ObjectListEntry]:
    """Attribute object_list of class 15 in its version 0 to 3 (later ones are read like 3)."""
    return [_to_entry(each, association_version) for each in _array("object_list", value)]


def _to_entry(value: Plain, association_version: int) -> ObjectListEntry:
    class_id, version, name, rights = _elements("object_list_element", value, int, int, bytes, list)
    attribute_rights, method_rights = _elements("access_rights", rights, list, list)
    attributes, selectors = _attribute_rights(attribute_rights, association_version)
    methods = _method_rights(method_rights, association_version)
    return ObjectListEntry(class_id, version, Obis.from_bytes(name), attributes, methods, selectors)


ShortRights: TypeAlias = "tuple[Mapping[int, AccessRight], Mapping[int, AccessRight]]"
"""Rights by attribute and by method id."""


def to_short_rights(value: Plain) -> dict[int, ShortRights]:
    """Attribute access_rights_list of class 12, by base name; its modes are those of version 1 of class 15."""
    rights: dict[int, ShortRights] = {}
    for each in _array("access_rights_list", value):
        base_name, attributes, methods = _elements("access_rights_element", each, int, list, list)
        rights[base_name & 0xFFFF] = _attribute_rights(attributes, 1)[0], _method_rights(methods, 1)
    return rights


_Rights: TypeAlias = dict[int, AccessRight]


def _attribute_rights(items: list[Plain], association_version: int) -> tuple[_Rights, dict[int, tuple[int, ...]]]:
    attributes: _Rights = {}
    selectors: dict[int, tuple[int, ...]] = {}
    for each in items:
        attribute_id, mode, selection = _elements("attribute_access_item", each, int, int, (list, type(None)))
        attributes[attribute_id] = _attribute_right(mode, association_version)
        if selection:
            selectors[attribute_id] = tuple(_elements("access_selectors", selection, *[int] * len(selection)))
    return attributes, selectors


def _method_rights(items: list[Plain], association_version: int) -> _Rights:
    methods: _Rights = {}
    for each in items:
        method_id, mode = _elements("method_access_item", each, int, (bool, int))
        methods[method_id] = _method_right(mode, association_version)
    return methods


def _attribute_right(mode: int, association_version: int) -> AccessRight:
    """Before version 3: 0 none, 1 read, 2 write, 3 both, and 4 to 6 the same when authenticated; then bits."""
    if association_version >= 3 or mode > 6:
        return AccessRight(mode & 0xFF)
    if mode > 3:
        return AccessRight(mode - 3) | AccessRight.AUTHENTICATED_REQUEST
    return AccessRight(mode)


def _attribute_mode(right: AccessRight, association_version: int) -> int:
    if association_version >= 3:
        return int(right)
    mode = int(right & (AccessRight.READ | AccessRight.WRITE))
    return mode + 3 if mode and right & AccessRight.AUTHENTICATED_REQUEST else mode


def _method_right(mode: int, association_version: int) -> AccessRight:
    """A boolean in version 0; in versions 1 and 2 0 none, 1 access, 2 when authenticated; then bits."""
    if isinstance(mode, bool):
        return INVOKE if mode else AccessRight.NONE
    if association_version < 3 and mode == 2:
        return INVOKE | AccessRight.AUTHENTICATED_REQUEST
    return AccessRight(mode & 0xFF)


def _method_mode(right: AccessRight, association_version: int) -> Data:
    if association_version == 0:
        return boolean(bool(right & INVOKE))
    if association_version >= 3:
        return enum(int(right))
    return enum((2 if right & AccessRight.AUTHENTICATED_REQUEST else 1) if right & INVOKE else 0)


class Sap(NamedTuple):
    """One logical device of a physical one: its service access point and logical device name."""

    sap: int
    logical_device_name: bytes

    def to_data(self) -> Data:
        """Structure of long-unsigned and octet-string."""
        return structure(uint16(self.sap), octet_string(self.logical_device_name))


def to_sap_list(value: Plain) -> list[Sap]:
    """Attribute SAP_assignment_list of class 17."""
    saps = []
    for each in _array("SAP_assignment_list", value):
        sap, name = _elements("SAP_assignment_list_element", each, int, (bytes, str))
        saps.append(Sap(sap, name.encode("latin-1", "replace") if isinstance(name, str) else name))
    return saps


class ControlState(IntEnum):
    """Attribute control_state of class 70, disconnect_control."""

    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


def after_remote_disconnect(state: ControlState, control_mode: int) -> ControlState:
    """What method 1 of class 70 leads to: in mode 0 nothing, in all others the supply is cut."""
    return state if control_mode == 0 else ControlState.DISCONNECTED


def after_remote_reconnect(state: ControlState, control_mode: int) -> ControlState:
    """What method 2 of class 70 leads to: in modes 2 and 4 supply, in 1, 3, 5 and 6 somebody must press a button."""
    if state is not ControlState.DISCONNECTED or control_mode == 0:
        return state
    return ControlState.CONNECTED if control_mode in (2, 4) else ControlState.READY_FOR_RECONNECTION


def _array(name: str, value: Plain) -> list[Plain]:
    if not isinstance(value, list):
        raise DecodeError(name, expected="array", got=type(value).__name__)
    return value


def _elements(name: str, value: Plain, *types: type | tuple[type, ...]) -> list[Any]:
    """The elements of a structure, when there are as many as there are types and each is of its type."""
    if not isinstance(value, list) or len(value) != len(types) or not all(map(isinstance, value, types)):
        expected = ", ".join(kind.__name__ if isinstance(kind, type) else kind[0].__name__ for kind in types)
        got = ", ".join(type(each).__name__ for each in value) if isinstance(value, list) else type(value).__name__
        raise DecodeError(name, expected=f"structure of {expected}", got=got)
    return value
