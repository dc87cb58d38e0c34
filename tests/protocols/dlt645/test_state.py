"""Every state with everything that can be said, in both roles, by the table and by connections."""

from __future__ import annotations

import itertools

import pytest

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.frame import BROADCAST, Address, Frame, encode_frame
from headend.protocols.dlt645.messages import encode_request
from headend.protocols.dlt645.requests import Freeze, Read, ReadFollowing, Request
from headend.protocols.dlt645.responses import Data, Refusal
from headend.protocols.dlt645.state import SENDER, TRANSITIONS, Message, State, step

METER = Address.parse("1234")
DI = 0x0001FF00
ASKED: dict[Message, tuple[Address, Request]] = {
    Message.REQUEST: (METER, Read(DI)),
    Message.NEXT: (METER, ReadFollowing(DI, 1)),
    Message.UNANSWERED: (BROADCAST, Freeze()),
}
ANSWERED = {
    Message.PART: Frame(METER, 0xB1, bytes.fromhex("00FF0100 11")),
    Message.ANSWER: Frame(METER, 0x91, bytes.fromhex("00FF0100 11")),
    Message.REFUSAL: Frame(METER, 0xD1, b"\2"),
}


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(SENDER) | {Message.SILENCE} == set(Message)
    reached = {State.IDLE} | {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(State)
    for state, message in itertools.product(State, Message):
        assert step(state, message) == TRANSITIONS[state].get(message)
    # only the meter ends what the head-end has begun, but for silence
    assert {message for message in TRANSITIONS[State.REQUESTED] if SENDER.get(message) is Role.CLIENT} == set()
    assert all(SENDER.get(m) is not Role.SERVER for state in (State.IDLE, State.FOLLOWING) for m in TRANSITIONS[state])


def client_in(state: State) -> Dlt645Connection:
    """A client in `state`; what follows is asked for at once, so it pauses only when its owner asks part by part."""
    made = Dlt645Connection(Role.CLIENT)
    if state is not State.IDLE:
        made.send(RequestTo(METER, ReadFollowing(DI, 1)))
    if state is State.FOLLOWING:
        made.receive_data(encode_frame(Frame(METER, 0xB2, bytes.fromhex("00FF0100 11 01"))))
        assert made.next_event() == AnswerFrom(METER, Data(DI, b"\x11", more=True, sequence=1))
    elif state is State.REQUESTED:
        made = Dlt645Connection(Role.CLIENT)
        made.send(RequestTo(METER, Read(DI)))
    made.data_to_send()
    assert made.state is state
    return made


def server_in(state: State) -> Dlt645Connection:
    made = Dlt645Connection(Role.SERVER, room=1)
    if state is not State.IDLE:
        hear(made, Message.REQUEST)
    if state is State.FOLLOWING:
        made.send(AnswerFrom(METER, Data(DI, b"\x11\x22")))
    made.data_to_send()
    assert made.state is state
    return made


def hear(server: Dlt645Connection, message: Message) -> object:
    address, request = ASKED[message]
    control, data = encode_request(request, RequestTo(address, request).version)
    server.receive_data(encode_frame(Frame(address, control, data)))
    return server.next_event()


@pytest.mark.parametrize(("state", "message"), list(itertools.product(State, ASKED)))
def test_a_client_asks_where_the_table_says_so(state: State, message: Message) -> None:
    client = client_in(state)
    after = step(state, message)
    if after is None:
        with pytest.raises(LocalProtocolError, match="while the conversation is"):
            client.send(RequestTo(*ASKED[message]))
        assert client.state is state
        assert client.data_to_send() == b""
    else:
        client.send(RequestTo(*ASKED[message]))
        assert client.state is after
        assert client.data_to_send() != b""
    assert client.is_waiting is (client.state is State.REQUESTED)


@pytest.mark.parametrize(("state", "message"), list(itertools.product(State, ANSWERED)))
def test_a_client_takes_answers_where_the_table_says_so(state: State, message: Message) -> None:
    client = client_in(state)
    client.receive_data(encode_frame(ANSWERED[message]))
    event = client.next_event()
    after = step(state, message)
    if after is None:
        assert event is NEED_DATA
        assert (client.state, client.late + client.foreign) == (state, 1)
        assert client.data_to_send() == b""
    elif message is Message.PART:  # it asks for what follows at once
        assert event is NEED_DATA
        assert client.state is State.REQUESTED
        assert client.data_to_send() != b""
    else:
        assert isinstance(event, AnswerFrom)
        assert client.state is after


@pytest.mark.parametrize(("state", "message"), list(itertools.product(State, ASKED)))
def test_a_server_hears_everything_at_any_time(state: State, message: Message) -> None:
    """A head-end that asks while an answer is owed has given up on it."""
    server = server_in(state)
    event = hear(server, message)
    before = State.IDLE if state is State.REQUESTED else state
    if state is State.FOLLOWING and message is Message.NEXT:  # it hands out the part by itself, which is the last one
        assert event is NEED_DATA
        assert server.state is State.IDLE
        assert server.data_to_send() != b""
        return
    assert event == RequestTo(*ASKED[message])
    assert server.state is step(before, message)
    assert server.data_to_send() == b""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("response", [Data(DI, b"\x11"), Data(DI, b"\x11\x22"), Refusal(1)])
def test_a_server_answers_where_the_table_says_so(state: State, response: Data | Refusal) -> None:
    server = server_in(state)
    message = (
        Message.REFUSAL if isinstance(response, Refusal) else (Message.ANSWER, Message.PART)[len(response.data) - 1]
    )
    after = step(state, message)
    if after is None:
        with pytest.raises(LocalProtocolError, match="nobody waits"):
            server.send(AnswerFrom(METER, response))
        assert server.state is state
        assert server.data_to_send() == b""
    else:
        server.send(AnswerFrom(METER, response))
        assert server.state is after
        assert server.data_to_send() != b""


@pytest.mark.parametrize("state", State)
def test_both_may_give_up_at_any_time(state: State) -> None:
    for connection in (client_in(state), server_in(state)):
        connection.abandon()
        assert connection.state is State.IDLE
        assert connection.data_to_send() == b""


@pytest.mark.parametrize("state", State)
def test_each_side_says_what_is_its_own(state: State) -> None:
    with pytest.raises(LocalProtocolError, match="the client does not send AnswerFrom"):
        client_in(state).send(AnswerFrom(METER, Refusal(1)))
    with pytest.raises(LocalProtocolError, match="the server does not send RequestTo"):
        server_in(state).send(RequestTo(METER, Read(DI)))
