"""The COSEM objects of a virtual meter: how each attribute is read and written, and each method invoked.

They depend on the meter file alone, so one set serves all its meters; what differs comes in with the `Association`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter_types import WireType, clock_writer
from headend.model.objects import ObjectEntry
from headend.model.quantity import base_unit, find_quantity
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import (
    Data,
    Tag,
    array,
    bit_string,
    encode_data,
    enum,
    int8,
    octet_string,
    structure,
    uint8,
    uint16,
    uint32,
)
from headend.protocols.dlms.classes import AccessRight, ObjectListEntry, Sap, ScalerUnit
from headend.protocols.dlms.initiate import DLMS_VERSION, Conformance
from headend.standards.obis import Obis
from headend.standards.units import units

if TYPE_CHECKING:
    from headend.drivers.dlms.meter_security import Setup

DATA, REGISTER, EXTENDED_REGISTER, DEMAND_REGISTER, LOAD_PROFILE, CLOCK, ASSOCIATION, SAP_ASSIGNMENT, RELAY = (
    1, 3, 4, 5, 7, 8, 15, 17, 70
)  # fmt: skip
ASSOCIATION_VERSION: Final = 0

_QUARTER: Final = 900_000
_ASSOCIATED: Final = 2
_NO_UNIT: Final = 255
_SECRET: Final = 7
_CONTEXT_NAME: Final = bytes.fromhex("608574050801")
_MECHANISM_NAME: Final = bytes.fromhex("608574050802")
"""Object identifiers 2.16.756.5.8.1 and .2, without their last arc."""


class Refused(Exception):
    """An attribute that is not read or written, or a method that is not invoked."""

    def __init__(self, result: DataAccessResult) -> None:
        super().__init__(result.name)
        self.result = result


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """Who has associated with a meter, and what was agreed."""

    model: MeterModel
    client_sap: int
    server_sap: int
    mechanism: int
    application_context: int
    may_change: bool
    """may write attributes and invoke methods"""
    conformance: Conformance
    with_list: bool
    """several attributes may be read at once"""
    max_send_pdu: int
    max_receive_pdu: int
    setups: Sequence[Setup] = ()
    """the security of the meter with its clients"""


Read: TypeAlias = Callable[[Association], bytes]
"""The encoded value of an attribute."""
Write: TypeAlias = Callable[[Association, Data], None]
Invoke: TypeAlias = Callable[[Association, Data | None], bytes | None]
"""Does what the method does, and gives the encoded data that it returns, if any."""


@dataclass(slots=True)
class CosemObject:
    """One object, by attribute and method id."""

    class_id: int
    name: Obis
    version: int = 0
    reads: dict[int, Read] = field(default_factory=dict)
    writes: dict[int, Write] = field(default_factory=dict)
    methods: dict[int, Invoke] = field(default_factory=dict)
    selectors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    denied: tuple[int, ...] = ()
    """attributes that nobody may read or write"""

    def __post_init__(self) -> None:
        self.reads[1] = static(octet_string(self.name.to_bytes()))

    def listed(self, *, may_change: bool) -> ObjectListEntry:
        """The object as an association shows it."""
        attributes = dict.fromkeys(sorted(self.reads), AccessRight.READ)
        if may_change:
            attributes |= dict.fromkeys(self.writes, AccessRight.READ | AccessRight.WRITE)
        right = AccessRight.READ if may_change else AccessRight.NONE
        attributes |= dict.fromkeys(self.denied, AccessRight.NONE)
        methods = dict.fromkeys(sorted(self.methods), right)
        return ObjectListEntry(self.class_id, self.version, self.name, attributes, methods, self.selectors)


def static(data: Data) -> Read:
    """A value that is the same for all meters of a file."""
    octets = encode_data(data)
    return lambda _: octets


# --- objects of the meter file ---


def add_value(made: CosemObject, member: int, index: int, entry: ObjectEntry, wire: WireType) -> None:
    """The attribute that an object of the meter file is, with the attributes that belong to such a value."""
    encode = wire.encode

    def read(association: Association) -> bytes:
        return encode(association.model.current_value(index))

    def write(association: Association, data: Data) -> None:
        value = wire.decode(data)
        if value is None:
            raise Refused(DataAccessResult.TYPE_UNMATCHED)
        association.model.write(index, value)

    made.reads[member] = read
    if entry.writable:
        made.writes[member] = write
    if made.class_id in (REGISTER, EXTENDED_REGISTER, DEMAND_REGISTER):
        made.reads.setdefault(4 if made.class_id == DEMAND_REGISTER else 3, _scaler_unit(entry, wire))

        def reset(association: Association, _: Data | None) -> None:
            association.model.write(index, 0)

        if entry.writable:
            made.methods[1] = reset


def complete(made: CosemObject, zone: tzinfo) -> None:
    """The attributes that a class has besides its value and scaler_unit, as far as the meter file leaves them out."""
    write_time = clock_writer(zone)

    def last_quarter(association: Association) -> bytes:
        return write_time(association.model.now() // _QUARTER * _QUARTER)

    others: dict[int, Read] = {}
    if made.class_id == EXTENDED_REGISTER:
        others = {4: static(uint8(0)), 5: last_quarter}
    elif made.class_id == DEMAND_REGISTER:
        nothing = static(Data(Tag.NULL, None))
        others = {2: nothing, 3: nothing, 5: static(uint8(0)), 6: last_quarter, 7: last_quarter}
        others |= {8: static(uint32(_QUARTER // 1000)), 9: static(uint16(1))}
    for attribute_id, read in others.items():
        made.reads.setdefault(attribute_id, read)


def _scaler_unit(entry: ObjectEntry, wire: WireType) -> Read:
    quantity = find_quantity(entry.quantity)
    symbol = base_unit(entry.unit)[0] if entry.unit or quantity is None else quantity.unit
    return static(ScalerUnit(wire.exponent, _unit_code(symbol)).to_data())


def _unit_code(symbol: str) -> int:
    """The code of a base unit."""
    known = units().values()
    by_symbol = [unit.code for unit in known if symbol and unit.symbol == symbol]
    by_base = [unit.code for unit in known if unit.base == symbol and unit.factor == 1]
    return next(iter(by_symbol + by_base), _NO_UNIT)


# --- objects that every meter has ---


def logical_device_name() -> CosemObject:
    """The object that holds the name of the logical device."""
    made = CosemObject(DATA, Obis(0, 0, 42, 0, 0))
    made.reads[2] = lambda association: encode_data(octet_string(_name_of(association.model)))
    return made


def sap_assignment() -> CosemObject:
    """The logical devices: only the one that is asked."""
    made = CosemObject(SAP_ASSIGNMENT, Obis(0, 0, 41, 0, 0))

    def read_list(association: Association) -> bytes:
        return encode_data(array(Sap(association.server_sap, _name_of(association.model)).to_data()))

    made.reads[2] = read_list
    return made


def _name_of(model: MeterModel) -> bytes:
    return model.identity.logical_device_name.encode("latin-1", "replace")


def association(object_list: Read) -> CosemObject:
    """The association that is asked, as it sees itself. Its secret cannot be read."""
    made = CosemObject(ASSOCIATION, Obis(0, 0, 40, 0, 0), ASSOCIATION_VERSION, denied=(_SECRET,))
    made.reads |= {
        2: object_list,
        3: lambda asked: encode_data(structure(int8(asked.client_sap & 0x7F), uint16(asked.server_sap))),
        4: lambda asked: encode_data(octet_string(_CONTEXT_NAME + bytes((asked.application_context,)))),
        5: lambda asked: encode_data(_context_info(asked)),
        6: lambda asked: encode_data(octet_string(_MECHANISM_NAME + bytes((asked.mechanism,)))),
        8: static(enum(_ASSOCIATED)),
    }
    return made


def _context_info(asked: Association) -> Data:
    return structure(
        bit_string(f"{int(asked.conformance):024b}"),
        uint16(asked.max_receive_pdu),
        uint16(asked.max_send_pdu),
        uint8(DLMS_VERSION),
        int8(0),
        octet_string(b""),
    )
