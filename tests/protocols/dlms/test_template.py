"""Prepared requests and the fast decoder, against the general encoder and decoder."""

from __future__ import annotations

import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor, DataAccessResult
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal, GetResponseWithList
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.template import (
    FALLBACK,
    decode_get_list_response,
    decode_get_response,
    pack_lists,
    prepare_get,
    prepare_get_list,
)
from headend.protocols.wrapper import wrap

ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
CLOCK = AttributeDescriptor(8, bytes.fromhex("0000010000ff"), 2)


def test_requests_are_those_of_the_general_encoder() -> None:
    single = prepare_get(ENERGY.encode(), partial(wrap, source=16, destination=1))
    several = prepare_get_list([ENERGY.encode(), CLOCK.encode()])
    for invoke in range(16):
        octet = 0xC0 | invoke
        assert single[invoke] == wrap(GetRequestNormal(octet, ENERGY).encode(), 16, 1)
        assert several[invoke] == GetRequestWithList(octet, ((ENERGY, None), (CLOCK, None))).encode()


@pytest.mark.parametrize(
    ("count", "max_send_pdu", "sizes"),
    [(10, 65535, [10]), (10, 64, [6, 4]), (3, 12, [1, 1, 1]), (200, 65535, [127, 73]), (0, 64, [])],
)
def test_lists_fit_the_longest_apdu(count: int, max_send_pdu: int, sizes: list[int]) -> None:
    packed = pack_lists(count, max_send_pdu)
    assert [len(part) for part in packed] == sizes
    assert [index for part in packed for index in part] == list(range(count))
    for part in packed:
        apdu = prepare_get_list([ENERGY.encode()] * len(part))[0]
        assert len(apdu) <= max_send_pdu or len(part) == 1


@pytest.mark.parametrize("invoke", range(16))
def test_common_values(invoke: int) -> None:
    head = bytes((0xC4, 0x01, 0xC0 | invoke, 0x00))
    for tag, layout, value in [(0x06, ">I", 1234567), (0x05, ">i", -5), (0x12, ">H", 60000), (0x17, ">f", 1.5)]:
        apdu = head + bytes((tag,)) + struct.pack(layout, value)
        frame = wrap(apdu, 1, 16) + b"more"
        assert decode_get_response(frame, 8, 8 + len(apdu), invoke) == value
        assert decode_get_response(frame, 8, 8 + len(apdu), invoke ^ 1) is FALLBACK
        assert decode_get_response(frame, 8, 8 + len(apdu) + 1, invoke) is FALLBACK
        assert decode_get_response(frame, 8, 8 + len(apdu) - 1, invoke) is FALLBACK


def test_strings_and_structures() -> None:
    apdu = bytes.fromhex("c401c100 0202 0f ff 16 1e")
    assert decode_get_response(apdu, 0, len(apdu), 1) == [-1, 30]
    apdu = bytes.fromhex("c401c100 0903 414243")
    assert decode_get_response(apdu, 0, len(apdu), 1) == b"ABC"
    assert decode_get_response(apdu + b"\x00", 0, len(apdu) + 1, 1) is FALLBACK


@pytest.mark.parametrize("text", ["", "c401c100", "c401c10104", "c402c1010000000100010f", "c501c100", "c401c10063"])
def test_everything_else_is_left_to_the_connection(text: str) -> None:
    apdu = bytes.fromhex(text)
    assert decode_get_response(apdu, 0, len(apdu), 1) is FALLBACK


def test_lists() -> None:
    results = (b"\x06\x00\x00\x00\x07", DataAccessResult.OBJECT_UNDEFINED, b"\x09\x01A")
    apdu = GetResponseWithList(0xC1, results).encode()
    expected = [7, DataAccessResult.OBJECT_UNDEFINED, b"A"]
    assert decode_get_list_response(b"xx" + apdu, 2, 2 + len(apdu), 1, 3) == expected
    assert decode_get_list_response(apdu, 0, len(apdu), 1, 2) is FALLBACK
    assert decode_get_list_response(apdu, 0, len(apdu), 2, 3) is FALLBACK
    for end in range(len(apdu)):
        assert decode_get_list_response(apdu[:end], 0, end, 1, 3) is FALLBACK
    assert decode_get_list_response(apdu + b"\x00", 0, len(apdu) + 1, 1, 3) is FALLBACK
    assert decode_get_list_response(bytes.fromhex("c403c101 02 00"), 0, 6, 1, 1) is FALLBACK


@given(st.binary(max_size=40))
def test_the_fast_decoder_agrees_with_the_general_one(tail: bytes) -> None:
    apdu = bytes.fromhex("c401c100") + tail
    value = decode_get_response(apdu, 0, len(apdu), 1)
    if value is not FALLBACK:
        assert decode_apdu(apdu) == GetResponseNormal(0xC1, tail)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_the_fast_list_decoder_agrees_with_the_general_one(tail: bytes, count: int) -> None:
    apdu = bytes.fromhex("c403c1") + bytes((count,)) + tail
    values = decode_get_list_response(apdu, 0, len(apdu), 1, count)
    if values is not FALLBACK:
        decoded = decode_apdu(apdu)
        assert isinstance(decoded, GetResponseWithList)
        assert len(decoded.results) == len(values)
