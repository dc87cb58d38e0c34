"""A client and a server talk over the wrapper: associations, every service, blocks, and everything that can go wrong."""

from __future__ import annotations

from typing import Any

import pytest

from headend.errors import DecipherFailed, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.acse import Aare, Aarq, Mechanism, Rlre, Rlrq
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import (
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithDatablock,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseNormal
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, BlockReceived
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.state import State
from headend.protocols.dlms.template import prepare_get
from headend.protocols.wrapper import WrapperFraming, wrap

EVERYTHING = Conformance(0x007E1F)
ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
BUFFER = AttributeDescriptor(7, bytes.fromhex("0100630100ff"), 2)
RELAY = MethodDescriptor(70, bytes.fromhex("000060030aff"), 1)
ONE = b"\x06\x00\x00\x00\x01"


def long_data(length: int) -> bytes:
    octets = bytes(range(256)) * (length // 256 + 1)
    return b"\x09" + encode_length(length) + octets[:length]


@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_a_whole_conversation(make_pair: Any, chunk: int) -> None:
    pair = make_pair(chunk)
    request = AssociationRequest(
        initiate=InitiateRequest(conformance=EVERYTHING, max_receive_pdu=1024),
        mechanism=Mechanism.LLS,
        authentication_value=b"12345678",
        system_title=b"MDM00001",
    )
    assert pair.ask(request) == [request]
    response = AssociationResponse(
        initiate=InitiateResponse(conformance=EVERYTHING & ~Conformance.ACTION, max_receive_pdu=500)
    )
    assert pair.answer(response) == [response]
    assert pair.client.conformance == pair.server.conformance == EVERYTHING & ~Conformance.ACTION
    assert (pair.client.max_send_pdu, pair.server.max_send_pdu) == (500, 1024)

    exchanges: list[tuple[Any, Any]] = [
        (GetRequestNormal(0xC1, ENERGY), GetResponseNormal(0xC1, ONE)),
        (GetRequestNormal(0xC2, ENERGY), GetResponseNormal(0xC2, DataAccessResult.OBJECT_UNDEFINED)),
        (
            GetRequestWithList(0xC3, ((ENERGY, None), (BUFFER, None))),
            GetResponseWithList(0xC3, (ONE, DataAccessResult.READ_WRITE_DENIED)),
        ),
        (SetRequestNormal(0xC4, ENERGY, ONE), SetResponseNormal(0xC4, DataAccessResult.READ_WRITE_DENIED)),
        (ActionRequestNormal(0xC5, RELAY, b"\x0f\x00"), ActionResponseNormal(0xC5, ActionResult.SUCCESS)),
        (GetRequestNormal(0xC6, ENERGY), ExceptionResponse(1, 2)),
        (SetRequestNormal(0xC7, ENERGY, ONE), ConfirmedServiceError(6, 5, 1)),
        (Rlrq(), Rlre()),
    ]
    for question, reply in exchanges:
        assert pair.ask(question) == [question]
        assert pair.answer(reply) == [reply]
    assert pair.client.state is pair.server.state is State.IDLE


def test_opening_and_closing(make_pair: Any) -> None:
    pair = make_pair()
    pair.client.open()
    assert pair.client.next_event() == LinkOpened()
    pair.associate()
    pair.client.close()
    assert pair.client.next_event() == LinkReleased()
    assert pair.client.state is State.IDLE


def test_notifications_come_at_any_time(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate()
    push = DataNotification(1, b"", ONE)
    event = EventNotification(ENERGY, ONE)
    pair.ask(GetRequestNormal(0xC1, ENERGY))
    assert pair.answer(push) == [push]
    assert pair.answer(event) == [event]
    assert pair.answer(GetResponseNormal(0xC1, ONE)) == [GetResponseNormal(0xC1, ONE)]
    pair.client.receive_data(wrap(push.encode(), 1, 0x66))
    assert pair.client.next_event() == push


@pytest.mark.parametrize("pdu", [12, 64, 65, 137, 138, 139, 140, 200, 266, 267, 268, 269, 270, 1024, 65535])
@pytest.mark.parametrize("length", [40, 400, 70_000])
@pytest.mark.parametrize("with_list", [False, True])
def test_long_answers_arrive_whole(make_pair: Any, pdu: int, length: int, with_list: bool) -> None:
    pair = make_pair()
    pair.associate(client_pdu=pdu)
    data = long_data(length if pdu > 12 else 40)
    reply: Any = GetResponseNormal(0xC1, data)
    question: Any = GetRequestNormal(0xC1, BUFFER)
    if with_list:
        reply = GetResponseWithList(0xC1, (ONE, data, DataAccessResult.OBJECT_UNDEFINED))
        question = GetRequestWithList(0xC1, ((ENERGY, None), (BUFFER, None), (ENERGY, None)))
    pair.ask(question)
    pair.server.send(reply)
    events: list[Any] = []
    while frame := pair.server.data_to_send():
        assert len(frame) - 8 <= pdu
        pair.client.receive_data(frame)
        event = pair.client.next_event()
        if event is not NEED_DATA:
            events.append(event)
        pair.server.receive_data(pair.client.data_to_send())
        assert pair.server.next_event() is NEED_DATA
    assert events == [reply]
    assert pair.client.state is pair.server.state is State.ASSOCIATED


@pytest.mark.parametrize("pdu", [64, 139, 267, 300])
def test_blocks_are_as_long_as_they_may_be(make_pair: Any, pdu: int) -> None:
    pair = make_pair()
    pair.associate(client_pdu=pdu)
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    pair.server.send(GetResponseNormal(0xC1, long_data(1000)))
    assert pdu - len(pair.server.data_to_send()[8:]) in {0, 1}


def test_no_limit_means_no_blocks(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=0)
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    assert len(pair.answer(GetResponseNormal(0xC1, long_data(60_000)))) == 1


def test_a_client_that_takes_no_blocks_gets_a_reason(make_pair: Any) -> None:
    pair = make_pair()
    pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=Conformance.GET, max_receive_pdu=64)))
    pair.answer(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING)))
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    assert pair.answer(GetResponseNormal(0xC1, long_data(100))) == [
        GetResponseNormal(0xC1, DataAccessResult.OTHER_REASON)
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("length", [10, 54, 130])
def test_an_answer_made_piece_by_piece(make_pair: Any, size: int, length: int) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    data = long_data(length)
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    pair.server.answer_get(0xC1, (data[at : at + size] for at in range(0, len(data), size)))
    events = pair.carry(pair.server, pair.client)
    while not events:
        pair.carry(pair.client, pair.server)
        events = pair.carry(pair.server, pair.client)
    assert events == [GetResponseNormal(0xC1, data)]
    assert pair.client.state is pair.server.state is State.ASSOCIATED


def test_a_list_made_piece_by_piece(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate()
    pair.ask(GetRequestWithList(0xC1, ((ENERGY, None), (ENERGY, None))))
    pair.server.answer_get(0xC1, iter([b"\x02\x00", ONE, b"\x01\x04"]), with_list=True)
    results = (ONE, DataAccessResult.OBJECT_UNDEFINED)
    assert pair.carry(pair.server, pair.client) == [GetResponseWithList(0xC1, results)]


def test_streamed_blocks(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    data = long_data(130)
    pair.client.send_streaming(GetRequestNormal(0xC1, BUFFER))
    pair.carry(pair.client, pair.server)
    blocks = pair.answer(GetResponseNormal(0xC1, data))
    while not blocks[-1].last_block:
        assert pair.client.state is State.BLOCKS
        pair.client.ask_next_block()
        assert pair.carry(pair.client, pair.server) == []
        blocks += pair.carry(pair.server, pair.client)
    assert [(block.block_number, block.last_block) for block in blocks] == [(1, False), (2, False), (3, True)]
    assert all(isinstance(block, BlockReceived) for block in blocks)
    assert b"".join(block.raw_data for block in blocks) == data
    with pytest.raises(LocalProtocolError, match="no block transfer"):
        pair.client.ask_next_block()
    # and what is short comes as it always does
    pair.client.send_streaming(GetRequestNormal(0xC2, BUFFER))
    pair.carry(pair.client, pair.server)
    assert pair.answer(GetResponseNormal(0xC2, ONE)) == [GetResponseNormal(0xC2, ONE)]


def test_a_stream_that_is_given_up(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    with pytest.raises(LocalProtocolError, match="no block transfer"):
        pair.client.ask_next_block()
    pair.client.send_streaming(GetRequestNormal(0xC1, BUFFER))
    pair.carry(pair.client, pair.server)
    assert len(pair.answer(GetResponseNormal(0xC1, long_data(130)))) == 1
    assert pair.ask(GetRequestNormal(0xC2, ENERGY)) == [GetRequestNormal(0xC2, ENERGY)]
    assert pair.answer(GetResponseNormal(0xC2, ONE)) == [GetResponseNormal(0xC2, ONE)]
    with pytest.raises(LocalProtocolError, match="no block transfer"):
        pair.client.ask_next_block()


def test_a_transfer_that_is_given_up(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    pair.server.send(GetResponseNormal(0xC1, long_data(200)))
    pair.server.data_to_send()
    assert pair.server.state is State.BLOCKS
    question = GetRequestNormal(0xC2, ENERGY)
    pair.server.receive_data(wrap(question.encode(), 16, 1))
    assert pair.server.next_event() == question
    pair.server.send(GetResponseNormal(0xC2, ONE))
    assert pair.server.data_to_send()[8:] == GetResponseNormal(0xC2, ONE).encode()
    # the transfer is over: there is no next block
    pair.server.receive_data(wrap(GetRequestNext(0xC3, 1).encode(), 16, 1))
    assert pair.server.next_event() is NEED_DATA
    reason = GetResponseWithDatablock(
        0xC3, last_block=True, block_number=1, result=DataAccessResult.NO_LONG_GET_IN_PROGRESS
    )
    assert pair.server.data_to_send()[8:] == reason.encode()


def test_a_client_that_asks_for_the_wrong_block(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    pair.ask(GetRequestNormal(0xC1, BUFFER))
    pair.server.send(GetResponseNormal(0xC1, long_data(200)))
    pair.server.data_to_send()
    pair.server.receive_data(wrap(GetRequestNext(0xC1, 7).encode(), 16, 1))
    assert pair.server.next_event() is NEED_DATA
    reason = GetResponseWithDatablock(
        0xC1, last_block=True, block_number=7, result=DataAccessResult.DATA_BLOCK_NUMBER_INVALID
    )
    assert pair.server.data_to_send()[8:] == reason.encode()
    assert pair.server.state is State.ASSOCIATED


def asked(question: Any = None, **options: int) -> DlmsConnection:
    """A client that waits for the answer to a GET with invoke id 1."""
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1), **options)
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING)))
    receive(client, Aare(user_information=InitiateResponse(conformance=EVERYTHING).encode()))
    client.send(question or GetRequestNormal(0xC1, ENERGY))
    client.data_to_send()
    return client


def receive(connection: DlmsConnection, apdu: Any, source: int = 1) -> Any:
    connection.receive_data(wrap(apdu if isinstance(apdu, bytes) else apdu.encode(), source, 16))
    return connection.next_event()


@pytest.mark.parametrize(
    ("name", "apdu", "complaint"),
    [
        ("another invoke id", GetResponseNormal(0xC2, ONE), "expected 1, got 2".replace("1, got", "invoke id 1, got")),
        ("another service", SetResponseNormal(0xC1, DataAccessResult.SUCCESS), "another service"),
        ("a list", GetResponseWithList(0xC1, (ONE,)), "list of results"),
        ("an AARE", Aare(), "AARE"),
        ("a question", GetRequestNormal(0xC1, ENERGY), "a request for a client"),
        ("an AARQ", Aarq(user_information=InitiateRequest(conformance=EVERYTHING).encode()), "AARQ for a client"),
        ("rubbish", b"\xff\x00", "known tag"),
        ("a cut answer", b"\xc4\x01\xc1", "data or reason"),
    ],
)
def test_what_does_not_answer_the_request(name: str, apdu: Any, complaint: str) -> None:
    client = asked()
    with pytest.raises(RemoteProtocolError, match=complaint):
        receive(client, apdu)
    assert client.next_event() is NEED_DATA, name
    # the request is still open, and its own answer is taken
    assert receive(client, GetResponseNormal(0x81, ONE)) == GetResponseNormal(0x81, ONE)
    with pytest.raises(RemoteProtocolError, match="response in state associated"):
        receive(client, GetResponseNormal(0xC1, ONE))


def test_an_answer_from_elsewhere() -> None:
    client = asked()
    with pytest.raises(RemoteProtocolError, match="from port 2"):
        receive(client, GetResponseNormal(0xC1, ONE), source=2)


def block(number: int, data: Any = b"\x09\x02A", *, last: bool = False) -> GetResponseWithDatablock:
    return GetResponseWithDatablock(0xC1, last, number, data)


@pytest.mark.parametrize("numbers", [(0,), (2,), (1, 1), (1, 3), (1, 2, 1)])
@pytest.mark.parametrize("streaming", [False, True])
def test_blocks_out_of_order_end_the_transfer(numbers: tuple[int, ...], streaming: bool) -> None:
    client = asked()
    if streaming:
        client.request_answered()
        client.send_streaming(GetRequestNormal(0xC1, BUFFER))
    for number in numbers[:-1]:
        receive(client, block(number))
        if streaming:
            client.ask_next_block()
    with pytest.raises(RemoteProtocolError, match="block number"):
        receive(client, block(numbers[-1]))
    assert client.state is State.ASSOCIATED
    with pytest.raises(RemoteProtocolError):
        receive(client, block(len(numbers)))


def test_a_transfer_without_end_is_cut() -> None:
    client = asked(max_transfer=7)
    assert receive(client, block(1)) is NEED_DATA
    assert receive(client, block(2)) is NEED_DATA
    with pytest.raises(RemoteProtocolError, match="at most 7 octets"):
        receive(client, block(3))


def test_a_transfer_that_the_meter_gives_up() -> None:
    client = asked()
    assert receive(client, block(1)) is NEED_DATA
    reason = DataAccessResult.LONG_GET_ABORTED
    assert receive(client, block(2, data=reason)) == GetResponseNormal(0xC1, reason)
    assert client.state is State.ASSOCIATED


def test_a_list_in_blocks_that_does_not_end_where_it_should() -> None:
    client = asked(GetRequestWithList(0xC1, ((ENERGY, None),)))
    with pytest.raises(RemoteProtocolError, match="goes on after its end"):
        receive(client, block(1, last=True, data=b"\x01\x00" + ONE + b"\x00"))
    assert client.state is State.ASSOCIATED


@pytest.mark.parametrize(
    "refusal",
    [
        Aare(result=1, diagnostic=13),
        Aare(result=1, diagnostic=1, user_information=ConfirmedServiceError(1, 6, 1).encode()),
        Aare(result=0, user_information=ConfirmedServiceError(1, 6, 1).encode()),
        Aare(result=0),
    ],
)
def test_refused_associations(refusal: Aare) -> None:
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1))
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING)))
    event = receive(client, refusal)
    assert isinstance(event, AssociationResponse)
    assert not event.accepted
    assert (event.result, event.diagnostic) == (refusal.result, refusal.diagnostic)
    assert client.state is State.IDLE
    assert client.conformance == 0


