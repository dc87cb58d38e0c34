"""The wrapper of IEC 62056-47, in both roles, fed whole, octet by octet, and with rubbish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.wrapper import Header, WrapperFraming, wrap

from .draining import drain

# The AARQ that a public client sends to port 1 of a meter from port 16, with its header.
AARQ = bytes.fromhex("601da109060760857405080101be10040e01000000065f1f040000 1e1dffff")
AARQ_FRAME = bytes.fromhex("0001 0010 0001 001f") + AARQ


def client(**options: int) -> WrapperFraming:
    return WrapperFraming(Role.CLIENT, client_sap=16, server_sap=1, **options)


def test_header_of_a_known_frame() -> None:
    assert wrap(AARQ, 16, 1) == AARQ_FRAME


def test_client_sends_from_its_port_to_the_meter() -> None:
    framing = client()
    framing.send_apdu(AARQ)
    assert framing.data_to_send() == AARQ_FRAME
    assert framing.data_to_send() == b""


def test_server_answers_the_port_that_asked() -> None:
    framing = WrapperFraming(Role.SERVER, server_sap=1)
    framing.receive_data(AARQ_FRAME)
    assert drain(framing) == [ApduReceived(AARQ, 16, 1)]
    framing.send_apdu(b"\x61")
    assert framing.data_to_send() == bytes.fromhex("0001 0001 0010 0001 61")


def test_server_drops_frames_for_another_logical_device() -> None:
    framing = WrapperFraming(Role.SERVER, server_sap=2)
    framing.receive_data(AARQ_FRAME + wrap(b"\x62", 16, 2))
    assert drain(framing) == [ApduReceived(b"\x62", 16, 2)]


def test_server_without_a_port_takes_all() -> None:
    framing = WrapperFraming(Role.SERVER)
    framing.receive_data(AARQ_FRAME)
    assert drain(framing) == [ApduReceived(AARQ, 16, 1)]


@pytest.mark.parametrize(
    ("source", "destination", "unsolicited"), [(1, 16, False), (16, 1, False), (1, 0x66, True), (2, 16, True)]
)
def test_client_tells_answers_from_other_frames(source: int, destination: int, unsolicited: bool) -> None:
    framing = client()
    framing.receive_data(wrap(b"\x0f", source, destination))
    assert drain(framing) == [ApduReceived(b"\x0f", source, destination, unsolicited=unsolicited)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.integers(1, 7))
def test_any_cut_of_the_stream_gives_the_same_frames(apdus: list[bytes], size: int) -> None:
    stream = b"".join(wrap(apdu, 1, 16) for apdu in apdus)
    framing = client()
    events: list[object] = []
    for start in range(0, len(stream), size):
        framing.receive_data(stream[start : start + size])
        events += drain(framing)
    assert events == [ApduReceived(apdu, 1, 16) for apdu in apdus]


@pytest.mark.parametrize(
    ("rubbish", "complaint"),
    [
        (b"7", "version 0001, got 37"),
        (b"\x00\x02", "version 0001, got 0002"),
        (bytes.fromhex("7ea00703219353"), "version 0001, got 7ea0"),
        (bytes.fromhex("0001 0001 0010 0000"), "1 to 100 octets, got 0"),
        (bytes.fromhex("0001 0001 0010 0065"), "1 to 100 octets, got 101"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_rubbish_is_named_and_the_next_frame_found(rubbish: bytes, complaint: str, whole: bool) -> None:
    framing = client(max_apdu=100)
    stream = rubbish + wrap(b"\xd8\x01\x01", 1, 16)
    events: list[object] = []
    for data in [stream] if whole else [bytes((octet,)) for octet in stream]:
        framing.receive_data(data)
        events += drain(framing)
    errors = [event for event in events if isinstance(event, RemoteProtocolError)]
    assert complaint.partition(", got ")[0] in str(errors[0])
    if whole:
        assert complaint in str(errors[0])
    assert events[-1] == ApduReceived(b"\xd8\x01\x01", 1, 16)


def test_half_a_version_at_the_end_of_rubbish_is_kept() -> None:
    framing = client()
    framing.receive_data(b"\xff\x00")
    assert len(drain(framing)) == 1
    framing.receive_data(wrap(b"\x63", 1, 16)[1:])
    assert drain(framing) == [ApduReceived(b"\x63", 1, 16)]


@given(st.binary(max_size=200))
def test_no_octets_break_it(data: bytes) -> None:
    framing = client(max_apdu=50)
    framing.receive_data(data)
    for event in drain(framing):
        assert isinstance(event, ApduReceived | RemoteProtocolError)


def test_prepared_frames_are_those_that_are_sent() -> None:
    framing = client()
    prepared = framing.prepare(AARQ)
    assert framing.request(prepared) == AARQ_FRAME
    framing.send_apdu(b"\x62")
    assert framing.request(prepared) == wrap(b"\x62", 16, 1) + AARQ_FRAME
    framing.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        framing.request(prepared)
    with pytest.raises(LocalProtocolError, match="ports"):
        WrapperFraming(Role.SERVER).prepare(AARQ)


def test_one_whole_frame_is_taken_at_once() -> None:
    framing = client(max_apdu=20)
    frame = wrap(b"\xc4\x01\xc1", 1, 16)
    assert framing.receive_apdu(frame) == (frame, 8, 11)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        wrap(b"\xc4", 1, 16)[:-1],
        wrap(b"\xc4", 1, 16) + b"\x00",
        wrap(b"\xc4", 2, 16),
        wrap(b"\xc4", 16, 1),
        wrap(bytes(21), 1, 16),
    ],
)
def test_anything_else_goes_the_general_way(data: bytes) -> None:
    assert client(max_apdu=20).receive_apdu(data) is None


def test_nothing_overtakes_what_came_before() -> None:
    framing = client()
    assert framing.is_idle
    framing.receive_data(b"\x00")
    assert not framing.is_idle
    assert framing.receive_apdu(wrap(b"\xc4", 1, 16)) is None
    framing = client()
    framing.open()
    assert framing.receive_apdu(wrap(b"\xc4", 1, 16)) is None
    framing = WrapperFraming(Role.SERVER)
    assert framing.receive_apdu(wrap(b"\xc4", 1, 16)) is None


def test_the_buffer_is_bounded() -> None:
    framing = client(max_apdu=10)
    with pytest.raises(RemoteProtocolError, match="too many octets"):
        framing.receive_data(bytes(0x50000))


def test_open_and_close_are_events() -> None:
    framing = client()
    assert framing.is_open
    framing.open()
    framing.close()
    assert not framing.is_open
    assert drain(framing) == [LinkOpened(), LinkReleased()]
    with pytest.raises(LocalProtocolError, match="closed"):
        framing.send_apdu(AARQ)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(LocalProtocolError, match="own port"):
        WrapperFraming(Role.CLIENT, client_sap=16)
    with pytest.raises(LocalProtocolError, match="0 octets"):
        client().send_apdu(b"")
    with pytest.raises(LocalProtocolError, match="65536 octets"):
        client().send_apdu(bytes(65536))
    with pytest.raises(LocalProtocolError, match="no client"):
        WrapperFraming(Role.SERVER, server_sap=1).send_apdu(b"\x61")


# What a real meter of the MOMAS family answers: its clock, and an event that it tells port 0x66.
CLOCK = bytes.fromhex("c401c100090c07e90b130311103bffffc400")
EVENT = bytes.fromhex("c200 0007 0000636201ff 02 01010202090c07e90a1f05110f39ff8000000600000029")
APDUS = [AARQ, CLOCK, EVENT, b"\x62\x00", b"\xd8\x01\x01", bytes.fromhex("c402c101000000010003010203")]


def tolerant(role: Role = Role.CLIENT, header: Header = Header.ALWAYS, **options: int) -> WrapperFraming:
    return WrapperFraming(role, client_sap=16, server_sap=1, delimiter=Delimiter(), header=header, **options)


@given(st.lists(st.tuples(st.sampled_from(APDUS), st.booleans()), max_size=6), st.integers(1, 50))
def test_any_mixture_with_and_without_header_in_any_pieces(said: list[tuple[bytes, bool]], size: int) -> None:
    stream = b"".join(wrap(apdu, 1, 16) if wrapped else apdu for apdu, wrapped in said)
    framing = tolerant()
    events: list[object] = []
    for start in range(0, len(stream), size):
        framing.receive_data(stream[start : start + size])
        events += drain(framing)
    assert events == [ApduReceived(apdu, 1, 16) for apdu, _ in said]


def test_a_push_with_other_ports_between_bare_answers() -> None:
    framing = tolerant()
    framing.receive_data(CLOCK + wrap(EVENT, 1, 0x66) + CLOCK)
    answer = ApduReceived(CLOCK, 1, 16)
    assert drain(framing) == [answer, ApduReceived(EVENT, 1, 0x66, unsolicited=True), answer]


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (Header.ALWAYS, wrap(AARQ, 16, 1) * 2),
        (Header.NEVER, AARQ * 2),
        (Header.FIRST, wrap(AARQ, 16, 1) + AARQ),
        (Header.AS_RECEIVED, wrap(AARQ, 16, 1) * 2),
    ],
)
def test_what_a_client_sends(header: Header, sent: bytes) -> None:
    framing = tolerant(header=header)
    framing.send_apdu(AARQ)
    framing.send_apdu(AARQ)
    assert framing.data_to_send() == sent
    assert tolerant(header=header).prepare(AARQ) == (AARQ if header is Header.NEVER else AARQ_FRAME)


def test_a_meter_answers_as_it_was_asked() -> None:
    framing = tolerant(Role.SERVER, Header.AS_RECEIVED)
    framing.receive_data(AARQ)
    assert drain(framing) == [ApduReceived(AARQ, 16, 1)]
    assert not framing.is_idle
    framing.send_apdu(b"\x61\x00")
    assert framing.data_to_send() == b"\x61\x00"
    framing.receive_data(wrap(AARQ, 20, 1))
    assert drain(framing) == [ApduReceived(AARQ, 20, 1)]
    framing.send_apdu(b"\x61\x00")
    assert framing.data_to_send() == wrap(b"\x61\x00", 1, 20)
    framing.receive_data(AARQ)
    assert drain(framing) == [ApduReceived(AARQ, 20, 1)]  # who spoke last


def test_one_whole_bare_apdu_is_taken_at_once() -> None:
    framing = tolerant()
    assert framing.receive_apdu(CLOCK) == (CLOCK, 0, len(CLOCK))
    assert framing.receive_apdu(b"") is None
    assert framing.receive_apdu(CLOCK + CLOCK) is None
    assert framing.receive_apdu(CLOCK[:9]) is None
    framing.receive_data(CLOCK[:9])
    assert framing.next_event() is NEED_DATA
    assert framing.receive_apdu(CLOCK[9:]) is None
    framing.receive_data(CLOCK[9:])
    assert drain(framing) == [ApduReceived(CLOCK, 1, 16)]


def test_after_rubbish_the_next_header_is_found() -> None:
    framing = tolerant()
    framing.receive_data(b"\xc4\x01\xc1\x02" + CLOCK + wrap(CLOCK, 1, 16))
    refused, found = drain(framing)
    assert isinstance(refused, RemoteProtocolError)
    assert found == ApduReceived(CLOCK, 1, 16)


def test_without_header_there_may_be_no_ports() -> None:
    framing = WrapperFraming(Role.SERVER, delimiter=Delimiter())
    framing.receive_data(EVENT + wrap(EVENT, 1, 0x66) + EVENT)
    assert drain(framing) == [ApduReceived(EVENT, 0, 0), ApduReceived(EVENT, 1, 0x66), ApduReceived(EVENT, 1, 0x66)]
    with pytest.raises(LocalProtocolError):
        WrapperFraming(Role.CLIENT, server_sap=1, delimiter=Delimiter())


@given(st.binary(max_size=200), st.sampled_from(list(Role)))
def test_no_octets_break_a_tolerant_one(data: bytes, role: Role) -> None:
    framing = tolerant(role, max_apdu=50)
    framing.receive_data(data)
    for event in drain(framing):
        assert isinstance(event, ApduReceived | RemoteProtocolError)
