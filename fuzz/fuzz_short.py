"""Short names, in both roles: READ and WRITE with their blocks, object lists, and the dialect that speaks them for a client.

First octet: 0 the object list in what follows; 1 a client, 2 a meter, that gets steps; 3 a dialect. A step is an octet (bit
7: our side says what bits 0-2 say), a length, and as many octets of an APDU that is received; a dialect gets the answer to
each of its requests in the same way.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import DecodeError, LocalProtocolError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.dlms.acse import ApplicationContext, Rlre, Rlrq
    from headend.protocols.dlms.apdu.action import ActionRequestNormal
    from headend.protocols.dlms.apdu.descriptor import (
        AccessSelection,
        AttributeDescriptor,
        DataAccessResult,
        MethodDescriptor,
    )
    from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList
    from headend.protocols.dlms.apdu.set import SetRequestNormal, SetRequestWithList
    from headend.protocols.dlms.apdu.short import (
        ParameterizedAccess,
        ReadRequest,
        ReadResponse,
        UnconfirmedWriteRequest,
        VariableName,
        WriteRequest,
        WriteResponse,
    )
    from headend.protocols.dlms.axdr_plain import decode_data
    from headend.protocols.dlms.classes import to_short_rights
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, BlockReceived, Spoken
    from headend.protocols.dlms.initiate import VAA_SN, Conformance, InitiateRequest, InitiateResponse
    from headend.protocols.dlms.short_dialect import ShortDialect
    from headend.protocols.dlms.short_names import assign_names, to_short_names
    from headend.protocols.dlms.state import State
    from headend.protocols.wrapper import WrapperFraming, wrap
    from headend.standards.obis import Obis

MAX_TRANSFER = 2000
INVOKE = 0xC1
SERVICES = (
    Conformance.READ
    | Conformance.WRITE
    | Conformance.UNCONFIRMED_WRITE
    | Conformance.INFORMATION_REPORT
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.PARAMETERIZED_ACCESS
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
)
LONG = b"\x09\x81\xff" + bytes(range(255))
NAMES = assign_names([(3, 0, Obis(1, 0, 1, 8, 0)), (7, 1, Obis(1, 0, 99, 1, 0)), (70, 0, Obis(0, 0, 96, 3, 10))])
REGISTER = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
BUFFER = AttributeDescriptor(7, bytes.fromhex("0100630100ff"), 2)
BY_ENTRY = AccessSelection(2, bytes.fromhex("0204 0600000001 0600000002 120000 120000"))
RELAY = MethodDescriptor(70, bytes.fromhex("000060030aff"), 1)
SAID: dict[Role, tuple[Spoken, ...]] = {
    Role.CLIENT: (
        ReadRequest((VariableName(0x0708),)),
        ReadRequest((VariableName(0x0708),) * 40),
        ReadRequest((ParameterizedAccess(0xC008, 2, LONG),)),
        WriteRequest((VariableName(0x0708),), (LONG,)),
        WriteRequest((VariableName(0x0708), VariableName(0x0720)), (b"\x11\x01", LONG)),
        UnconfirmedWriteRequest((VariableName(0x0708),), (b"\x11\x01",)),
        Rlrq(),
    ),
    Role.SERVER: (
        ReadResponse((b"\x06\x00\x00\x00\x01",)),
        ReadResponse((LONG, DataAccessResult.OBJECT_UNDEFINED, LONG)),
        ReadResponse((b"\x11\x05",) * 40),
        WriteResponse((DataAccessResult.SUCCESS,)),
        WriteResponse((DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED)),
        Rlre(),
    ),
}
ASKED = (
    GetRequestNormal(INVOKE, REGISTER),
    GetRequestNormal(INVOKE, BUFFER, BY_ENTRY),
    GetRequestWithList(INVOKE, ((REGISTER, None), (BUFFER, None))),
    SetRequestNormal(INVOKE, REGISTER, b"\x11\x01"),
    SetRequestWithList(INVOKE, ((REGISTER, None), (BUFFER, None)), (b"\x11\x01", LONG)),
    ActionRequestNormal(INVOKE, RELAY, b"\x0f\x00"),
    ActionRequestNormal(INVOKE, MethodDescriptor(9, bytes(6), 1), None),
)


def object_list(data: bytes) -> None:
    """Names of what is listed can be found, and lead back to it."""
    with contextlib.suppress(DecodeError):
        value, _ = decode_data(data)
        with contextlib.suppress(DecodeError):
            to_short_rights(value)
        for each in to_short_names(value).objects:
            name = each.attribute(2)
            found = each.member(name) if name is not None else None
            assert found is None or found.is_method or found.number == 2


def associated(role: Role) -> DlmsConnection:
    """Our side of an association with short names."""
    framings = {
        Role.CLIENT: WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1),
        Role.SERVER: WrapperFraming(Role.SERVER, server_sap=1),
    }
    sides = {each: DlmsConnection(each, framing, max_transfer=MAX_TRANSFER) for each, framing in framings.items()}
    context = ApplicationContext.SN
    request = InitiateRequest(conformance=SERVICES, max_receive_pdu=64)
    response = InitiateResponse(conformance=SERVICES, max_receive_pdu=64, vaa_name=VAA_SN)
    for speaker, listener, event in (
        (sides[Role.CLIENT], sides[Role.SERVER], AssociationRequest(initiate=request, application_context=context)),
        (sides[Role.SERVER], sides[Role.CLIENT], AssociationResponse(initiate=response, application_context=context)),
    ):
        speaker.send(event)
        listener.receive_data(speaker.data_to_send())
        listener.next_event()
    return sides[role]


def conversation(role: Role, steps: bytes) -> None:
    """Steps of both sides."""
    ours = associated(role)
    ports = (1, 16) if role is Role.CLIENT else (16, 1)
    at = 0
    while at + 1 < len(steps):
        step, length = steps[at], steps[at + 1]
        at += 2
        if step & 0x80:
            with contextlib.suppress(LocalProtocolError):
                said = SAID[role]
                if step & 0x07 < len(said):
                    ours.send(said[step & 0x07])
                elif role is Role.CLIENT:
                    ours.ask_next_block() if step & 0x40 else ours.send_streaming(ReadRequest((VariableName(0xC008),)))
                else:
                    ours.answer_read(iter((b"\x02\x00", LONG, b"\x00", LONG)))
        elif steps[at : at + length]:
            ours.receive_data(wrap(steps[at : at + length], *ports))
            at += length
            for event in harness.drain(ours, NEED_DATA, RemoteProtocolError, 8):
                raw = event.raw_data if isinstance(event, BlockReceived) else event.encode()
                assert len(raw) <= MAX_TRANSFER + 300
        assert len(ours.data_to_send()) <= 0x1000


def dialect(steps: bytes) -> None:
    """Whatever answers a request becomes an answer to what was asked."""
    ours, speaking = associated(Role.CLIENT), ShortDialect()
    speaking.names = NAMES
    at = 0
    while at + 1 < len(steps):
        step, length = steps[at], steps[at + 1]
        at += 2
        if ours.state is State.ASSOCIATED:
            said = speaking.begin(ASKED[step % len(ASKED)])
            if isinstance(said, ReadRequest | WriteRequest):
                ours.send(said)
        if not steps[at : at + length]:
            continue
        ours.receive_data(wrap(steps[at : at + length], 1, 16))
        at += length
        for event in harness.drain(ours, NEED_DATA, RemoteProtocolError, 8):
            with contextlib.suppress(RemoteProtocolError):
                assert speaking.end(event) is not None
        ours.data_to_send()


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice, rest = data[0] & 3, data[1:]
    if choice == 0:
        object_list(rest)
    elif choice == 3:
        dialect(rest)
    else:
        conversation(Role.CLIENT if choice == 1 else Role.SERVER, rest)


if __name__ == "__main__":
    harness.fuzz("short", one_input)
