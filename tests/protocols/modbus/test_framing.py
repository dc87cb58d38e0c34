"""Framing: check values of the standards, whole, byte by byte, with noise and trailing garbage."""

import importlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus import framing
from headend.protocols.modbus.framing import Frame, MbapFraming, RtuFraming, crc16_pure, encode_rtu

MBAP_READ = bytes.fromhex(
    "0001"  # transaction id
    "0000"  # protocol id
    "0006"  # length: unit id and PDU
    "11"  # unit id
    "03 006B 0003"  # read three holding registers from 108
)
# SDM630 Modbus protocol, example of function 04: voltage L1 is 230.2 V
RTU_ANSWER = bytes.fromhex("01 04 04 43663334 1B38")
IDENTIFICATION = bytes.fromhex(
    "2B 0E 01 01 00 00 03"  # basic, conformity 01, nothing follows, three objects
    "00 16 436F6D70616E79206964656E74696669636174696F6E"  # "Company identification"
    "01 0F 50726F6475637420636F6465205858"  # "Product code XX"
    "02 05 56322E3131"  # "V2.11"
)


def rtu(role: Role, data: bytes) -> RtuFraming:
    made = RtuFraming(role)
    made.receive_data(data)
    return made


@pytest.mark.parametrize("crc16", [framing.crc16, crc16_pure])
def test_crc_check_values(crc16: Any) -> None:
    assert crc16(b"123456789") == 0x4B37  # catalogue check value of CRC-16/MODBUS
    assert crc16(bytes.fromhex("0207")) == 0x1241  # MODBUS over serial line 1.02, appendix B
    assert crc16(bytearray.fromhex("012B0E01007077")) == 0  # a frame with its CRC
    assert crc16(bytes.fromhex("0111C02C")) == 0


@given(st.binary(max_size=300))
def test_fallback_agrees_with_the_fast_crc(data: bytes) -> None:
    assert crc16_pure(data) == framing.crc16(data)


def test_the_fallback_takes_over_without_fastcrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastcrc.crc16", None)
    spec = importlib.util.find_spec("headend.protocols.modbus.framing")
    alone = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "framing_alone", alone)
    spec.loader.exec_module(alone)
    assert alone.crc16 is alone.crc16_pure


def test_mbap_of_the_specification() -> None:
    receiver = MbapFraming()
    receiver.receive_data(MBAP_READ)
    assert receiver.next_frame() == Frame(0x11, bytes.fromhex("03006B0003"), 1)
    assert receiver.next_frame() is NEED_DATA
    assert receiver.encode(Frame(0x11, bytes.fromhex("03006B0003"), 1)) == MBAP_READ


def test_mbap_octet_by_octet_and_two_at_once() -> None:
    receiver = MbapFraming()
    for octet in MBAP_READ[:-1]:
        receiver.receive_data(bytes((octet,)))
        assert receiver.next_frame() is NEED_DATA
    receiver.receive_data(MBAP_READ[-1:] + MBAP_READ + b"\0")
    assert receiver.next_frame() == receiver.next_frame()
    assert receiver.next_frame() is NEED_DATA
    assert receiver.pending == 1
    receiver.clear()
    assert receiver.pending == 0


@pytest.mark.parametrize(
    "octets", ["0001 01", "0001 0001", "0001 0000 0001", "0001 0000 00FF", "0001 0000 FFFF 01"], ids=str
)
def test_mbap_header_that_can_never_be_valid(octets: str) -> None:
    receiver = MbapFraming()
    receiver.receive_data(bytes.fromhex(octets))
    with pytest.raises(RemoteProtocolError):
        receiver.next_frame()
    receiver.receive_data(MBAP_READ)
    assert isinstance(receiver.next_frame(), Frame)
    assert receiver.dropped == len(bytes.fromhex(octets))


@pytest.mark.parametrize("receiver", [MbapFraming(), RtuFraming(Role.CLIENT)], ids=["mbap", "rtu"])
def test_the_buffer_is_bounded(receiver: Any) -> None:
    receiver.receive_data(bytes(60_000))
    with pytest.raises(RemoteProtocolError):
        receiver.receive_data(bytes(60_000))


def test_rtu_answer_of_the_sdm630_manual() -> None:
    receiver = rtu(Role.CLIENT, RTU_ANSWER + b"\xff\x00")
    assert receiver.next_frame((1, 4)) == Frame(1, bytes.fromhex("040443663334"))
    assert receiver.next_frame() is NEED_DATA
    assert (receiver.pending, receiver.dropped) == (0, 2)


def test_rtu_answer_octet_by_octet() -> None:
    receiver = RtuFraming(Role.CLIENT)
    for octet in RTU_ANSWER[:-1]:
        receiver.receive_data(bytes((octet,)))
        assert receiver.next_frame((1, 4)) is NEED_DATA
    receiver.receive_data(RTU_ANSWER[-1:])
    assert isinstance(receiver.next_frame((1, 4)), Frame)
    assert receiver.dropped == 0


