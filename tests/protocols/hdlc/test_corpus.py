"""Pushes captured from real meters (Aidon, Iskraemeco, Kaifa, Kamstrup, Landis+Gyr)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, ApduReceived
from headend.protocols.hdlc import HdlcListener
from headend.protocols.hdlc.extractor import FrameExtractor
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame


@pytest.mark.corpus
def test_every_capture_splits_into_its_frames(corpus: Path) -> None:
    lines = (corpus / "captures" / "dlms_push.jsonl").read_text().splitlines()
    captures = [capture for capture in map(json.loads, lines) if capture["transport"] == "hdlc"]
    assert captures
    for capture in captures:
        data = bytes.fromhex(capture["hex"])
        for chunks in ([data], [data[at : at + 1] for at in range(len(data))]):
            good, bad = read(chunks)
            checked = capture["checked"]
            assert len(good) == checked["crc_ok"], capture["name"]
            noise = data[-1] != 0x7E  # a few end with an octet that belongs to nothing
            assert 0 <= bad - (checked["frames"] - checked["crc_ok"]) <= noise, capture["name"]
        for frame in good:
            assert frame.kind in {Kind.UI, Kind.I}
            assert encode_frame(frame) in data + b"\x7e"


@pytest.mark.corpus
def test_a_listener_gets_the_apdus(corpus: Path) -> None:
    """Data-notifications, ciphered ones, and blocks, to addresses that no client has; the tag was read by another decoder."""
    lines = (corpus / "captures" / "dlms_push.jsonl").read_text().splitlines()
    for capture in map(json.loads, lines):
        checked = capture["checked"]
        if capture["transport"] != "hdlc" or checked["frames"] != checked["crc_ok"]:
            continue
        listener = HdlcListener()
        listener.receive_data(bytes.fromhex(capture["hex"]))
        event = listener.next_event()
        if capture["name"] == "ams/iskraemeco/gh1072-1":  # the first segment alone
            assert event is NEED_DATA
            continue
        assert isinstance(event, ApduReceived)
        assert event.unsolicited
        tag = event.apdu[0]
        if "gbt_blocks" in checked:
            assert tag == 0xE0
        elif "ciphering" in checked:
            assert tag == 0xDB
        else:
            assert tag == int(checked["plaintext_tag"], 16)


def read(chunks: list[bytes]) -> tuple[list[Frame], int]:
    """The good frames, and how often something else raised."""
    extractor = FrameExtractor()
    good: list[Frame] = []
    bad = 0
    for chunk in chunks:
        extractor.receive_data(chunk)
        while True:
            try:
                frame = extractor.next_frame()
            except RemoteProtocolError:
                bad += 1
                continue
            if frame is NEED_DATA:
                break
            good.append(frame)
    return good, bad
