"""A client and a server that cipher: every suite, kind of key and kind of APDU, the four passes, and everything refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headend.errors import DecipherFailed, DecodeError, HeadendError, RemoteProtocolError, ReplayDetected
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Aare, Aarq, ApplicationContext, Mechanism
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor, DataAccessResult
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.authentication import GmacAuthentication, Said, answer_pass_3, check_pass_4, pass_3
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import OVERHEAD, Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.wrapper import WrapperFraming, wrap

CLIENT, SERVER = b"HDE00001", b"MTR00001"
SERVICES = Conformance(0x007E1F)
ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
ONE = b"\x06\x00\x00\x00\x01"
ASK, TELL = GetRequestNormal(0xC1, ENERGY), GetResponseNormal(0xC1, ONE)


class Side:
    """One end: its connection, and its counters for a second association."""

    def __init__(self, role: Role, suite: int = 0, policy: int = 3, key: int = 0) -> None:
        length = SUITES[suite].key_length
        self.key = GcmKey(bytes(range(key, key + length)), bytes(range(0xC0, 0xC0 + length)))
        self.sent, self.received = OwnCounter(MemoryCounters(), ""), ReceivedCounter()
        self.protection = Ciphering(
            role,
            SUITES[suite],
            policy_of(policy),
            key=self.key,
            system_title=CLIENT if role is Role.CLIENT else SERVER,
            sent=self.sent,
            received=self.received,
        )
        framing = WrapperFraming(role, client_sap=1, server_sap=1)
        self.connection = DlmsConnection(role, framing, protection=self.protection)
        self.authentication = GmacAuthentication(SUITES[suite], self.key, self.sent)


class Pair:
    def __init__(self, make_pair: Any, suite: int = 0, policy: int = 3) -> None:
        self.client, self.server = Side(Role.CLIENT, suite, policy), Side(Role.SERVER, suite, policy)
        self.wires = replace(make_pair(), client=self.client.connection, server=self.server.connection)
        self.key = bytes(range(0x40, 0x40 + SUITES[suite].key_length))

    def associate(self, *, dedicated: bool = False, general: bool = False, pdu: int = 0xFFFF) -> None:
        services = SERVICES | (Conformance.GENERAL_PROTECTION if general else Conformance(0))
        request = AssociationRequest(
            initiate=InitiateRequest(
                conformance=services, dedicated_key=self.key if dedicated else b"", max_receive_pdu=pdu
            ),
            application_context=ApplicationContext.LN_CIPHERED,
            mechanism=Mechanism.HLS_GMAC,
            authentication_value=b"challenge of C",
            system_title=CLIENT,
        )
        assert self.wires.ask(request) == [request]
        response = AssociationResponse(
            initiate=InitiateResponse(conformance=services),
            application_context=ApplicationContext.LN_CIPHERED,
            mechanism=Mechanism.HLS_GMAC,
            diagnostic=14,
            authentication_value=b"challenge of S",
            system_title=SERVER,
        )
        assert self.wires.answer(response) == [response]
        said = Said(CLIENT, SERVER, request.authentication_value, response.authentication_value)
        (third,) = self.wires.ask(pass_3(self.client.authentication, said, 0xC2))
        assert isinstance(third, ActionRequestNormal)
        (fourth,) = self.wires.answer(answer_pass_3(self.server.authentication, said, third))
        assert isinstance(fourth, ActionResponseNormal)
        assert fourth.result is ActionResult.SUCCESS
        check_pass_4(self.client.authentication, said, fourth)

    def exchange(self) -> tuple[bytes, bytes]:
        """One GET; returns the octets that went over the wire."""
        self.client.connection.send(ASK)
        there = self.client.connection.data_to_send()
        self.server.connection.receive_data(there)
        assert self.server.connection.next_event() == ASK
        self.server.connection.send(TELL)
        back = self.server.connection.data_to_send()
        self.client.connection.receive_data(back)
        assert self.client.connection.next_event() == TELL
        return there[8:], back[8:]


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize(
    ("dedicated", "general", "tags"),
    [
        (False, False, (0xC8, 0xCC)),
        (True, False, (0xD0, 0xD4)),
        (False, True, (0xDB, 0xDB)),
        (True, True, (0xDC, 0xDC)),
    ],
)
def test_every_suite_and_kind(
    make_pair: Any, suite: int, dedicated: bool, general: bool, tags: tuple[int, int]
) -> None:
    pair = Pair(make_pair, suite)
    pair.associate(dedicated=dedicated, general=general)
    for _ in range(3):
        there, back = pair.exchange()
        assert (there[0], back[0]) == tags
        assert ONE not in back
    push = DataNotification(1, b"", ONE)  # has no service-specific variant
    assert pair.wires.answer(push) == [push]
    pair.associate(
        dedicated=dedicated, general=general
    )  # counters of the global key go on, those of the dedicated key begin anew
    assert pair.exchange()[0][0] == tags[0]


@pytest.mark.parametrize(
    ("policy", "controls"),
    [(1, (0x10, 0x10)), (2, (0x20, 0x20)), (3, (0x30, 0x30)), (0x24, (0x10, 0x10)), (0x0C, (0x30, 0xC4))],
)
def test_policies(make_pair: Any, policy: int, controls: tuple[int, int]) -> None:
    pair = Pair(make_pair, policy=policy)
    pair.associate()
    there, back = pair.exchange()
    assert there[2] == controls[0]
    assert (back[2] if controls[1] < 0xC0 else back[0]) == controls[1]


@pytest.mark.parametrize("pdu", [64, 200, 300])
@pytest.mark.parametrize("general", [False, True])
def test_long_answers_fit_with_their_protection(make_pair: Any, pdu: int, general: bool) -> None:
    pair = Pair(make_pair)
    pair.associate(general=general, pdu=pdu)
    reply = GetResponseNormal(0xC1, b"\x09\x82\x03\xe8" + bytes(1000))
    pair.wires.ask(ASK)
    pair.server.connection.send(reply)
    while out := pair.server.connection.data_to_send():
        assert len(out) - 8 <= pdu
        pair.client.connection.receive_data(out)
        event = pair.client.connection.next_event()
        pair.server.connection.receive_data(pair.client.connection.data_to_send())
        pair.server.connection.next_event()
    assert event == reply


def test_refusals_go_plain(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.associate()
    for refusal in (ExceptionResponse(1, 5), ExceptionResponse(1, 6, 77), ConfirmedServiceError(6, 5, 1)):
        pair.wires.ask(ASK)
        assert pair.wires.answer(refusal) == [refusal]


def test_a_replay_is_refused(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.associate()
    there, back = pair.exchange()
    pair.server.connection.receive_data(wrap(there, 1, 1))
    with pytest.raises(ReplayDetected):
        pair.server.connection.next_event()
    pair.wires.ask(ASK)
    pair.client.connection.receive_data(wrap(back, 1, 1))
    with pytest.raises(ReplayDetected):
        pair.client.connection.next_event()


@pytest.mark.parametrize(
    ("apdu", "error"),
    [
        (ASK.encode(), DecipherFailed),  # plain
        (b"\xd0\x12\x30" + bytes(17), DecipherFailed),  # no dedicated key was agreed
        (b"\xdc\x00\x12\x30" + bytes(17), DecipherFailed),
        (b"\xdb\x08MTR99999\x12\x30" + bytes(17), DecipherFailed),  # from somebody else
        (b"\xc8\x12\x30" + bytes(17), DecipherFailed),  # tag does not hold
        (b"\xc8\x04\x30" + bytes(3), DecodeError),
    ],
)
def test_what_is_not_deciphered(make_pair: Any, apdu: bytes, error: type[HeadendError]) -> None:
    pair = Pair(make_pair)
    pair.associate()
    pair.server.connection.receive_data(wrap(apdu, 1, 1))
    with pytest.raises(error):
        pair.server.connection.next_event()
    pair.exchange()


def test_protection_that_is_not_what_it_says(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.associate()
    key, sent = pair.client.key, pair.client.sent

    def seal(control: int, apdu: bytes) -> bytes:
        sealed = key.seal(control, CLIENT, sent.take(), apdu)
        return b"\xc8" + bytes((len(sealed),)) + sealed

    for apdu, error in [
        (seal(0x20, ASK.encode()), DecipherFailed),  # less than the policy
        (seal(0x70, ASK.encode()), DecipherFailed),  # broadcast key
        (seal(0x30, TELL.encode()), DecodeError),  # another service than its tag
        (seal(0x30, b""), DecodeError),
    ]:
        with pytest.raises(error):
            pair.server.protection.unprotect(apdu)
    pair.exchange()


def test_titles() -> None:
    """A push needs no association when it tells its title; everything else needs one."""
    server, client = Side(Role.SERVER), Side(Role.CLIENT)
    push = DataNotification(1, b"", ONE).encode()
    assert client.protection.unprotect(server.protection.protect(push)) == push
    with pytest.raises(DecipherFailed, match="has not told its system title"):
        client.protection.unprotect(server.protection.protect(TELL.encode()))
    client.protection.peer(SERVER)
    untitled = server.protection.protect(push).replace(b"\x08" + SERVER, b"\x00")
    assert client.protection.unprotect(untitled) == push


def test_a_dedicated_key_of_another_length(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.key = bytes(15)
    with pytest.raises(DecodeError, match="block cipher key"):
        pair.associate(dedicated=True)


def test_another_key() -> None:
    server, client = Side(Role.SERVER, key=1), Side(Role.CLIENT)
    client.connection.send(
        AssociationRequest(
            initiate=InitiateRequest(conformance=SERVICES),
            application_context=ApplicationContext.LN_CIPHERED,
            system_title=CLIENT,
        )
    )
    server.connection.receive_data(client.connection.data_to_send())
    with pytest.raises(DecipherFailed):
        server.connection.next_event()


def test_an_answer_that_was_deciphered_already(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.associate()
    pair.wires.ask(ASK)
    assert pair.client.connection.max_request == 0xFFFF - OVERHEAD
    refused = GetResponseNormal(0xC1, DataAccessResult.OBJECT_UNDEFINED)
    assert pair.client.connection.take_answer(refused.encode()) == refused


# --- associations that somebody else tries to begin, or to answer ---

AARQ_WITHOUT_INITIATE = bytes.fromhex("600b a109060760857405080101")
AARQ_OF_NOBODY = bytes.fromhex(
    "602c a109060760857405080103 a60a0408 5858583030303031 be13 0411 210f 3000000fff 00000000000000000000"
)


@pytest.mark.parametrize("aarq", [AARQ_WITHOUT_INITIATE, AARQ_OF_NOBODY], ids=["no-initiate", "no-key"])
def test_a_forged_aarq_changes_nothing(make_pair: Any, aarq: bytes) -> None:
    """Anybody may send one: the association that stands must go on, under its own keys and title."""
    pair = Pair(make_pair)
    pair.associate(dedicated=True)
    tags = [apdu[0] for apdu in pair.exchange()]
    server = pair.server.connection
    server.receive_data(wrap(aarq, 1, 1))
    with pytest.raises((DecipherFailed, DecodeError)):
        server.next_event()
    assert [apdu[0] for apdu in pair.exchange()] == tags


def test_a_forged_aare_changes_nothing(make_pair: Any) -> None:
    pair = Pair(make_pair)
    pair.associate(dedicated=True)
    tags = [apdu[0] for apdu in pair.exchange()]
    client = pair.client.connection
    for forged in (
        Aare(responding_ap_title=b"XXX00001", user_information=ConfirmedServiceError(1, 6, 0).encode()),
        Aarq(calling_ap_title=CLIENT, user_information=bytes(20)),
    ):
        client.receive_data(wrap(forged.encode(), 1, 1))
        with pytest.raises(RemoteProtocolError):
            client.next_event()
    assert [apdu[0] for apdu in pair.exchange()] == tags
