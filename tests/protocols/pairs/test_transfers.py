"""Long requests and answers of SET and ACTION: cut on one side, whole on the other, and everything that can go wrong between."""

from __future__ import annotations

from typing import Any

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import Aare
from headend.protocols.dlms.apdu.action import (
    ActionRequestNextPblock,
    ActionRequestNormal,
    ActionRequestWithList,
    ActionResponseNextPblock,
    ActionResponseNormal,
    ActionResponsePblock,
    ActionResponseWithList,
    Outcome,
)
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.apdu.set import (
    SetRequestDatablock,
    SetRequestFirstDatablock,
    SetRequestNormal,
    SetRequestWithList,
    SetResponseDatablock,
    SetResponseLastDatablock,
    SetResponseNormal,
    SetResponseWithList,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.state import State
from headend.protocols.wrapper import WrapperFraming, wrap

EVERYTHING = Conformance(0x007E1F)
TEXT = AttributeDescriptor(1, bytes.fromhex("0000600d00ff"), 2)
METHOD = MethodDescriptor(18, bytes.fromhex("00002c0000ff"), 2)
DONE, DENIED = DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED


def long_data(length: int) -> bytes:
    octets = bytes(range(256)) * (length // 256 + 1)
    return b"\x09" + encode_length(length) + octets[:length]


LONG = long_data(300)
REQUESTS: list[tuple[Any, Any]] = [
    (SetRequestNormal(0xC1, TEXT, LONG), SetResponseNormal(0xC1, DONE)),
    (SetRequestNormal(0xC1, TEXT, LONG, AccessSelection(1, b"\x11\x05")), SetResponseNormal(0xC1, DENIED)),
    (
        SetRequestWithList(0xC1, ((TEXT, None), (TEXT, None)), (b"\x11\x01", LONG)),
        SetResponseWithList(0xC1, (DENIED, DONE)),
    ),
    (ActionRequestNormal(0xC1, METHOD, LONG), ActionResponseNormal(0xC1, ActionResult.SUCCESS)),
    (
        ActionRequestWithList(0xC1, (METHOD, METHOD), (LONG, b"\x00")),
        ActionResponseWithList(0xC1, (Outcome(ActionResult.SUCCESS), Outcome(ActionResult.TYPE_UNMATCHED))),
    ),
    # long both ways
    (ActionRequestNormal(0xC1, METHOD, LONG), ActionResponseNormal(0xC1, ActionResult.SUCCESS, long_data(700))),
    (
        ActionRequestWithList(0xC1, (METHOD, METHOD), (LONG, b"\x00")),
        ActionResponseWithList(
            0xC1, (Outcome(ActionResult.SUCCESS, long_data(400)), Outcome(ActionResult.SUCCESS, b"\x11\x05"))
        ),
    ),
]


def exchange(pair: Any, question: Any, reply: Any) -> tuple[list[Any], int]:
    """What the client gets for its question, and how many APDUs went over the wire; no one is longer than agreed."""
    pair.client.send(question)
    apdus, got = 0, []
    sender, receiver = pair.client, pair.server
    while frame := sender.data_to_send():
        apdus += 1
        assert len(frame) - 8 <= sender.max_send_pdu
        receiver.receive_data(frame)
        event = receiver.next_event()
        if event is not NEED_DATA and receiver is pair.server:
            assert event == question
            pair.server.send(reply)
        elif event is not NEED_DATA:
            got.append(event)
        sender, receiver = receiver, sender
    return got, apdus


@pytest.mark.parametrize("pdu", [40, 64, 139, 267, 1024])
@pytest.mark.parametrize(("question", "reply"), REQUESTS)
def test_long_requests_and_answers_arrive_whole(make_pair: Any, question: Any, reply: Any, pdu: int) -> None:
    pair = make_pair()
    pair.associate(client_pdu=pdu, server_pdu=pdu)
    got, apdus = exchange(pair, question, reply)
    assert got == [reply]
    assert pair.client.state is pair.server.state is State.ASSOCIATED
    assert (apdus == 2) is (pdu == 1024)
    # and the next exchange is not touched by this one
    assert exchange(pair, GetRequestNormal(0xC2, TEXT), GetResponseNormal(0xC2, LONG))[0] == [
        GetResponseNormal(0xC2, LONG)
    ]


def test_blocks_of_a_set_by_octets(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(server_pdu=40)
    pair.client.send(SetRequestNormal(0xC1, TEXT, long_data(40)))
    assert pair.client.data_to_send()[8:].hex() == (
        "c102c1" + TEXT.encode().hex() + "00" + "00" + "00000001" + "15" + long_data(40)[:21].hex()
    )


def test_a_method_without_parameters_is_never_cut(make_pair: Any) -> None:
    pair = make_pair()
    pair.associate(server_pdu=12)
    with pytest.raises(LocalProtocolError, match="takes 12"):
        pair.client.send(ActionRequestNormal(0xC1, METHOD, b"\x00"))
    assert pair.client.state is State.ASSOCIATED
    assert pair.client.data_to_send() == b""


def test_a_long_answer_for_a_client_that_takes_no_blocks(make_pair: Any) -> None:
    pair = make_pair()
    initiate = InitiateRequest(conformance=Conformance.ACTION, max_receive_pdu=64)
    pair.ask(AssociationRequest(initiate=initiate))
    pair.answer(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING)))
    pair.ask(ActionRequestNormal(0xC1, METHOD))
    assert pair.answer(ActionResponseNormal(0xC1, ActionResult.SUCCESS, LONG)) == [
        ActionResponseNormal(0xC1, ActionResult.OTHER_REASON)
    ]


@pytest.mark.parametrize("services", [EVERYTHING, Conformance.ACTION])
def test_a_method_that_has_failed_is_not_called_done_by_its_blocks(make_pair: Any, services: Conformance) -> None:
    """Blocks of one answer do not tell its result."""
    pair = make_pair()
    pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=services, max_receive_pdu=64)))
    pair.answer(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING)))
    pair.ask(ActionRequestNormal(0xC1, METHOD))
    assert pair.answer(ActionResponseNormal(0xC1, ActionResult.HARDWARE_FAULT, LONG)) == [
        ActionResponseNormal(0xC1, ActionResult.HARDWARE_FAULT)
    ]


