"""Initiate APDUs: the examples of the Green Book, and what a public head-end and a meter of the LONGi family negotiate."""

from __future__ import annotations

import pytest

from headend.errors import DecodeError
from headend.protocols.dlms.initiate import (
    VAA_LN,
    Conformance,
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
    decode_initiate_response,
)
from headend.protocols.dlms.octets import Reader

C = Conformance
# 007E1F, as the Green Book spells it out for LN referencing
GREEN_BOOK = (
    C.PRIORITY_MANAGEMENT
    | C.ATTRIBUTE0_WITH_GET
    | C.BLOCK_TRANSFER_WITH_GET
    | C.BLOCK_TRANSFER_WITH_SET
    | C.BLOCK_TRANSFER_WITH_ACTION
    | C.MULTIPLE_REFERENCES
    | C.GET
    | C.SET
    | C.SELECTIVE_ACCESS
    | C.EVENT_NOTIFICATION
    | C.ACTION
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("01 00 00 00 06 5f1f0400007e1f 04b0", InitiateRequest(conformance=GREEN_BOOK, max_receive_pdu=1200)),
        (  # Green Book: the plain text of the example with a dedicated key
            "01 0110 00112233445566778899aabbccddeeff 00 00 06 5f1f0400007e1f 04b0",
            InitiateRequest(
                conformance=GREEN_BOOK,
                max_receive_pdu=1200,
                dedicated_key=bytes.fromhex("00112233445566778899aabbccddeeff"),
            ),
        ),
        (
            "01 00 0100 0103 06 5f1f04000000 10 0000",
            InitiateRequest(conformance=C.GET, max_receive_pdu=0, response_allowed=False, quality_of_service=3),
        ),
    ],
)
def test_requests(text: str, expected: InitiateRequest) -> None:
    apdu = bytes.fromhex(text)
    assert decode_initiate_request(Reader(apdu, 1)) == expected
    assert expected.encode() == apdu
    for end in range(1, len(apdu)):
        with pytest.raises(DecodeError):
            decode_initiate_request(Reader(apdu, 1, end))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "08 00 06 5f1f040000501f 01f4 0007",
            InitiateResponse(
                conformance=GREEN_BOOK
                & ~(C.ATTRIBUTE0_WITH_GET | C.BLOCK_TRANSFER_WITH_SET)
                & ~(C.BLOCK_TRANSFER_WITH_ACTION | C.MULTIPLE_REFERENCES),
                max_receive_pdu=500,
            ),
        ),
        (
            "08 0101 06 5f1f040000181d 00c8 fa00",
            InitiateResponse(
                conformance=C.BLOCK_TRANSFER_WITH_GET
                | C.BLOCK_TRANSFER_WITH_SET
                | C.GET
                | C.SET
                | C.SELECTIVE_ACCESS
                | C.ACTION,
                max_receive_pdu=200,
                quality_of_service=1,
                vaa_name=0xFA00,
            ),
        ),
    ],
)
def test_responses(text: str, expected: InitiateResponse) -> None:
    apdu = bytes.fromhex(text)
    assert decode_initiate_response(Reader(apdu, 1)) == expected
    assert expected.encode() == apdu
    for end in range(1, len(apdu)):
        with pytest.raises(DecodeError):
            decode_initiate_response(Reader(apdu, 1, end))


def test_the_tag_of_older_meters() -> None:
    decoded = decode_initiate_response(Reader(bytes.fromhex("00 06 5f040000501f 01f4 0007")))
    assert decoded.conformance == Conformance(0x00501F)
    assert decoded.vaa_name == VAA_LN


def test_response_allowed_may_be_spelled_out() -> None:
    decoded = decode_initiate_request(Reader(bytes.fromhex("00 01ff 00 06 5f1f0400007e1f 04b0")))
    assert decoded.response_allowed


def test_the_dedicated_key_is_not_shown() -> None:
    assert "secret" not in repr(InitiateRequest(conformance=C.GET, dedicated_key=b"secret"))


def test_a_conformance_block_with_another_tag() -> None:
    with pytest.raises(DecodeError, match="5f1f0400, got 5f200400"):
        decode_initiate_response(Reader(bytes.fromhex("00 06 5f20040000501f 01f4 0007")))
