"""Recognition over the shared data sets: whole, in two pieces at every octet, and every beginning."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.drivers.recognition import UNKNOWN, Recogniser
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver, driver_names

CORPUS = Path(os.environ.get("HEADEND_CORPUS", ""))
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not (CORPUS / "registration_frames.json").is_file(), reason="HEADEND_CORPUS names no data sets"),
]
KNOWN = Known(built_in())
DRIVERS = tuple(driver(name) for name in driver_names())
TRANSPORTS = {"hdlc": "dlms-hdlc", "wrapper": "dlms-wrapper", "raw": "dlms-apdu", "mbus": UNKNOWN}
HEAD = 400
"""Octets of a stream that are split: a verdict falls long before."""


def read(name: str) -> Any:
    return json.loads((CORPUS / name).read_text())


def registrations() -> Iterator[tuple[str, bytes, str]]:
    document = read("registration_frames.json")
    for vector in document["vectors"]:
        if "acknowledge" not in vector["name"]:
            yield vector["name"], bytes.fromhex(vector["hex"]), "longi"
    for family in document["families"]:
        for vector in family.get("vectors", ()):
            if vector["name"].startswith("heartbeat"):
                yield vector["name"], bytes.fromhex(vector["hex"]), "hexing"


def dlms() -> Iterator[tuple[str, bytes, str]]:
    for number, frame in enumerate(read("dlms_frames.json")):
        yield f"{number} {frame['apdu']}", bytes.fromhex(frame["hex"]), "dlms-wrapper"
    for line in (CORPUS / "captures/dlms_push.jsonl").read_text().splitlines():
        push = json.loads(line)
        yield push["name"], bytes.fromhex(push["hex"]), TRANSPORTS[push["transport"]]


def dlt645() -> Iterator[tuple[str, bytes, str]]:
    for number, frame in enumerate(read("dlt645_frames.json")):
        if frame["dir"] == "response" and frame["checksum_ok"]:
            yield f"{number} {frame['control']}", bytes.fromhex(frame["leader"] + frame["hex"]), "dlt645"


def streams() -> list[Any]:
    if not (CORPUS / "registration_frames.json").is_file():
        return []
    found = [*registrations(), *dlms(), *dlt645()]
    return [pytest.param(data, label, id=name) for name, data, label in found]


def label(*parts: bytes) -> str | None:
    recogniser = Recogniser(KNOWN, DRIVERS)
    for part in parts:
        said = recogniser.feed(part)
        if said is not None:
            return said.label
    return None


@pytest.mark.parametrize(("data", "expected"), streams())
def test_in_two_pieces(data: bytes, expected: str) -> None:
    assert label(data) == expected
    for cut in range(min(len(data), HEAD)):
        assert label(data[:cut]) in {None, expected}
        assert label(data[:cut], data[cut:]) == expected


@pytest.mark.parametrize(("data", "expected"), [each for each in streams() if each.values[1].startswith("dl")])
def test_heartbeats_between_frames(data: bytes, expected: str) -> None:
    (heartbeat,) = (each.octets for each in built_in().files["longi"].tests if each.name.startswith("heartbeat"))
    beats = HeartbeatFilter(KNOWN)
    assert beats.feed(data) == (data, ())
    if beats.feed(heartbeat)[0]:
        pytest.skip(f"the capture is cut short: it is no whole {expected}")
    beats = HeartbeatFilter(KNOWN)
    rest, registered = b"", []
    for part in (data[:7], data[7:], heartbeat[:9], heartbeat[9:] + data, heartbeat):
        passed, found = beats.feed(part)
        rest += passed
        registered += found
    assert rest == data + data
    assert [each.octets for each in registered] == [heartbeat] * 2
