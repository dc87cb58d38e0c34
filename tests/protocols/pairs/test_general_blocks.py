"""General block transfer: windows, streaming, lost blocks, pushes; in both roles, plain and ciphered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.errors import DecodeError, HeadendError, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import Aare
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor, DataAccessResult, MethodDescriptor
from headend.protocols.dlms.apdu.general_block import GeneralBlock, decode_general_block
from headend.protocols.dlms.apdu.get import (
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseNormal
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.general_blocks import GeneralTransfer, longest_in_blocks, push_blocks
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.state import State
from headend.protocols.wrapper import WrapperFraming, wrap

SERVICES = (
    Conformance.GET
    | Conformance.SET
    | Conformance.ACTION
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.GENERAL_BLOCK_TRANSFER
)
TEXT = AttributeDescriptor(1, bytes.fromhex("0000600d00ff"), 2)
METHOD = MethodDescriptor(18, bytes.fromhex("00002c0000ff"), 2)
LIMIT = 100_000


def long_data(length: int) -> bytes:
    octets = bytes(range(256)) * (length // 256 + 1)
    return b"\x09" + encode_length(length) + octets[:length]


def block(text: str) -> GeneralBlock:
    return decode_general_block(bytes.fromhex(text))


# --- conversations that EnergyICT published with its handler of general blocks (window 5, two octets a block) ---

ANSWER = bytes.fromhex("c4020102030405060708090a0b0c0d0e0f")
WHOLE_FLOW = [
    # control, number, acknowledged, length, data
    ("e0 05 0001 0000 02 c402", ["e0 85 0001 0001 00"]),
    ("e0 45 0002 0001 02 0102", []),
    ("e0 45 0003 0001 02 0304", []),
    ("e0 45 0004 0001 02 0506", []),
    ("e0 45 0005 0001 02 0708", []),
    ("e0 05 0006 0001 02 090a", ["e0 85 0002 0006 00"]),
    ("e0 45 0007 0002 02 0b0c", []),
    ("e0 45 0008 0002 02 0d0e", []),
    ("e0 85 0009 0002 01 0f", []),
]


def test_a_client_takes_windows_of_blocks() -> None:
    client = GeneralTransfer(5, LIMIT)
    for heard, said in WHOLE_FLOW:
        whole, answers = client.take(block(heard))
        assert answers == [bytes.fromhex(text) for text in said]
    assert whole == ANSWER


def test_a_meter_sends_windows_of_blocks() -> None:
    meter = GeneralTransfer(5, LIMIT)
    sent = meter.send(ANSWER, 9)
    for _, acknowledgements in WHOLE_FLOW:
        for text in acknowledgements:
            whole, blocks = meter.take(block(text))
            assert whole is None
            sent += blocks
    assert sent == [bytes.fromhex(text) for text, _ in WHOLE_FLOW]


def test_the_length_of_a_block_may_be_in_three_octets() -> None:
    assert block("e0 45 0002 0001 82 0002 0102") == block("e0 45 0002 0001 02 0102")


def test_a_client_asks_for_what_follows_the_last_block_without_a_gap() -> None:
    """Block 4 is lost: the window ends with block 6, and the meter is told that only block 3 has arrived."""
    client = GeneralTransfer(5, LIMIT)
    heard = [text for text, _ in WHOLE_FLOW]
    for text in heard[:3] + heard[4:5]:
        assert client.take(block(text))[0] is None
    assert client.take(block(heard[5])) == (None, [bytes.fromhex("e0 85 0002 0003 00")])
    # from here on it goes as if nothing had happened, with another acknowledgement
    for text in heard[3:8]:
        assert client.take(block(text.replace(" 0001 02", " 0002 02")))[0] is None
    assert client.take(block("e0 85 0009 0003 01 0f")) == (ANSWER, [])


def test_a_meter_sends_the_one_block_that_a_client_has_missed() -> None:
    """EnergyICT's client asks for a single block by a window of one, and jumps on to what it has."""
    meter = GeneralTransfer(5, LIMIT)
    meter.send(ANSWER, 9)
    meter.take(block("e0 85 0001 0001 00"))
    assert meter.take(block("e0 81 0002 0003 00")) == (None, [bytes.fromhex("e0 05 0004 0002 02 0506")])
    assert meter.take(block("e0 85 0003 0006 00")) == (
        None,
        [
            bytes.fromhex("e0 45 0007 0003 02 0b0c"),
            bytes.fromhex("e0 45 0008 0003 02 0d0e"),
            bytes.fromhex("e0 85 0009 0003 01 0f"),
        ],
    )


