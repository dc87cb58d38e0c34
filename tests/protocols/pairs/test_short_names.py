"""A client and a server of short-name referencing: every service, blocks both ways, ciphered, and everything that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.errors import DecodeError, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import ApplicationContext
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError
from headend.protocols.dlms.apdu.short import (
    BlockNumber,
    BlockNumberAccess,
    DataBlock,
    InformationReport,
    ParameterizedAccess,
    ReadDataBlockAccess,
    ReadRequest,
    ReadResponse,
    ShortRequest,
    ShortResponse,
    UnconfirmedWriteRequest,
    VariableName,
    WriteDataBlockAccess,
    WriteRequest,
    WriteResponse,
    write_block,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, BlockReceived, Event
from headend.protocols.dlms.initiate import VAA_SN, Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.state import State
from headend.protocols.wrapper import WrapperFraming, wrap

EVERYTHING = (
    Conformance.READ
    | Conformance.WRITE
    | Conformance.UNCONFIRMED_WRITE
    | Conformance.INFORMATION_REPORT
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.PARAMETERIZED_ACCESS
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
)
ENERGY, VOLTAGE, BUFFER = VariableName(0x0708), VariableName(0x0720), VariableName(0xC008)
ONE = b"\x06\x00\x00\x00\x01"
SUCCESS, REFUSED = DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED
INVALID = DataAccessResult.DATA_BLOCK_NUMBER_INVALID


def long_data(length: int) -> bytes:
    octets = bytes(range(256)) * (length // 256 + 1)
    return b"\x09" + encode_length(length) + octets[:length]


def ciphering(role: Role) -> Ciphering:
    return Ciphering(
        role,
        SUITES[0],
        policy_of(3),
        key=GcmKey(bytes(range(16)), bytes(range(0xD0, 0xE0))),
        system_title=b"HDE00001" if role is Role.CLIENT else b"MTR00001",
        sent=OwnCounter(MemoryCounters(), ""),
        received=ReceivedCounter(),
    )


class Wires:
    """Both ends, and everything that each of them tells its owner."""

    def __init__(self, chunk: int = 0, *, keys: bool = False, max_transfer: int = 0x10000) -> None:
        """`chunk` octets are handed over at once, 0 for whatever there is."""
        self.client, self.server = (
            DlmsConnection(
                role,
                WrapperFraming(role, client_sap=16, server_sap=1),
                protection=ciphering(role) if keys else None,
                max_transfer=max_transfer,
            )
            for role in (Role.CLIENT, Role.SERVER)
        )
        self.chunk = chunk

    def settle(self) -> tuple[list[Event], list[Event]]:
        """Carry octets until nobody has any; what the server and the client got."""
        to_server: list[Event] = []
        to_client: list[Event] = []
        while True:
            there = self.client.data_to_send()
            to_server += self.hand_over(there, self.server)
            back = self.server.data_to_send()
            to_client += self.hand_over(back, self.client)
            if not there and not back:
                return to_server, to_client

    def hand_over(self, data: bytes, receiver: DlmsConnection) -> list[Event]:
        events = []
        for start in range(0, len(data), self.chunk or len(data) or 1):
            receiver.receive_data(data[start : start + (self.chunk or len(data))])
            while (event := receiver.next_event()) is not NEED_DATA:
                events.append(event)
        return events

    def associate(
        self, client_pdu: int = 0xFFFF, server_pdu: int = 0xFFFF, conformance: Conformance = EVERYTHING
    ) -> None:
        initiate = InitiateRequest(conformance=conformance, max_receive_pdu=client_pdu)
        self.client.send(AssociationRequest(initiate=initiate, application_context=ApplicationContext.SN))
        self.settle()
        granted = InitiateResponse(conformance=conformance, max_receive_pdu=server_pdu, vaa_name=VAA_SN)
        self.server.send(AssociationResponse(initiate=granted, application_context=ApplicationContext.SN))
        (response,) = self.settle()[1]
        assert isinstance(response, AssociationResponse)
        assert isinstance(response.initiate, InitiateResponse)
        assert response.initiate.vaa_name == 0xFA00

    def ask(self, request: Any) -> Event:
        """What the server gets, when it is one request."""
        self.client.send(request)
        (event,), nothing = self.settle()
        assert nothing == []
        return event

    def answer(self, response: Any) -> Event:
        """What the client gets, when it is one answer."""
        self.server.send(response)
        nothing, (event,) = self.settle()
        assert nothing == []
        return event

    def say_to_server(self, apdu: bytes) -> str:
        """An APDU of another stack, and what the server says to it by itself."""
        self.server.receive_data(wrap(apdu, 16, 1))
        assert self.server.next_event() is NEED_DATA
        return self.server.data_to_send()[8:].hex()

    def say_to_client(self, apdu: bytes) -> Any:
        self.client.receive_data(wrap(apdu, 1, 16))
        return self.client.next_event()


@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_every_service(chunk: int) -> None:
    both = Wires(chunk)
    both.associate()
    for request, response in (
        (ReadRequest((ENERGY,)), ReadResponse((ONE,))),
        (ReadRequest((ENERGY, VOLTAGE)), ReadResponse((ONE, REFUSED))),
        (ReadRequest((ParameterizedAccess(0xC008, 2, ONE),)), ReadResponse((b"\x01\x00",))),
        (WriteRequest((ENERGY,), (ONE,)), WriteResponse((SUCCESS,))),
        (WriteRequest((ENERGY, VOLTAGE), (ONE, ONE)), WriteResponse((SUCCESS, REFUSED))),
    ):
        assert both.ask(request) == request
        assert both.answer(response) == response
        assert both.client.state is both.server.state is State.ASSOCIATED
    unconfirmed = UnconfirmedWriteRequest((ENERGY,), (ONE,))
    assert both.ask(unconfirmed) == unconfirmed
    report = InformationReport((ENERGY,), (ONE,))
    assert both.answer(report) == report
    assert both.ask(ReadRequest((ENERGY,)))
    assert both.answer(ConfirmedServiceError(5, 5, 1)) == ConfirmedServiceError(5, 5, 1)
    assert both.client.state is State.ASSOCIATED


@pytest.mark.parametrize("pdu", [12, 20, 64, 140, 300])
@pytest.mark.parametrize("results", [(long_data(500),), (long_data(3), REFUSED, long_data(200), ONE)])
def test_a_long_answer(pdu: int, results: tuple[Any, ...]) -> None:
    both = Wires()
    both.associate(client_pdu=pdu)
    names = tuple(VariableName(0x100 + 8 * at) for at in range(len(results)))
    both.ask(ReadRequest(names))
    assert both.answer(ReadResponse(results)) == ReadResponse(results)
    assert both.client.state is both.server.state is State.ASSOCIATED
    both.ask(ReadRequest((ENERGY,)))  # and the next one starts anew
    assert both.answer(ReadResponse((long_data(100),))) == ReadResponse((long_data(100),))


@pytest.mark.parametrize("pdu", [12, 20, 64, 140, 300])
def test_long_requests(pdu: int) -> None:
    both = Wires()
    both.associate(server_pdu=pdu)
    write = WriteRequest((ENERGY, VOLTAGE), (long_data(500), ONE))
    assert both.ask(write) == write
    assert both.answer(WriteResponse((SUCCESS, REFUSED))) == WriteResponse((SUCCESS, REFUSED))
    read = ReadRequest(tuple(VariableName(0x100 + 8 * at) for at in range(150)))
    assert both.ask(read) == read
    answer = ReadResponse((ONE,) * 150)
    assert both.answer(answer) == answer


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(0, 400),
    client_pdu=st.integers(12, 200),
    server_pdu=st.integers(12, 200),
    count=st.integers(1, 20),
)
def test_whatever_the_sizes(length: int, client_pdu: int, server_pdu: int, count: int) -> None:
    both = Wires()
    both.associate(client_pdu, server_pdu)
    read = ReadRequest((ParameterizedAccess(8, 1, long_data(length)),) * count)
    answer = ReadResponse((long_data(length),) * count)
    assert both.ask(read) == read
    assert both.answer(answer) == answer


def test_blocks_on_the_wire() -> None:
    both = Wires()
    both.associate(client_pdu=16, server_pdu=15)
    both.client.send(WriteRequest((ENERGY,), (long_data(8),)))
    first = both.client.data_to_send()[8:]
    assert first.hex() == "0601070000010109" + "06" + "010207080109"
    assert both.say_to_server(first) == "0d01020001"
    assert both.say_to_client(bytes.fromhex("0d01020001")) is NEED_DATA
    assert both.client.data_to_send()[8:].hex() == "0601070000020109" + "06" + "080001020304"
    assert both.say_to_client(bytes.fromhex("0d01020002")) is NEED_DATA
    assert both.client.data_to_send()[8:].hex() == "0601070100030109" + "03" + "050607"
    both.say_to_client(bytes.fromhex("0d0100"))
    both.client.send(ReadRequest((ENERGY,)))
    assert both.client.data_to_send()[8:].hex() == "0501020708"
    assert both.say_to_client(bytes.fromhex("0c0102000001020100")) is NEED_DATA
    assert both.client.data_to_send()[8:].hex() == "0501050001"
    answer = both.say_to_client(bytes.fromhex("0c0102010002021105"))
    assert answer == ReadResponse((b"\x11\x05",))


def test_streaming() -> None:
    both = Wires()
    both.associate(client_pdu=30)
    both.client.send_streaming(ReadRequest((BUFFER,)))
    both.settle()
    made = []

    def pieces() -> Iterator[bytes]:
        yield b"\x01\x00\x01\x0a"
        for row in range(10):
            made.append(row)
            yield bytes((0x11, row)) * 5

    both.server.answer_read(pieces())
    (block,) = both.settle()[1]
    assert isinstance(block, BlockReceived)
    assert len(made) < 10  # made as they are asked for
    raw = block.raw_data
    while not block.last_block:
        both.client.ask_next_block()
        (block,) = both.settle()[1]
        assert isinstance(block, BlockReceived)
        raw += block.raw_data
    assert raw == b"\x01\x00\x01\x0a" + b"".join(bytes((0x11, row)) * 5 for row in range(10))
    with pytest.raises(LocalProtocolError):
        both.client.ask_next_block()
    # the rest may be given up
    both.client.send_streaming(ReadRequest((BUFFER,)))
    both.settle()
    both.server.send(ReadResponse((long_data(100),)))
    both.settle()
    assert both.client.state is State.BLOCKS
    assert both.ask(ReadRequest((ENERGY,))) == ReadRequest((ENERGY,))
    assert both.answer(ReadResponse((ONE,))) == ReadResponse((ONE,))
    assert both.say_to_server(ReadRequest((BlockNumberAccess(1),)).encode()) == "0c010110"


def test_without_block_transfer() -> None:
    both = Wires()
    both.associate(client_pdu=64, server_pdu=64, conformance=Conformance.READ | Conformance.WRITE)
    for request in (WriteRequest((ENERGY,), (long_data(100),)), UnconfirmedWriteRequest((ENERGY,), (long_data(100),))):
        with pytest.raises(LocalProtocolError):
            both.client.send(request)
        assert both.client.state is State.ASSOCIATED
    both.ask(ReadRequest((ENERGY,)))
    other = ReadResponse((DataAccessResult.OTHER_REASON,))
    assert both.answer(ReadResponse((long_data(100),))) == other


@pytest.mark.parametrize(
    ("blocks", "answers"),
    [
        # begins with the second one
        ([(0, 2, b"\x01")], [INVALID]),
        # one is missing, and the rest is refused too
        ([(0, 1, b"\x01"), (0, 3, b"\x02"), (1, 4, b"\x02")], [BlockNumber(1), INVALID, INVALID]),
        # the same one again
        ([(0, 1, b"\x01"), (0, 2, b"\x01"), (0, 2, b"\x01")], [BlockNumber(1), BlockNumber(2), INVALID]),
    ],
)
@pytest.mark.parametrize("service", ["read", "write"])
def test_blocks_of_a_request_out_of_order(service: str, blocks: Any, answers: Any) -> None:
    both = Wires()
    both.associate()
    for (last, number, raw_data), result in zip(blocks, answers, strict=True):
        request: ShortRequest
        response: ShortResponse
        if service == "read":
            request = ReadRequest((ReadDataBlockAccess(bool(last), number, raw_data),))
            response = ReadResponse((result,))
        else:
            request = write_block(WriteDataBlockAccess(bool(last), number), raw_data)
            response = WriteResponse((result,))
        assert both.say_to_server(request.encode()) == response.encode().hex()
        assert both.server.state is State.ASSOCIATED


def test_a_request_in_blocks_is_bounded() -> None:
    both = Wires(max_transfer=100)
    both.associate(server_pdu=30)
    both.client.send(WriteRequest((ENERGY,), (long_data(200),)))
    nothing, (answer,) = both.settle()
    assert nothing == []
    assert answer == WriteResponse((DataAccessResult.LONG_SET_ABORTED,))
    assert both.client.state is both.server.state is State.ASSOCIATED


def test_a_refused_transfer_refuses_all_that_was_asked() -> None:
    both = Wires()
    both.associate(server_pdu=20)
    both.client.send(WriteRequest((ENERGY, VOLTAGE), (long_data(50), ONE)))
    answer = both.say_to_client(bytes.fromhex("0d010113"))
    assert answer == WriteResponse((INVALID, INVALID))
    assert both.client.state is State.ASSOCIATED


@pytest.mark.parametrize(
    "apdu",
    [
        pytest.param("0506020102", id="half a block"),
        pytest.param("0502020100050001", id="a variable and a block number"),
        pytest.param("05020201000601000103010203", id="a variable and a block"),
        pytest.param("05010601000103010203", id="a block that is no request"),
        pytest.param("050106010001050105000100", id="a request for a block within a block"),
        pytest.param("0502070100010201000211051105", id="a block to write among variables"),
        pytest.param("060107010001010a0141", id="raw data in a visible-string"),
    ],
)
def test_requests_that_make_no_sense(apdu: str) -> None:
    both = Wires()
    both.associate()
    both.server.receive_data(wrap(bytes.fromhex(apdu), 16, 1))
    with pytest.raises(DecodeError):
        both.server.next_event()
    assert both.server.state is State.ASSOCIATED


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        pytest.param(["0d0100"], State.REQUESTED, id="another service"),
        pytest.param(["c401c10011"], State.REQUESTED, id="logical names"),
        pytest.param(["0c020011051105"], State.REQUESTED, id="malformed"),
        pytest.param(["0c02001105001105"], State.REQUESTED, id="two results"),
        pytest.param(["0c00"], State.REQUESTED, id="no result"),
        pytest.param(["0c01030001"], State.ASSOCIATED, id="a block number for a whole request"),
        pytest.param(["0c0102000002020100"], State.ASSOCIATED, id="the second block first"),
        pytest.param(["0c0102000001020100", "0c0102010001021105"], State.ASSOCIATED, id="the same block again"),
        pytest.param(["0c01020100010503000000"], State.REQUESTED, id="a block cut short"),
        pytest.param(["0c010201000104010011050000"], State.REQUESTED, id="octets after a block"),
        pytest.param(["0c01020100010702001105001105"], State.ASSOCIATED, id="two results in blocks"),
        pytest.param(["0c01020100010401030001"], State.ASSOCIATED, id="a block number in a block"),
    ],
)
def test_answers_that_make_no_sense(answers: list[str], state: State) -> None:
    both = Wires()
    both.associate()
    both.client.send(ReadRequest((ENERGY,)))
    *good, bad = [bytes.fromhex(answer) for answer in answers]
    for answer in good:
        assert both.say_to_client(answer) is NEED_DATA
    with pytest.raises(RemoteProtocolError):
        both.say_to_client(bad)
    assert both.client.state is state


def test_acknowledgements_that_make_no_sense() -> None:
    for number in ("0000", "0002"):
        both = Wires()
        both.associate(server_pdu=20)
        both.client.send(WriteRequest((ENERGY,), (long_data(50),)))
        with pytest.raises(RemoteProtocolError):
            both.say_to_client(bytes.fromhex("0d0102" + number))
        assert both.client.state is State.ASSOCIATED
    both = Wires()
    both.associate(server_pdu=40)
    both.client.send(WriteRequest((ENERGY,), (long_data(50),)))
    assert both.say_to_client(bytes.fromhex("0d01020001")) is NEED_DATA
    with pytest.raises(RemoteProtocolError):  # the last block is answered, not acknowledged
        both.say_to_client(bytes.fromhex("0d01020002"))


def test_what_a_client_does_not_send() -> None:
    both = Wires()
    both.associate()
    for request in (
        ReadRequest(()),
        ReadRequest((BlockNumberAccess(1),)),
        ReadRequest((ReadDataBlockAccess(last_block=True, block_number=1, raw_data=b"\x00"),)),
        WriteRequest((WriteDataBlockAccess(last_block=True, block_number=1),), (b"\x09\x00",)),
        ReadResponse((ONE,)),
    ):
        with pytest.raises(LocalProtocolError):
            both.client.send(request)
        assert both.client.state is State.ASSOCIATED
    both.client.send(ReadRequest((ENERGY,)))
    with pytest.raises(LocalProtocolError):
        both.client.send(ReadRequest((ENERGY,)))
    too_many = ReadResponse((DataBlock(last_block=True, block_number=1, raw_data=b"\x01\x00\x11\x05"),))
    assert both.say_to_client(too_many.encode()) == ReadResponse((b"\x11\x05",))


@pytest.mark.parametrize("key", [b"", bytes(range(0x40, 0x50))], ids=["global key", "dedicated key"])
def test_ciphered(key: bytes) -> None:
    both = Wires(keys=True)
    initiate = InitiateRequest(conformance=EVERYTHING, max_receive_pdu=64, dedicated_key=key)
    both.client.send(
        AssociationRequest(
            initiate=initiate, application_context=ApplicationContext.SN_CIPHERED, system_title=b"HDE00001"
        )
    )
    both.settle()
    granted = InitiateResponse(conformance=EVERYTHING, max_receive_pdu=64, vaa_name=VAA_SN)
    both.server.send(
        AssociationResponse(
            initiate=granted, application_context=ApplicationContext.SN_CIPHERED, system_title=b"MTR00001"
        )
    )
    both.settle()
    read, write = ReadRequest((ENERGY,)), WriteRequest((ENERGY,), (long_data(100),))
    both.client.send(read)
    octets = both.client.data_to_send()
    assert octets[8] == (0x45 if key else 0x25)
    both.server.receive_data(octets)
    assert both.server.next_event() == read
    both.server.send(ReadResponse((long_data(100),)))
    octets = both.server.data_to_send()
    assert octets[8] == (0x4C if key else 0x2C)
    both.client.receive_data(octets)
    assert both.client.next_event() is NEED_DATA
    assert both.settle()[1] == [ReadResponse((long_data(100),))]
    both.client.send(write)
    octets = both.client.data_to_send()
    assert octets[8] == (0x46 if key else 0x26)
    both.server.receive_data(octets)
    assert both.server.next_event() is NEED_DATA
    assert both.settle()[0] == [write]
    both.server.send(WriteResponse((SUCCESS,)))
    octets = both.server.data_to_send()
    assert octets[8] == (0x4D if key else 0x2D)
    both.client.receive_data(octets)
    assert both.client.next_event() == WriteResponse((SUCCESS,))
    both.client.send(UnconfirmedWriteRequest((ENERGY,), (ONE,)))
    assert both.client.data_to_send()[8] == (0x56 if key else 0x36)
    both.server.send(InformationReport((ENERGY,), (ONE,)))
    octets = both.server.data_to_send()
    assert octets[8] == (0x58 if key else 0x38)
    both.client.receive_data(octets)
    assert both.client.next_event() == InformationReport((ENERGY,), (ONE,))
