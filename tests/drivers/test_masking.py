"""Secrets never reach a capture, however the stream is cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.dlms import driver as dlms
from headend.drivers.masking import Masking
from headend.model.meter import Secret
from headend.protocols.base import NEED_DATA
from headend.protocols.hdlc.extractor import FrameExtractor

AARQ = bytes.fromhex(
    "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f0400001e1dffff"
)
"""with the password 12345678 (the example of the Green Book, clause on encoded AARQs)"""
PASSWORD = Secret(b"12345678")


def masked(secrets: dict[str, Secret], pieces: list[tuple[bool, bytes]]) -> dict[bool, bytes]:
    mask = Masking(dlms, secrets)
    said = {True: b"", False: b""}
    for sent, data in pieces:
        for piece in mask.take(data, sent=sent):
            said[piece.sent] += piece.octets
    for piece in mask.finish():
        said[piece.sent] += piece.octets
    return said


def test_the_password_of_an_aarq_is_masked_and_nothing_else() -> None:
    assert masked({"secret": PASSWORD}, [(True, AARQ)])[True] == AARQ.replace(b"12345678", b"********")


def test_a_short_password_is_masked_where_a_password_stands_and_not_elsewhere() -> None:
    aarq = AARQ.replace(bytes.fromhex("ac0a80083132333435363738"), bytes.fromhex("ac03800131"))
    said = masked({"secret": Secret(b"1")}, [(True, aarq + b"1 1")])[True]
    assert said == aarq.replace(bytes.fromhex("800131"), b"\x80\x01*") + b"1 1"


@given(st.lists(st.integers(1, len(AARQ)), max_size=6), st.booleans())
def test_a_password_in_pieces_is_masked(cuts: list[int], other_side: bool) -> None:
    edges = [0, *sorted(set(cuts)), len(AARQ)]
    pieces = [(True, AARQ[a:b]) for a, b in itertools.pairwise(edges) if b > a]
    if other_side:
        pieces = [each for piece in pieces for each in (piece, (False, b"\x00"))]
    said = masked({"secret": PASSWORD}, pieces)[True]
    assert len(said) == len(AARQ)
    for count in range(2, 9):
        assert b"12345678"[:count] not in said
    assert said.startswith(AARQ[:25])


def test_an_hdlc_frame_has_a_right_check_sequence_afterwards() -> None:
    frame = hdlc(AARQ)
    said = masked({"secret": PASSWORD}, [(True, frame)])[True]
    assert said != frame
    extractor = FrameExtractor()
    extractor.receive_data(said)
    found = extractor.next_frame()
    assert found is not NEED_DATA
    assert b"********" in found.information


def hdlc(apdu: bytes) -> bytes:
    body = bytes.fromhex("032110") + b"\xe6\xe6\x00" + apdu
    length = len(body) + 2 + 2 + 2
    head = bytes((0xA0, length)) + body[:3]
    head += crc(head)
    rest = head + body[3:]
    return b"\x7e" + rest + crc(rest) + b"\x7e"


def crc(data: bytes) -> bytes:
    """CRC-16/X-25, bit by bit (ISO/IEC 13239, annex A)."""
    value = 0xFFFF
    for octet in data:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "little")
