"""What a virtual meter shows of its security: the invocation counter that it expects to grow."""

from __future__ import annotations

from headend.drivers.dlms.meter_objects import DATA, Association, CosemObject, Refused
from headend.drivers.dlms.meter_security import Setup
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import encode_data, uint32
from headend.standards.obis import Obis


def setup_at(association: Association, index: int) -> Setup:
    """The security of a meter with one of its clients; raises Refused when there is none."""
    if index >= len(association.setups):
        raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
    return association.setups[index]


def invocation_counter(index: int) -> CosemObject:
    """The last counter that the meter has taken from a client under the global key."""
    made = CosemObject(DATA, Obis(0, 0, 43, 1, index))

    def read(association: Association) -> bytes:
        keys = setup_at(association, index).keys
        return encode_data(uint32(max(0, keys.received.last) if keys is not None else 0))

    made.reads[2] = read
    return made
