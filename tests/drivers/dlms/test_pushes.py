"""Bodies of pushes by shape: what they say about which object, and the notifications that the session makes of them.

The forms are those of the consumer ports of Norway, Sweden, Denmark, Austria, Slovenia, Switzerland and of EG.D.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.dlms import driver
from headend.drivers.dlms.nodes import SWAPPED, UNTAGGED, first_error, read_data
from headend.drivers.dlms.notifications import to_notification
from headend.drivers.dlms.pushes import read_push
from headend.model.objects import ObjectEntry, ObjectRef, RawValue
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.axdr import (
    NULL,
    Data,
    array,
    decode_data,
    encode_data,
    enum,
    int8,
    octet_string,
    structure,
    uint16,
    uint32,
    visible_string,
)
from headend.protocols.dlms.clock import EpochReader
from headend.standards.obis import Obis

CLOCK = bytes.fromhex("07e30c10 01073b28 ff ffc4 00")
WATT, VOLT, WATT_HOUR = (structure(int8(0), enum(27)), structure(int8(-1), enum(35)), structure(int8(1), enum(30)))


def name(code: str) -> Data:
    return octet_string(Obis.parse(code).to_bytes())


def told(body: Data, *, tagged: bool = False) -> dict[str, tuple[object, str]]:
    """Value and unit by OBIS code."""
    pushed = read_push(read_data(encode_data(body)), tagged_date_time=tagged)
    return {str(each.obis).removesuffix(".255"): (each.value, each.unit) for each in pushed}


def test_rows_with_scaler_and_unit() -> None:
    body = array(
        structure(name("1-1:0.2.129"), visible_string("AIDON_V0001")),
        structure(name("0-0:1.0.0"), octet_string(CLOCK)),
        structure(name("1-0:1.7.0"), uint32(1122), WATT),
        structure(name("1-0:32.7.0"), uint16(2307), VOLT),
        structure(name("1-0:1.8.0"), uint32(10955225), WATT_HOUR),
    )
    assert told(body) == {
        "1-1:0.2.129": ("AIDON_V0001", ""),
        "0-0:1.0.0": ("2019-12-16 07:59:40+01:00", ""),
        "1-0:1.7.0": (1122, "W"),
        "1-0:32.7.0": (230.7, "V"),
        "1-0:1.8.0": (109552250, "Wh"),
    }


def test_rows_after_a_pair() -> None:
    body = structure(name("0-0:1.0.0"), octet_string(CLOCK), structure(name("1-0:1.7.0"), uint32(5), WATT))
    assert told(body) == {"0-0:1.0.0": ("2019-12-16 07:59:40+01:00", ""), "1-0:1.7.0": (5, "W")}


def test_triples() -> None:
    body = structure(name("1-0:1.7.0"), uint32(5), WATT, name("1-0:32.7.0"), uint16(2337), VOLT, octet_string(b"1812"))
    assert told(body) == {"1-0:1.7.0": (5, "W"), "1-0:32.7.0": (233.7, "V")}


@pytest.mark.parametrize(
    ("list_name", "current", "energy"),
    [
        (visible_string("Kamstrup_V0001"), 8.34, 10),
        (octet_string(b"KFM_001"), 0.834, 1),
        (visible_string("else"), 834, 1),
    ],
)
def test_pairs_have_the_scalers_of_the_named_list(list_name: Data, current: float, energy: int) -> None:
    body = structure(list_name, name("1-1:31.7.0"), uint32(834), name("1-1:51.7.0"), NULL, name("1-1:1.8.0"), uint32(7))
    values = {code: value for code, (value, _) in told(body).items()}
    assert values == {"1-1:31.7.0": current, "1-1:51.7.0": None, "1-1:1.8.0": 7 * energy}


def listed(class_id: int, code: str, attribute: int = 2) -> Data:
    return structure(uint16(class_id), name(code), int8(attribute), uint16(0))


def test_an_object_list_names_the_values_after_it() -> None:
    objects = array(listed(40, "0-6:25.9.0"), listed(1, "0-0:42.0.0"), listed(3, "1-0:32.7.0"))
    body = structure(objects, octet_string(b"LGZ1030163598905"), uint16(2357))
    pushed = read_push(read_data(encode_data(body)))
    assert [(each.class_id, str(each.obis), each.scaler) for each in pushed] == [
        (40, "0-6:25.9.0.255", None),
        (1, "0-0:42.0.0.255", None),
        (3, "1-0:32.7.0.255", None),
    ]
    assert [each.value for each in pushed] == [None, "LGZ1030163598905", 2357]


def test_positions_of_named_lists() -> None:
    kaifa = [octet_string(b"KFM_001"), octet_string(b"6970631402614476"), octet_string(b"MA304H3E")]
    values = structure(*kaifa, *map(uint32, (9745, 0, 0, 435, 33813, 28103, 18178, 2168, 0, 2188)))
    assert told(values)["1-0:31.7.0"] == (33.813, "A")
    assert told(values)["1-0:72.7.0"] == (218.8, "V")
    iskra = [octet_string(b"ISK1030789014731"), octet_string(b"UP_3f")]
    values = structure(*iskra, *map(uint16, (2314, 2303, 2348, 451, 525, 88, 2399, 0, 4, 264)))
    assert told(values)["1-0:31.7.0"] == (4.51, "A")
    assert told(values)["1-0:1.7.0"] == (2399, "W")
    assert told(structure(*iskra, octet_string(b"\0\1"), *map(uint16, range(9)))) == {}  # another list of that length
    assert told(structure(uint32(4117)), tagged=True) == {"1-0:1.7.0": (4117, "W")}
    assert told(structure(uint32(4117))) == {}


def test_peculiar_spellings() -> None:
    bare = read_data(bytes.fromhex("0202 1601 0101 0202 0046 00006003 0aff 03 1601"))
    assert {node.oddity for node in bare.walk()} == {"", UNTAGGED}
    (pushed,) = read_push(bare)
    assert (pushed.class_id, str(pushed.obis), pushed.attribute_id, pushed.value) == (70, "0-0:96.3.10.255", 3, 1)
    swapped = read_data(bytes.fromhex("0202 06090100010800ff 0600000005"))
    assert {node.oddity for node in swapped.walk()} == {"", SWAPPED}
    assert swapped.plain() == [bytes.fromhex("0100010800ff"), 5]


@given(st.binary(max_size=80))
def test_reading_data_never_raises_and_agrees_with_the_decoder(octets: bytes) -> None:
    node = read_data(octets)
    read_push(node)
    assert all(0 <= each.offset <= each.end <= len(octets) for each in node.walk())
    if first_error(node) is None and not any(each.oddity for each in node.walk()):
        assert repr((node.plain(), node.end)) == repr(decode_data(octets))  # repr: not a number is not itself


def notified(body: Data, *entries: ObjectEntry) -> dict[str, RawValue]:
    apdu = DataNotification(1, b"", encode_data(body))
    values = to_notification(apdu, EpochReader(), {entry.ref: entry for entry in entries}).values
    return {ref.address: value for ref, value in values.items()}


def entry(ref: str, **told: int | None) -> ObjectEntry:
    return ObjectEntry(ref=driver.parse_ref(ref), **told)  # type: ignore[arg-type]


def test_notifications_name_objects() -> None:
    rows = array(
        structure(name("0-0:96.1.0"), octet_string(b"84895126")),
        structure(name("0-0:1.0.0"), octet_string(CLOCK)),
        structure(name("1-0:1.7.0"), uint32(1122), WATT),
        structure(name("1-0:2.7.0"), NULL, WATT),
    )
    assert notified(rows) == {
        "1/0-0:96.1.0.255/2": b"84895126",
        "8/0-0:1.0.0.255/2": "2019-12-16 07:59:40+01:00",
        "3/1-0:1.7.0.255/2": 1122,
    }


def test_values_of_known_objects_have_the_scaler_of_the_meter_file() -> None:
    rows = array(
        structure(name("1-0:1.8.0"), uint32(1095), WATT_HOUR), structure(name("1-0:32.7.0"), uint16(2307), VOLT)
    )
    known = entry("4/1-0:1.8.0/2", scaler=0, exponent=0), entry("3/1-0:32.7.0/2", scaler=0, exponent=0)
    assert notified(rows, *known) == {"4/1-0:1.8.0.255/2": 10950, "3/1-0:32.7.0.255/2": 230.7}
    asked = entry("3/1-0:32.7.0/2", scaler=None)  # its scaler is the meter's: the value stays as the meter sent it
    assert notified(rows, asked)["3/1-0:32.7.0.255/2"] == 2307


def test_a_body_that_cannot_be_read_stays_octets() -> None:
    apdu = DataNotification(1, b"", b"\x63")
    found = to_notification(apdu, EpochReader(), {})
    assert (found.body, found.values) == (b"\x63", {})
    assert ObjectRef("dlms", "x") not in found.values
