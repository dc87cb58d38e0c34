"""Client and server as a pair, in both framings, and answers that must not be taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend import errors
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus.connection import ModbusConnection, PreparedRead, RequestAdu, ResponseAdu
from headend.protocols.modbus.framing import Frame, encode_mbap, encode_rtu
from headend.protocols.modbus.pdu import (
    DeviceIdentificationResponse,
    ExceptionResponse,
    InvalidRequest,
    ReadDeviceIdentification,
    ReadRequest,
    ReadResponse,
    ReportServerId,
    ServerIdResponse,
    WriteMultiple,
    WriteMultipleResponse,
    WriteSingle,
)
from headend.protocols.modbus.values import RegisterLayout, RegisterType

READ = ReadRequest(4, 0, 2)
VOLTAGE = ReadResponse(4, bytes.fromhex("43663334"))  # 230.2 V
LAYOUT = RegisterLayout([(0, RegisterType.parse("f32"))], 2)
FRAMINGS = pytest.mark.parametrize("rtu", [False, True], ids=["mbap", "rtu"])


def client(*, rtu: bool) -> ModbusConnection:
    return ModbusConnection(Role.CLIENT, rtu=rtu)


def answer(response: Any, *, rtu: bool, unit_id: int = 1, transaction_id: int = 1) -> bytes:
    server = ModbusConnection(Role.SERVER, rtu=rtu)
    server.send(ResponseAdu(unit_id, response, transaction_id))
    return server.data_to_send()


words = st.integers(0, 0xFFFF)


@st.composite
def exchanges(draw: Any) -> tuple[Any, Any]:
    function = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 17, 43]))
    address = draw(st.integers(0, 0xF000))
    if function <= 4:
        count = draw(st.integers(1, 2000 if function <= 2 else 125))
        request = ReadRequest(function, address, count)
        response = ReadResponse(function, draw(st.binary(min_size=request.byte_count, max_size=request.byte_count)))
    elif function <= 6:
        request = WriteSingle(function, address, draw(st.sampled_from([0, 0xFF00]) if function == 5 else words))
        response = request
    elif function <= 16:
        count = draw(st.integers(1, 123))
        size = (count + 7) // 8 if function == 15 else count * 2
        request = WriteMultiple(function, address, count, draw(st.binary(min_size=size, max_size=size)))
        response = WriteMultipleResponse(function, address, count)
    elif function == 17:
        request, response = ReportServerId(), ServerIdResponse(draw(st.binary(min_size=1, max_size=200)))
    else:
        request = ReadDeviceIdentification(draw(st.integers(1, 4)), draw(st.integers(0, 255)))
        objects = draw(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=5))
        response = DeviceIdentificationResponse(
            request.category, 0x81, draw(st.booleans()), draw(st.integers(0, 255)), tuple(objects)
        )
    if draw(st.integers(0, 5)) == 0:
        response = ExceptionResponse(function, draw(st.integers(1, 11)))
    return request, response


@given(st.lists(exchanges(), min_size=1, max_size=4), st.integers(1, 247), st.booleans(), st.integers(1, 9))
def test_a_pair_in_pieces(talk: list[tuple[Any, Any]], unit_id: int, rtu: bool, piece: int) -> None:
    asking, meter = client(rtu=rtu), ModbusConnection(Role.SERVER, rtu=rtu)

    def carry(source: ModbusConnection, target: ModbusConnection) -> list[Any]:
        octets = source.data_to_send()
        events = []
        for start in range(0, len(octets), piece):
            target.receive_data(octets[start : start + piece])
            while (event := target.next_event()) is not NEED_DATA:
                events.append(event)
        return events

    for request, response in talk:
        asking.send(RequestAdu(unit_id, request))
        (heard,) = carry(asking, meter)
        assert (heard.unit_id, heard.request) == (unit_id, request)
        meter.send(ResponseAdu(heard.unit_id, response, heard.transaction_id))
        (got,) = carry(meter, asking)
        assert (got.unit_id, got.response) == (unit_id, response)
        assert not asking.is_waiting
    assert asking.unmatched == asking.dropped == 0


def test_transaction_ids_run_from_1_to_65535() -> None:
    asking = client(rtu=False)
    asking._transaction_id = 0xFFFE
    seen = []
    for _ in range(2):
        asking.send(RequestAdu(1, READ))
        seen.append(int.from_bytes(asking.data_to_send()[:2], "big"))
        asking.abandon()
    assert seen == [0xFFFF, 1]


def test_one_request_at_a_time() -> None:
    asking = client(rtu=False)
    asking.send(RequestAdu(1, READ))
    with pytest.raises(errors.LocalProtocolError, match="in flight"):
        asking.send(RequestAdu(2, READ))


@pytest.mark.parametrize(
    ("role", "event"),
    [
        (Role.SERVER, RequestAdu(1, READ)),
        (Role.CLIENT, ResponseAdu(1, VOLTAGE)),
        (Role.CLIENT, RequestAdu(1, InvalidRequest(3, 1))),
        (Role.CLIENT, RequestAdu(256, READ)),
    ],
)
def test_what_a_role_does_not_send(role: Role, event: Any) -> None:
    with pytest.raises(errors.LocalProtocolError):
        ModbusConnection(role, rtu=False).send(event)


def test_nothing_answers_a_broadcast_in_rtu() -> None:
    asking = client(rtu=True)
    asking.send(RequestAdu(0, WriteSingle(6, 1, 2)))
    assert not asking.is_waiting
    asking = client(rtu=False)
    asking.send(RequestAdu(0, READ))  # unit 0 is the gateway itself in Modbus TCP
    assert asking.is_waiting


@pytest.mark.parametrize(
    "late",
    [
        answer(VOLTAGE, rtu=False, transaction_id=1),  # of the request we gave up
        answer(VOLTAGE, rtu=False, transaction_id=2, unit_id=9),
    ],
)
def test_mbap_takes_no_answer_of_another_transaction_or_unit(late: bytes) -> None:
    asking = client(rtu=False)
    asking.send(RequestAdu(1, READ))
    asking.abandon()
    asking.send(RequestAdu(1, READ))
    asking.receive_data(late)
    assert asking.next_event() is NEED_DATA
    assert asking.unmatched == 1
    asking.receive_data(answer(VOLTAGE, rtu=False, transaction_id=2))
    assert asking.next_event() == ResponseAdu(1, VOLTAGE, 2)


@pytest.mark.parametrize(
    "late",
    [
        answer(VOLTAGE, rtu=True, unit_id=9),
        answer(ReadResponse(3, bytes(4)), rtu=True),
        answer(ReadResponse(4, bytes(6)), rtu=True),  # of a longer read
    ],
)
def test_rtu_takes_no_answer_of_another_unit_function_or_length(late: bytes) -> None:
    asking = client(rtu=True)
    asking.send(RequestAdu(1, READ))
    asking.receive_data(late)
    assert asking.next_event() is NEED_DATA
    asking.receive_data(answer(VOLTAGE, rtu=True))
    assert asking.next_event() == ResponseAdu(1, VOLTAGE)
    assert asking.unmatched + asking.dropped > 0


@FRAMINGS
def test_unasked_frames_are_dropped(rtu: bool) -> None:
    asking = client(rtu=rtu)
    asking.receive_data(answer(VOLTAGE, rtu=rtu))
    assert asking.next_event() is NEED_DATA
    assert asking.unmatched + asking.dropped > 0


def test_abandoning_rtu_forgets_half_an_answer() -> None:
    asking = client(rtu=True)
    asking.send(RequestAdu(1, READ))
    asking.receive_data(answer(VOLTAGE, rtu=True)[:5])
    asking.abandon()
    assert asking._framing.pending == 0


@FRAMINGS
def test_an_answer_that_is_none_ends_the_request(rtu: bool) -> None:
    asking = client(rtu=rtu)
    asking.send(RequestAdu(1, WriteSingle(6, 1, 2)))
    asking.receive_data(answer(WriteSingle(6, 1, 3), rtu=rtu))
    with pytest.raises(errors.RemoteProtocolError, match="echo"):
        asking.next_event()
    assert not asking.is_waiting


@FRAMINGS
def test_the_server_tells_what_it_must_refuse(rtu: bool) -> None:
    encode = encode_rtu if rtu else encode_mbap
    meter = ModbusConnection(Role.SERVER, rtu=rtu)
    meter.receive_data(encode(Frame(5, b"\x07")))
    assert meter.next_event() == RequestAdu(5, InvalidRequest(7, 1))


# -- prepared reads


@FRAMINGS
def test_a_prepared_read_sends_what_the_general_way_sends(rtu: bool) -> None:
    read = PreparedRead(1, READ, LAYOUT, rtu=rtu)
    general, prepared = client(rtu=rtu), client(rtu=rtu)
    for _ in range(2):
        general.send(RequestAdu(1, READ))
        assert prepared.begin(read) == general.data_to_send()
        general.abandon()
        prepared.abandon()
    assert PreparedRead(1, READ, LAYOUT, rtu=True).octets(0) == bytes.fromhex("01 04 0000 0002 71CB")  # SDM630 manual


@FRAMINGS
def test_a_prepared_read_whole_in_pieces_and_behind_noise(rtu: bool) -> None:
    read = PreparedRead(1, READ, LAYOUT, rtu=rtu)
    asking = client(rtu=rtu)
    value = (230.20001,)  # the two neighbours are 230.2 and 230.20003
    octets = asking.begin(read) and answer(VOLTAGE, rtu=rtu, transaction_id=1)
    assert asking.complete(read, octets) == value
    assert not asking.is_waiting
    asking.begin(read)
    octets = answer(VOLTAGE, rtu=rtu, transaction_id=2)
    assert [asking.complete(read, bytes((octet,))) for octet in octets] == [NEED_DATA] * (len(octets) - 1) + [value]
    asking.begin(read)
    noise = answer(VOLTAGE, rtu=rtu, unit_id=9)
    assert asking.complete(read, noise) is NEED_DATA
    assert asking.complete(read, answer(VOLTAGE, rtu=rtu, transaction_id=3)) == value
    assert asking.complete(read, octets) is NEED_DATA  # nothing was asked


@FRAMINGS
def test_a_prepared_read_takes_nothing_broken(rtu: bool) -> None:
    read = PreparedRead(1, READ, LAYOUT, rtu=rtu)
    good = answer(VOLTAGE, rtu=rtu, transaction_id=1)
    broken = [answer(ReadResponse(3, VOLTAGE.data), rtu=rtu), good + b"\0", good[:-1]]
    broken += [good[:-1] + bytes((good[-1] ^ 1,))] if rtu else [answer(VOLTAGE, rtu=False, transaction_id=7)]
    for octets in broken:
        assert read.data_offset(octets, 1) == 0
    assert read.data_offset(good, 1) == (3 if rtu else 9)


@FRAMINGS
def test_exceptions_are_raised_as_errors(rtu: bool) -> None:
    read = PreparedRead(1, READ, LAYOUT, rtu=rtu)
    asking = client(rtu=rtu)
    asking.begin(read)
    with pytest.raises(errors.ObjectUndefined, match="illegal data address"):
        asking.complete(read, answer(ExceptionResponse(4, 2), rtu=rtu))
    assert not asking.is_waiting