@pytest.mark.parametrize("services", [EVERYTHING, EVERYTHING | Conformance.GENERAL_BLOCK_TRANSFER])
def test_more_names_than_the_first_block_holds(make_pair: Any, services: Conformance) -> None:
    """They must all be in the first block of a SET; without general blocks such a request cannot be sent."""
    pair = make_pair()
    pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=services)))
    pair.answer(AssociationResponse(initiate=InitiateResponse(conformance=services, max_receive_pdu=64)))
    request = SetRequestWithList(0xC1, ((TEXT, None),) * 9, (b"\x11\x05",) * 9)
    if Conformance.GENERAL_BLOCK_TRANSFER not in services:
        with pytest.raises(LocalProtocolError, match="the first block needs"):
            pair.client.send(request)
        assert pair.client.data_to_send() == b""
        return
    pair.client.send(request)
    heard = []
    while frame := pair.client.data_to_send():
        pair.server.receive_data(frame)
        heard.append(pair.server.next_event())
        pair.client.receive_data(pair.server.data_to_send())
        assert pair.client.next_event() is NEED_DATA
    assert heard == [NEED_DATA] * (len(heard) - 1) + [request]


# --- a server and a client that breaks the rules ---


def server_with(*blocks: str, limit: int = 1000) -> tuple[DlmsConnection, list[str]]:
    """A server that got blocks, and its answers."""
    server = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER, server_sap=1), max_transfer=limit)
    request = AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING, max_receive_pdu=64))
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1))
    client.send(request)
    server.receive_data(client.data_to_send())
    server.next_event()
    server.send(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING, max_receive_pdu=64)))
    server.data_to_send()
    return server, [say(server, block) for block in blocks]


def say(server: DlmsConnection, apdu: str) -> str:
    server.receive_data(wrap(bytes.fromhex(apdu), 16, 1))
    event = server.next_event()
    return server.data_to_send()[8:].hex() if event is NEED_DATA else type(event).__name__


FIRST_SET = f"c102c1 {TEXT.encode().hex()} 00 00 00000001 02 0904"
FIRST_ACTION = f"c304c1 {METHOD.encode().hex()} 00 00000001 02 0904"
TAKEN = "c502c100000001"