def test_a_client_recovers_the_end_of_a_window() -> None:
    """Blocks 5 and 6 are lost, so nothing ends the window: the owner of the clock has the acknowledgement repeated."""
    client = GeneralTransfer(5, LIMIT)
    for text, _ in WHOLE_FLOW[:4]:
        client.take(block(text))
    assert client.receiving
    assert client.acknowledgement() == bytes.fromhex("e0 85 0002 0004 00")


# --- properties ---


class Wire:
    """Two sides and what is under way between them; `losses` says which transmission is lost, then none is."""

    def __init__(self, windows: tuple[int, int], pdus: tuple[int, int], losses: list[bool]) -> None:
        self.sides = [GeneralTransfer(window, LIMIT) for window in windows]
        self.windows, self.pdus, self.losses = windows, pdus, losses
        self.got: list[list[bytes]] = [[], []]

    def carry(self, sender: int, blocks: list[bytes]) -> None:
        waiting = [(1 - sender, each) for each in blocks]
        while waiting:
            self.check_window(waiting)
            to, octets = waiting.pop(0)
            assert len(octets) <= self.pdus[to]
            if self.losses and self.losses.pop():
                continue
            whole, answers = self.sides[to].take(decode_general_block(octets))
            if whole is not None:
                self.got[to].append(whole)
            waiting += [(1 - to, each) for each in answers]

    def check_window(self, waiting: list[tuple[int, bytes]]) -> None:
        for to in (0, 1):
            assert sum(side == to for side, _ in waiting) <= max(self.windows[to], 1)

    def send(self, sender: int, apdu: bytes) -> None:
        self.carry(sender, self.sides[sender].send(apdu, self.pdus[1 - sender]))
        receiver = self.sides[1 - sender]
        for _ in range(50):  # each is one time-out of the receiver
            if self.got[1 - sender] or not receiver.receiving:
                return
            self.carry(1 - sender, [receiver.acknowledgement()])


WINDOWS = st.tuples(st.integers(1, 63), st.integers(1, 63))
PDUS = st.tuples(st.integers(8, 300), st.integers(8, 300))
APDUS = st.binary(min_size=1, max_size=2000)


@settings(deadline=None)
@given(WINDOWS, PDUS, APDUS, APDUS)
def test_both_ways_arrive_whole(windows: tuple[int, int], pdus: tuple[int, int], asked: bytes, told: bytes) -> None:
    wire = Wire(windows, pdus, [])
    wire.send(0, asked)
    wire.send(1, told)
    assert wire.got == [[told], [asked]]


@settings(deadline=None)
@given(WINDOWS, PDUS, APDUS, st.lists(st.booleans(), max_size=60))
def test_what_arrives_is_whole_whatever_is_lost(
    windows: tuple[int, int], pdus: tuple[int, int], told: bytes, losses: list[bool]
) -> None:
    wire = Wire(windows, pdus, losses)
    try:
        wire.send(1, told)
    except RemoteProtocolError as error:  # it has tried long enough
        assert "again and again" in str(error)  # noqa: PT017 - only what is raised is looked at
    assert wire.got[0] in ([], [told])


@settings(deadline=None)
@given(WINDOWS, PDUS, APDUS, st.integers(1, 100))
def test_one_lost_block_is_recovered(windows: tuple[int, int], pdus: tuple[int, int], told: bytes, lost: int) -> None:
    losses = [False] * 101
    losses[100 - lost] = True  # the list is taken from its end; block 1, without which nothing began, arrives
    wire = Wire(windows, pdus, losses)
    wire.send(1, told)
    assert wire.got[0] == [told]


@settings(deadline=None)
@given(st.lists(st.builds(
    GeneralBlock, last_block=st.booleans(), streaming=st.booleans(), window=st.integers(0, 63),
    block_number=st.integers(0, 12), acknowledged=st.integers(0, 12), data=st.binary(max_size=3)), max_size=40))  # fmt: skip
def test_any_blocks_in_any_order(blocks: list[GeneralBlock]) -> None:
    side = GeneralTransfer(3, 20)
    side.send(bytes(25), 12)
    for each in blocks:
        try:
            whole, answers = side.take(each)
        except RemoteProtocolError:
            continue
        assert whole is None or 0 < len(whole) <= 20
        assert len(answers) <= 63


