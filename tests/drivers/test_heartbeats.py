"""Taking logins and heartbeats out of a running stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.drivers.registrations import built_in
from headend.protocols.dlt645.frame import Address, Frame, encode_frame, from_wire
from headend.protocols.modbus.framing import Frame as ModbusFrame
from headend.protocols.modbus.framing import encode_rtu
from headend.protocols.registration import Kind, Registered

KNOWN = Known(built_in())
LOGIN = bytes.fromhex("0001000100010012 0A020C323130363030343032393431005A4C")
HEARTBEAT = bytes.fromhex("0001000100010011 0C010C3231313230303530343337374002")
LAST_GASP = bytes.fromhex("0001000100010011 0F020C3331313530313131343037302FF2")
PUSH = bytes.fromhex("0001000100660022 C200000701000060010000FF02") + bytes(21)
ANSWER = bytes.fromhex("0001000100010012 C401C100090C") + b"202006001314"
HDLC = bytes.fromhex("7ea0070321930f017e")
HDLC_HOLDING_A_HEARTBEAT = bytes.fromhex("7ea02203") + HEARTBEAT + bytes(6) + b"\x7e"
WRAPPED_HEARTBEAT = bytes.fromhex("000100010001001f c401c1000919") + HEARTBEAT
HEXING = bytes.fromhex("0001000100100012 DD1000000000 303030303030303234303030")
BEHIND_A_FLAG = bytes.fromhex("7EDD1000000000 303B30333930383530303138")
TEXT = b"www.usr.cn"
DLT645 = bytes.fromhex("686101000000006891083333343359333333 8A16")
DLT645_HOLDING_A_HEARTBEAT = encode_frame(Frame(Address.parse("161"), 0x91, from_wire(HEARTBEAT)))
APDU = bytes.fromhex("C401C100020209060000010000FF1200FF")
APDU_HOLDING_A_HEARTBEAT = bytes.fromhex("c401c1000919") + HEARTBEAT
CIPHERED = bytes.fromhex("DB084D4D4D0000BC614E24300123456700") + HEARTBEAT + bytes(5)
RTU = bytes.fromhex("01040443663334 1B38")
BEATS = (LOGIN, HEARTBEAT, LAST_GASP, HEXING, BEHIND_A_FLAG, TEXT)
FRAMES = (
    *(PUSH, ANSWER, HDLC, HDLC_HOLDING_A_HEARTBEAT, WRAPPED_HEARTBEAT, DLT645, DLT645_HOLDING_A_HEARTBEAT),
    *(APDU, APDU_HOLDING_A_HEARTBEAT, CIPHERED),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def run(parts: list[bytes]) -> tuple[bytes, list[Registered]]:
    beats = HeartbeatFilter(KNOWN)
    rest, registered = b"", []
    for part in parts:
        passed, found = beats.feed(part)
        rest += passed
        registered += found
    passed, found = beats.silence()
    assert not beats.pending
    return rest + passed, registered + list(found)


@given(st.lists(st.sampled_from(FRAMES + BEATS), max_size=8), st.lists(st.integers(0, 500), max_size=8))
def test_any_interleaving_in_any_pieces(frames: list[bytes], cuts: list[int]) -> None:
    rest, registered = run(pieces(b"".join(frames), cuts))
    assert rest == b"".join(frame for frame in frames if frame not in BEATS)
    assert [each.octets for each in registered] == [frame for frame in frames if frame in BEATS]


def test_a_frame_is_passed_on_at_once() -> None:
    beats = HeartbeatFilter(KNOWN)
    for frame in FRAMES:
        assert beats.feed(frame) == (frame, ())
        assert not beats.pending


def test_the_same_heartbeat_again() -> None:
    beats = HeartbeatFilter(KNOWN)
    for _ in range(3):
        rest, (said,) = beats.feed(HEARTBEAT)
        assert (rest, said.kind, said.number, said.device) == (b"", Kind.HEARTBEAT, "211200504377", "gateway")


def test_a_piece_of_a_frame_waits() -> None:
    beats = HeartbeatFilter(KNOWN)
    assert beats.feed(HEARTBEAT[:9]) == (b"", ())
    assert beats.pending
    rest, (said,) = beats.feed(HEARTBEAT[9:] + ANSWER)
    assert (rest, said.octets) == (ANSWER, HEARTBEAT)


def test_wrong_check_octets_are_told() -> None:
    _, (said,) = HeartbeatFilter(KNOWN).feed(LOGIN[:-1] + b"\x00")
    assert (said.check_ok, said.acknowledgement) == (False, b"")
    assert said.answer.hex() == "0001000100010012aa030c323130363030343032393431007004"


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_whatever_comes_is_passed_on_or_told(parts: list[bytes]) -> None:
    rest, registered = run([b"\x00", *parts])  # the first octet: line ends behind a text belong to it
    parts = [b"\x00", *parts]
    assert len(rest) + sum(len(each.octets) for each in registered) == len(b"".join(parts))


@pytest.mark.parametrize("unit", [0x01, 0x05, 0x0F, 0x60, 0xC4])  # all but the first are tags of APDUs, too
def test_modbus_frames_between_texts(unit: int) -> None:
    answer = encode_rtu(ModbusFrame(unit, RTU[1:-2]))
    beats = HeartbeatFilter(KNOWN)
    rest, registered = beats.feed(answer + TEXT + answer)
    assert (rest, [each.octets for each in registered]) == (answer + answer, [TEXT])


@given(st.lists(st.integers(0, 60), max_size=3))
def test_the_text_that_a_connection_began_with(cuts: list[int]) -> None:
    (text,) = built_in().get("dtu-text").frames
    assert text.opening
    said = built_in().get("dtu-text").match(b"Eport-HF2411", silent=True)
    assert isinstance(said, Registered)
    beats = HeartbeatFilter(KNOWN, said)
    rest, registered = b"", []
    for part in pieces(b"\r\nEport-HF2411\r\n" + DLT645 + b"Eport-HF2411" + DLT645, cuts):
        passed, found = beats.feed(part)
        rest += passed
        registered += found
    assert rest == DLT645 + DLT645
    assert {(each.kind, each.number) for each in registered} == {(Kind.HEARTBEAT, "Eport-HF2411")}
    assert len(registered) == 2


def test_a_text_is_no_heartbeat_in_a_running_stream() -> None:
    assert HeartbeatFilter(KNOWN).feed(b"Eport-HF2411\r\n") == (b"Eport-HF2411\r\n", ())


def test_what_is_no_apdu_is_passed_on() -> None:
    beats = HeartbeatFilter(KNOWN)
    assert beats.feed(b"\xc4\x01\xc1\x07\x55") == (b"\xc4\x01\xc1\x07\x55", ())
    assert beats.feed(HEARTBEAT)[0] == b""


def test_a_frame_that_stays_incomplete() -> None:
    beats = HeartbeatFilter(KNOWN)
    assert beats.feed(b"\x7e") == (b"", ())
    assert beats.silence() == (b"\x7e", ())
    assert beats.feed(b"\xc4\x01\xc1") == (b"\xc4\x01\xc1", ())
    assert beats.silence() == (b"", ())
    assert beats.feed(HEARTBEAT)[0] == b""
