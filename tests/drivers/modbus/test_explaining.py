"""Telling framings apart, and frames in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Layer, Sniff, Sniffed
from headend.drivers.modbus import driver

MBAP_READ = "0001 0000 0006 01 04 0000 0002"
RTU_READ = "01 04 0000 0002 71CB"
RTU_ANSWER = "01 04 04 43663334 1B38"
IDENTIFICATION = "0001 0000 000D 01 2B 0E 01 01 00 00 01 00 03 414243"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (MBAP_READ, "tcp"),
        (RTU_READ, "rtu"),
        (RTU_ANSWER, "rtu"),
        ("01 83 02 C0F1", "rtu"),
        (MBAP_READ + "0002", "tcp"),
        (MBAP_READ[:20], Sniff.NEED_DATA),
        ("01 04 0000 00", Sniff.NEED_DATA),
        ("", Sniff.NEED_DATA),
        ("01", Sniff.NEED_DATA),
        ("0001 0010 0001 001F 60 1D A1", Sniff.NO),  # DLMS wrapper
        ("7E A0 07 03 21 93 0F 01 7E", Sniff.NO),  # HDLC
        ("68 AA AA AA AA AA AA 68 13 00 DF 16", Sniff.NO),  # DL/T 645
        ("0A 02 0C" + "30" * 17, Sniff.NO),
        ("01 04 0000 0002 71CC 0000", Sniff.NO),  # wrong CRC
        ("0001 0000 0006 01 63 0000 0002", Sniff.NO),
    ],
)
def test_sniffing(octets: str, expected: Sniff | str) -> None:
    said = driver.sniff(bytes.fromhex(octets))
    assert (said.framing if isinstance(said, Sniffed) else said) == expected


def named(layer: Layer) -> dict[str, str]:
    return {name: value for name, value, _, _ in layer.fields}


def test_a_request_over_tcp() -> None:
    layer = driver.explain(bytes.fromhex(MBAP_READ))
    assert (layer.name.split()[0], layer.error) == ("MBAP", "")
    assert named(layer) == {"transaction id": "0x0001", "protocol id": "0000 (Modbus)", "length": "6", "unit id": "1"}
    (pdu,) = layer.layers
    assert pdu.name.startswith("PDU read input registers request")
    assert named(pdu) == {
        "function": "0x04 (read input registers)",
        "address": "0x0000 (0) to 0x0001 (1)",
        "count": "2",
    }


def test_an_answer_over_rtu() -> None:
    layer = driver.explain(bytes.fromhex(RTU_ANSWER))
    assert (layer.name.split()[0], named(layer)["CRC"]) == ("RTU", "0x381B (right)")
    assert named(layer.layers[0]) == {
        "function": "0x04 (read input registers)",
        "byte count": "4",
        "[0]": "0x4366 (17254)",
        "[1]": "0x3334 (13108)",
        "as float32, high word first": "230.2",
    }


def test_an_answer_after_its_question_names_the_registers() -> None:
    layer = driver.explain(bytes.fromhex(RTU_READ + RTU_READ + RTU_ANSWER))
    assert not layer.error
    assert [inner.layers[0].name.split()[4] for inner in layer.layers] == ["request", "request", "response"]
    assert named(layer.layers[2].layers[0])["register 0x0001 (1)"] == "0x3334 (13108)"
    layer = driver.explain(bytes.fromhex(MBAP_READ + "0001 0000 0007 01 04 04 43663334"))
    assert "register 0x0000 (0)" in named(layer.layers[1].layers[0])
    layer = driver.explain(bytes.fromhex("0001 0000 0006 01 06 0001 0003" * 2))
    assert [inner.layers[0].name.split()[4] for inner in layer.layers] == ["request", "response"]


def test_a_wrong_crc_is_told_and_the_frame_is_shown() -> None:
    layer = driver.explain(bytes.fromhex("01 04 0000 0002 71CC"))
    assert layer.error == "CRC wrong (at octet 6, expected CB71, got CC71)"
    assert named(layer.layers[0])["count"] == "2"


def test_bits() -> None:
    layer = driver.explain(bytes.fromhex("0001 0000 0006 01 01 0013 0013 0001 0000 0006 01 01 03 CD6B05"))
    assert named(layer.layers[1].layers[0])["bits"] == "101100111101011010100000 (first one first)"


@pytest.mark.parametrize(
    ("pdu", "fields"),
    [
        ("06 0001 0003", {"address": "0x0001 (1)", "value": "0x0003 (3)"}),
        ("10 0001 0001 02 000A", {"address": "0x0001 (1)", "byte count": "2", "register 0x0001 (1)": "0x000A (10)"}),
        ("10 0001 0002", {"address": "0x0001 (1) to 0x0002 (2)", "count": "2"}),
        ("84 02", {"exception": "0x02 (illegal data address)"}),
        ("2B 0E 01 00", {"category": "1", "object id": "0"}),
        ("11 03 01 FF 41", {"byte count": "3", "data": "01 ff41"}),
    ],
)
def test_bare_pdus(pdu: str, fields: dict[str, str]) -> None:
    layer = driver.explain(bytes.fromhex(pdu))
    assert not layer.error
    assert named(layer) | fields == named(layer)


def test_report_server_id_has_no_fields() -> None:
    assert named(driver.explain(b"\x11")) == {"function": "0x11 (report server id)"}


def test_identification() -> None:
    (pdu,) = driver.explain(bytes.fromhex(IDENTIFICATION)).layers
    assert ("object 0", "ABC", 16, 3) in pdu.fields


def test_octets_after_the_frame_are_an_error() -> None:
    assert driver.explain(bytes.fromhex(MBAP_READ + "99")).error == "1 octets follow the frame (at octet 12)"


@pytest.mark.parametrize("octets", ["", "FF", "7EA0", "0001 0000 0003 01 84", "0001 0000 0006 01 03 0000 00"])
def test_what_is_no_modbus(octets: str) -> None:
    assert driver.explain(bytes.fromhex(octets)).error


def test_a_broken_pdu_in_a_good_frame() -> None:
    layer = driver.explain(bytes.fromhex("0001 0000 0004 01 03 02 00"))
    assert layer.layers[0].error


@given(st.binary(max_size=300))
def test_never_raises_and_places_lie_inside(data: bytes) -> None:
    driver.sniff(data)
    pending = [driver.explain(data)]
    while pending:
        layer = pending.pop()
        assert layer.offset + layer.length <= max(len(data), 0)
        assert all(at + size <= len(data) for _, _, at, size in layer.fields)
        pending += layer.layers