def test_a_first_block_that_is_empty_and_the_last_is_no_apdu() -> None:
    side = GeneralTransfer(3, 20)
    whole, _ = side.take(GeneralBlock(last_block=False, window=0, block_number=1, acknowledged=0, data=b"\x00"))
    assert whole is None
    whole, _ = side.take(GeneralBlock(last_block=True, window=0, block_number=1, acknowledged=0, data=b""))
    assert whole is None


def test_the_same_block_again_and_again() -> None:
    side = GeneralTransfer(3, LIMIT)
    side.take(block("e0 03 0001 0000 01 41"))
    for _ in range(3):
        assert side.take(block("e0 03 0003 0000 01 43"))[0] is None
    with pytest.raises(RemoteProtocolError, match="again and again"):
        side.take(block("e0 03 0003 0000 01 43"))


def test_a_sender_is_not_asked_for_the_same_for_ever() -> None:
    side = GeneralTransfer(3, LIMIT)
    side.send(ANSWER, 9)
    for _ in range(3):
        assert side.take(block("e0 82 0001 0000 00"))[1]
    with pytest.raises(RemoteProtocolError, match="again and again"):
        side.take(block("e0 82 0001 0000 00"))


def test_an_acknowledgement_of_what_was_never_sent() -> None:
    side = GeneralTransfer(3, LIMIT)
    side.send(ANSWER, 9)
    assert side.take(block("e0 83 0001 0063 00")) == (None, [])


def test_an_empty_last_block_ends_a_transfer() -> None:
    side = GeneralTransfer(1, LIMIT)
    side.take(block("e0 01 0001 0000 02 c402"))
    assert side.take(block("e0 81 0002 0001 00")) == (b"\xc4\x02", [])


def test_what_is_too_long_for_block_numbers() -> None:
    assert longest_in_blocks(12) == 5 * 0x7FFF
    side = GeneralTransfer(1, LIMIT)
    assert len(side.send(bytes(5 * 0xFFFF), 12)) == 1
    with pytest.raises(LocalProtocolError, match="too long for blocks of 5"):
        GeneralTransfer(1, LIMIT).send(bytes(5 * 0xFFFF + 1), 12)


# --- octets ---


@given(
    st.builds(
        GeneralBlock,
        last_block=st.booleans(),
        streaming=st.booleans(),
        window=st.integers(0, 63),
        block_number=st.integers(0, 0xFFFF),
        acknowledged=st.integers(0, 0xFFFF),
        data=st.binary(max_size=300),
    ),
    st.data(),
)
def test_blocks_in_octets(each: GeneralBlock, data: st.DataObject) -> None:
    octets = each.encode()
    assert decode_general_block(octets) == each
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(DecodeError):
        decode_general_block(octets[:cut])
    with pytest.raises(DecodeError):
        decode_general_block(octets + b"\x00")


@given(st.binary(max_size=40))
def test_any_octets_as_a_block(octets: bytes) -> None:
    try:
        assert decode_general_block(b"\xe0" + octets).data in octets
    except DecodeError as error:
        assert error.offset is None or 0 <= error.offset <= len(octets) + 1  # noqa: PT017 - either outcome is right


# --- associations ---


def associate(pair: Any, pdu: int = 64, services: Conformance = SERVICES) -> None:
    assert pair.ask(AssociationRequest(initiate=InitiateRequest(conformance=services, max_receive_pdu=pdu)))
    response = InitiateResponse(conformance=services, max_receive_pdu=pdu)
    assert pair.answer(AssociationResponse(initiate=response))


def exchange(pair: Any, question: Any, reply: Any) -> tuple[list[Any], list[GeneralBlock]]:
    """What the client gets, and the general blocks that went over the wire."""
    pair.client.send(question)
    blocks, got, quiet = [], [], 0
    sender, receiver = pair.client, pair.server
    while quiet < 2:
        frames = sender.data_to_send()
        quiet = 0 if frames else quiet + 1
        while frames:
            length = int.from_bytes(frames[6:8], "big")
            apdu, frames = frames[8 : 8 + length], frames[8 + length :]
            assert length <= sender.max_send_pdu
            if apdu[0] == GeneralBlock.TAG:
                blocks.append(decode_general_block(apdu))
            receiver.receive_data(wrap(apdu, *((16, 1) if receiver is pair.server else (1, 16))))
            event = receiver.next_event()
            if event is not NEED_DATA and receiver is pair.server:
                assert event == question
                pair.server.send(reply)
            elif event is not NEED_DATA:
                got.append(event)
        sender, receiver = receiver, sender
    return got, blocks


