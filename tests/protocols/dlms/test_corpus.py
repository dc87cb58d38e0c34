"""The whole collection of known ACSE answers and of wrapper frames from real meters."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headend.protocols.base import NEED_DATA, ApduReceived, Role
from headend.protocols.dlms.apdu.get import GetResponseNormal, GetResponseWithDatablock
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.wrapper import WrapperFraming

pytestmark = pytest.mark.corpus


@pytest.fixture
def corpus() -> Path:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    return Path(folder)


def test_acse_vectors_are_encoded_again_octet_by_octet(corpus: Path) -> None:
    lines = (corpus / "captures" / "dlms_vectors.jsonl").read_text().splitlines()
    vectors = [vector for vector in map(json.loads, lines) if vector["kind"] == "acse"]
    assert vectors
    for vector in vectors:
        apdu = bytes.fromhex(vector["input"]["apdu"])
        assert decode_apdu(apdu).encode() == apdu, vector["name"]


def test_frames_of_real_meters(corpus: Path) -> None:
    frames: list[dict[str, Any]] = json.loads((corpus / "dlms_frames.json").read_text())
    for frame in frames:
        octets = bytes.fromhex(frame["hex"])
        framing = WrapperFraming(Role.SERVER)
        for octet in octets[:-1]:
            framing.receive_data(bytes((octet,)))
            assert framing.next_event() is NEED_DATA
        framing.receive_data(octets[-1:])
        event = framing.next_event()
        assert isinstance(event, ApduReceived)
        assert (event.source, event.destination) == (frame["src"], frame["dst"])
        apdu = decode_apdu(event.apdu)
        assert type(apdu).__name__.upper() == frame["apdu"].split(" ")[0].upper()
        assert decode_apdu(apdu.encode()) == apdu  # some meters spend three octets on a short length
        if isinstance(apdu, GetResponseNormal | GetResponseWithDatablock):
            assert isinstance(apdu.result, bytes)
