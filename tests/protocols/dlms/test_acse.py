"""ACSE against the worked examples of the Green Book (DLMS UA 1000-2, clause 11) and frames of real meters."""

from __future__ import annotations

import pytest

from headend.errors import DecodeError
from headend.protocols.dlms.acse import Aare, Aarq, ApplicationContext, Mechanism, Rlre, Rlrq
from headend.protocols.dlms.apdu.table import decode_apdu

CONTEXT = "a109 0607 60857405080101"
INITIATE = "be10 040e 01000000065f1f0400007e1f04b0"
USER_INFORMATION = bytes.fromhex("01000000065f1f0400007e1f04b0")

GOOD = {
    "AARQ without authentication (Green Book)": (
        f"601d {CONTEXT} {INITIATE}",
        Aarq(user_information=USER_INFORMATION),
    ),
    "AARQ with LLS 12345678 (Green Book)": (
        f"6036 {CONTEXT} 8a020780 8b07 60857405080201 ac0a 8008 3132333435363738 {INITIATE}",
        Aarq(
            mechanism=Mechanism.LLS,
            authentication_value=b"12345678",
            acse_requirements=b"\x07\x80",
            user_information=USER_INFORMATION,
        ),
    ),
    "AARQ with HLS GMAC, challenge K56iVagY (Green Book)": (
        f"6036 {CONTEXT} 8a020780 8b07 60857405080205 ac0a 8008 4b35366956616759 {INITIATE}",
        Aarq(
            mechanism=Mechanism.HLS_GMAC,
            authentication_value=b"K56iVagY",
            acse_requirements=b"\x07\x80",
            user_information=USER_INFORMATION,
        ),
    ),
    "AARE accepted (Green Book)": (
        f"6129 {CONTEXT} a203020100 a305a103020100 be10 040e 0800065f1f040000501f01f40007",
        Aare(user_information=bytes.fromhex("0800065f1f040000501f01f40007")),
    ),
    "AARE refused by the provider, without user-information": (
        f"6117 {CONTEXT} a203020101 a305a203020101",
        Aare(result=1, diagnostic_source=2, diagnostic=1),
    ),
    "AARE for HLS GMAC with system title and challenge": (
        (
            "6148 a109 0607 60857405080103 a203020100 a305a10302010e a40a 0408 4d4d4d0000bc614e"
            "8802 0780 8907 60857405080205 aa0a 8008 503677524a323146 be0a 0408 2106300000000001"
        ),
        Aare(
            application_context=ApplicationContext.LN_CIPHERED,
            diagnostic=14,
            responding_ap_title=bytes.fromhex("4d4d4d0000bc614e"),
            acse_requirements=b"\x07\x80",
            mechanism=Mechanism.HLS_GMAC,
            authentication_value=b"P6wRJ21F",
            user_information=bytes.fromhex("2106300000000001"),
        ),
    ),
    "AARQ with calling title and an AE invocation identifier": (
        "601c a109 0607 60857405080103 a60a 0408 4d4d4d0000000001 a903 020110",
        Aarq(
            application_context=ApplicationContext.LN_CIPHERED,
            calling_ap_title=bytes.fromhex("4d4d4d0000000001"),
            others=((0xA9, b"\x02\x01\x10"),),
        ),
    ),
    "RLRQ": ("6203 800100", Rlrq()),
    "RLRQ with nothing": ("6200", Rlrq(reason=None)),
    "RLRQ with user-information": (
        f"6215 800100 {INITIATE}",
        Rlrq(user_information=USER_INFORMATION),
    ),
    "RLRE": ("6303 800100", Rlre()),
}

BAD = {
    "no context name": "6105 a203020100",
    "context name of another organisation": "600b a109 0607 60857405090101",
    "an element twice": f"6016 {CONTEXT} {CONTEXT}",
    "indefinite length": "6080 a109",
    "length beyond the end": f"6030 {CONTEXT}",
    "length of nine octets": "6089 010203040506070809",
    "result of two octets": f"6118 {CONTEXT} a20402020000 a305a103020100",
    "no diagnostic": f"6110 {CONTEXT} a203020100",
    "diagnostic of a third party": f"6117 {CONTEXT} a203020100 a305a303020100",
    "diagnostic without a number": f"6115 {CONTEXT} a203020100 a303a10104",
    "user-information longer than its element": f"6011 {CONTEXT} be04 04040101",
    "user-information shorter than its element": f"6011 {CONTEXT} be04 04010101",
    "release reason of two octets": "6204 80020000",
    "cut short": "60",
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    text, expected = GOOD[name]
    apdu = bytes.fromhex(text)
    assert decode_apdu(apdu) == expected
    assert expected.encode() == apdu


@pytest.mark.parametrize("name", GOOD)
def test_every_beginning_of_a_good_one_is_refused(name: str) -> None:
    apdu = bytes.fromhex(GOOD[name][0])
    for end in range(len(apdu)):
        with pytest.raises(DecodeError):
            decode_apdu(apdu[:end])


@pytest.mark.parametrize("name", GOOD)
def test_octets_after_the_end_are_forgiven(name: str) -> None:
    text, expected = GOOD[name]
    assert decode_apdu(bytes.fromhex(text) + b"\x00\x00") == expected


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    with pytest.raises(DecodeError):
        decode_apdu(bytes.fromhex(BAD[name]))


def test_mechanism_name_with_a_tag_of_its_own_is_read() -> None:
    apdu = bytes.fromhex(f"6016 {CONTEXT} 8b09 0607 60857405080201")
    decoded = decode_apdu(apdu)
    assert isinstance(decoded, Aarq)
    assert decoded.mechanism == Mechanism.LLS


def test_a_mechanism_brings_the_authentication_requirement() -> None:
    aarq = Aarq(mechanism=Mechanism.LLS, authentication_value=b"12345678", user_information=USER_INFORMATION)
    assert aarq.encode() == bytes.fromhex(GOOD["AARQ with LLS 12345678 (Green Book)"][0])


def test_a_long_value_takes_a_long_length() -> None:
    aarq = Aarq(mechanism=Mechanism.HLS_ECDSA, authentication_value=bytes(200), user_information=bytes(100))
    encoded = aarq.encode()
    assert encoded[:3] == bytes((0x60, 0x82, (len(encoded) - 4) >> 8))
    decoded = decode_apdu(encoded)
    assert isinstance(decoded, Aarq)
    assert decoded.authentication_value == bytes(200)


def test_secrets_are_not_shown() -> None:
    assert "12345678" not in repr(GOOD["AARQ with LLS 12345678 (Green Book)"][1])
