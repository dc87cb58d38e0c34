"""Structured attributes of COSEM classes, and selective access: annotated octets, round trips, and malformed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import AccessSelection
from headend.protocols.dlms.axdr import Plain, array, decode_data, encode_data, octet_string, uint32
from headend.protocols.dlms.classes import (
    INVOKE,
    AccessRight,
    CaptureObject,
    ControlState,
    ObjectListEntry,
    Sap,
    ScalerUnit,
    after_remote_disconnect,
    after_remote_reconnect,
    to_capture_objects,
    to_object_list,
    to_sap_list,
    to_scaler_unit,
)
from headend.protocols.dlms.clock import CosemDate, CosemDateTime, CosemTime
from headend.protocols.dlms.selective import EntryDescriptor, RangeDescriptor, from_selection
from headend.standards.obis import Obis
from headend.standards.units import find_unit

READ_WRITE = AccessRight.READ | AccessRight.WRITE
AUTHENTICATED = AccessRight.AUTHENTICATED_REQUEST
CODES = st.builds(Obis, *[st.integers(0, 255)] * 6)
CAPTURES = st.builds(CaptureObject, st.integers(0, 0xFFFF), CODES, st.integers(-128, 127), st.integers(0, 0xFFFF))


def plain(octets: str) -> Plain:
    wire = bytes.fromhex(octets)
    value, end = decode_data(wire)
    assert end == len(wire)
    return value


def test_scaler_unit() -> None:
    value = to_scaler_unit(plain("02 02 0ffe 1623"))  # structure: integer -2, enum 35
    assert value == ScalerUnit(-2, 35)
    unit = find_unit(value.unit)
    assert unit is not None
    assert unit.symbol == "V"
    assert encode_data(value.to_data()).hex() == "02020ffe1623"


def test_capture_objects() -> None:
    octets = (
        "01 02"  # array of two
        "02 04 120008 09060000010000ff 0f02 120000"  # clock, time, the whole attribute
        "02 04 120003 09060100010800ff 0f02 120000"  # register, value
    )
    value = to_capture_objects(plain(octets))
    assert value == [CaptureObject(8, Obis(0, 0, 1, 0, 0), 2), CaptureObject(3, Obis(1, 0, 1, 8, 0), 2)]
    assert encode_data(array(*(each.to_data() for each in value))) == bytes.fromhex(octets)


CLOCK_ENTRY = ObjectListEntry(
    8,
    0,
    Obis(0, 0, 1, 0, 0),
    {1: AccessRight.READ, 2: READ_WRITE | AUTHENTICATED},
    {6: INVOKE},
)
PROFILE_ENTRY = ObjectListEntry(
    7, 1, Obis(1, 0, 99, 1, 0), {2: AccessRight.READ, -1: AccessRight.NONE}, {}, {2: (1, 2)}
)
ENTRY_HEAD = "02 04 120008 1100 09060000010000ff"  # class 8, version 0, 0-0:1.0.0.255
ATTRIBUTE_1 = "02 03 0f01 1601 00"  # logical_name: read only, no selectors
PROFILE_OCTETS = (
    "02 04 120007 1101 09060100630100ff"  # class 7, version 1, 1-0:99.1.0.255
    "02 02"
    "01 02"
    "02 03 0f02 1601 01 02 0f01 0f02"  # buffer: read only, selectors 1 and 2
    "02 03 0fff 1600 00"  # a manufacturer's attribute -1: no access
    "01 00"
)


@pytest.mark.parametrize(
    ("version", "clock"),
    [
        (0, f"{ENTRY_HEAD} 02 02 01 02 {ATTRIBUTE_1} 02 03 0f02 1606 00 01 01 02 02 0f06 0301"),
        (1, f"{ENTRY_HEAD} 02 02 01 02 {ATTRIBUTE_1} 02 03 0f02 1606 00 01 01 02 02 0f06 1601"),
        (2, f"{ENTRY_HEAD} 02 02 01 02 {ATTRIBUTE_1} 02 03 0f02 1606 00 01 01 02 02 0f06 1601"),
        (3, f"{ENTRY_HEAD} 02 02 01 02 {ATTRIBUTE_1} 02 03 0f02 1607 00 01 01 02 02 0f06 1601"),
    ],
)
def test_object_list(version: int, clock: str) -> None:
    octets = "01 02" + clock + PROFILE_OCTETS
    entries = to_object_list(plain(octets), version)
    assert entries == [CLOCK_ENTRY, PROFILE_ENTRY]
    assert encode_data(array(*(entry.to_data(version) for entry in entries))) == bytes.fromhex(octets)


NARROW = [AccessRight(bits) for bits in range(4)] + [AccessRight(bits) | AUTHENTICATED for bits in range(1, 4)]
RIGHTS = {
    0: (NARROW, [AccessRight.NONE, INVOKE]),
    1: (NARROW, [AccessRight.NONE, INVOKE, INVOKE | AUTHENTICATED]),
    2: (NARROW, [AccessRight.NONE, INVOKE, INVOKE | AUTHENTICATED]),
    3: ([AccessRight(bits) for bits in range(256)], [AccessRight(bits) for bits in range(256)]),
}


@given(st.integers(0, 3), CODES, st.data())
def test_object_list_round_trip(version: int, name: Obis, draw: st.DataObject) -> None:
    attribute_rights, method_rights = RIGHTS[version]
    ids = st.integers(-128, 127)
    entry = ObjectListEntry(
        draw.draw(st.integers(0, 0xFFFF)),
        draw.draw(st.integers(0, 255)),
        name,
        draw.draw(st.dictionaries(ids, st.sampled_from(attribute_rights), max_size=5)),
        draw.draw(st.dictionaries(ids, st.sampled_from(method_rights), max_size=5)),
    )
    wire = encode_data(array(entry.to_data(version)))
    assert to_object_list(decode_data(wire)[0], version) == [entry]


def test_rights_in_bits_where_an_enumeration_was_due() -> None:
    """Some meters say version 1 and write the access mode in the bits of version 3: 1F cannot be anything else."""
    octets = f"01 01 {ENTRY_HEAD} 02 02 01 01 02 03 0f02 161f 00 01 01 02 02 0f01 161d"
    entry = to_object_list(plain(octets), 1)[0]
    assert entry.attributes == {2: AccessRight(0x1F)}
    assert entry.methods == {1: AccessRight(0x1D)}


@pytest.mark.parametrize("name", ["09", "0a"])
def test_sap_assignment_list(name: str) -> None:
    octets = f"01 01 02 02 120001 {name} 10 4b464d31303230303132333435363738"
    value = to_sap_list(plain(octets))
    assert value == [Sap(1, b"KFM1020012345678")]
    assert encode_data(value[0].to_data()).hex() == "0202120001" + "0910" + b"KFM1020012345678".hex()


@pytest.mark.parametrize(
    ("mode", "disconnected", "reconnected"),
    [
        (0, ControlState.CONNECTED, ControlState.DISCONNECTED),
        (1, ControlState.DISCONNECTED, ControlState.READY_FOR_RECONNECTION),
        (2, ControlState.DISCONNECTED, ControlState.CONNECTED),
        (3, ControlState.DISCONNECTED, ControlState.READY_FOR_RECONNECTION),
        (4, ControlState.DISCONNECTED, ControlState.CONNECTED),
        (5, ControlState.DISCONNECTED, ControlState.READY_FOR_RECONNECTION),
        (6, ControlState.DISCONNECTED, ControlState.READY_FOR_RECONNECTION),
    ],
)
def test_control_modes(mode: int, disconnected: ControlState, reconnected: ControlState) -> None:
    assert after_remote_disconnect(ControlState.CONNECTED, mode) is disconnected
    assert after_remote_reconnect(ControlState.DISCONNECTED, mode) is reconnected
    assert after_remote_reconnect(ControlState.CONNECTED, mode) is ControlState.CONNECTED


@pytest.mark.parametrize(
    "read", [to_scaler_unit, to_capture_objects, to_sap_list, lambda each: to_object_list(each, 1)]
)
@pytest.mark.parametrize("octets", ["00", "1105", "0101 00", "0201 1101", "0101 0203 11011101 00", "0903616263"])
def test_values_of_another_structure(read: object, octets: str) -> None:
    assert callable(read)
    with pytest.raises(DecodeError):
        read(plain(octets))


def test_a_logical_name_of_another_length() -> None:
    with pytest.raises(DecodeError, match="logical name"):
        to_capture_objects(plain("0101 0204 120008 0905 0000010000 0f02 120000"))


# Rows of one day, all columns: GET of a load profile.
RANGE = (
    "0204"
    "0204 120008 09060000010000ff 0f02 120000"  # restricting object: clock, time
    "090c 07e80101ff000000 00800000"  # from 2024-01-01 00:00
    "090c 07e80102ff000000 00800000"  # to 2024-01-02 00:00
    "0100"  # all columns
)


def local(day: int) -> CosemDateTime:
    return CosemDateTime(CosemDate(2024, 1, day), CosemTime(0, 0, 0, 0), None, 0)


def test_range_descriptor() -> None:
    descriptor = RangeDescriptor.between(local(1), local(2))
    selection = AccessSelection(1, bytes.fromhex(RANGE))
    assert descriptor.to_selection() == selection
    assert from_selection(selection) == descriptor


def test_entry_descriptor() -> None:
    # the last rows from entry 5 on, columns 1 to 3
    selection = AccessSelection(2, bytes.fromhex("0204 0600000005 0600000000 120001 120003"))
    assert EntryDescriptor(5, to_selected=3).to_selection() == selection
    assert from_selection(selection) == EntryDescriptor(5, 0, 1, 3)


@given(CAPTURES, st.lists(CAPTURES, max_size=3), st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_ranges_round_trip(restricting: CaptureObject, selected: list[CaptureObject], low: int, high: bytes) -> None:
    descriptor = RangeDescriptor(restricting, uint32(low), octet_string(high), tuple(selected))
    assert from_selection(descriptor.to_selection()) == descriptor


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_entries_round_trip(first: int, last: int, from_selected: int, to_selected: int) -> None:
    descriptor = EntryDescriptor(first, last, from_selected, to_selected)
    assert from_selection(descriptor.to_selection()) == descriptor


@pytest.mark.parametrize(
    ("selector", "parameters"),
    [
        (3, RANGE),
        (1, RANGE + "00"),
        (1, RANGE[:-2]),
        (1, "00"),
        (1, "0203 000000"),
        (1, "0204 00 00 00 0100"),
        (2, "0204 0600000005 0600000000 120001 1101"),
        (2, "0204 00000000"),
        (2, "09040000 0000"),
        (2, ""),
    ],
)
def test_malformed_selections(selector: int, parameters: str) -> None:
    with pytest.raises(DecodeError):
        from_selection(AccessSelection(selector, bytes.fromhex(parameters)))