@pytest.mark.parametrize(
    ("blocks", "answers"),
    [
        # no transfer under way
        (["c103c1 01 00000002 00"], ["c503c1" + "12" + "00000002"]),
        (["c306c1 01 00000002 00"], ["c701c1" + "10" + "00"]),
        (["c302c1 00000001"], ["c701c1" + "10" + "00"]),
        # repeated, missing, begun at the wrong end
        ([FIRST_SET, "c103c1 00 00000001 00"], [TAKEN, "c503c1" + "13" + "00000001"]),
        ([FIRST_SET, "c103c1 00 00000003 00"], [TAKEN, "c503c1" + "13" + "00000003"]),
        ([FIRST_SET.replace("00000001", "00000002")], ["c503c1" + "13" + "00000002"]),
        ([FIRST_ACTION, "c306c1 00 00000003 00"], ["c704c100000001", "c701c1" + "0f" + "00"]),
        # it is over then
        (
            [FIRST_SET, "c103c1 00 00000003 00", "c103c1 01 00000002 00"],
            [TAKEN, "c503c1" + "13" + "00000003", "c503c1" + "12" + "00000002"],
        ),
        # another invoke id, another service
        ([FIRST_SET, "c103c2 01 00000002 00"], [TAKEN, "c503c2" + "12" + "00000002"]),
        ([FIRST_SET, "c306c1 01 00000002 00"], [TAKEN, "c701c1" + "10" + "00"]),
        ([FIRST_SET, "c302c1 00000001"], [TAKEN, "c701c1" + "10" + "00"]),
        # given up for something else
        (
            [FIRST_SET, f"c001c2 {TEXT.encode().hex()} 00"],
            [TAKEN, "GetRequestNormal"],
        ),
        # begun anew
        ([FIRST_SET, FIRST_SET, "c103c1 01 00000002 04 41414141"], [TAKEN, TAKEN, "SetRequestNormal"]),
        # empty blocks are blocks
        ([FIRST_SET, "c103c1 00 00000002 00"], [TAKEN, "c502c100000002"]),
    ],
)
def test_what_a_client_does_wrong(blocks: list[str], answers: list[str]) -> None:
    assert server_with(*blocks)[1] == answers


@pytest.mark.parametrize(
    ("first", "following", "aborted"),
    [(FIRST_SET, "c103c1", "c503c111"), (FIRST_ACTION, "c306c1", "c701c10f00")],
)
def test_a_request_without_end_is_cut(first: str, following: str, aborted: str) -> None:
    server, _ = server_with(first, limit=100)
    for number in range(2, 12):
        said = say(server, f"{following} 00 {number:08x} 0a" + "41" * 10)
        if said.startswith(aborted):
            break
    assert number == 11
    assert server.state is State.ASSOCIATED


def test_an_answer_of_an_action_that_is_asked_for_wrongly() -> None:
    for request, reason in (("c302c1 00000007", "0e"), ("c302c2 00000001", "10")):
        server, _ = server_with(f"c301c1 {METHOD.encode().hex()} 00")
        server.send(ActionResponseNormal(0xC1, ActionResult.SUCCESS, LONG))
        server.data_to_send()
        assert server.state is State.BLOCKS
        assert say(server, request) == request.replace(" ", "")[:6].replace("c302", "c701") + reason + "00"
        assert say(server, "c302c1 00000001") == "c701c11000"
    # a GET's next block is none of an ACTION's
    server, _ = server_with(f"c301c1 {METHOD.encode().hex()} 00")
    server.send(ActionResponseNormal(0xC1, ActionResult.SUCCESS, LONG))
    server.data_to_send()
    assert say(server, "c002c1 00000001") == "c402c1" + "01" + "00000001" + "0110"


# --- a client and a meter that breaks the rules ---


def asked(question: Any, **options: int) -> DlmsConnection:
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1), **options)
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=EVERYTHING)))
    hear(client, Aare(user_information=InitiateResponse(conformance=EVERYTHING, max_receive_pdu=64).encode()))
    client.send(question)
    client.data_to_send()
    return client


def hear(client: DlmsConnection, apdu: Any) -> Any:
    client.receive_data(wrap(apdu.encode(), 1, 16))
    return client.next_event()


SET = SetRequestNormal(0xC1, TEXT, long_data(100))
ACTION = ActionRequestNormal(0xC1, METHOD, long_data(100))


@pytest.mark.parametrize(
    ("question", "answers", "complaint"),
    [
        (SET, [SetResponseDatablock(0xC1, 2)], "block number"),
        (SET, [SetResponseDatablock(0xC1, 1), SetResponseDatablock(0xC1, 1)], "block number"),
        (SET, [SetResponseDatablock(0xC1, number) for number in (1, 2, 3)], "not followed by another"),
        (SET, [SetResponseNormal(0xC1, DONE)], "before the last block"),
        (SET, [SetResponseLastDatablock(0xC1, DONE, 1)], "before the last block"),
        (SET, [SetResponseWithList(0xC1, (DONE,))], "list of results"),
        (SET, [SetResponseDatablock(0xC2, 1)], "another request"),
        (SET, [ActionResponseNextPblock(0xC1, 1)], "another service"),
        (ACTION, [ActionResponseNextPblock(0xC1, 0)], "block number"),
        (ACTION, [ActionResponsePblock(0xC1, last_block=True, block_number=1, raw_data=b"\x00")], "before the last"),
        (GetRequestNormal(0xC1, TEXT), [SetResponseDatablock(0xC1, 1)], "another service"),
        (SetRequestNormal(0xC1, TEXT, b"\x00"), [SetResponseDatablock(0xC1, 1)], "not followed by another"),
    ],
)
def test_what_a_meter_does_wrong(question: Any, answers: list[Any], complaint: str) -> None:
    client = asked(question)
    for answer in answers[:-1]:
        assert hear(client, answer) is NEED_DATA
        client.data_to_send()
    with pytest.raises(RemoteProtocolError, match=complaint):
        hear(client, answers[-1])
    assert client.next_event() is NEED_DATA
    assert client.data_to_send() == b""


