"""The frames of tests/vectors/dlt645: annotated octets, and what they say or what is wrong with them.

A line is octets and what they are; the last one, behind `=`, is what must come out. A bad one is named after its defect.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.errors import DecodeError, RemoteProtocolError
from headend.protocols.base import NEED_DATA
from headend.protocols.dlt645.frame import Frame, FrameExtractor, decode_frame, encode_frame, recognise
from headend.protocols.dlt645.messages import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    version_of,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "dlt645"
GOOD = sorted((VECTORS / "good").iterdir(), key=str)
BAD = sorted((VECTORS / "bad").iterdir(), key=str)


def load(path: Path) -> tuple[bytes, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines[-1].startswith("= ")
    return bytes.fromhex("".join(line.partition("|")[0] for line in lines[:-1])), lines[-1][2:]


def told(frame: Frame) -> str:
    version = version_of(frame.control, len(frame.data))
    if frame.control & 0x80:
        response = decode_response(frame.control, frame.data, version)
        assert encode_response(response, frame.control & 0x1F, version) == (frame.control, frame.data)
        return f"from {frame.address}: {response}"
    request = decode_request(frame.control, frame.data, version)
    assert encode_request(request, version) == (frame.control, frame.data)
    return f"to {frame.address} of {version.value}: {request}"


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good(path: Path) -> None:
    octets, said = load(path)
    frame, end = decode_frame(octets)
    assert end == len(octets)
    assert told(frame) == said
    assert octets.lstrip(b"\xfe") == encode_frame(frame, leader=0)
    assert recognise(octets) is True
    for pieces in ([octets + b"\x68"], [octets[at : at + 1] for at in range(len(octets))]):
        extractor = FrameExtractor()
        found = []
        for piece in pieces:
            assert extractor.next_frame() is NEED_DATA
            extractor.receive_data(piece)
            while not isinstance(each := extractor.next_frame(), type(NEED_DATA)):
                found.append(each)
        assert found == [frame]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad(path: Path) -> None:
    octets, wrong = load(path)
    with pytest.raises(RemoteProtocolError) as caught:
        told(decode_frame(octets)[0])
    assert str(caught.value) == wrong
    assert isinstance(caught.value, DecodeError) is path.stem.startswith("message-")
    assert recognise(octets) is not True or path.stem.startswith("message-")
