"""Frames with a defect, against published frames and check sums worked out bit by bit."""

from __future__ import annotations

import pytest

from headend.drivers.base import Defect
from headend.drivers.registry import driver

WRAPPER = bytes.fromhex("0001 0001 0010 0005 C401C10006")
DLT645 = bytes.fromhex("68 01 00 00 00 00 00 68 91 08 33 33 34 33 AB 89 67 45")
RTU = bytes.fromhex("01 04 04 43 66 4C CD")


def reflected(data: bytes, polynomial: int, start: int) -> int:
    register = start
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (polynomial if register & 1 else 0)
    return register


def fcs(data: bytes) -> bytes:
    """FCS-16 of ISO/IEC 13239."""
    return (reflected(data, 0x8408, 0xFFFF) ^ 0xFFFF).to_bytes(2, "little")


def hdlc(destination: int, information: bytes) -> bytes:
    header = b"\xa0" + bytes((9 + len(information),)) + bytes((destination, 0x23, 0x30))
    checked = header + fcs(header) + information
    return b"\x7e" + checked + fcs(checked) + b"\x7e"


def wrong(data: bytes, good: bytes) -> list[int]:
    assert len(data) == len(good)
    return [at for at, (one, other) in enumerate(zip(data, good, strict=True)) if one != other]


def test_hdlc_frames_have_a_wrong_check_of_the_header_or_of_all_or_another_destination() -> None:
    frame = hdlc(0x21, b"\xe6\xe7\x00\xc4")
    spoil = driver("dlms").spoil
    assert wrong(spoil(frame, Defect.HEADER_CHECK), frame) == [6]
    assert wrong(spoil(frame, Defect.FRAME_CHECK), frame) == [len(frame) - 3]
    assert spoil(frame, Defect.ADDRESS) == hdlc(0x23, b"\xe6\xe7\x00\xc4")
    assert wrong(spoil(frame + frame, Defect.FRAME_CHECK), frame + frame) == [len(frame) - 3, 2 * len(frame) - 3]
    assert spoil(b"\x7e\xa0", Defect.FRAME_CHECK) == b"\x7e\xa0"


def test_wrapper_frames_go_to_another_wport() -> None:
    spoil = driver("dlms").spoil
    assert spoil(WRAPPER * 2, Defect.ADDRESS) == bytes.fromhex("0001 0001 0011 0005 C401C10006") * 2
    assert spoil(WRAPPER, Defect.FRAME_CHECK) == spoil(WRAPPER, Defect.HEADER_CHECK) == WRAPPER
    assert spoil(WRAPPER[:5], Defect.ADDRESS) == WRAPPER[:5]


def test_modbus_answers_come_from_another_unit_or_have_a_wrong_crc() -> None:
    spoil = driver("modbus").spoil
    good = RTU + reflected(RTU, 0xA001, 0xFFFF).to_bytes(2, "little")
    other = b"\0" + RTU[1:]
    assert spoil(good, Defect.ADDRESS) == other + reflected(other, 0xA001, 0xFFFF).to_bytes(2, "little")
    assert wrong(spoil(good, Defect.FRAME_CHECK), good) == [len(good) - 1]
    tcp = bytes.fromhex("0001 0000 0007 01 04 04 43664CCD")
    assert spoil(tcp, Defect.ADDRESS) == tcp[:6] + b"\0" + tcp[7:]
    assert spoil(tcp, Defect.FRAME_CHECK) == tcp


@pytest.mark.parametrize("leader", [b"", b"\xfe" * 4])
def test_dlt645_answers_come_from_another_meter_or_have_a_wrong_checksum(leader: bytes) -> None:
    spoil = driver("dlt645").spoil
    good = leader + DLT645 + bytes((sum(DLT645) & 0xFF, 0x16))
    other = DLT645[:1] + b"\0" + DLT645[2:]
    assert spoil(good, Defect.ADDRESS) == leader + other + bytes((sum(other) & 0xFF, 0x16))
    assert wrong(spoil(good, Defect.FRAME_CHECK), good) == [len(good) - 2]
    assert spoil(good, Defect.HEADER_CHECK) == good
