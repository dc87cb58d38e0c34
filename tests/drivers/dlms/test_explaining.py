"""Recognising DLMS on inbound links, and taking frames apart for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Layer, Sniff
from headend.drivers.dlms import driver
from headend.protocols.base import Role
from headend.protocols.hdlc import Address, HdlcConnection

AARQ = "601da109060760857405080101be10040e01000000065f1f0400001e1dffff"
LLS = "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f0400007e1f04b0"
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


def shown(layer: Layer) -> list[str]:
    """Names of all layers, outermost first."""
    return [layer.name, *(name for inner in layer.layers for name in shown(inner))]


def field(layer: Layer, name: str) -> str:
    """The first field of that name, at any depth."""
    for key, value, _, _ in layer.fields:
        if key == name:
            return value
    for inner in layer.layers:
        found = field(inner, name)
        if found:
            return found
    return ""


def test_a_wrapper_frame() -> None:
    layer = driver.explain(bytes.fromhex("0001 0010 0001 001f" + AARQ))
    assert shown(layer) == ["wrapper", "Aarq", "InitiateRequest"]
    assert (field(layer, "source wPort"), field(layer, "max receive pdu")) == ("16", "65535")
    assert layer.layers[0].layers[0].offset == 8 + 17
    assert not layer.error
    assert "follow" in driver.explain(bytes.fromhex("0001 0010 0001 0020" + AARQ)).error


def test_a_password_is_not_shown() -> None:
    assert "12345678" not in repr(driver.explain(bytes.fromhex(LLS)))


@pytest.mark.parametrize(
    ("octets", "names", "name", "value"),
    [
        ("c001c100030100010800ff0200", ["GetRequestNormal"], "attribute", "3/1-0:1.8.0.255/2 (Register: value)"),
        ("c401c10006000004d2", ["GetResponseNormal", "data"], "value", "1234"),
        ("c401c10104", ["GetResponseNormal"], "result", "object undefined"),
        ("c401c100090c07e909030a0a340eff003c00", ["GetResponseNormal", "data"], "value", "2025-09-03 10:52:14-01:00"),
        ("c401c100020209034142430a0141", ["GetResponseNormal", "data"], "0", "414243 'ABC'"),
        ("c401c10002010902ffff", ["GetResponseNormal", "data"], "0", "ffff"),
        ("c401c10001010201110a", ["GetResponseNormal", "data"], "0", "[10]"),
        ("c101c100080000010000ff02001105", ["SetRequestNormal", "data"], "value", "5"),
        (
            "c301c1004600006003 0aff01010f00",
            ["ActionRequestNormal"],
            "method",
            "70/0-0:96.3.10.255/1 (Disconnect control: remote_disconnect)",
        ),
        ("0f00000001001105", ["DataNotification", "data"], "value", "5"),
        ("c2000007000063 6201ff021105", ["EventNotification", "data"], "value", "5"),
        (
            "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007",
            ["Aare", "InitiateResponse"],
            "max receive pdu",
            "500",
        ),
        ("6203800100", ["Rlrq"], "reason", "0"),
    ],
)
def test_bare_apdus(octets: str, names: list[str], name: str, value: str) -> None:
    layer = driver.explain(bytes.fromhex(octets))
    assert shown(layer) == names
    assert field(layer, name) == value


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("", "APDU"),
        ("99", "known tag"),
        ("cc1e3001234567", "the key is needed"),
        ("c4", "GET response"),
        ("7ea0", "cut short"),
        ("7ea00703219300007e", "FCS wrong"),
    ],
)
def test_what_is_wrong_is_told(octets: str, error: str) -> None:
    assert error in driver.explain(bytes.fromhex(octets)).error


def test_data_that_are_wrong() -> None:
    assert "cut short" in driver.explain(bytes.fromhex("c401c1000600")).layers[0].error
    assert "1 octets follow" in driver.explain(bytes.fromhex("c401c100110500")).layers[0].error


def test_hdlc_frames() -> None:
    layer = driver.explain(bytes.fromhex(SNRM))
    assert (layer.name, field(layer, "destination"), field(layer, "source")) == ("HDLC SNRM", "1", "16")
    layer = driver.explain(bytes.fromhex(SNRM + SNRM[2:]))
    assert shown(layer) == ["HDLC", "HDLC SNRM", "HDLC SNRM"]
    assert [inner.offset for inner in layer.layers] == [0, 8]


def test_apdus_in_hdlc_frames() -> None:
    client = HdlcConnection(Role.CLIENT, client=Address.client(16), server=Address.server(1, 17))
    client.open()
    server = HdlcConnection(Role.SERVER, server=Address.server(1, 17))
    server.receive_data(client.data_to_send())
    server.next_event()
    client.receive_data(server.data_to_send())
    client.next_event()
    client.send_apdu(bytes.fromhex("c001c100030100010800ff0200"))
    layer = driver.explain(client.data_to_send())
    assert shown(layer) == ["HDLC I", "GetRequestNormal"]
    assert (field(layer, "destination"), field(layer, "control")) == ("1/17", "I N(S)=0 N(R)=0 P/F")
    server.send_unsolicited(b"\x0f" + bytes(200))
    pushed = driver.explain(server.data_to_send())
    assert [inner.name for inner in pushed.layers] == ["HDLC UI (segment)", "HDLC UI"]


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"\x7e", b"\x00\x01\x00\x10\x00\x01\x00\x05", b"\xc4\x01\xc1\x00"])
)
def test_nothing_breaks_it(octets: bytes, head: bytes) -> None:
    assert isinstance(driver.explain(head + octets), Layer)
    assert driver.sniff(head + octets) in Sniff


@pytest.mark.parametrize(
    ("descriptor", "shown_as"),
    [
        ("0057 0000600101ff 02", "87/0-0:96.1.1.255/2"),
        ("0003 0100010800ff 09", "3/1-0:1.8.0.255/9 (Register)"),
    ],
)
def test_attributes_that_the_standard_does_not_name(descriptor: str, shown_as: str) -> None:
    layer = driver.explain(bytes.fromhex(f"c001c1 {descriptor} 00"))
    assert field(layer, "attribute") == shown_as
