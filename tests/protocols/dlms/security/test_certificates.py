"""Certificates and requests that are none: whatever the octets, a DecodeError."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest

from headend.errors import DecodeError
from headend.protocols.dlms.security.certificates import (
    Authority,
    KeyUse,
    make_request,
    read_certificate,
    read_request,
)
from headend.protocols.dlms.security.keys import private_key
from headend.protocols.dlms.security.suite import SUITES

SUITE, TITLE = SUITES[1], b"MTR00001"
KEY = private_key(SUITE, bytes(31) + b"\x07")
REQUEST = make_request(SUITE, KEY, TITLE, KeyUse.DIGITAL_SIGNATURE)
VALID = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
CERTIFICATE = Authority(KEY).issue(SUITE, read_request(SUITE, REQUEST), 7, VALID).der
V3, V18 = bytes.fromhex("a003020102"), bytes.fromhex("a003020111")


def test_what_was_issued_is_read() -> None:
    assert read_certificate(SUITE, CERTIFICATE).title == read_request(SUITE, REQUEST).title == TITLE


def test_a_version_that_does_not_exist() -> None:
    assert V3 in CERTIFICATE
    with pytest.raises(DecodeError, match="certificate"):
        read_certificate(SUITE, CERTIFICATE.replace(V3, V18, 1))
    version = REQUEST.index(b"\x02\x01\x00")
    with pytest.raises(DecodeError, match="certificate request"):
        read_request(SUITE, REQUEST[: version + 2] + b"\x11" + REQUEST[version + 3 :])


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # the library reads a negative one still
def test_a_negative_serial_number() -> None:
    with pytest.raises(DecodeError, match="certificate"):
        read_certificate(SUITE, CERTIFICATE.replace(V3 + b"\x02\x01\x07", V3 + b"\x02\x01\xf8", 1))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("turn", [0x01, 0x10, 0x80, 0xFF])
def test_any_one_octet_altered(turn: int) -> None:
    """Nothing that a request says may be altered, because it is signed by its own key; a certificate is read, or is none."""
    said = read_request(SUITE, REQUEST)
    for at in range(len(REQUEST)):
        with suppress(DecodeError):
            assert read_request(SUITE, REQUEST[:at] + bytes((REQUEST[at] ^ turn,)) + REQUEST[at + 1 :]) == said
    for at in range(len(CERTIFICATE)):
        with suppress(DecodeError):
            assert read_certificate(SUITE, CERTIFICATE[:at] + bytes((CERTIFICATE[at] ^ turn,)) + CERTIFICATE[at + 1 :])


def test_cut_short() -> None:
    for end in range(len(CERTIFICATE)):
        with pytest.raises(DecodeError):
            read_certificate(SUITE, CERTIFICATE[:end])
    for end in range(len(REQUEST)):
        with pytest.raises(DecodeError):
            read_request(SUITE, REQUEST[:end])