LONG = long_data(700)
EXCHANGES: list[tuple[Any, Any]] = [
    (GetRequestNormal(0xC1, TEXT), GetResponseNormal(0xC1, LONG)),
    (
        GetRequestWithList(0xC1, tuple((TEXT, None) for _ in range(20))),
        GetResponseWithList(0xC1, tuple(long_data(40) for _ in range(20))),
    ),
    (SetRequestNormal(0xC1, TEXT, LONG), SetResponseNormal(0xC1, DataAccessResult.SUCCESS)),
    (ActionRequestNormal(0xC1, METHOD, LONG), ActionResponseNormal(0xC1, ActionResult.SUCCESS, LONG)),
]


@pytest.mark.parametrize("window", [1, 2, 7, 63])
@pytest.mark.parametrize(("question", "reply"), EXCHANGES)
def test_any_service_goes_in_general_blocks(make_pair: Any, question: Any, reply: Any, window: int) -> None:
    pair = make_pair(window=window)
    associate(pair)
    got, blocks = exchange(pair, question, reply)
    assert got == [reply]
    assert blocks
    assert pair.client.state is pair.server.state is State.ASSOCIATED
    # and the next exchange is not touched by this one: short and asked plainly, it goes plainly
    pair.client.send_prepared(GetRequestNormal(0xC2, TEXT).encode())
    (asked,) = pair.carry(pair.client, pair.server)
    assert asked == GetRequestNormal(0xC2, TEXT)
    assert pair.answer(GetResponseNormal(0xC2, b"\x11\x05")) == [GetResponseNormal(0xC2, b"\x11\x05")]


def test_an_answer_streams_from_its_second_block_on(make_pair: Any) -> None:
    pair = make_pair(window=5)
    associate(pair)
    _, blocks = exchange(pair, *EXCHANGES[0])
    answer = [each for each in blocks if each.data]
    assert [each.streaming for each in answer[:7]] == [False, True, True, True, True, False, True]
    acknowledged = [(each.window, each.acknowledged) for each in blocks if not each.data]
    assert acknowledged == [(5, 1 + 5 * index) for index in range(len(acknowledged))]


def test_blocks_of_the_service_are_preferred(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair, services=SERVICES | Conformance.BLOCK_TRANSFER_WITH_GET)
    pair.client.send(GetRequestNormal(0xC1, TEXT))
    pair.carry(pair.client, pair.server)
    pair.server.send(GetResponseNormal(0xC1, LONG))
    assert pair.server.data_to_send()[8:10] == b"\xc4\x02"


def test_who_is_asked_in_general_blocks_answers_in_them(make_pair: Any) -> None:
    pair = make_pair(window=3)
    associate(pair, services=SERVICES | Conformance.BLOCK_TRANSFER_WITH_GET | Conformance.BLOCK_TRANSFER_WITH_ACTION)
    question = GetRequestWithList(0xC1, tuple((TEXT, None) for _ in range(7)))
    reply = GetResponseWithList(0xC1, tuple(b"\x11\x05" for _ in range(7)))
    got, blocks = exchange(pair, question, reply)
    assert got == [reply]
    # the request takes two blocks, with a word of the meter between them; its answer would have fitted without one
    assert [(each.block_number, each.acknowledged, each.last_block, bool(each.data)) for each in blocks] == [
        (1, 0, False, True),
        (1, 1, True, False),
        (2, 1, True, True),
        (2, 2, True, True),
    ]


def test_pieces_go_in_general_blocks(make_pair: Any) -> None:
    pair = make_pair(window=4)
    associate(pair)
    pair.ask(GetRequestNormal(0xC1, TEXT))
    pair.server.answer_get(0xC1, iter((LONG[:100], LONG[100:])))
    got = pair.carry(pair.server, pair.client)
    while back := pair.client.data_to_send():
        pair.server.receive_data(back)
        assert pair.server.next_event() is NEED_DATA
        got += pair.carry(pair.server, pair.client)
    assert got == [GetResponseNormal(0xC1, LONG)]


def test_a_long_push_wants_no_acknowledgement(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair)
    push = DataNotification(0x40000001, b"", LONG)
    pair.server.send(push)
    octets = pair.server.data_to_send()
    assert octets[8:14].hex() == "e04000010000"  # streaming, window 0, as meters of Landis+Gyr push
    pair.client.receive_data(octets)
    assert pair.client.next_event() == push
    assert pair.client.data_to_send() == b""


