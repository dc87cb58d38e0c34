"""Octets in words: captured frames by their stated values, and what is malformed."""

from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headend
from headend.drivers.base import Layer, Sniff, Sniffed
from headend.drivers.dlt645 import driver
from headend.drivers.dlt645.explaining import explain
from headend.drivers.pasted import errors
from headend.errors import RemoteProtocolError
from headend.model.meter import Secret
from headend.protocols.dlt645.frame import decode_frame

RELAY = "FE FE FE FE 68 61 10 01 30 12 15 68 1C 10 35 6A 39 35 34 33 33 33 4D 33 33 33 33 63 45 CC 2C 16"
"""A captured command to a relay (olivenet-iot/ivy-4g-gateway and others)."""


def fields(layer: Layer) -> dict[str, str]:
    """All fields of a layer and those below it."""
    found = {name: value for name, value, _, _ in layer.fields}
    for inner in layer.layers:
        found |= fields(inner)
    return found


def corpus() -> list[dict[str, Any]]:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    frames: list[dict[str, Any]] = json.loads(Path(folder, "dlt645_frames.json").read_text(encoding="utf-8"))
    return frames


def test_a_command_to_a_relay() -> None:
    layer = headend.decode(RELAY).layer
    assert not list(errors(layer))
    said = fields(layer)
    assert said["address"] == "151230011061"
    assert said["level"] == "02"
    assert said["password"] == "******"
    assert said["operator"] == "00000001"
    assert said["command"] == "0x1A (trip)"
    assert said["valid until"].startswith("2099-12-30")


def test_fields_tell_where_they_lie() -> None:
    layer = explain(bytes.fromhex("FE FE 68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16"))
    (inner,) = layer.layers
    assert (layer.offset, layer.length, inner.offset, inner.length) == (0, 20, 12, 6)
    assert [(name, offset, size) for name, _, offset, size in layer.fields] == [
        *(("leader", 0, 2), ("address", 3, 6), ("control code", 10, 1), ("length", 11, 1), ("checksum", 18, 1))
    ]
    assert inner.fields == (
        ("data identifier", "02010100 (Voltage, L1)", 12, 4),
        ("value", "100.1 V", 16, 2),
    )


def test_request_and_answer_one_behind_the_other() -> None:
    octets = "68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16 FE FE 68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16"
    layer = explain(bytes.fromhex(octets))
    assert len(layer.layers) == 2
    assert not list(errors(layer))
    assert fields(layer)["value"] == "0.26 kWh"


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        ("", "no octets"),
        ("00 11 22", "no frame of DL/T 645 (at octet 0)"),
        ("68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 11 16", "checksum"),
        ("68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10", "length beyond the octets"),
        ("68 18 06 36 04 00 91 68 91 08 33 33 34 33 33 33 41 33 F9 16", "not BCD"),
        ("68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16 00 01", "2 octets are no frame of DL/T 645 (at octet 16)"),
    ],
)
def test_what_is_malformed_is_said(octets: str, said: str) -> None:
    assert any(said in error for error in errors(explain(bytes.fromhex(octets))))


def test_a_frame_with_a_wrong_checksum_is_told_all_the_same() -> None:
    layer = explain(bytes.fromhex("68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 11 16"))
    assert layer.error == "wrong checksum (at octet 16, expected 10, got 11)"
    assert fields(layer)["value"] == "100.1 V"


@given(st.binary(max_size=80))
def test_any_octets_are_explained(octets: bytes) -> None:
    layer = explain(octets)
    assert 0 <= layer.offset <= layer.offset + layer.length <= len(octets)


@given(st.binary(max_size=60), st.integers(0, 255))
def test_any_content_of_a_frame_is_explained(content: bytes, control: int) -> None:
    head = b"\x68\x01\0\0\0\0\0\x68" + bytes((control, len(content))) + content
    layer = explain(head + bytes((sum(head) & 0xFF, 0x16)))
    assert layer.layers
    for name, value, offset, size in layer.layers[0].fields:
        assert name
        assert value
        assert 10 <= offset <= offset + size <= 10 + len(content)


@pytest.mark.corpus
def test_every_collected_frame_says_its_stated_value() -> None:
    stated = 0
    for frame in corpus():
        octets = bytes.fromhex(frame["hex"])
        layer = explain(octets)
        if frame["provenance"] in ("checksum_to_check", "negative_vector"):
            continue
        if frame["provenance"] == "real_probe_no_answer":  # data without the 33H, codes that nobody has given out
            continue
        said = fields(layer)
        assert said["address"].startswith(frame["address"]), frame
        decoded = frame["decoded"] or {}
        value = decoded.get("value") if isinstance(decoded, dict) else None
        if not isinstance(value, str) or "value" not in said:
            continue
        try:
            number = Decimal(value)
        except InvalidOperation:
            continue
        assert Decimal(said["value"].split(" ")[0]) == number, frame
        stated += 1
    assert stated > 30


@pytest.mark.corpus
def test_every_collected_frame_is_sniffed() -> None:
    for frame in corpus():
        octets = bytes.fromhex(frame["hex"])
        try:
            decode_frame(octets)
        except RemoteProtocolError:
            continue
        found = driver.sniff(octets)
        if isinstance(found, Sniffed):
            assert (found.whole, found.sure) == (True, True)
            for end in range(len(octets)):
                said = driver.sniff(octets[:end])
                assert said is Sniff.NEED_DATA if end < found.end else not getattr(said, "whole", True)
        else:
            assert frame["provenance"] == "real_probe_no_answer", frame


def test_a_password_is_masked_and_the_frame_stays_whole() -> None:
    octets = bytes.fromhex(RELAY)
    ((spoken, instead),) = driver.spoken({"secret": Secret(b"020637")})
    masked = driver.reseal(octets.replace(spoken, instead))
    assert masked != octets
    assert len(masked) == len(octets)
    assert not list(errors(explain(masked)))
    assert driver.reseal(octets) == octets
    assert driver.spoken({"secret": Secret(b"000000")}) == ()
    assert driver.spoken({}) == ()