@pytest.mark.parametrize("user_information", [b"\x0f\x00", b"\x08\x00"])
def test_an_aare_that_cannot_be_read(user_information: bytes) -> None:
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1))
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING)))
    with pytest.raises(RemoteProtocolError):
        receive(client, Aare(user_information=user_information))


@pytest.mark.parametrize("user_information", [b"", b"\x08\x00"])
def test_an_aarq_that_cannot_be_read(user_information: bytes) -> None:
    server = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER))
    server.receive_data(wrap(Aarq(user_information=user_information).encode(), 16, 1))
    with pytest.raises(RemoteProtocolError, match="initiate request"):
        server.next_event()


def test_nothing_longer_than_the_meter_takes_is_sent(make_pair: Any) -> None:
    pair = make_pair()
    pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=Conformance.SET)))
    pair.answer(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING, max_receive_pdu=64)))
    with pytest.raises(LocalProtocolError, match="takes 64"):
        pair.client.send(SetRequestNormal(0xC1, ENERGY, long_data(64)))
    assert pair.client.state is State.ASSOCIATED
    assert pair.client.data_to_send() == b""
    with pytest.raises(LocalProtocolError, match="takes 64"):
        pair.client.send_prepared(SetRequestNormal(0xC1, ENERGY, long_data(64)).encode())
    assert pair.client.state is State.ASSOCIATED