def test_a_push_between_the_blocks_of_an_answer(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair)
    push = DataNotification(0x40000001, b"", LONG)
    pair.ask(GetRequestNormal(0xC1, TEXT))
    pair.server.send(GetResponseNormal(0xC1, LONG))
    assert pair.carry(pair.server, pair.client) == []
    pushed = b"".join(wrap(each, 1, 16) for each in push_blocks(push.encode(), 64))
    pair.client.receive_data(pushed)
    assert pair.client.next_event() == push
    got: list[Any] = []
    while back := pair.client.data_to_send():
        pair.server.receive_data(back)
        assert pair.server.next_event() is NEED_DATA
        got += pair.carry(pair.server, pair.client)
    assert got == [GetResponseNormal(0xC1, LONG)]


# --- ciphered ---


def ciphered(make_pair: Any, window: int, services: Conformance) -> Any:
    def side(role: Role) -> DlmsConnection:
        protection = Ciphering(
            role, SUITES[0], policy_of(3), key=GcmKey(bytes(16), bytes(range(16))),
            system_title=b"HDE00001" if role is Role.CLIENT else b"MTR00001",
            sent=OwnCounter(MemoryCounters(), ""), received=ReceivedCounter(),
        )  # fmt: skip
        framing = WrapperFraming(role, client_sap=16, server_sap=1)
        return DlmsConnection(role, framing, protection=protection, window=window)

    pair = replace(make_pair(), client=side(Role.CLIENT), server=side(Role.SERVER))
    initiate = InitiateRequest(conformance=services, max_receive_pdu=80)
    assert pair.ask(AssociationRequest(initiate=initiate, application_context=3, system_title=b"HDE00001"))
    response = InitiateResponse(conformance=services, max_receive_pdu=80)
    assert pair.answer(AssociationResponse(initiate=response, application_context=3, system_title=b"MTR00001"))
    return pair


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize(("question", "reply"), EXCHANGES)
def test_a_ciphered_apdu_goes_in_general_blocks(
    make_pair: Any, question: Any, reply: Any, window: int, general: bool
) -> None:
    services = SERVICES | (Conformance.GENERAL_PROTECTION if general else Conformance(0))
    pair = ciphered(make_pair, window, services)
    got, blocks = exchange(pair, question, reply)
    assert got == [reply]
    whole = b"".join(each.data for each in blocks)
    assert whole[0] != question.TAG
    assert LONG[100:140] not in whole


def test_a_damaged_ciphered_push_in_blocks_is_dropped(make_pair: Any) -> None:
    pair = ciphered(make_pair, 1, SERVICES)
    pair.server.send(DataNotification(0x40000001, b"", LONG))
    octets = bytearray(pair.server.data_to_send())
    octets[60] ^= 1
    pair.client.receive_data(bytes(octets))
    assert pair.client.next_event() is NEED_DATA
    assert pair.client.take_refused() == 1
    assert pair.client.take_refused() == 0
    pair.server.send(DataNotification(0x40000002, b"", LONG))
    (push,) = pair.carry(pair.server, pair.client)
    assert push.long_invoke_id_and_priority == 0x40000002


def test_a_damaged_answer_in_blocks_is_an_error(make_pair: Any) -> None:
    pair = ciphered(make_pair, 9, SERVICES)
    pair.ask(GetRequestNormal(0xC1, TEXT))
    pair.server.send(GetResponseNormal(0xC1, long_data(100)))
    assert pair.carry(pair.server, pair.client) == []
    assert pair.carry(pair.client, pair.server) == []
    octets = bytearray(pair.server.data_to_send())
    octets[60] ^= 1
    pair.client.receive_data(bytes(octets))
    with pytest.raises(HeadendError, match="authenti"):
        pair.client.next_event()
    assert pair.client.state is State.REQUESTED


# --- what it must withstand ---


def asked(window: int = 1, **options: int) -> DlmsConnection:
    """A client that waits for the answer to a GET."""
    client = DlmsConnection(
        Role.CLIENT, WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1), window=window, **options
    )
    client.send(AssociationRequest(initiate=InitiateRequest(conformance=SERVICES)))
    hear(client, Aare(user_information=InitiateResponse(conformance=SERVICES, max_receive_pdu=64).encode()).encode())
    client.send_prepared(GetRequestNormal(0xC1, TEXT).encode())
    client.data_to_send()
    return client


