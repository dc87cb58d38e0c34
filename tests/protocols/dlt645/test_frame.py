"""Frames: vectors of the standard and of real meters, noise, damage, neighbours that begin with 68 too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA
from headend.protocols.dlt645.frame import (
    ANYBODY,
    BROADCAST,
    Address,
    Frame,
    FrameExtractor,
    decode_frame,
    encode_frame,
    from_wire,
    recognise,
    to_wire,
)

READ_ADDRESS = bytes.fromhex(
    "FEFEFEFE"  # leader
    "68 AAAAAAAAAAAA 68"  # whoever is there
    "13 00"  # read the address, no data
    "DF 16"
)
VOLTAGE = bytes.fromhex(
    "68 340100141223 68"  # meter 231214000134
    "91 06"  # answer to a read
    "33343435"  # 02010100, voltage of phase A
    "A456"  # 237.1 V
    "AF 16"
)
METER = Address.parse("231214000134")

addresses = st.binary(min_size=6, max_size=6).map(lambda octets: Address(bytes(o % 10 | o // 26 << 4 for o in octets)))
frames = st.builds(Frame, addresses, st.integers(0, 0xFF), st.binary(max_size=200))


def all_frames(extractor: FrameExtractor) -> list[Frame]:
    found = []
    while (frame := extractor.next_frame()) is not NEED_DATA:
        found.append(frame)
    return found


def extracted(*pieces: bytes) -> list[Frame]:
    extractor = FrameExtractor()
    found = []
    for piece in pieces:
        extractor.receive_data(piece)
        found += all_frames(extractor)
    return found


def octet_by_octet(data: bytes) -> list[Frame]:
    return extracted(*(bytes((octet,)) for octet in data))


def test_vectors() -> None:
    assert decode_frame(READ_ADDRESS) == (Frame(ANYBODY, 0x13), 16)
    assert encode_frame(Frame(ANYBODY, 0x13)) == READ_ADDRESS
    frame = Frame(METER, 0x91, bytes.fromhex("00010102 7123"))
    assert decode_frame(VOLTAGE) == (frame, len(VOLTAGE))
    assert encode_frame(frame, leader=0) == VOLTAGE
    assert decode_frame(b"\0" + VOLTAGE + READ_ADDRESS, 1) == (frame, 1 + len(VOLTAGE))


def test_addresses() -> None:
    assert Address.parse("1234") == Address(bytes.fromhex("341200000000"))
    assert str(Address.parse("1234")) == "000000001234"
    assert str(ANYBODY) == "AAAAAAAAAAAA"
    assert Address.parse("aaaaAAaaaaaa") == ANYBODY
    assert ANYBODY.has_wildcard
    assert ANYBODY.matches(METER)
    assert BROADCAST.is_broadcast
    assert BROADCAST.matches(METER)
    assert METER.matches(METER)
    assert not METER.matches(ANYBODY)
    assert Address.parse("AAAAAAAA0134").matches(METER)
    assert not Address.parse("AAAAAAAA0135").matches(METER)
    for text in ("1234567890123", "12C4", "", "12 34", "+12", "A", "\uff11\uff12"):
        with pytest.raises(ValueError, match="no meter address"):
            Address.parse(text)
    with pytest.raises(LocalProtocolError, match="no address"):
        Address(b"\x0a" * 6)


@given(frames, st.integers(0, 6))
def test_round_trip(frame: Frame, leader: int) -> None:
    octets = encode_frame(frame, leader=leader)
    assert decode_frame(octets) == (frame, len(octets))
    assert extracted(octets) == octet_by_octet(octets) == [frame]


@given(st.binary(max_size=300))
def test_33_is_added_and_taken_off(data: bytes) -> None:
    assert from_wire(to_wire(data)) == data
    assert to_wire(data) == bytes((octet + 0x33) % 256 for octet in data)


def test_too_much_data_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError, match="200 octets"):
        encode_frame(Frame(METER, 0x91, bytes(201)))


@pytest.mark.parametrize(
    ("defect", "octets", "message"),
    [
        ("nothing", "", "too short .*at octet 0, expected 12 octets or more, got 0"),
        ("leader-alone", "FEFEFEFE", "too short .*at octet 4"),
        ("no-start", "69 340100141223 68 91 06 33343435 A456 AF 16", "not a DL/T 645 frame .*at octet 0"),
        ("no-second-start", "68 340100141223 69 91 06 33343435 A456 AF 16", "not a DL/T 645 frame .*at octet 7"),
        ("address-not-bcd", "68 340F00141223 68 91 06 33343435 A456 BD 16", "wrong address .*at octet 2, .*got 0F"),
        ("cut-off", "68 340100141223 68 91 06 33343435 A456 AF", "length beyond .*at octet 9, expected 18 octets"),
        ("checksum", "FE 68 340100141223 68 91 06 33343435 A456 AE 16", "checksum .*at octet 17, expected AF, got AE"),
        ("no-end", "68 340100141223 68 91 06 33343435 A456 AF 17", "no end .*at octet 17, expected 16, got 17"),
    ],
)
def test_defects(defect: str, octets: str, message: str) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(RemoteProtocolError, match=message):
        decode_frame(data)
    assert extracted(data) == octet_by_octet(data) == [], defect
    if defect not in ("nothing", "leader-alone", "cut-off"):
        assert recognise(data) is False
    good = decode_frame(VOLTAGE)[0]
    assert extracted(data + VOLTAGE) == octet_by_octet(data + VOLTAGE) == [good], defect


def test_what_looks_like_a_beginning_holds_nothing_up() -> None:
    beginning = bytes.fromhex("68 112233445566 68 91 FF")
    extractor = FrameExtractor()
    extractor.receive_data(beginning)
    assert extractor.next_frame() is NEED_DATA
    assert (extractor.pending, extractor.dropped) == (10, 0)
    extractor.receive_data(VOLTAGE)
    assert all_frames(extractor) == [decode_frame(VOLTAGE)[0]]
    assert (extractor.pending, extractor.dropped) == (0, 10)


def test_what_is_dropped_is_counted_but_for_leaders() -> None:
    extractor = FrameExtractor()
    extractor.receive_data(b"hello" + READ_ADDRESS + b"\xfe\xfe" + VOLTAGE + b"\x16\x68")
    assert len(all_frames(extractor)) == 2
    assert (extractor.dropped, extractor.pending) == (6, 1)
    extractor.clear()
    assert extractor.pending == 0


def test_the_buffer_is_bounded() -> None:
    extractor = FrameExtractor()
    with pytest.raises(RemoteProtocolError, match="too many octets"):
        extractor.receive_data(bytes(0x11000))
    extractor.receive_data(VOLTAGE)
    assert extractor.next_frame() == decode_frame(VOLTAGE)[0]


@given(st.lists(st.one_of(frames.map(encode_frame), st.binary(max_size=20), st.just(b"\x68")), max_size=6), st.data())
def test_pieces_make_no_difference(parts: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(parts)
    whole = extracted(octets)
    assert octet_by_octet(octets) == whole
    cut = data.draw(st.integers(0, len(octets)))
    assert extracted(octets[:cut], octets[cut:]) == whole


@given(
    frames.filter(lambda frame: 0x68 not in frame.address.octets),
    st.binary(max_size=40).filter(lambda b: 0x68 not in b),
)
def test_a_frame_is_found_behind_any_noise(frame: Frame, noise: bytes) -> None:
    assert frame in extracted(noise + encode_frame(frame))


NEIGHBOURS = {
    "M-Bus long frame": "68 05 05 68 08 01 72 68 00 E3 16",
    "M-Bus frame with 68 where our second one is": "68 06 06 68 08 01 72 68 11 04 F8 16",
    "M-Bus long frame of a push": "68 0F 0F 68 53 FF 00 01 67 DB 08 4B 46 4D 10 20 00 11 22 A5 16",
    "376.1 login": "68 32 00 32 00 68 C9 00 10 01 00 00 02 70 00 00 01 00 4D 16",
    "376.1 with 68 where our second one is": "68 32 00 32 00 68 49 68 10 01 00 00 02 70 00 00 01 00 35 16",
    "698.45 link request": "68 1E 00 81 05 12 34 56 78 90 12 00 D4 D6 01 00 00 00 B4 07 E6 09 14 03 0A 1E 1F 00 64 5D B3 16",
    "wrapper": "00 01 00 10 00 01 00 1F 60",
    "HDLC": "7E A0 07 03 21 93 0F 01 7E",
    "text": "+++AT",
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_are_not_ours(name: str) -> None:
    octets = bytes.fromhex(NEIGHBOURS[name]) if name != "text" else b"+++AT"
    assert recognise(octets) is False
    assert extracted(octets) == []


@pytest.mark.parametrize("octets", [READ_ADDRESS, VOLTAGE, b"\xfe" * 16 + VOLTAGE])
def test_recognised_at_the_last_octet(octets: bytes) -> None:
    for end in range(len(octets)):
        assert recognise(octets[:end]) is NEED_DATA
    assert recognise(octets) is True
    assert recognise(octets + b"anything") is True
    assert recognise(b"\xfe" * 17 + octets) is False


@pytest.mark.parametrize("control", [0x00, 0x05, 0x1E, 0x51, 0x31])
def test_functions_that_nobody_knows_are_not_recognised(control: int) -> None:
    assert recognise(encode_frame(Frame(METER, control))) is False


NEIGHBOUR_OCTETS = [bytes.fromhex(text) for name, text in NEIGHBOURS.items() if name != "text"]


@given(
    st.one_of(frames.map(encode_frame), st.sampled_from(NEIGHBOUR_OCTETS), st.binary(max_size=40)),
    st.binary(max_size=300),
)
def test_a_verdict_is_final(octets: bytes, more: bytes) -> None:
    whole = recognise(octets + more)
    for end in range(len(octets)):
        verdict = recognise(octets[:end])
        assert verdict in (NEED_DATA, whole), end
