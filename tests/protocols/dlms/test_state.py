"""Every state with every message, for both roles: the table says yes or no and the connection obeys."""

from __future__ import annotations

import itertools

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import Aare, Aarq, Rlre, Rlrq
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.apdu.exception import ExceptionResponse
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetRequestNormal,
    GetResponseNormal,
    GetResponseWithDatablock,
)
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.apdu.short import UnconfirmedWriteRequest, VariableName
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Spoken, message_of
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.state import AWAITING, SENDER, TRANSITIONS, Message, State, step
from headend.protocols.wrapper import WrapperFraming, wrap

ALL = Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET
LDN = AttributeDescriptor(1, bytes.fromhex("00002a0000ff"), 2)

EVENTS: dict[Message, Spoken] = {
    Message.AARQ: AssociationRequest(initiate=InitiateRequest(conformance=ALL)),
    Message.AARE_ACCEPTED: AssociationResponse(initiate=InitiateResponse(conformance=ALL)),
    Message.AARE_REFUSED: AssociationResponse(result=1, diagnostic=1),
    Message.REQUEST: GetRequestNormal(0xC1, LDN),
    Message.UNCONFIRMED: UnconfirmedWriteRequest((VariableName(0x100),), (b"\x11\x05",)),
    Message.BLOCK: GetResponseWithDatablock(0xC1, last_block=False, block_number=1, result=b"\x09"),
    Message.NEXT: GetRequestNext(0xC1, 1),
    Message.RESPONSE: GetResponseNormal(0xC1, b"\x00"),
    Message.EXCEPTION: ExceptionResponse(1, 1),
    Message.NOTIFICATION: DataNotification(0, b"", b"\x00"),
    Message.RLRQ: Rlrq(),
    Message.RLRE: Rlre(),
}
PATHS: dict[State, tuple[Message, ...]] = {
    State.IDLE: (),
    State.ASSOCIATING: (Message.AARQ,),
    State.ASSOCIATED: (Message.AARQ, Message.AARE_ACCEPTED),
    State.REQUESTED: (Message.AARQ, Message.AARE_ACCEPTED, Message.REQUEST),
    State.BLOCKS: (Message.AARQ, Message.AARE_ACCEPTED, Message.REQUEST, Message.BLOCK),
    State.RELEASING: (Message.AARQ, Message.AARE_ACCEPTED, Message.RLRQ),
}
PAIRS = list(itertools.product(State, Message))


def encoded(message: Message) -> bytes:
    event = EVENTS[message]
    if isinstance(event, AssociationRequest):
        return Aarq(user_information=event.initiate.encode()).encode()
    if isinstance(event, AssociationResponse):
        initiate = event.initiate.encode() if event.initiate else b""
        return Aare(result=event.result, diagnostic=event.diagnostic, user_information=initiate).encode()
    return event.encode()


def say(connection: DlmsConnection, message: Message) -> None:
    """Let a message be said, by whichever side says it."""
    if SENDER[message] is connection.role:
        connection.send(EVENTS[message])
        connection.data_to_send()
    else:
        ports = (1, 16) if connection.role is Role.CLIENT else (16, 1)
        connection.receive_data(wrap(encoded(message), *ports))
        connection.next_event()
        connection.data_to_send()


def bring_to(role: Role, state: State) -> DlmsConnection:
    connection = DlmsConnection(role, WrapperFraming(role, client_sap=16, server_sap=1))
    if role is Role.SERVER:
        # a request before the association, refused, so that the server knows whom to answer
        connection.receive_data(wrap(encoded(Message.REQUEST), 16, 1))
        with pytest.raises(RemoteProtocolError):
            connection.next_event()
    for message in PATHS[state]:
        say(connection, message)
    if role is Role.CLIENT and state is State.BLOCKS:
        assert connection.state is State.REQUESTED  # a client does not pause: it has asked for the next block
        connection.state = State.BLOCKS
    assert connection.state is state
    return connection


def test_the_table_is_complete() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(SENDER) == set(Message)
    assert {message_of(event) for event in EVENTS.values()} == set(Message)
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(State)
    for state in State:
        assert step(state, Message.NOTIFICATION) is state


@pytest.mark.parametrize(("state", "message"), PAIRS)
@pytest.mark.parametrize("role", Role)
def test_sending(role: Role, state: State, message: Message) -> None:
    connection = bring_to(role, state)
    allowed = step(state, message)
    if SENDER[message] is not role or allowed is None or message is Message.NEXT:
        with pytest.raises(LocalProtocolError):
            connection.send(EVENTS[message])
        assert connection.state is state
        assert connection.data_to_send() == b""
    else:
        connection.send(EVENTS[message])
        assert connection.state is allowed
        assert connection.data_to_send()[8:] == encoded(message)


@pytest.mark.parametrize(("state", "message"), PAIRS)
@pytest.mark.parametrize("role", Role)
def test_receiving(role: Role, state: State, message: Message) -> None:
    connection = bring_to(role, state)
    allowed = step(state, message)
    ports = (1, 16) if role is Role.CLIENT else (16, 1)
    connection.receive_data(wrap(encoded(message), *ports))
    unasked = role is Role.CLIENT and state not in AWAITING and message is not Message.NOTIFICATION
    if SENDER[message] is role or allowed is None or unasked:
        with pytest.raises(RemoteProtocolError):
            connection.next_event()
        assert connection.state is state
        assert connection.next_event() is NEED_DATA
        return
    event = connection.next_event()
    if message is Message.NEXT:
        assert event is NEED_DATA  # answered by the connection
        assert connection.state is State.ASSOCIATED
    elif message is Message.BLOCK:
        assert event is NEED_DATA  # the next one asked for by the connection
        assert connection.state is State.REQUESTED
    else:
        assert connection.state is allowed
        assert message_of(event) is message  # type: ignore[arg-type] # what was said