NOISE = {
    "zeros": "000000",
    "the echo of our own request": "01 04 0000 0002 71CB",
    "a wrong crc": "01 04 04 43663334 1B39",
    "the beginning of a longer answer": "01 04 F0 0000",
    "the beginning of an exception": "01",
    "an answer of another unit": encode_rtu(Frame(2, bytes.fromhex("040443663334"))).hex(),
    "an answer to another function": encode_rtu(Frame(1, bytes.fromhex("030443663334"))).hex(),
    "no function": "01 00 01 7F 01 FF",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_rtu_client_finds_its_answer_behind_noise(noise: str) -> None:
    receiver = rtu(Role.CLIENT, bytes.fromhex(noise) + RTU_ANSWER)
    assert receiver.next_frame((1, 4)) == Frame(1, bytes.fromhex("040443663334"))
    assert receiver.dropped == len(bytes.fromhex(noise))


@pytest.mark.parametrize(
    ("pdu", "function"),
    [
        ("81 02", 0x01),
        ("01 03 CD6B05", 0x01),
        ("05 00ACFF00", 0x05),
        ("10 0001 0002", 0x10),
        ("11 03 01FF41", 0x11),
        ("AB 01", 0x2B),
        (IDENTIFICATION.hex(), 0x2B),
        ("2B 0E 01 01 00 00 00", 0x2B),
    ],
)
def test_rtu_length_of_every_kind_of_response(pdu: str, function: int) -> None:
    frame = Frame(1, bytes.fromhex(pdu))
    octets = encode_rtu(frame)
    receiver = RtuFraming(Role.CLIENT)
    for octet in octets[:-1]:
        receiver.receive_data(bytes((octet,)))
        assert receiver.next_frame((1, function)) is NEED_DATA
    receiver.receive_data(octets[-1:] + b"\x99")
    assert receiver.next_frame((1, function)) == frame


@pytest.mark.parametrize(
    "octets",
    [
        "01 04 FE" + "00" * 300,  # more registers than a frame holds
        "01 04 00 0000",  # no registers
        "01 2B 0D 02 02 00 00 02",  # another MEI type
        "01 2B 0E 01 01 00 00 FF" + "00FF" * 40,  # identification objects beyond a frame
        "01 2B 0E 01 01 00 00 02 00FE" + "41" * 0xFE,
    ],
)
def test_rtu_client_drops_what_can_never_be_an_answer(octets: str) -> None:
    function = bytes.fromhex(octets)[1]
    receiver = rtu(Role.CLIENT, bytes.fromhex(octets))
    assert receiver.next_frame((1, function)) is NEED_DATA
    assert receiver.pending == 0


@pytest.mark.parametrize(
    "pdu",
    [
        "01 0013 0013",
        "05 00AC FF00",
        "07",
        "08 0000 A537",
        "0F 0013 000A 02 CD01",
        "10 0001 0002 04 000A0102",
        "11",
        "14 07 06 0004 0001 0002",
        "16 0004 00F2 0025",
        "17 0003 0006 000E 0003 06 00FF00FF00FF",
        "18 04DE",
        "2B 0E 01 00",
    ],
)
def test_rtu_server_finds_requests_by_length(pdu: str) -> None:
    frame = Frame(0x11, bytes.fromhex(pdu))
    octets = encode_rtu(frame)
    receiver = rtu(Role.SERVER, b"\xff\xee\x11" if pdu == "11" else b"\xff\xee")
    assert receiver.next_frame() is NEED_DATA
    for octet in octets[:-1]:
        receiver.receive_data(bytes((octet,)))
        assert receiver.next_frame() is NEED_DATA
    receiver.receive_data(octets[-1:] + octets)
    assert receiver.next_frame() == frame
    assert receiver.next_frame() == frame


def test_rtu_server_goes_on_after_a_wrong_crc() -> None:
    good = encode_rtu(Frame(1, bytes.fromhex("0400000002")))
    receiver = rtu(Role.SERVER, good[:-1] + b"\0" + good)
    assert receiver.next_frame() == Frame(1, bytes.fromhex("0400000002"))
    receiver.clear()
    assert receiver.pending == 0


@given(st.binary(max_size=600), st.sampled_from(Role), st.integers(0, 255), st.integers(0, 127))
def test_rtu_never_fails_and_keeps_at_most_a_frame(data: bytes, role: Role, unit_id: int, function: int) -> None:
    receiver = rtu(role, data)
    while receiver.next_frame((unit_id, function)) is not NEED_DATA:
        pass
    assert receiver.pending <= 256


@given(st.binary(max_size=600))
def test_mbap_gives_frames_or_the_one_error(data: bytes) -> None:
    receiver = MbapFraming()
    receiver.receive_data(data)
    try:
        while receiver.next_frame() is not NEED_DATA:
            pass
    except RemoteProtocolError:
        assert receiver.pending == 0
    assert receiver.pending <= 260