def test_invoke_ids_go_round() -> None:
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1))
    ids = [client.next_invoke_id() for _ in range(17)]
    assert ids == [0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xC0, 0xC1]


def test_prepared_requests(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(client_pdu=64)
    prepared = prepare_get(BUFFER.encode())
    pair.client.send_prepared(prepared[5])
    assert pair.carry(pair.client, pair.server) == [GetRequestNormal(0xC5, BUFFER)]
    assert pair.answer(GetResponseNormal(0xC5, long_data(200))) == [GetResponseNormal(0xC5, long_data(200))]


def test_requests_and_answers_that_pass_by(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate()
    apdu = prepare_get(ENERGY.encode())[3]
    pair.client.request_sent(apdu[:3])
    assert pair.client.state is State.REQUESTED
    with pytest.raises(LocalProtocolError):
        pair.client.request_sent(apdu[:3])
    pair.client.request_answered()
    assert pair.client.state is State.ASSOCIATED
    with pytest.raises(LocalProtocolError):
        pair.client.request_answered()
    # what began beside the connection can be finished by it
    pair.client.request_sent(apdu[:3])
    with pytest.raises(RemoteProtocolError, match="invoke id 3"):
        receive(pair.client, GetResponseNormal(0xC4, ONE))
    assert receive(pair.client, GetResponseNormal(0xC3, ONE)) == GetResponseNormal(0xC3, ONE)


class Turned:
    """A stand-in for ciphering: every octet turned by a key, a tag before and a trailer behind."""

    overhead = 5

    def __init__(self, key: int) -> None:
        self.key = key
        self.titles: list[bytes] = []

    def unprotect_initiate(self, apdu: bytes, system_title: bytes) -> bytes:
        self.titles.append(system_title)
        return self.unprotect(apdu)

    def agreed(self, conformance: Conformance, dedicated_key: bytes) -> None:
        self.conformance = conformance, dedicated_key

    def protect(self, apdu: bytes) -> bytes:
        return b"\xdb" + bytes(octet ^ self.key for octet in apdu) + b"\x5a\x5a\x5a\x5a"

    def unprotect(self, apdu: bytes) -> bytes:
        if apdu[:1] != b"\xdb" or apdu[-4:] != b"\x5a\x5a\x5a\x5a":
            raise DecipherFailed("not turned")
        return bytes(octet ^ self.key for octet in apdu[1:-4])


@pytest.mark.parametrize("pdu", [12, 64, 200])
def test_the_protection_stage_sees_every_apdu(pdu: int) -> None:
    stages = Turned(0x33), Turned(0x33)
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1), protection=stages[0])
    server = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER, server_sap=1), protection=stages[1])
    initiate = InitiateRequest(conformance=EVERYTHING, max_receive_pdu=pdu)
    client.send(AssociationRequest(initiate=initiate, system_title=b"MDM00001"))
    server.receive_data(client.data_to_send())
    request = server.next_event()
    assert isinstance(request, AssociationRequest)
    assert request.initiate == initiate
    server.send(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING), system_title=b"MTR00001"))
    client.receive_data(server.data_to_send())
    assert isinstance(client.next_event(), AssociationResponse)
    assert (stages[0].titles, stages[1].titles) == ([b"MTR00001"], [b"MDM00001"])
    client.send(GetRequestNormal(0xC1, BUFFER))
    server.receive_data(client.data_to_send())
    assert server.next_event() == GetRequestNormal(0xC1, BUFFER)
    data = long_data(100)
    server.send(GetResponseNormal(0xC1, data))
    while frame := server.data_to_send():
        assert frame[8] == 0xDB
        assert len(frame) - 8 <= max(pdu, 17)
        client.receive_data(frame)
        event = client.next_event()
        server.receive_data(client.data_to_send())
        assert server.next_event() is NEED_DATA
    assert event == GetResponseNormal(0xC1, data)
    with pytest.raises(DecipherFailed):
        receive(client, GetResponseNormal(0xC1, ONE))


def test_a_refusal_goes_without_protection() -> None:
    server = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER), protection=Turned(1))
    aarq = Aarq(user_information=Turned(1).protect(InitiateRequest(conformance=EVERYTHING).encode()))
    server.receive_data(wrap(aarq.encode(), 16, 1))
    server.next_event()
    error = ConfirmedServiceError(1, 6, 2)
    server.send(AssociationResponse(result=1, diagnostic=1, initiate=error))
    assert server.data_to_send()[8:] == Aare(result=1, diagnostic=1, user_information=error.encode()).encode()
