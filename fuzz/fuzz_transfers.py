"""What travels in blocks, in both roles: long GET, SET, ACTION and ACCESS, in blocks of their services and in general ones.

First octet: bit 0 our role (0 client, 1 meter), bit 1 general blocks were agreed on, bits 2 and 3 our window (1, 2, 7, 63),
bit 4 blocks of the services were not. Then steps: an octet (bit 7: our side does what bits 0-3 say), a length, and as many
octets of an APDU that is received; with bit 6 the invoke id of it is made right, with bit 5 the block number too.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import LocalProtocolError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.dlms.acse import Rlre, Rlrq
    from headend.protocols.dlms.apdu.access import AccessAction, AccessGet, AccessRequest, AccessResponse, AccessResult
    from headend.protocols.dlms.apdu.action import (
        ActionRequestNormal,
        ActionRequestWithList,
        ActionResponseNormal,
        ActionResponseWithList,
    )
    from headend.protocols.dlms.apdu.descriptor import (
        ActionResult,
        AttributeDescriptor,
        DataAccessResult,
        MethodDescriptor,
    )
    from headend.protocols.dlms.apdu.get import (
        GetRequestNormal,
        GetRequestWithList,
        GetResponseNormal,
        GetResponseWithList,
    )
    from headend.protocols.dlms.apdu.notification import DataNotification
    from headend.protocols.dlms.apdu.set import (
        SetRequestNormal,
        SetRequestWithList,
        SetResponseNormal,
        SetResponseWithList,
    )
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, BlockReceived, Spoken
    from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
    from headend.protocols.wrapper import WrapperFraming, wrap

MAX_TRANSFER = 2000
MAX_PDU = 64
MOST_SENT = 0x20000
INVOKE, LONG_INVOKE = 0xC1, 0xC0000001
WINDOWS = (1, 2, 7, 63)
ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
RELAY = MethodDescriptor(70, bytes.fromhex("000060030aff"), 1)
LONG = b"\x09\x81\xff" + bytes(range(255))
EVERYTHING = Conformance(0x00FE1F) | Conformance.ACCESS
BLOCKS = (
    Conformance.BLOCK_TRANSFER_WITH_GET | Conformance.BLOCK_TRANSFER_WITH_SET | Conformance.BLOCK_TRANSFER_WITH_ACTION
)
SAID: dict[Role, tuple[Spoken, ...]] = {
    Role.CLIENT: (
        GetRequestNormal(INVOKE, ENERGY),
        GetRequestWithList(INVOKE, ((ENERGY, None),) * 9),
        SetRequestNormal(INVOKE, ENERGY, LONG),
        SetRequestWithList(INVOKE, ((ENERGY, None),) * 2, (LONG, LONG)),
        ActionRequestNormal(INVOKE, RELAY, LONG),
        ActionRequestWithList(INVOKE, (RELAY, RELAY), (LONG, b"\x00")),
        AccessRequest(LONG_INVOKE, (AccessGet(ENERGY), AccessAction(RELAY)), (b"\x00", LONG)),
        AccessRequest(0x80000001, (AccessAction(RELAY),), (LONG,)),
        Rlrq(),
    ),
    Role.SERVER: (
        GetResponseNormal(INVOKE, LONG),
        GetResponseWithList(INVOKE, (LONG, DataAccessResult.OBJECT_UNDEFINED)),
        SetResponseNormal(INVOKE, DataAccessResult.SUCCESS),
        SetResponseWithList(INVOKE, (DataAccessResult.SUCCESS,) * 2),
        ActionResponseNormal(INVOKE, ActionResult.SUCCESS, LONG),
        ActionResponseWithList(INVOKE, ((ActionResult.SUCCESS, LONG), (ActionResult.OTHER_REASON, None))),
        AccessResponse(LONG_INVOKE, (LONG,), (AccessResult(1, DataAccessResult.SUCCESS),)),
        DataNotification(1, b"", LONG),
        Rlre(),
    ),
}


def associated(role: Role, services: Conformance, window: int) -> DlmsConnection:
    """Our side of an association."""
    framings = {
        Role.CLIENT: WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1),
        Role.SERVER: WrapperFraming(Role.SERVER, server_sap=1),
    }
    sides = {
        each: DlmsConnection(each, framing, max_transfer=MAX_TRANSFER, window=window)
        for each, framing in framings.items()
    }
    hello = AssociationRequest(initiate=InitiateRequest(conformance=services, max_receive_pdu=MAX_PDU))
    welcome = AssociationResponse(initiate=InitiateResponse(conformance=services, max_receive_pdu=MAX_PDU))
    for speaker, listener, event in (
        (sides[Role.CLIENT], sides[Role.SERVER], hello),
        (sides[Role.SERVER], sides[Role.CLIENT], welcome),
    ):
        speaker.send(event)
        listener.receive_data(speaker.data_to_send())
        listener.next_event()
    return sides[role]


def act(ours: DlmsConnection, which: int) -> None:
    """One call of our own side."""
    said = SAID[ours.role]
    if which < len(said):
        ours.send(said[which])
    elif which == 9:
        ours.ask_lost_blocks()
    elif ours.role is Role.SERVER:
        ours.answer_get(INVOKE, iter((LONG, LONG)))
    elif which == 10:
        ours.send_streaming(GetRequestNormal(INVOKE, ENERGY))
    else:
        ours.ask_next_block()


def righted(apdu: bytes, step: int, block: int) -> bytes:
    """The APDU with the invoke id, and the block number, that would be right."""
    octets = bytearray(apdu)
    if octets[0] == 0xE0:
        if step & 0x20 and len(octets) > 3:
            octets[2:4] = block.to_bytes(2)
    elif step & 0x40 and len(octets) > 2:
        octets[2] = INVOKE
        at = 4 if octets[0] in {0xC4, 0xC7} else 3
        if step & 0x20 and len(octets) > at + 3:
            octets[at : at + 4] = block.to_bytes(4)
    return bytes(octets)


def one_input(data: bytes) -> None:
    """Steps of both sides."""
    if not data:
        return
    choice, steps = data[0], data[1:]
    role = Role.SERVER if choice & 1 else Role.CLIENT
    services = EVERYTHING if not choice & 16 else EVERYTHING & ~BLOCKS
    services |= Conformance.GENERAL_BLOCK_TRANSFER if choice & 2 else Conformance(0)
    ours = associated(role, services, WINDOWS[choice >> 2 & 3])
    ports = (1, 16) if role is Role.CLIENT else (16, 1)
    at, block = 0, 0
    while at + 1 < len(steps):
        step, length = steps[at], steps[at + 1]
        at += 2
        if step & 0x80:
            block = 0
            with contextlib.suppress(LocalProtocolError):
                act(ours, step & 0x0F)
        elif steps[at : at + length]:
            block += 1
            ours.receive_data(wrap(righted(steps[at : at + length], step, block), *ports))
            at += length
            for event in harness.drain(ours, NEED_DATA, RemoteProtocolError, 8):
                raw = event.raw_data if isinstance(event, BlockReceived) else event.encode()
                assert len(raw) <= MAX_TRANSFER + 300
        assert len(ours.data_to_send()) <= MOST_SENT


if __name__ == "__main__":
    harness.fuzz("transfers", one_input)
