"""The COSEM objects of a virtual meter: how each attribute is read and written, and each method invoked.

They depend on the meter file alone, so one set serves all its meters; what differs comes in with the `Association`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.drivers.base import MeterModel, Trouble
from headend.drivers.dlms.meter_types import WireType, clock_writer
from headend.model.objects import ObjectEntry
from headend.model.quantity import base_unit, find_quantity
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import (
    Data,
    Tag,
    array,
    encode_data,
    octet_string,
    uint8,
    uint16,
    uint32,
)
from headend.protocols.dlms.classes import Sap, ScalerUnit
from headend.protocols.dlms.initiate import Conformance
from headend.standards.obis import Obis
from headend.standards.units import units

if TYPE_CHECKING:
    from headend.drivers.dlms.meter_clients import Client, Device
    from headend.drivers.dlms.meter_security import Setup
    from headend.protocols.dlms.security.protection import Ciphering

DATA, REGISTER, EXTENDED_REGISTER, DEMAND_REGISTER, LOAD_PROFILE, CLOCK, ASSOCIATION, SAP_ASSIGNMENT, RELAY = (
    1, 3, 4, 5, 7, 8, 15, 17, 70
)  # fmt: skip
LOGICAL_DEVICE_NAME: Final = Obis(0, 0, 42, 0, 0)

_QUARTER: Final = 900_000
_NO_UNIT: Final = 255


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
    conformance: Conformance
    with_list: bool
    """several attributes may be read at once"""
    max_send_pdu: int
    max_receive_pdu: int
    clients: Sequence[Client] = ()
    """all that may associate with the meter; the first is the one of its parameters"""
    devices: Sequence[Device] = ()
    """the logical devices of the meter"""
    setups: Sequence[Setup] = ()
    """the security of the meter with its clients"""
    protection: Ciphering | None = None
    user: int | None = None
    """who it is that uses the client"""

    @property
    def client(self) -> Client:
        """The client that has associated."""
        return next(client for client in self.clients if client.sap == self.client_sap)

    @property
    def device(self) -> Device:
        """The logical device that is asked."""
        return next(device for device in self.devices if device.sap == self.server_sap)


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
    """attributes that nobody may read"""
    proofs: tuple[int, ...] = ()
    """methods by which a client proves itself who may change nothing"""
    always: bool = False
    """part of every association with every logical device"""

    def __post_init__(self) -> None:
        self.reads[1] = static(octet_string(self.name.to_bytes()))


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
    unit = _unit_code(symbol)
    right, wrong = (encode_data(ScalerUnit(wire.exponent + more, unit).to_data()) for more in (0, 1))
    return lambda association: wrong if Trouble.WRONG_SCALER in association.model.troubles else right


def _unit_code(symbol: str) -> int:
    """The code of a base unit."""
    known = units().values()
    by_symbol = [unit.code for unit in known if symbol and unit.symbol == symbol]
    by_base = [unit.code for unit in known if unit.base == symbol and unit.factor == 1]
    return next(iter(by_symbol + by_base), _NO_UNIT)


# --- objects that every meter has ---


def logical_device_name() -> CosemObject:
    """The object that holds the name of the logical device."""
    made = CosemObject(DATA, LOGICAL_DEVICE_NAME, always=True)
    made.reads[2] = lambda association: encode_data(octet_string(association.device.name_of(association.model)))
    return made


def sap_assignment() -> CosemObject:
    """The logical devices."""
    made = CosemObject(SAP_ASSIGNMENT, Obis(0, 0, 41, 0, 0))

    def read_list(association: Association) -> bytes:
        model = association.model
        return encode_data(array(*(Sap(device.sap, device.name_of(model)).to_data() for device in association.devices)))

    made.reads[2] = read_list
    return made
