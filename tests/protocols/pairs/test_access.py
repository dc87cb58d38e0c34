"""ACCESS between both roles: with and without an answer, in general blocks, and answers to something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.apdu.access import (
    LONG_CONFIRMED,
    AccessAction,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessResult,
    AccessSet,
    service_of,
)
from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor, DataAccessResult, MethodDescriptor
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.state import State
from headend.protocols.wrapper import WrapperFraming

CLOCK = AttributeDescriptor(8, bytes.fromhex("0000010000ff"), 2)
RELAY = MethodDescriptor(70, bytes.fromhex("000060030aff"), 1)
ASKED = (AccessGet(CLOCK), AccessSet(CLOCK), AccessAction(RELAY))
DATA = (b"\x00", b"\x09\x0c" + bytes(12), b"\x0f\x00")
DONE = tuple(
    AccessResult(service_of(each), DataAccessResult.SUCCESS if index < 2 else ActionResult.SUCCESS)
    for index, each in enumerate(ASKED)
)


def associate(pair: Any, services: Conformance = Conformance.ACCESS | Conformance.GET, pdu: int = 0xFFFF) -> None:
    assert pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=services, max_receive_pdu=pdu)))
    response = InitiateResponse(conformance=services, max_receive_pdu=pdu)
    assert pair.answer(AssociationResponse(initiate=response))


def test_one_request_for_everything(make_pair: Any) -> None:
    pair = make_pair(chunk=1)
    associate(pair)
    invoke = pair.client.next_long_invoke_id()
    assert invoke == 0xC0000001
    request = AccessRequest(invoke, ASKED, DATA)
    assert pair.ask(request) == [request]
    assert pair.server.state is State.REQUESTED
    response = AccessResponse(invoke, (DATA[1], b"\x00", b"\x00"), DONE)
    assert pair.answer(response) == [response]
    assert pair.client.state is State.ASSOCIATED


def test_a_request_that_wants_no_answer(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair)
    request = AccessRequest(pair.client.next_long_invoke_id() & ~LONG_CONFIRMED, ASKED, DATA)
    assert pair.ask(request) == [request]
    assert pair.client.state is pair.server.state is State.ASSOCIATED
    with pytest.raises(LocalProtocolError):
        pair.server.send(AccessResponse(request.long_invoke_id_and_priority, (), ()))


def test_both_ways_in_general_blocks(make_pair: Any) -> None:
    pair = make_pair(window=3)
    associate(pair, Conformance.ACCESS | Conformance.GENERAL_BLOCK_TRANSFER, pdu=40)
    request = AccessRequest(1 | LONG_CONFIRMED, ASKED * 10, DATA * 10)
    response = AccessResponse(1 | LONG_CONFIRMED, DATA * 10, DONE * 10, specifications=ASKED * 10)
    pair.client.send(request)
    got: list[Any] = []
    while not got:
        got = pair.carry(pair.client, pair.server)
        pair.client.receive_data(pair.server.data_to_send())
        assert pair.client.next_event() is NEED_DATA
    assert got == [request]
    assert pair.answer(response) == [response]


def test_what_is_too_long_stays_unsaid(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair, pdu=60)
    assert pair.server.longest_answer == 60
    pair.ask(AccessRequest(1 | LONG_CONFIRMED, (AccessGet(CLOCK),), (b"\x00",)))
    with pytest.raises(LocalProtocolError, match="takes 60"):
        pair.server.send(AccessResponse(1 | LONG_CONFIRMED, (bytes(60),), DONE[:1]))
    assert pair.server.state is State.REQUESTED
    assert pair.answer(AccessResponse(1 | LONG_CONFIRMED, (b"\x00",), DONE[:1]))


@pytest.mark.parametrize(
    ("question", "answer", "complaint"),
    [
        (
            AccessRequest(1 | LONG_CONFIRMED, ASKED, DATA),
            AccessResponse(2 | LONG_CONFIRMED, DATA, DONE),
            "another request",
        ),
        (AccessRequest(1 | LONG_CONFIRMED, ASKED, DATA), GetResponseNormal(0xC1, b"\x00"), "another service"),
        (GetRequestNormal(0xC1, CLOCK), AccessResponse(1 | LONG_CONFIRMED, DATA, DONE), "another service"),
    ],
)
def test_answers_to_something_else(make_pair: Any, question: Any, answer: Any, complaint: str) -> None:
    pair = make_pair()
    associate(pair)
    pair.ask(question)
    pair.server.send(answer)
    pair.client.receive_data(pair.server.data_to_send())
    with pytest.raises(RemoteProtocolError, match=complaint):
        pair.client.next_event()
    assert pair.client.state is State.REQUESTED
    assert pair.client.role is Role.CLIENT


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("dedicated", [False, True])
def test_ciphered_access_has_no_apdu_of_its_own(make_pair: Any, general: bool, dedicated: bool) -> None:
    """It goes in general-glo-ciphering DB or general-ded-ciphering DC, whatever was agreed on, and so does its answer."""

    def side(role: Role) -> DlmsConnection:
        protection = Ciphering(
            role, SUITES[0], policy_of(3), key=GcmKey(bytes(16), bytes(range(16))),
            system_title=b"HDE00001" if role is Role.CLIENT else b"MTR00001",
            sent=OwnCounter(MemoryCounters(), ""), received=ReceivedCounter(),
        )  # fmt: skip
        return DlmsConnection(role, WrapperFraming(role, client_sap=16, server_sap=1), protection=protection)

    pair = replace(make_pair(), client=side(Role.CLIENT), server=side(Role.SERVER))
    services = Conformance.ACCESS | (Conformance.GENERAL_PROTECTION if general else Conformance(0))
    key = bytes(range(0x30, 0x40)) if dedicated else b""
    initiate = InitiateRequest(conformance=services, dedicated_key=key)
    assert pair.ask(AssociationRequest(initiate=initiate, application_context=3, system_title=b"HDE00001"))
    accepted = InitiateResponse(conformance=services)
    assert pair.answer(AssociationResponse(initiate=accepted, application_context=3, system_title=b"MTR00001"))
    request = AccessRequest(pair.client.next_long_invoke_id(), ASKED, DATA)
    pair.client.send(request)
    sent = pair.client.data_to_send()
    assert sent[8] == (0xDC if dedicated else 0xDB)
    pair.server.receive_data(sent)
    assert pair.server.next_event() == request
    response = AccessResponse(request.long_invoke_id_and_priority, DATA, DONE, specifications=ASKED)
    pair.server.send(response)
    answer = pair.server.data_to_send()
    assert answer[8] == (0xDC if dedicated else 0xDB)
    pair.client.receive_data(answer)
    assert pair.client.next_event() == response
