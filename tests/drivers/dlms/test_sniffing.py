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
        ("0001 0001 0066 0022 c2", "likely"),
        ("0001 0001 0066 0022 c2 00 0007 0000", "likely"),
        ("0001 0001 0066 000e c2 00 0007 0000600100ff 02 09 01 01", "wrapper"),  # an event
        ("0001 0001 0001 0012 0a 02 0c " + 12 * "30" + "00 0000 00", Sniff.NO),  # a login, and what follows it
        ("0001 0001 0001 0011 0c 02 0c" + 12 * "30" + "0000 00", Sniff.NO),  # a heartbeat
        ("0001 0001 0001 0011 0f 02 0c" + 12 * "30" + "0000 00", Sniff.NO),  # a last gasp
        ("0001 0001 0010 0012 dd 10 00000000" + 12 * "30" + "00", Sniff.NO),  # a heartbeat of another family
        ("0001 0001 0010 0008 0c 01 00 05 00 00 00 01", "wrapper"),  # a read response
        ("0001 0001 0010 0008 0c 01 00 11 00 00 00 01 00", Sniff.NO),  # one that ends before the frame
        ("0001 0001 0010 0008 0c 02 00 05 00 00 00 01 00", Sniff.NO),  # or after it
        ("0001 0001 0066 0009 e0 80 0001 0000 02 0f00", "wrapper"),
        ("0001 0001 0001 0003 d8 01 02", "wrapper"),
        ("0001 0000 0006 0103 04", Sniff.NO),  # Modbus TCP
        ("0001 0001 0066 0000 c2", Sniff.NO),
        ("0001 0001 0066 0003 99 00 00 00", Sniff.NO),
        ("0001 0001 0066 0003 99 00 00", Sniff.NEED_DATA),
        ("60", Sniff.NEED_DATA),
        ("601d", Sniff.NEED_DATA),
        ("601da109060760", Sniff.NEED_DATA),
        ("601da10906076085740508 01", "apdu"),  # an AARQ without wrapper
        ("6036800207", "apdu"),
        ("61820123a109060760857405080102", "apdu"),
        ("6012a2", Sniff.NO),  # ANSI C12.22
        ("600300a1", Sniff.NO),  # Modbus RTU, unit 0x60
        (EVENT[:-2], Sniff.NEED_DATA),
        (EVENT, "apdu"),
        ("0f 00000001 00 0102 0204" + 40 * "1200ff", "apdu"),
        ("0f 03 00 10 00 05", Sniff.NO),  # Modbus RTU, unit 0x0F
        ("db 08 4d4d4d0000bc614e 05 30 00000001", "apdu"),
        ("e6e700 0f 00000001 00 0102 0204" + 40 * "1200ff", "apdu"),  # behind an LLC
        ("e7 00 0c 303030303030303030303030 c2 00 0007 0000600100ff 02 09 01 01", "apdu"),  # behind a gateway
        ("e7 00 0c 30303030303030303030ff", Sniff.NO),
        ("e7 00", Sniff.NEED_DATA),
        ("e700000f", Sniff.NO),
        ("c4 01 c1 00 06 00000001", Sniff.NEED_DATA),
        ("c4 01 c1 00 06 00000001 00", Sniff.NO),
        ("c4 01 c1 00 09 81c8" + 60 * "55", "apdu"),
        ("c8 1e 30 01234567 411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b", Sniff.NEED_DATA),
        ("c8 1e 30 01234567 411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b 00", Sniff.NO),
        ("c8 1e 00", Sniff.NO),  # neither authenticated nor encrypted
        ("c8 83 000000", Sniff.NO),
        ("c8 82", Sniff.NEED_DATA),
        ("d8 01 02", Sniff.NEED_DATA),
        ("63 00", Sniff.NEED_DATA),
        ("e0 c0 0001 0001 01 00", Sniff.NO),  # it acknowledges what nobody has said
        ("e0 c0 0001 0000 01 00", "apdu"),
        ("db 08 4d4d4d0000bc614e 81 ff 00", Sniff.NO),  # no security control
        ("db 08 4d4d4d0000bc614e 00", Sniff.NO),  # no room for one
        ("db 08 4d4d4d0000bc614e 04 30", Sniff.NO),
        ("0d 0a", Sniff.NO),  # a line end
        ("0002", Sniff.NO),
        ("68", Sniff.NO),
        ("7e", Sniff.NEED_DATA),
        ("7ea0", Sniff.NEED_DATA),
        ("7ea0070321", "likely"),
        (SNRM, "hdlc"),
        ("7e" + SNRM, "hdlc"),
        ("7ea00703219300007e", Sniff.NO),
        ("7e55", Sniff.NO),
    ],
)
def test_sniffing(octets: str, verdict: Sniff | str) -> None:
    said: Sniffed | Sniff | str = driver.sniff(bytes.fromhex(octets))
    if isinstance(said, Sniffed):
        said = said.framing if said.whole else "likely"
    assert said == verdict


@given(st.binary(max_size=60))
def test_nothing_breaks_it(octets: bytes) -> None:
    assert isinstance(driver.sniff(octets), Sniff | Sniffed)


@pytest.mark.parametrize(
    "octets",
    [
        "c8 1e 30 01234567 411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b",
        "c4 01 c1 00 06 00000001",
        "d8 01 02",
        "63 00",
        "63 03 80 01 00",
        "c0 01 c1 0001 00002a0000ff 02 00",
    ],
)
def test_what_may_be_many_things_is_an_apdu_when_nothing_follows(octets: str) -> None:
    data = bytes.fromhex(octets)
    said = driver.sniff(data, silent=True)
    assert isinstance(said, Sniffed)
    assert (said.framing, said.end, said.sure) == ("apdu", len(data), False)
    assert driver.sniff(data) is Sniff.NEED_DATA
    assert driver.sniff(data[:-1], silent=True) is Sniff.NEED_DATA
    assert driver.sniff(data + b"\x99", silent=True) is Sniff.NO


def test_a_message_that_fits_its_frame_is_one_when_nothing_follows() -> None:
    data = bytes.fromhex("0001 0001 0066 0003 99 00 00")
    said = driver.sniff(data, silent=True)
    assert isinstance(said, Sniffed)
    assert (said.framing, said.sure, said.end) == ("wrapper", False, len(data))
    assert driver.sniff(data[:-1], silent=True) is Sniff.NEED_DATA
