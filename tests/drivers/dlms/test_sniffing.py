"""Recognising DLMS on inbound links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Sniff
from headend.drivers.dlms import driver

SNRM = "7ea0070321930f017e"


@pytest.mark.parametrize(
    ("octets", "verdict"),
    [
        ("", Sniff.NEED_DATA),
        ("00", Sniff.NEED_DATA),
        ("0001 0001 0066 0022", Sniff.NEED_DATA),
        ("0001 0001 0066 0022 c2", Sniff.MATCH),  # an event notification
        ("0001 0001 0001 0012 0a 02 0c", Sniff.MATCH),  # a login
        ("0001 0001 0066 0022 e0", Sniff.MATCH),
        ("0001 0000 0006 0103 04", Sniff.NO),  # Modbus TCP
        ("0001 0001 0066 0000 c2", Sniff.NO),
        ("0001 0001 0066 0022 99", Sniff.NO),
        ("0002", Sniff.NO),
        ("68", Sniff.NO),
        ("7e", Sniff.NEED_DATA),
        ("7ea0070321", Sniff.NEED_DATA),
        (SNRM, Sniff.MATCH),
        ("7e" + SNRM, Sniff.MATCH),
        ("7ea00703219300007e", Sniff.NO),
        ("7e55", Sniff.NO),
    ],
)
def test_sniffing(octets: str, verdict: Sniff) -> None:
    assert driver.sniff(bytes.fromhex(octets)) is verdict


@given(st.binary(max_size=60))
def test_nothing_breaks_it(octets: bytes) -> None:
    assert driver.sniff(octets) in Sniff