def hear(connection: DlmsConnection, apdu: bytes | str) -> Any:
    octets = bytes.fromhex(apdu) if isinstance(apdu, str) else apdu
    ports = (1, 16) if connection.role is Role.CLIENT else (16, 1)
    connection.receive_data(wrap(octets, *ports))
    return connection.next_event()


def test_a_block_that_nobody_has_asked_for() -> None:
    client = asked()
    assert hear(client, "c401c100 1105") == GetResponseNormal(0xC1, b"\x11\x05")
    with pytest.raises(RemoteProtocolError, match="nobody has asked for"):
        hear(client, "e0 81 0001 0000 02 c401")
    assert client.data_to_send() == b""


def test_blocks_in_blocks() -> None:
    client = asked()
    with pytest.raises(RemoteProtocolError, match="known tag"):
        hear(client, "e0 81 0001 0000 09 e0 81 0001 0000 02 c401")


def test_an_answer_to_another_request_in_blocks() -> None:
    client = asked()
    with pytest.raises(RemoteProtocolError, match="another request"):
        hear(client, "e0 81 0001 0000 06 c401c200 1105")


def test_a_repeated_a_missing_and_a_late_block() -> None:
    client = asked(window=1)
    assert hear(client, "e0 01 0001 0000 04 c401c100") is NEED_DATA
    assert client.data_to_send()[8:].hex() == "e0810001000100"
    assert hear(client, "e0 01 0001 0000 04 c401c100") is NEED_DATA  # again: the acknowledgement did not arrive
    assert client.data_to_send()[8:].hex() == "e0810002000100"
    assert hear(client, "e0 01 0003 0002 01 44") is NEED_DATA  # one is missing
    assert client.data_to_send()[8:].hex() == "e0810003000100"
    assert hear(client, "e0 01 0002 0003 02 0902") is NEED_DATA
    assert client.data_to_send()[8:].hex() == "e0810004000200"
    assert hear(client, "e0 81 0003 0004 02 4344") == GetResponseNormal(0xC1, b"\x09\x02CD")
    assert client.data_to_send() == b""


def test_an_answer_that_never_ends() -> None:
    client = asked(max_transfer=100)
    for number in range(1, 11):
        assert hear(client, f"e0 01 {number:04x} 0000 0a" + "41" * 10) is NEED_DATA
    with pytest.raises(RemoteProtocolError, match="at most 100 octets"):
        hear(client, "e0 01 000b 0000 0a" + "41" * 10)


def test_a_push_that_never_ends() -> None:
    client = asked(max_transfer=100)
    for number in range(1, 11):
        assert hear(client, f"e0 40 {number:04x} 0000 0a" + "41" * 10) is NEED_DATA
    with pytest.raises(RemoteProtocolError, match="at most 100 octets"):
        hear(client, "e0 40 000b 0000 0a" + "41" * 10)
    assert hear(client, "c401c100 1105") == GetResponseNormal(0xC1, b"\x11\x05")


def test_the_association_drops_between_two_blocks() -> None:
    client = asked()
    assert hear(client, "e0 01 0001 0000 04 c401c100") is NEED_DATA
    client.close()
    client.next_event()
    assert client.state is State.IDLE
    assert not client.ask_lost_blocks()


def test_an_exception_between_two_blocks() -> None:
    client = asked()
    assert hear(client, "e0 01 0001 0000 04 c401c100") is NEED_DATA
    assert client.ask_lost_blocks()
    assert type(hear(client, "d8 01 01")).__name__ == "ExceptionResponse"
    assert client.state is State.ASSOCIATED


def test_a_client_that_asks_in_blocks_of_a_meter_that_has_none(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair, services=Conformance.GET)
    with pytest.raises(RemoteProtocolError, match="nobody has asked for"):
        hear(pair.server, "e0 81 0001 0000 0d c001c1" + TEXT.encode().hex() + "00")
    with pytest.raises(LocalProtocolError, match="takes 64"):
        pair.client.send_prepared(bytes(65))


def test_a_request_given_up_for_another(make_pair: Any) -> None:
    pair = make_pair()
    associate(pair)
    assert hear(pair.server, "e0 01 0001 0000 04 c101c100") is NEED_DATA
    assert pair.server.data_to_send()
    assert hear(pair.server, GetRequestNormal(0xC2, TEXT).encode()) == GetRequestNormal(0xC2, TEXT)
    pair.server.send(GetResponseNormal(0xC2, b"\x11\x05"))
    assert pair.server.data_to_send()[8:].hex() == "c401c2001105"
