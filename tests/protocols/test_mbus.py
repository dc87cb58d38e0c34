"""Long frames of wired M-Bus: real pushes, frames by hand, both roles, noise."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.base import ApduReceived, LinkOpened, LinkReleased, Role
from headend.protocols.mbus import (
    BROADCAST,
    MAX_APDU,
    RSP_UD,
    SND_UD,
    LongFrame,
    MbusFraming,
    encode_apdu,
    encode_frame,
)

from .draining import drain

# A push of a meter at KMS West, as its owner published it; it is ciphered, and nobody has the key.
PUSH = bytes.fromhex(
    "68 5d 5d 68 53 ff 10 01 67"
    "db08454c5365700000014d200000541fe2a330ad29e0d68c09365ba286dbf3a7df14b7790e14d1556ab974b27ec5847d11936db5191d"
    "d0f489ba768c2dbb68f6b001e304c21fea147e0b2e2ca1b91d574df4f7f582cebe92"
    "83 16"
)


def received(data: bytes, size: int = 0, **options: int) -> list[object]:
    framing = MbusFraming(Role.CLIENT, **options)
    events = []
    for at in range(0, len(data), size or len(data)):
        framing.receive_data(data[at : at + (size or len(data))])
        events += drain(framing)
    return events


@pytest.mark.parametrize("size", [0, 1, 7])
def test_push_of_a_meter(size: int) -> None:
    assert received(PUSH, size) == [ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True)]


def test_what_we_encode_is_what_the_meter_sent() -> None:
    assert encode_apdu(PUSH[9:-2], 1, 0x67) == PUSH


def test_parts_are_counted_from_zero_and_the_last_is_marked() -> None:
    frames = encode_apdu(bytes(600), 1, 0x67)
    assert [frames[at : at + 9].hex(" ") for at in (0, 261, 522)] == [
        "68 ff ff 68 53 ff 00 01 67",
        "68 ff ff 68 53 ff 01 01 67",
        "68 69 69 68 53 ff 12 01 67",
    ]
    assert received(frames) == [ApduReceived(bytes(600), 1, 0x67, unsolicited=True)]


def test_a_frame_of_257_octets_says_one() -> None:
    """Sagemcom T210-D: 68 01 01 68, then 257 octets, of which 252 are the beginning of the APDU."""
    body = bytes((0x53, 0xFF, 0x00, 0x01, 0x67)) + bytes(range(252))
    long = bytes.fromhex("68010168") + body + bytes((sum(body) & 0xFF, 0x16))
    rest = encode_frame(LongFrame(0x53, 0xFF, 0x11, 1, 0x67, b"the end"))
    for size in (0, 1):
        assert received(long + rest, size) == [ApduReceived(bytes(range(252)) + b"the end", 1, 0x67, unsolicited=True)]


@pytest.mark.parametrize("cut", range(1, len(PUSH)))
def test_a_stream_that_starts_in_the_middle(cut: int) -> None:
    assert received(PUSH[cut:] + PUSH) == [ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True)]


def test_the_rest_of_an_apdu_whose_beginning_was_missed() -> None:
    frames = encode_apdu(bytes(400), 1, 0x67)
    assert received(frames[261:] + PUSH) == [ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True)]


def test_noise_between_frames_is_told_once() -> None:
    wrong = bytearray(PUSH)
    wrong[20] ^= 1
    events = received(PUSH + bytes(wrong) + b"\x68\x16noise" + PUSH)
    assert [type(event) for event in events] == [ApduReceived, RemoteProtocolError, ApduReceived]


def test_a_part_that_is_missing() -> None:
    frames = encode_apdu(bytes(600), 1, 0x67)
    events = received(frames[:261] + frames[522:] + PUSH)
    assert [type(event) for event in events] == [RemoteProtocolError, ApduReceived]
    assert "part of an M-Bus APDU missing" in str(events[0])


def test_parts_of_two_meters_are_not_mixed() -> None:
    ours, others = encode_apdu(bytes(300), 1, 0x67), encode_apdu(bytes(300), 2, 0x67)
    events = received(ours[:261] + others[261:] + PUSH)
    assert [type(event) for event in events] == [RemoteProtocolError, ApduReceived]


def test_frames_that_carry_no_apdu() -> None:
    plain = encode_frame(LongFrame(0x08, 5, 0x72, 0x78, 0x56, b"\x34\x12"))  # variable data of an M-Bus meter
    empty = encode_frame(LongFrame(0x53, 0xFF, 0x10, 1, 0x67, b""))
    assert received(plain + empty + PUSH) == [ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True)]


def test_client_and_meter() -> None:
    client = MbusFraming(Role.CLIENT, client_sap=16, server_sap=1, address=5)
    meter = MbusFraming(Role.SERVER, client_sap=16, server_sap=1, address=5)
    for framing in (client, meter):
        assert framing.is_open
        framing.open()
        assert drain(framing) == [LinkOpened()]
    client.send_apdu(b"\xc0" * 300)
    question = client.data_to_send()
    assert question[4:6] == bytes((SND_UD, 5))
    meter.receive_data(question)
    assert drain(meter) == [ApduReceived(b"\xc0" * 300, 16, 1)]
    meter.send_apdu(b"\xc4\x01")
    answer = meter.data_to_send()
    assert answer[4:6] == bytes((RSP_UD, 5))
    client.receive_data(answer)
    assert drain(client) == [ApduReceived(b"\xc4\x01", 1, 16)]
    client.receive_data(PUSH)
    assert drain(client) == [ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True)]
    client.close()
    assert drain(client) == [LinkReleased()]
    assert not client.is_open


def test_a_meter_pushes_to_everybody() -> None:
    meter = MbusFraming(Role.SERVER, server_sap=1)
    meter.send_apdu(PUSH[9:-2])
    assert meter.data_to_send() == PUSH
    assert meter.data_to_send() == b""


def test_what_cannot_be_sent() -> None:
    listener = MbusFraming(Role.CLIENT)
    with pytest.raises(LocalProtocolError, match="not known"):
        listener.send_apdu(b"\xc0")
    listener.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        listener.send_apdu(b"\xc0")
    for size in (0, MAX_APDU + 1):
        with pytest.raises(LocalProtocolError, match="does not fit"):
            encode_apdu(bytes(size), 1, 0x67)
    with pytest.raises(LocalProtocolError, match="250"):
        encode_frame(LongFrame(0x53, BROADCAST, 0x10, 1, 0x67, bytes(251)))


@given(st.binary(min_size=1, max_size=MAX_APDU), st.integers(0, 255), st.integers(0, 255), st.integers(1, 300))
def test_apdus_round_trip(apdu: bytes, source: int, destination: int, size: int) -> None:
    frames = encode_apdu(apdu, source, destination)
    assert received(frames, size) == [ApduReceived(apdu, source, destination, unsolicited=True)]


@given(st.lists(st.one_of(st.binary(max_size=20), st.just(PUSH), st.just(b"\x68\x00\x00\x68"), st.just(PUSH[:30]))))
def test_any_octets_come_to_an_end(pieces: list[bytes]) -> None:
    framing = MbusFraming(Role.CLIENT)
    for piece in pieces:
        framing.receive_data(piece)
        assert len(drain(framing)) <= 2 * len(piece) + 4
    framing.receive_data(PUSH * 5)
    assert ApduReceived(PUSH[9:-2], 1, 0x67, unsolicited=True) in drain(framing)


@pytest.mark.corpus
def test_pushes_of_real_meters() -> None:
    """Every frame whose checksum is right is taken, and what they carry is a general-glo-ciphering APDU of that meter."""
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    seen = 0
    for line in Path(folder, "captures", "dlms_push.jsonl").read_text(encoding="utf-8").splitlines():
        capture = json.loads(line)
        ciphering = capture["checked"].get("ciphering")
        if capture["transport"] != "mbus" or not ciphering or not ciphering["len_ok"]:
            continue
        for size in (0, 1, 64):
            apdus = [
                event for event in received(bytes.fromhex(capture["hex"]), size) if isinstance(event, ApduReceived)
            ]
            assert apdus, capture["name"]
            first = apdus[0]
            assert (first.source, first.destination, first.unsolicited) == (1, 0x67, True)
            head, counter = first.apdu[:10], first.apdu[10:]
            assert head.hex().upper() == "DB08" + ciphering["system_title"]
            length_octets = 2 if counter[0] & 0x80 else 1
            assert counter[length_octets] == int(ciphering["security_control"], 16)
            assert int.from_bytes(counter[length_octets + 1 : length_octets + 5]) == ciphering["invocation_counter"]
            assert counter[length_octets - 1] == len(counter) - length_octets
        seen += 1
    assert seen >= 8