@pytest.mark.parametrize(
    ("question", "answer", "given"),
    [
        (SET, SetResponseNormal(0xC1, DENIED), SetResponseNormal(0xC1, DENIED)),
        (
            SET,
            SetResponseLastDatablock(0xC1, DataAccessResult.LONG_SET_ABORTED, 1),
            SetResponseNormal(0xC1, DataAccessResult.LONG_SET_ABORTED),
        ),
        (
            ACTION,
            ActionResponseNormal(0xC1, ActionResult.LONG_ACTION_ABORTED),
            ActionResponseNormal(0xC1, ActionResult.LONG_ACTION_ABORTED),
        ),
    ],
)
def test_a_meter_that_breaks_off(question: Any, answer: Any, given: Any) -> None:
    client = asked(question)
    assert hear(client, answer) == given
    assert client.state is State.ASSOCIATED
    assert client.data_to_send() == b""


def pblock(number: int, raw_data: bytes, *, last: bool = False) -> ActionResponsePblock:
    return ActionResponsePblock(0xC1, last, number, raw_data)


@pytest.mark.parametrize("numbers", [(0,), (2,), (1, 1), (1, 3)])
def test_blocks_of_an_answer_out_of_order(numbers: tuple[int, ...]) -> None:
    client = asked(ActionRequestNormal(0xC1, METHOD))
    for number in numbers[:-1]:
        assert hear(client, pblock(number, b"\x09")) is NEED_DATA
        assert client.data_to_send()[8:] == ActionRequestNextPblock(0xC1, number).encode()
    with pytest.raises(RemoteProtocolError, match="block number"):
        hear(client, pblock(numbers[-1], b"\x09"))
    assert client.state is State.ASSOCIATED


def test_an_answer_without_end_is_cut() -> None:
    client = asked(ActionRequestNormal(0xC1, METHOD), max_transfer=7)
    assert hear(client, pblock(1, bytes(4))) is NEED_DATA
    with pytest.raises(RemoteProtocolError, match="at most 7 octets"):
        hear(client, pblock(2, bytes(4)))
    assert client.state is State.ASSOCIATED


@pytest.mark.parametrize("head", ["", "00", "000100"])
def test_the_three_ways_in_which_meters_cut_what_a_method_returns(head: str) -> None:
    """Data as Gurux.DLMS sends them, Get-Data-Result as jDLMS reads them, the whole outcome as jDLMS sends it."""
    for data in (b"\x09\x03ABC", b"\x01\x01\x11\x05", b"\x02\x00", b"\x00"):
        client = asked(ActionRequestNormal(0xC1, METHOD))
        whole = bytes.fromhex(head) + data
        assert hear(client, pblock(1, whole[:2])) is NEED_DATA
        assert hear(client, pblock(2, whole[2:], last=True)) == ActionResponseNormal(0xC1, ActionResult.SUCCESS, data)


def test_what_a_method_returns_must_be_data() -> None:
    client = asked(ActionRequestNormal(0xC1, METHOD))
    with pytest.raises(RemoteProtocolError, match="returned"):
        hear(client, pblock(1, b"\x09\x05AB", last=True))
    client = asked(ActionRequestWithList(0xC1, (METHOD,), (b"\x00",)))
    with pytest.raises(RemoteProtocolError, match="goes on after its end"):
        hear(client, pblock(1, b"\x01\x00\x00\x00", last=True))


def test_blocks_are_not_for_the_caller() -> None:
    client = asked(SET)
    following = SetRequestDatablock(0xC1, last_block=True, block_number=2, raw_data=b"")
    for event in (following, ActionRequestNextPblock(0xC1, 1)):
        with pytest.raises(LocalProtocolError, match="by itself"):
            client.send(event)


def test_a_block_of_a_service_without_blocks_is_for_the_caller() -> None:
    server = DlmsConnection(Role.SERVER, WrapperFraming(Role.SERVER, server_sap=1))
    client = DlmsConnection(Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1))
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=Conformance.SET)))
    server.receive_data(client.data_to_send())
    server.next_event()
    server.send(AssociationResponse(initiate=InitiateResponse(conformance=EVERYTHING)))
    first = SetRequestFirstDatablock(0xC1, TEXT, None, last_block=True, block_number=1, raw_data=b"\x00")
    server.receive_data(wrap(first.encode(), 16, 1))
    assert server.next_event() == first
