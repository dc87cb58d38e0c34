"""Frames known from elsewhere, each whole, octet by octet, with octets after it and with garbage before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA
from headend.protocols.hdlc.address import Address
from headend.protocols.hdlc.extractor import BUFFER_LIMIT, FrameExtractor
from headend.protocols.hdlc.frame import MAX_LENGTH, Frame, Kind, build_frame, encode_frame, max_information

PUBLIC, METER = Address.client(0x10), Address.server(1)
DEFAULTS = bytes.fromhex("81 80 12 05 01 80 06 01 80 07 04 00 00 00 01 08 04 00 00 00 01")

GOOD = {
    "SNRM to logical 1, physical 17, without parameters": (
        """
        7E    | opening flag
        A0 08 | type 3, not segmented, 8 octets
        02 23 | destination: upper 1, lower 17
        21    | source: client 16
        93    | SNRM, P
        BD 64 | FCS
        7E    | closing flag
        """,
        Frame(destination=Address.server(1, 17), source=PUBLIC, kind=Kind.SNRM),
    ),
    "SNRM": (
        "7E A0 07 03 21 93 0F 01 7E",
        Frame(destination=METER, source=PUBLIC, kind=Kind.SNRM),
    ),
    "DISC": (
        "7E A0 07 03 21 53 03 C7 7E",
        Frame(destination=METER, source=PUBLIC, kind=Kind.DISC),
    ),
    "UA with the default parameters, as most meters send it": (
        """
        7E
        A0 1E       | 30 octets
        21 03       | destination client 16, source logical 1
        73          | UA, F
        C3 7A       | HCS
        81 80 12    | format, negotiation group, 18 octets
        05 01 80    | information field transmitted: 128
        06 01 80    | received: 128
        07 04 00 00 00 01 | window transmitted: 1
        08 04 00 00 00 01 | received: 1
        53 3B       | FCS
        7E
        """,
        Frame(destination=PUBLIC, source=METER, kind=Kind.UA, information=DEFAULTS),
    ),
}


def variants(data: bytes, after: bytes) -> list[list[bytes]]:
    return [
        [data],
        [data[at : at + 1] for at in range(len(data))],
        [data + after],
        [bytes.fromhex("00 E0 21 7E 55 13") + data],
        [b"\x7e" + data],
    ]


def read(chunks: list[bytes]) -> list[Frame]:
    extractor = FrameExtractor()
    frames: list[Frame] = []
    for chunk in chunks:
        extractor.receive_data(chunk)
        while isinstance(frame := extractor.next_frame(), Frame):
            frames.append(frame)
    return frames


@pytest.mark.parametrize("name", GOOD)
def test_good_frames(name: str, octets: Callable[[str], bytes]) -> None:
    text, frame = GOOD[name]
    data = octets(text)
    assert encode_frame(frame) == data
    for chunks in variants(data, b"\x7e\xa0\x07"):
        assert read(chunks) == [frame]


def test_frames_share_a_flag(octets: Callable[[str], bytes]) -> None:
    data = octets("7E A0 07 03 21 93 0F 01 7E A0 07 03 21 53 03 C7 7E 7E 7E A0 07 03 21 93 0F 01 7E")
    for chunks in ([data], [data[at : at + 1] for at in range(len(data))]):
        assert [frame.kind for frame in read(chunks)] == [Kind.SNRM, Kind.DISC, Kind.SNRM]


def test_7e_within_a_frame_is_only_an_octet(frame_of: Callable[..., bytes]) -> None:
    """FCS or HCS with 7E as its last octet, 7E 7E in the information, and in the address: 2 of 256 frames have one."""
    found = 0
    for number in range(600):
        data = frame_of("21 7E 03 13", b"\x7e\x7e\xa0" + number.to_bytes(2, "big"))
        found += data[-2] == 0x7E
        for chunks in variants(data, b""):
            (frame,) = read(chunks)
            assert frame.information == data[9:-3]
    assert found


def test_a_frame_longer_than_255_octets(frame_of: Callable[..., bytes]) -> None:
    data = frame_of("03 21 10", bytes(700), format_high=0xA8)
    assert data[1:3] == bytes.fromhex("AA C5")
    for chunks in variants(data, b""):
        (frame,) = read(chunks)
        assert frame == Frame(destination=METER, source=PUBLIC, kind=Kind.I, segmented=True, information=bytes(700))


def test_the_longest_frame(frame_of: Callable[..., bytes]) -> None:
    size = max_information(METER.encode() + PUBLIC.encode())
    data = build_frame(METER.encode() + PUBLIC.encode(), 0x10, bytes(size))
    assert data == frame_of("03 21 10", bytes(size))
    assert len(data) == MAX_LENGTH + 2
    with pytest.raises(LocalProtocolError, match="length field ends at 2047"):
        build_frame(METER.encode() + PUBLIC.encode(), 0x10, bytes(size + 1))


@given(
    kind=st.sampled_from(Kind),
    numbers=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    final=st.booleans(),
    segmented=st.booleans(),
    information=st.binary(max_size=300),
    lower=st.integers(0, 0x3FFF),
)
def test_round_trip(
    kind: Kind, numbers: tuple[int, int], final: bool, segmented: bool, information: bytes, lower: int
) -> None:
    frame = Frame(
        destination=Address.server(1, lower),
        source=PUBLIC,
        kind=kind,
        final=final,
        send_sequence=numbers[0] if kind is Kind.I else 0,
        receive_sequence=numbers[1] if kind in {Kind.I, Kind.RR, Kind.RNR} else 0,
        segmented=segmented,
        information=information,
    )
    assert read([encode_frame(frame)]) == [frame]


BAD = {
    "hcs-wrong": ("7E A0 0B 21 03 13 C3 7B AA 00 00 7E", "HCS wrong", 5),
    "fcs-wrong": ("7E A0 07 03 21 93 0F 02 7E", "FCS wrong", 5),
    "format-not-type-3": ("7E 90 07 03 21 93 0F 01 7E", "not an HDLC frame of type 3", 0),
    "length-too-short": ("7E A0 06 03 21 93 0F 01 7E", "length impossible", 0),
    "length-leaves-one-octet-of-information": ("7E A0 08 03 21 93 0F 01 00 7E", "length impossible", 0),
    "length-zero": ("7E A0 00 7E", "length impossible", 0),
    "length-too-long": ("7E A7 FF 03 21 93 0F 01 7E 00 00 00 00 00 00", "HCS wrong", 5),
    "address-of-three-octets": ("7E A0 0A 02 04 07 21 93 0F 01 00 7E", "address without end", 2),
    "closing-flag-missing": ("7E A0 07 03 21 93 0F 01 7F", "without closing flag", 7),
    "length-shorter-than-its-addresses": ("7E A0 07 02 23 00 02 00 21 93 7E", "length impossible", 0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_raise_once_and_the_next_is_found(name: str, octets: Callable[[str], bytes]) -> None:
    text, message, offset = BAD[name]
    good = octets("7E A0 07 03 21 53 03 C7 7E")
    extractor = FrameExtractor()
    extractor.receive_data(octets(text) + good)
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        extractor.next_frame()
    assert caught.value.offset == offset
    kinds = []
    while isinstance(frame := extractor.next_frame(), Frame):
        kinds.append(frame.kind)
    assert kinds[-1] is Kind.DISC


def test_a_wrong_check_sequence_names_both(frame_of: Callable[..., bytes]) -> None:
    data = bytearray(frame_of("21 03 13", b"abc"))
    right = data[-3:-1].hex()
    data[-3] ^= 0xFF
    extractor = FrameExtractor()
    extractor.receive_data(bytes(data))
    with pytest.raises(RemoteProtocolError) as caught:
        extractor.next_frame()
    assert (caught.value.expected, caught.value.got) == (right, data[-3:-1].hex())


def test_an_unknown_control_field_costs_only_its_own_frame(frame_of: Callable[..., bytes]) -> None:
    extractor = FrameExtractor()
    for control in ("0D", "09", "EF"):  # SREJ and REJ, which DLMS does not have; XID
        extractor.receive_data(frame_of(f"21 03 {control}") + frame_of("21 03 73"))
        with pytest.raises(RemoteProtocolError, match="control field unknown") as caught:
            extractor.next_frame()
        assert caught.value.offset == 4
        assert caught.value.got == control
        frame = extractor.next_frame()
        assert isinstance(frame, Frame)
        assert frame.kind is Kind.UA


def test_the_stream_may_start_in_the_middle_of_a_frame(frame_of: Callable[..., bytes]) -> None:
    """With 7E in the rest of the broken frame, and behind it a flag of its own or a shared one."""
    broken = frame_of("21 03 13", bytes.fromhex("0F 7E A0 7E A0 7E 12 34 7E 7E") * 3)
    good = frame_of("21 03 13", b"\xe6\xe7\x00\x0f")
    for start in range(1, len(broken)):
        for rest in (broken[start:] + good, broken[start:] + good[1:]):
            if rest[0] != 0x7E:
                assert [frame.information for frame in read([rest])] == [b"\xe6\xe7\x00\x0f"]
                assert [frame.information for frame in read([bytes((o,)) for o in rest])] == [b"\xe6\xe7\x00\x0f"]


@given(
    noise=st.binary(max_size=60).map(lambda noise: noise.replace(b"\x7e", b"\x7f")), information=st.binary(min_size=1)
)
def test_the_frame_after_any_noise_is_found(noise: bytes, information: bytes) -> None:
    frame = Frame(destination=PUBLIC, source=METER, kind=Kind.UI, information=information)
    extractor = FrameExtractor()
    extractor.receive_data(encode_frame(frame) + noise + encode_frame(frame))
    assert extractor.next_frame() == frame
    if noise:
        with pytest.raises(RemoteProtocolError):
            extractor.next_frame()
    assert extractor.next_frame() == frame
    assert extractor.next_frame() is NEED_DATA


def test_a_shortened_frame_is_given_up_when_the_peer_starts_again(frame_of: Callable[..., bytes]) -> None:
    data = frame_of("21 03 13", bytes(50))
    extractor = FrameExtractor()
    extractor.receive_data(data[:30])
    assert extractor.next_frame() is NEED_DATA
    extractor.abandon()
    assert extractor.next_frame() is NEED_DATA
    extractor.receive_data(data)
    assert isinstance(extractor.next_frame(), Frame)
    extractor.receive_data(b"")
    assert extractor.next_frame() is NEED_DATA


def test_a_header_cut_off_by_the_next_frame(octets: Callable[[str], bytes]) -> None:
    extractor = FrameExtractor()
    extractor.receive_data(octets("7E A0 1E 7E A0 07 03 21 53 03 C7 7E"))
    with pytest.raises(RemoteProtocolError, match="cut off by the next"):
        extractor.next_frame()
    frame = extractor.next_frame()
    assert isinstance(frame, Frame)
    assert frame.kind is Kind.DISC
    assert extractor.next_frame() is NEED_DATA


def test_the_buffer_is_bounded(frame_of: Callable[..., bytes]) -> None:
    extractor = FrameExtractor()
    extractor.receive_data(b"\x7e" * BUFFER_LIMIT)
    with pytest.raises(RemoteProtocolError, match="too many octets"):
        extractor.receive_data(b"\x7e")
    extractor.receive_data(frame_of("21 03 73"))
    assert isinstance(extractor.next_frame(), Frame)
