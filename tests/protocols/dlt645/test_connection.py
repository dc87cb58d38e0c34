"""A connection against octets: matching, wildcards, long answers, repetition, late and foreign answers, prepared reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import CapabilityError, DecodeError, LocalProtocolError, ObjectUndefined, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.fields import Password
from headend.protocols.dlt645.following import MAX_PARTS
from headend.protocols.dlt645.formats import Layout
from headend.protocols.dlt645.frame import ANYBODY, BROADCAST, Address, Frame, decode_frame, encode_frame
from headend.protocols.dlt645.messages import version_of
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.prepared import PreparedRead, encode_read
from headend.protocols.dlt645.requests import (
    Authenticate,
    ClearDemand,
    ClearMeter,
    Freeze,
    InvalidRequest,
    Read,
    ReadAddress,
    ReadFollowing,
    ReRead,
    SetTime,
    WriteAddress,
)
from headend.protocols.dlt645.responses import Confirmation, Data, MeterAddress, Refusal
from headend.protocols.dlt645.state import State
from headend.standards.dlt645 import Version

METER, OTHER = Address.parse("000000000161"), Address.parse("000000000162")
VOLTAGE = 0x02010100
ASK_VOLTAGE = bytes.fromhex("FEFEFEFE 68 610100000000 68 11 04 33343435 17 16")
HAS_VOLTAGE = bytes.fromhex("68 610100000000 68 91 06 33343435 3443 10 16")  # a real meter: 100.1 V
NO_SUCH = bytes.fromhex("68 610100000000 68 D1 01 35 39 16")
SECRET = Password.parse("123456", 2)


def client(asked: RequestTo | None = None) -> Dlt645Connection:
    made = Dlt645Connection(Role.CLIENT)
    if asked is not None:
        made.send(asked)
        made.data_to_send()
    return made


def octets(control: int, data: str, address: Address = METER) -> bytes:
    return encode_frame(Frame(address, control, bytes.fromhex(data)))


def sent(connection: Dlt645Connection) -> Frame:
    frame, _ = decode_frame(connection.data_to_send())
    return frame


def test_a_read() -> None:
    ours = client()
    ours.send(RequestTo(METER, Read(VOLTAGE)))
    assert ours.data_to_send() == ASK_VOLTAGE == encode_read(METER, VOLTAGE)
    assert ours.next_event() is NEED_DATA
    for octet in HAS_VOLTAGE[:-1]:
        ours.receive_data(bytes((octet,)))
        assert ours.next_event() is NEED_DATA
    assert ours.pending == len(HAS_VOLTAGE) - 1
    ours.receive_data(HAS_VOLTAGE[-1:])
    assert ours.next_event() == AnswerFrom(METER, Data(VOLTAGE, b"\x01\x10"))
    assert not ours.is_waiting


@pytest.mark.parametrize("address", [ANYBODY, Address.parse("AAAAAAAA0161")])
def test_a_wildcard_is_answered_by_an_address(address: Address) -> None:
    ours = client(RequestTo(address, ReadAddress()))
    ours.receive_data(octets(0x93, "610100000000"))
    assert ours.next_event() == AnswerFrom(METER, MeterAddress(METER))


def test_everybody_is_asked_in_1997() -> None:
    ours = client(RequestTo(BROADCAST, Read(0x9010), Version.V1997))
    ours.receive_data(bytes.fromhex("68 953206000000 68 81 06 43C348333333 0B 16"))  # a real meter
    assert ours.next_event() == AnswerFrom(Address.parse("63295"), Data(0x9010, bytes.fromhex("15000000")))


def test_what_nobody_answers() -> None:
    ours = client()
    for asked in (
        RequestTo(BROADCAST, SetTime(Moment(2024, 1, 2, None, 3, 4, 5))),
        RequestTo(METER, SetTime(Moment(2024, 1, 2, None, 3, 4, 5))),
        RequestTo(BROADCAST, Freeze()),
        RequestTo(BROADCAST, ClearDemand(), Version.V1997),
    ):
        ours.send(asked)
        assert not ours.is_waiting
        assert ours.data_to_send() != b""
    with pytest.raises(LocalProtocolError, match="nobody answers a ClearMeter"):
        ours.send(RequestTo(BROADCAST, ClearMeter(SECRET)))
    with pytest.raises(LocalProtocolError, match="nobody answers a Read"):
        PreparedRead(BROADCAST, VOLTAGE, Layout.parse("XXX.X"))
    with pytest.raises(CapabilityError):
        ours.send(RequestTo(METER, Freeze(), Version.V1997))
    with pytest.raises(LocalProtocolError, match="does not send"):
        ours.send(RequestTo(METER, InvalidRequest(5)))
    assert ours.data_to_send() == b""
    assert ours.state is State.IDLE


STRAYS = {
    "answer of another meter": (octets(0x91, "00010102 0110", OTHER), "foreign"),
    "refusal of another meter": (octets(0xD1, "02", OTHER), "foreign"),
    "our own request, echoed": (ASK_VOLTAGE, "foreign"),
    "somebody else's request": (octets(0x11, "00010102", OTHER), "foreign"),
    "answer to what was asked before": (octets(0x91, "00020102 0110"), "late"),
    "answer to another function": (octets(0x94, ""), "late"),
    "refusal of another function": (octets(0xD4, "04"), "late"),
    "answer of 1997": (octets(0x81, "11B6 2002"), "late"),
}


@pytest.mark.parametrize("name", STRAYS)
def test_strays_are_told_apart_and_dropped(name: str) -> None:
    stray, counter = STRAYS[name]
    ours = client(RequestTo(METER, Read(VOLTAGE)))
    ours.receive_data(stray + HAS_VOLTAGE + HAS_VOLTAGE)
    assert ours.next_event() == AnswerFrom(METER, Data(VOLTAGE, b"\x01\x10"))
    assert {"late": ours.late, "foreign": ours.foreign} == {"late": 0, "foreign": 0} | {counter: 1}
    assert ours.next_event() is NEED_DATA  # the same answer again
    assert ours.late == 1 + (counter == "late")


def test_before_anything_is_asked_all_is_foreign() -> None:
    ours = client()
    ours.receive_data(HAS_VOLTAGE)
    assert ours.next_event() is NEED_DATA
    assert (ours.late, ours.foreign) == (0, 1)


def test_an_answer_after_the_request_was_given_up() -> None:
    ours = client(RequestTo(METER, Read(0x02020100)))
    ours.abandon()
    ours.send(RequestTo(METER, Read(VOLTAGE)))
    ours.receive_data(octets(0x91, "00010202 994900") + HAS_VOLTAGE)
    assert ours.next_event() == AnswerFrom(METER, Data(VOLTAGE, b"\x01\x10"))
    assert ours.late == 1


def test_a_broken_answer_ends_the_request() -> None:
    for broken in (octets(0x91, "00"), octets(0xD1, ""), octets(0x91, "")):
        ours = client(RequestTo(METER, Read(VOLTAGE)))
        ours.receive_data(broken)
        with pytest.raises(DecodeError):
            ours.next_event()
        assert not ours.is_waiting
        ours.send(RequestTo(METER, Read(VOLTAGE)))
        ours.receive_data(HAS_VOLTAGE)
        assert isinstance(ours.next_event(), AnswerFrom)


def test_noise_is_counted() -> None:
    ours = client(RequestTo(METER, Read(VOLTAGE)))
    ours.receive_data(b"\0\0" + HAS_VOLTAGE)
    assert isinstance(ours.next_event(), AnswerFrom)
    assert ours.dropped == 2


# long answers: the standard's example of parts, SEQ from 1 (2007), and of 1997 without


def test_a_long_answer_of_2007() -> None:
    ours = client(RequestTo(ANYBODY, Read(0x0001FF00)))
    ours.receive_data(octets(0xB1, "00FF0100 01020304"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours) == Frame(METER, 0x12, bytes.fromhex("00FF0100 01"))
    ours.receive_data(octets(0xB2, "00FF0100 0506 01"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours) == Frame(METER, 0x12, bytes.fromhex("00FF0100 02"))
    ours.receive_data(octets(0x92, "00FF0100 07 02"))
    assert ours.next_event() == AnswerFrom(METER, Data(0x0001FF00, bytes.fromhex("01020304050607")))
    assert ours.data_to_send() == b""


def test_a_part_is_asked_for_again_in_2007() -> None:
    ours = client(RequestTo(METER, Read(0x0001FF00)))
    ours.repeat()
    assert sent(ours) == Frame(METER, 0x11, bytes.fromhex("00FF0100"))
    ours.receive_data(octets(0xB1, "00FF0100 01") * 2)
    assert ours.next_event() is NEED_DATA
    assert ours.late == 1  # the first answer came after all
    assert sent(ours).data[-1] == 1
    ours.receive_data(octets(0xB2, "00FF0100 02 01"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours).data[-1] == 2
    ours.repeat()
    assert sent(ours) == Frame(METER, 0x12, bytes.fromhex("00FF0100 02"))
    ours.receive_data(octets(0xB2, "00FF0100 02 01") + octets(0x92, "00FF0100 03 02"))
    assert ours.next_event() == AnswerFrom(METER, Data(0x0001FF00, b"\1\2\3"))
    assert ours.late == 2


def test_a_part_that_nobody_asked_for() -> None:
    ours = client(RequestTo(METER, Read(0x0001FF00)))
    ours.receive_data(octets(0xB1, "00FF0100 01") + octets(0x92, "00FF0100 03 03"))
    with pytest.raises(RemoteProtocolError, match="expected sequence number 1, got 3"):
        ours.next_event()
    assert ours.state is State.IDLE


def test_a_refusal_in_the_middle() -> None:
    ours = client(RequestTo(METER, Read(0x0001FF00)))
    ours.receive_data(octets(0xB1, "00FF0100 01") + octets(0xD2, "02"))
    assert ours.next_event() == AnswerFrom(METER, Refusal(2))
    assert ours.state is State.IDLE


@pytest.mark.parametrize("version", Version)
def test_an_answer_without_an_end(version: Version) -> None:
    new = version is Version.V2007
    ours = client(RequestTo(METER, Read(0x901F), version))
    ours.receive_data(octets(0xB1, "1F900000") if new else octets(0xA1, "1F90"))
    for part in range(1, MAX_PARTS):
        assert ours.next_event() is NEED_DATA
        ours.receive_data(octets(0xB2, f"1F900000{part:02X}") if new else octets(0xA2, "1F90"))
    assert ours.next_event() is NEED_DATA
    ours.receive_data(octets(0xB2, "1F90000000") if new else octets(0xA2, "1F90"))
    with pytest.raises(RemoteProtocolError, match="an answer without an end"):
        ours.next_event()
    assert ours.state is State.IDLE


def test_a_long_answer_of_1997() -> None:
    ours = client(RequestTo(METER, Read(0x901F), Version.V1997))
    ours.receive_data(octets(0xA1, "1F90 01020304"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours) == Frame(METER, 0x02, bytes.fromhex("1F90"))
    ours.receive_data(octets(0xA2, "1F90 0506"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours) == Frame(METER, 0x02, bytes.fromhex("1F90"))
    ours.repeat()
    assert sent(ours) == Frame(METER, 0x03, bytes.fromhex("1F90"))
    ours.repeat()
    assert sent(ours) == Frame(METER, 0x03, bytes.fromhex("1F90"))
    ours.receive_data(octets(0x83, "1F90 07"))
    assert ours.next_event() == AnswerFrom(METER, Data(0x901F, bytes.fromhex("01020304050607")))


def test_a_lost_request_of_1997_begins_anew() -> None:
    """The last answer, once more, is the one that is here: it may also be the next one with the same octets."""
    ours = client(RequestTo(METER, Read(0x901F), Version.V1997))
    ours.repeat()
    assert sent(ours).control == 0x01
    ours.receive_data(octets(0xA1, "1F90 01"))
    assert ours.next_event() is NEED_DATA
    ours.data_to_send()
    ours.repeat()
    assert sent(ours).control == 0x03
    ours.receive_data(octets(0xA3, "1F90 01"))
    assert ours.next_event() is NEED_DATA
    assert sent(ours) == Frame(METER, 0x01, bytes.fromhex("1F90"))
    ours.receive_data(octets(0xA1, "1F90 01") + octets(0x82, "1F90 01"))
    assert ours.next_event() == AnswerFrom(METER, Data(0x901F, b"\1\1"))


def test_only_reads_in_flight_are_repeated() -> None:
    ours = client()
    with pytest.raises(LocalProtocolError, match="only a read"):
        ours.repeat()
    ours.send(RequestTo(METER, ClearMeter(SECRET)))
    with pytest.raises(LocalProtocolError, match="only a read"):
        ours.repeat()
    ours.receive_data(octets(0x9A, ""))
    assert ours.next_event() == AnswerFrom(METER, Confirmation())
    ours.data_to_send()
    ours.send(RequestTo(ANYBODY, ReadAddress()))
    first = ours.data_to_send()
    ours.repeat()
    assert ours.data_to_send() == first


def test_the_security_module() -> None:
    ours = client(RequestTo(METER, Authenticate(0x070000FF, data=b"\1")))
    ours.receive_data(octets(0x83, "01000007 02") + octets(0x83, "FF000007 03"))
    assert ours.next_event() == AnswerFrom(METER, Data(0x070000FF, b"\3"))
    assert ours.late == 1


# the meter's side


def heard(server: Dlt645Connection, control: int, data: str, address: Address = METER) -> object:
    server.receive_data(octets(control, data, address))
    return server.next_event()


def test_a_meter_hands_out_the_parts() -> None:
    server = Dlt645Connection(Role.SERVER, leader=0, room=3)
    assert heard(server, 0x11, "00FF0100", ANYBODY) == RequestTo(ANYBODY, Read(0x0001FF00))
    server.send(AnswerFrom(METER, Data(0x0001FF00, bytes(range(7)))))
    assert sent(server) == Frame(METER, 0xB1, bytes.fromhex("00FF0100 000102"))
    for _ in range(2):  # the same number again: the same part again
        assert heard(server, 0x12, "00FF0100 01") is NEED_DATA
        assert sent(server) == Frame(METER, 0xB2, bytes.fromhex("00FF0100 030405 01"))
    assert heard(server, 0x12, "00FF0100 02") is NEED_DATA
    assert sent(server) == Frame(METER, 0x92, bytes.fromhex("00FF0100 06 02"))
    for data, address in (("00FF0100 03", METER), ("00FF0200 01", METER), ("00FF0100 01", OTHER)):
        assert isinstance(heard(server, 0x12, data, address), RequestTo)
        server.send(AnswerFrom(address, Refusal(2)))
        assert sent(server) == Frame(address, 0xD2, b"\2")


def test_a_meter_of_1997_repeats_its_last_answer() -> None:
    server = Dlt645Connection(Role.SERVER, room=2)
    assert heard(server, 0x03, "1F90") == RequestTo(METER, ReRead(0x901F), Version.V1997)
    server.abandon()
    assert heard(server, 0x01, "1F90") == RequestTo(METER, Read(0x901F), Version.V1997)
    server.send(AnswerFrom(METER, Data(0x901F, bytes(range(5)))))
    assert sent(server) == Frame(METER, 0xA1, bytes.fromhex("1F90 0001"))
    said = [(0x03, 0xA3, "0001"), (0x02, 0xA2, "0203"), (0x03, 0xA3, "0203"), (0x02, 0x82, "04"), (0x03, 0x83, "04")]
    for asked, answered, part in said:
        assert heard(server, asked, "1F90") is NEED_DATA
        assert sent(server) == Frame(METER, answered, bytes.fromhex("1F90" + part))
    assert heard(server, 0x02, "1F90") == RequestTo(METER, ReadFollowing(0x901F), Version.V1997)


def test_an_empty_answer() -> None:
    server = Dlt645Connection(Role.SERVER)
    heard(server, 0x11, "00010102")
    server.send(AnswerFrom(METER, Data(VOLTAGE, b"")))
    assert sent(server) == Frame(METER, 0x91, bytes.fromhex("00010102"))


def test_what_a_meter_must_refuse() -> None:
    server = Dlt645Connection(Role.SERVER)
    event = heard(server, 0x05, "0102")
    assert isinstance(event, RequestTo)
    assert event.request == InvalidRequest(5, b"\1\2", "no request has this control code (got 05)")
    server.send(AnswerFrom(METER, Refusal(1)))
    assert sent(server) == Frame(METER, 0xC5, b"\1")
    event = heard(server, 0x01, "00010203")
    assert isinstance(event, RequestTo)
    assert isinstance(event.request, InvalidRequest)
    assert event.version is Version.V1997
    server.send(AnswerFrom(METER, Refusal(1)))
    assert sent(server) == Frame(METER, 0xC1, b"\1")


def test_a_meter_answers_for_itself() -> None:
    server = Dlt645Connection(Role.SERVER)
    heard(server, 0x11, "00010102")
    for wrong in (OTHER, ANYBODY):
        with pytest.raises(LocalProtocolError, match="does not answer for"):
            server.send(AnswerFrom(wrong, Data(VOLTAGE, b"\x01\x10")))
    with pytest.raises(LocalProtocolError, match="data of 02010200 do not answer 02010100"):
        server.send(AnswerFrom(METER, Data(0x02010200, b"\x01\x10")))
    server.send(AnswerFrom(METER, Data(VOLTAGE, b"\x01\x10")))
    assert server.data_to_send() == b"\xfe\xfe\xfe\xfe" + HAS_VOLTAGE
    assert heard(server, 0x15, "620100000000") == RequestTo(METER, WriteAddress(OTHER))
    server.send(AnswerFrom(OTHER, Confirmation()))  # by its new name
    assert sent(server) == Frame(OTHER, 0x95)
    assert heard(server, 0x91, "00010102 0110", OTHER) is NEED_DATA  # another meter's answer on the line
    assert server.foreign == 1


def test_a_meter_does_not_answer_what_goes_to_everybody() -> None:
    server = Dlt645Connection(Role.SERVER)
    event = heard(server, 0x16, "99999999", BROADCAST)
    assert event == RequestTo(BROADCAST, Freeze())
    assert not server.is_waiting
    with pytest.raises(LocalProtocolError, match="nobody waits"):
        server.send(AnswerFrom(METER, Confirmation()))


def test_room() -> None:
    for room in (0, 196):
        with pytest.raises(LocalProtocolError, match="octets of data"):
            Dlt645Connection(Role.SERVER, room=room)


def test_the_version_is_that_of_the_function() -> None:
    for control in (0x01, 0x02, 0x04, 0x0A, 0x0C, 0x0F, 0x10, 0x81, 0xA1, 0xC1):
        assert version_of(control, 2) is Version.V1997
    for control in (0x08, 0x11, 0x13, 0x1C, 0x91, 0xB1, 0xD1, 0x05):
        assert version_of(control, 2) is Version.V2007
    assert version_of(0x03, 2) is Version.V1997
    assert version_of(0x03, 8) is version_of(0x83, 6) is Version.V2007


# prepared reads

READ = PreparedRead(METER, VOLTAGE, Layout.parse("XXX.X"))


def began(read: PreparedRead = READ) -> Dlt645Connection:
    ours = client()
    assert ours.begin(read) == read.octets
    return ours


@pytest.mark.parametrize("leader", [0, 1, 4])
@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_prepared_read(leader: int, size: int) -> None:
    ours = began()
    answer = b"\xfe" * leader + HAS_VOLTAGE
    for at in range(0, len(answer), size):
        assert ours.is_waiting
        values = ours.complete(READ, answer[at : at + size])
    assert values == (100.1,)
    assert not ours.is_waiting
    assert ours.begin(READ) == ASK_VOLTAGE
    with pytest.raises(LocalProtocolError, match="while the conversation is requested"):
        ours.begin(READ)


def test_a_prepared_read_of_1997() -> None:
    read = PreparedRead(Address.parse("63295"), 0x9010, Layout.parse("XXXXXX.XX"), Version.V1997)
    assert decode_frame(read.octets)[0] == Frame(Address.parse("63295"), 0x01, bytes.fromhex("1090"))
    assert began(read).complete(read, bytes.fromhex("68 953206000000 68 81 06 43C348333333 0B 16")) == (0.15,)


def test_the_general_way_of_a_prepared_read() -> None:
    assert began().complete(READ, b"\0" + HAS_VOLTAGE) == (100.1,)
    assert began().complete(READ, HAS_VOLTAGE + b"\0") == (100.1,)
    assert began().complete(READ, STRAYS["answer of another meter"][0]) is NEED_DATA
    with pytest.raises(ObjectUndefined, match="no such data"):
        began().complete(READ, NO_SUCH)
    for broken in (octets(0x91, "00010102 01"), octets(0x91, "00010102 0A10")):
        ours = began()
        with pytest.raises(DecodeError):
            ours.complete(READ, broken)
        assert not ours.is_waiting
    wild = PreparedRead(ANYBODY, VOLTAGE, READ.layout)
    assert began(wild).complete(wild, HAS_VOLTAGE) == (100.1,)


def test_a_prepared_read_with_a_long_answer() -> None:
    read = PreparedRead(METER, 0x0001FF00, Layout.parse("XX", items=None))
    ours = began(read)
    assert ours.complete(read, octets(0xB1, "00FF0100 0102")) is NEED_DATA
    assert sent(ours) == Frame(METER, 0x12, bytes.fromhex("00FF0100 01"))
    assert ours.complete(read, octets(0x92, "00FF0100 03 01")) == (1, 2, 3)


@given(
    st.lists(st.sampled_from([HAS_VOLTAGE, NO_SUCH, *(stray for stray, _ in STRAYS.values())]), max_size=4), st.data()
)
def test_the_short_way_and_the_long_way_agree(parts: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(parts))
    if stream and data.draw(st.booleans()):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    short, long = began(), client(RequestTo(METER, Read(VOLTAGE)))
    long.receive_data(bytes(stream))
    expected: object
    try:
        event = long.next_event()
        expected = (
            READ.layout.decode(event.response.data)
            if isinstance(event, AnswerFrom) and isinstance(event.response, Data)
            else event
        )
        if isinstance(event, AnswerFrom) and isinstance(event.response, Refusal):
            expected = ObjectUndefined if event.response.error == 2 else type(event.response.to_error())
    except RemoteProtocolError as error:
        expected = type(error)
    try:
        got: object = short.complete(READ, bytes(stream))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other way has it too
        got = type(error)
    assert got == expected
    assert short.is_waiting == long.is_waiting
