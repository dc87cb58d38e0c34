"""The gateway protocol: the prefix by hand, both roles as a pair over the wrapper and over HDLC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.gateway import GatewayFraming, Routed, decode_routed, prefix
from headend.protocols.hdlc import Address, HdlcConnection
from headend.protocols.wrapper import WrapperFraming, wrap

METER = b"210000123456"


def over_wrapper(role: Role, device: bytes = METER) -> GatewayFraming:
    return GatewayFraming(WrapperFraming(role, client_sap=1, server_sap=1), network=3, device=device)


def over_hdlc(role: Role) -> GatewayFraming:
    inner = HdlcConnection(role, client=Address.client(16) if role is Role.CLIENT else None, server=Address.server(1))
    return GatewayFraming(inner, network=0, device=b"\x01")


def test_prefix_of_a_known_frame() -> None:
    """A meter behind a DCU, network 3, its number in ASCII: the form that concentrators of LONGi take."""
    framing = over_wrapper(Role.CLIENT)
    framing.send_apdu(b"\xc0\x01\xc1")
    assert framing.data_to_send() == bytes.fromhex("0001 0001 0001 0012 e6030c323130303030313233343536 c001c1")


def test_prepared_requests() -> None:
    framing = over_wrapper(Role.CLIENT)
    prepared = framing.prepare(b"\xc0\x01\xc1")
    framing.send_apdu(b"\xc0\x01\xc1")
    assert framing.data_to_send() == framing.request(prepared)
    assert framing.receive_apdu(b"") is None


@pytest.mark.parametrize(
    ("octets", "routed"),
    [
        ("e6 00 01 05 c0", Routed(response=False, network=0, device=b"\x05", apdu=b"\xc0")),
        ("e7 03 02 3132 c401", Routed(response=True, network=3, device=b"12", apdu=b"\xc4\x01")),
        ("e7 03 00 c401", Routed(response=True, network=3, device=b"", apdu=b"\xc4\x01")),
        ("c401c1", None),
        ("", None),
    ],
)
def test_prefixes(octets: str, routed: Routed | None) -> None:
    assert decode_routed(bytes.fromhex(octets)) == routed


@pytest.mark.parametrize("octets", ["e6", "e603", "e60302", "e6030231", "e603023132"])
def test_prefixes_cut_short(octets: str) -> None:
    with pytest.raises(RemoteProtocolError, match="cut short"):
        decode_routed(bytes.fromhex(octets))


@pytest.mark.parametrize(("network", "device"), [(256, b"1"), (-1, b"1"), (0, b""), (0, bytes(256))])
def test_addresses_that_do_not_fit(network: int, device: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        prefix(0xE6, network, device)


@given(st.binary(max_size=300))
def test_any_octets(data: bytes) -> None:
    try:
        routed = decode_routed(data)
    except RemoteProtocolError:
        return
    if routed and routed.device:
        assert prefix(data[0], routed.network, routed.device) + routed.apdu == data


def received(framing: GatewayFraming, apdu: bytes) -> object:
    framing.receive_data(wrap(apdu, 1, 1))
    return framing.next_event()


def test_what_a_client_receives() -> None:
    client = over_wrapper(Role.CLIENT)
    assert client.next_event() is NEED_DATA
    answer = prefix(0xE7, 3, METER) + b"\xc4"
    assert received(client, answer) == ApduReceived(b"\xc4", 1, 1)
    push = prefix(0xE6, 3, b"99") + b"\x0f"
    assert received(client, push) == ApduReceived(b"\x0f", 1, 1, unsolicited=True)
    assert received(client, b"\xd8\x01\x01") == ApduReceived(b"\xd8\x01\x01", 1, 1)
    for other in (prefix(0xE7, 3, b"99"), prefix(0xE7, 4, METER)):
        with pytest.raises(RemoteProtocolError, match="another meter"):
            received(client, other + b"\xc4")
    assert received(client, answer) == ApduReceived(b"\xc4", 1, 1)


def test_what_a_meter_receives() -> None:
    meter = over_wrapper(Role.SERVER)
    assert received(meter, prefix(0xE6, 3, METER) + b"\xc0") == ApduReceived(b"\xc0", 1, 1)
    assert received(meter, prefix(0xE6, 3, b"99") + b"\xc0") == ApduReceived(b"\xc0", 1, 1, unsolicited=True)
    meter.send_apdu(b"\xc4")
    assert meter.data_to_send() == wrap(prefix(0xE7, 3, METER) + b"\xc4", 1, 1)


@pytest.mark.parametrize("make", [over_wrapper, over_hdlc])
def test_an_association_through_the_gateway(make: type[GatewayFraming]) -> None:
    client_framing, meter_framing = make(Role.CLIENT), make(Role.SERVER)
    client, meter = DlmsConnection(Role.CLIENT, client_framing), DlmsConnection(Role.SERVER, meter_framing)
    conformance = Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET
    energy = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)

    def carry() -> list[object]:
        events: list[object] = []
        for _ in range(20):
            for sender, receiver in ((client, meter), (meter, client)):
                receiver.receive_data(sender.data_to_send())
                while (event := receiver.next_event()) is not NEED_DATA:
                    events.append(event)
        return events

    client.open()
    assert LinkOpened() in carry()
    assert client_framing.is_open
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=conformance)))
    assert isinstance(carry()[0], AssociationRequest)
    meter.send(AssociationResponse(initiate=InitiateResponse(conformance=conformance, max_receive_pdu=200)))
    assert isinstance(carry()[0], AssociationResponse)
    client.send(GetRequestNormal(0xC1, energy))
    assert carry() == [GetRequestNormal(0xC1, energy)]
    meter.send(GetResponseNormal(0xC1, b"\x06\x00\x00\x00\x2a"))
    assert carry() == [GetResponseNormal(0xC1, b"\x06\x00\x00\x00\x2a")]
    client.close()
    assert any(isinstance(event, LinkReleased) for event in carry())
