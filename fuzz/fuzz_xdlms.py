"""Service APDUs: each decoder, the short way against the long one, and both ends of a conversation over the wrapper.

First octet: 0 a single APDU; 1 a client, 2 a meter, that gets steps: an octet (bit 7: our side does what bits 0-2 say),
a length, and as many octets of an APDU that is received.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import LocalProtocolError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.dlms.acse import Rlre, Rlrq
    from headend.protocols.dlms.apdu.action import ActionResponseNormal
    from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor, DataAccessResult
    from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal
    from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseNormal
    from headend.protocols.dlms.apdu.table import decode_apdu
    from headend.protocols.dlms.axdr_plain import decode_data
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Spoken
    from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
    from headend.protocols.dlms.template import FALLBACK, decode_get_list_response, decode_get_response
    from headend.protocols.wrapper import WrapperFraming, wrap

MAX_TRANSFER = 2000
INVOKE = 0xC1
ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
EVERYTHING = Conformance(0x007E1F)
HELLO = AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING, max_receive_pdu=64))
WELCOME = AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING, max_receive_pdu=64))
SAID: dict[Role, tuple[Spoken, ...]] = {
    Role.CLIENT: (
        HELLO,
        GetRequestNormal(INVOKE, ENERGY),
        GetRequestWithList(INVOKE, ((ENERGY, None), (ENERGY, None))),
        SetRequestNormal(INVOKE, ENERGY, b"\x11\x01"),
        Rlrq(),
    ),
    Role.SERVER: (
        WELCOME,
        GetResponseNormal(INVOKE, b"\x09\x81\xff" + bytes(255)),
        GetResponseNormal(INVOKE, DataAccessResult.OBJECT_UNDEFINED),
        SetResponseNormal(INVOKE, DataAccessResult.SUCCESS),
        ActionResponseNormal(INVOKE, ActionResult.SUCCESS),
        Rlre(),
    ),
}


def single(data: bytes) -> None:
    """What an APDU says can be said again; what the short way reads, the long way reads too."""
    short = decode_get_response(data, 0, len(data), INVOKE & 0x0F)
    if short is not FALLBACK:
        apdu = decode_apdu(data)
        assert isinstance(apdu, GetResponseNormal)
        assert isinstance(apdu.result, bytes)
        assert repr(decode_data(apdu.result)[0]) == repr(short)
    if decode_get_list_response(data, 0, len(data), INVOKE & 0x0F, 2) is not FALLBACK:
        decode_apdu(data)
    try:
        apdu = decode_apdu(data)
    except RemoteProtocolError:
        return
    assert decode_apdu(apdu.encode()) == apdu


def act(ours: DlmsConnection, which: int) -> None:
    """One call of our own side."""
    said = SAID[ours.role]
    if which < len(said):
        ours.send(said[which])
    elif ours.role is Role.SERVER:
        ours.data_to_send()
    elif which == 5:
        ours.send_streaming(GetRequestNormal(INVOKE, ENERGY))
    elif which == 6:
        ours.ask_next_block()
    else:
        ours.data_to_send()


def conversation(role: Role, steps: bytes) -> None:
    """Associated from the start; a step that our side may not take is refused to us."""
    client, server = WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1), WrapperFraming(Role.SERVER, server_sap=1)
    ours = DlmsConnection(role, client if role is Role.CLIENT else server, max_transfer=MAX_TRANSFER)
    ports = (1, 16) if role is Role.CLIENT else (16, 1)
    other = DlmsConnection(
        Role.SERVER if role is Role.CLIENT else Role.CLIENT, server if role is Role.CLIENT else client
    )
    for speaker, listener, event in ((ours, other, HELLO), (other, ours, WELCOME)):
        sender, receiver = (speaker, listener) if role is Role.CLIENT else (listener, speaker)
        sender.send(event)
        receiver.receive_data(sender.data_to_send())
        receiver.next_event()
    at = 0
    while at + 2 < len(steps):
        step, length = steps[at], steps[at + 1]
        at += 2
        if step & 0x80:
            with contextlib.suppress(LocalProtocolError):
                act(ours, step & 0x07)
            continue
        ours.receive_data(wrap(steps[at : at + length], *ports))
        at += length
        harness.drain(ours, NEED_DATA, RemoteProtocolError, 8)
        sent = ours.data_to_send()
        assert len(sent) <= 0x10000


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    if data[0] == 1:
        conversation(Role.CLIENT, data[1:])
    elif data[0] == 2:
        conversation(Role.SERVER, data[1:])
    else:
        single(data[1:])


if __name__ == "__main__":
    harness.fuzz("xdlms", one_input)
