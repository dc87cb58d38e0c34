"""Recognising DLMS on inbound links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Sniff, Sniffed
from headend.drivers.dlms import driver

EVENT = "c2 00 0007 0000636201ff 02 01010202090c07e90a1f05110f39ff8000000600000029"
SNRM = "7ea0070321930f017e"


@pytest.mark.parametrize(
    ("octets", "verdict"),
    [
        ("", Sniff.NEED_DATA),
        ("00", Sniff.NEED_DATA),
        ("0001 0001 0066 0022", Sniff.NEED_DATA),
        ("0001 0001 0066 0022 c2", Sniff.NEED_DATA),
        ("0001 0001 0066 0022 c2 00 0007 0000", "wrapper"),  # an event notification
        ("0001 0001 0001 0012 0a 02 0c 30 30 30", Sniff.NO),  # a login
        ("0001 0001 0001 0011 0c 02 0c 30 30 30", Sniff.NO),  # a heartbeat
        ("0001 0001 0001 0011 0f 02 0c 30 30 30", Sniff.NO),  # a last gasp
        ("0001 0001 0010 0012 dd 10 00 00 00 00", Sniff.NO),  # a heartbeat of another family
        ("0001 0001 0010 0008 0c 01 00 05 00 00", "wrapper"),  # a read response
        ("0001 0001 0066 0022 e0 80 0001 0000", "wrapper"),
        ("0001 0001 0001 0003 d8 01 02", "wrapper"),
        ("0001 0000 0006 0103 04", Sniff.NO),  # Modbus TCP
        ("0001 0001 0066 0000 c2", Sniff.NO),
        ("0001 0001 0066 0022 99 00 00 00 00 00", Sniff.NO),
        ("60", Sniff.NEED_DATA),
        ("601d", Sniff.NEED_DATA),
        ("601da109060760", "apdu"),  # an AARQ without wrapper
        ("6036800207", "apdu"),
        ("61820123a1090607", "apdu"),
        ("6012a2", Sniff.NO),  # ANSI C12.22
        ("600300a1", Sniff.NO),  # Modbus RTU, unit 0x60
        (EVENT[:-2], Sniff.NEED_DATA),
        (EVENT, "apdu"),
        ("0f 00000001 00 0102 0204" + 40 * "1200ff", "apdu"),
        ("0f 03 00 10 00 05", Sniff.NO),  # Modbus RTU, unit 0x0F
        ("db 08 4d4d4d0000bc614e 05 30 00000001", "apdu"),
        ("0002", Sniff.NO),
        ("68", Sniff.NO),
        ("7e", Sniff.NEED_DATA),
        ("7ea0070321", Sniff.NEED_DATA),
        (SNRM, "hdlc"),
        ("7e" + SNRM, "hdlc"),
        ("7ea00703219300007e", Sniff.NO),
        ("7e55", Sniff.NO),
    ],
)
def test_sniffing(octets: str, verdict: Sniff | str) -> None:
    said = driver.sniff(bytes.fromhex(octets))
    assert (said.framing if isinstance(said, Sniffed) else said) == verdict


@given(st.binary(max_size=60))
def test_nothing_breaks_it(octets: bytes) -> None:
    assert isinstance(driver.sniff(octets), Sniff | Sniffed)
