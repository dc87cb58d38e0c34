"""Frames from public sources: real meters, vendors' documents, the standard; each was decoded by another decoder before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headend.errors import DecodeError
from headend.protocols.base import NEED_DATA
from headend.protocols.dlt645.formats import Layout
from headend.protocols.dlt645.frame import Frame, FrameExtractor, decode_frame, encode_frame, recognise
from headend.protocols.dlt645.messages import decode_request, decode_response, encode_request, encode_response
from headend.protocols.dlt645.requests import Control, Request, SetTime
from headend.protocols.dlt645.responses import Data, MeterAddress, Refusal, Response
from headend.standards.dlt645 import Version, find_register


@pytest.fixture
def frames() -> list[dict[str, Any]]:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    found: list[dict[str, Any]] = json.loads((Path(folder) / "dlt645_frames.json").read_text())
    assert found
    return found


def octets_of(entry: dict[str, Any]) -> bytes:
    return bytes.fromhex(entry["hex"])


def message_of(entry: dict[str, Any]) -> tuple[Frame, Request | Response]:
    frame, _ = decode_frame(octets_of(entry))
    decode = decode_response if frame.control & 0x80 else decode_request
    return frame, decode(frame.control, frame.data, Version(int(entry["proto"])))


@pytest.mark.corpus
def test_every_frame_comes_back(frames: list[dict[str, Any]]) -> None:
    stream = FrameExtractor()
    for entry in frames:
        octets = octets_of(entry)
        if not entry["checksum_ok"]:
            assert recognise(octets) is False
            continue
        frame, end = decode_frame(octets)
        assert end == len(octets)
        assert str(frame.address) == entry["address"]
        assert frame.control == int(entry["control"], 16)
        assert frame.data == bytes.fromhex(entry["data_plain"])
        assert encode_frame(frame, leader=0) == octets
        leader = bytes.fromhex(entry["leader"])
        assert decode_frame(leader + octets) == (frame, len(leader + octets))
        for octet in octets:
            assert stream.next_frame() is NEED_DATA
            stream.receive_data(bytes((octet,)))
        assert stream.next_frame() == frame


@pytest.mark.corpus
def test_every_message_comes_back(frames: list[dict[str, Any]]) -> None:
    """But for probes of a workbench that no meter has answered: octets without 33H added, codes that nobody knows."""
    understood = 0
    for entry in frames:
        if not entry["checksum_ok"]:
            continue
        try:
            frame, message = message_of(entry)
        except DecodeError:
            assert entry["proto"] == "1997", entry["hex"]
            assert entry["dir"] == "request", entry["hex"]
            assert entry["control"] != "01" or entry["length"] != 2, entry["hex"]
            continue
        understood += 1
        version = Version(int(entry["proto"]))
        if isinstance(message, Data | MeterAddress | Refusal) or frame.control & 0x80:
            assert encode_response(message, frame.control & 0x1F, version) == (frame.control, frame.data)  # type: ignore[arg-type] - its direction says so
        else:
            assert encode_request(message, version) == (frame.control, frame.data)
    assert understood >= len(frames) * 9 // 10


@pytest.mark.corpus
def test_stated_values(frames: list[dict[str, Any]]) -> None:
    compared = 0
    for entry in frames:
        stated = entry.get("decoded") or {}
        if not entry["checksum_ok"] or not {"value", "level"} & set(stated):
            continue
        compared += 1
        _, message = message_of(entry)
        match message:
            case MeterAddress():
                assert str(message.address) == stated["value"]
            case Refusal():
                assert f"{message.error:02X}" == stated["value"]
            case SetTime():
                assert str(message.time) == stated["value"]
            case Control():
                assert f"{message.command:02X}" == stated["N1"]
                assert f"{message.password.level:02X}" == stated["level"]
                assert message.password.octets[::-1].hex() == stated["password_p2p1p0"]
                assert message.operator[::-1].hex() == stated["operator"]
                assert str(message.valid_until)[2:] == "{}{}-{}{}-{}{} {}{}:{}{}:{}{}".format(*stated["valid_until"])
            case Data():
                same_value(message, stated["value"])
            case _:
                pytest.fail(f"a value of {message}")
    assert compared > len(frames) // 3


def same_value(message: Data, stated: Any) -> None:
    """The value by the format that the tables have for the data identifier."""
    register = find_register(message.di)
    assert register is not None, f"{message.di:08X}"
    layout = Layout.parse(register.format, signed=register.signed, items=None if register.items > 1 else 1)
    if "INVALID_BCD" in str(stated):
        with pytest.raises(DecodeError, match=r"not BCD|wrong size"):
            layout.decode(message.data)
        return
    values = layout.decode(message.data)
    for value, text in zip(values, stated if isinstance(stated, list) else [stated], strict=True):
        if text == "not_present(FF)":
            assert value is None
        elif isinstance(value, str):
            assert value == text
        else:
            assert value == float(text)


@pytest.mark.corpus
def test_raw_values_of_1997(frames: list[dict[str, Any]]) -> None:
    entries = [entry for entry in frames if "raw" in (entry.get("decoded") or {})]
    assert entries
    for entry in entries:
        _, message = message_of(entry)
        assert isinstance(message, Data)
        assert message.data[::-1].hex() == entry["decoded"]["raw"]
