"""Pushes of real meters, with what their sources say about them; and the vectors and frames of the collection.

A stated value counts as found when the readings hold it. Three kinds of statements are none, and are counted apart:

- `unscaled`: the digits are right, the scale is not told by the push (or the source left it out);
- `default`: the source says 0 of what the push does not tell, or took the index of an object list for the value;
- `elsewhere`: the capture does not hold the object at all (sources extrapolate from earlier pushes).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headend.drivers.base import Layer
from headend.drivers.dlms import driver
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.standards.obis import Obis

from .layers import check_places, errors, field, walk

pytestmark = pytest.mark.corpus

SUMMARY = {
    "active_import_W": ("1.7.0",),
    "active_export_W": ("2.7.0",),
    "voltage_V": ("32.7.0", "52.7.0", "72.7.0"),
    "current_A": ("31.7.0", "51.7.0", "71.7.0"),
    "import_kWh": ("1.8.0",),
}


class Told(NamedTuple):
    """A reading: in words, and the integer on the wire (None for texts)."""

    text: str
    raw: int | None


def captures(corpus: Path) -> Iterator[dict[str, Any]]:
    lines = (corpus / "captures" / "dlms_push.jsonl").read_text().splitlines()
    yield from map(json.loads, lines)


def is_plain(capture: dict[str, Any]) -> bool:
    """Not ciphered, not in blocks, not M-Bus, with right check sequences."""
    checked = capture["checked"]
    framed = capture["transport"] == "raw" or checked.get("crc_ok") == checked.get("frames")
    plain = not {"ciphering", "gbt_blocks"} & set(checked) and checked.get("plaintext_tag") != "E0"
    return capture["transport"] in {"raw", "hdlc"} and framed and plain and "negative" not in capture.get("note", "")


def told(layer: Layer, octets: bytes) -> dict[str, Told]:
    """Readings by OBIS code; the integers are taken from the input at the place that the reading names."""
    found = {}
    for each in walk(layer):
        if each.name.startswith("Readings"):
            for name, value, offset, length in each.fields:
                signed = octets[offset] in (0x05, 0x0F, 0x10, 0x14)
                number = octets[offset] in (0x03, 0x05, 0x06, 0x0F, 0x10, 0x11, 0x12, 0x14, 0x15, 0x16)
                raw = int.from_bytes(octets[offset + 1 : offset + length], "big", signed=signed) if number else None
                found[name.split()[0]] = Told(value, raw)
    return found


def judge(stated: float, reading: Told | None, obis: Obis, octets: bytes) -> str:
    name = obis.to_bytes()
    if reading is None:
        return "default" if stated == 0 else "elsewhere" if name not in octets else "wrong"
    listed = stated == 0 and name + b"\x0f\x02\x12\0\0" in octets
    if reading.raw is None:
        return "default" if listed else "wrong"
    value = float(reading.text.split()[0].replace("true", "1").replace("false", "0"))
    if math.isclose(value, stated, rel_tol=1e-6, abs_tol=0.0051 if stated else 0):
        return "found"  # some sources keep values as single floats, and print two decimals
    if stated == 0:
        return "default" if listed else "wrong"
    power = math.log10(reading.raw / stated) if reading.raw / stated > 0 else 0.5
    return "unscaled" if math.isclose(power, round(power), abs_tol=1e-6) else "wrong"


def numbers(expected: dict[str, Any], readings: dict[str, Told]) -> Iterator[tuple[str, float, Obis, float]]:
    """Every stated number: where it stands, what it is, its object, and the factor to the unit of the reading."""
    by_code = expected.get("numbers", {}) | {key: value for key, value in expected.items() if key[0].isdigit()}
    for code, value in by_code.items():
        yield code, value, Obis.parse(code), 1
    for key, codes in SUMMARY.items():
        stated = expected.get(key)
        for code, value in zip(codes, stated if isinstance(stated, list) else [stated], strict=False):
            if value is not None:
                there = (Obis.parse(each) for each in readings if each.split(":")[1] == f"{code}.255")
                yield key, value, next(there, Obis.parse(f"1-0:{code}")), 1000 if key == "import_kWh" else 1


def texts(expected: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from expected.get("strings", {}).items()
    for key in ("meter_id", "logical_device_name"):
        if key in expected:
            yield "", expected[key]


def test_plain_captures_decode_and_hold_what_their_sources_state(corpus: Path) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for capture in filter(is_plain, captures(corpus)):
        octets = bytes.fromhex(capture["hex"])
        layer = driver.explain(octets)
        check_places(layer, len(octets))
        counts["captures"] += 1
        problems = errors(layer)
        if problems and "more segments were announced" in problems[0]:
            counts["captures without their last segment"] += 1
            continue
        if problems:
            wrong.append(f"{capture['name']}: {problems}")
            continue
        counts["captures decoded"] += 1
        expected = capture.get("expected", {})
        readings = told(layer, octets)
        counts["captures with readings"] += bool(readings)
        for key, stated, obis, factor in numbers(expected, readings):
            verdict = judge(stated * factor, readings.get(str(obis)), obis, octets)
            if verdict == "wrong" and stated == 0 and key in SUMMARY:
                verdict = "default"
            counts[verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{capture['name']}: {key} is {stated}, {obis} reads {readings.get(str(obis))}")
        for code, stated in texts(expected):
            shown = [readings[str(Obis.parse(code))].text] if code else [reading.text for reading in readings.values()]
            good = any(stated in text for text in shown)
            counts["found" if good else "wrong"] += 1
            if not good:
                wrong.append(f"{capture['name']}: {code} is {stated!r}, reads {shown}")
        if "timestamp" in expected:
            shown = datetime.fromisoformat(field(layer, "date-time").partition(" (")[0]).replace(microsecond=0)
            stated = expected["timestamp"].removesuffix(" local")  # one source calls UTC local
            assert stated in {f"{shown:%F %T}", f"{shown.astimezone(UTC):%F %T}"}
            counts["found"] += 1
        count = expected.get("object_count") or expected.get("push_objects")
        if count:
            counts["found" if count == len(readings) else "wrong"] += 1
            if count != len(readings):
                wrong.append(f"{capture['name']}: {count} objects, {len(readings)} readings")
    print(dict(counts))  # noqa: T201 - the summary that this test is for
    assert not wrong
    assert counts["found"] > 10 * counts["unscaled"]


def test_every_other_capture_ends_in_layers_too(corpus: Path) -> None:
    for capture in captures(corpus):
        octets = bytes.fromhex(capture["hex"])
        layer = driver.explain(octets)
        check_places(layer, len(octets))
        ciphering = capture["checked"].get("ciphering")
        whole = capture["checked"].get("crc_ok", capture["checked"].get("checksum_ok")) == capture["checked"].get(
            "frames"
        )
        if ciphering and whole and not errors(layer):
            assert field(layer, "invocation counter") == str(ciphering["invocation_counter"]), capture["name"]
            assert field(layer, "system title").startswith(ciphering["system_title"])


def test_negative_captures_are_refused_with_a_place(corpus: Path) -> None:
    negative = [each for each in captures(corpus) if "negative" in each.get("note", "")]
    assert negative
    for capture in negative:
        found = errors(driver.explain(bytes.fromhex(capture["hex"])))
        assert found, capture["name"]
        assert "octet" in found[0]


def test_blocks_in_plain_captures_are_put_together(corpus: Path) -> None:
    for capture in captures(corpus):
        checked = capture["checked"]
        if checked.get("gbt_last") and checked.get("apdu") == "data-notification" and "ciphering" not in checked:
            layer = driver.explain(bytes.fromhex(capture["hex"]))
            assert not errors(layer), capture["name"]
            assert len(told(layer, bytes.fromhex(capture["hex"]))) > 5


def test_vectors_and_frames_decode_and_re_encode(corpus: Path) -> None:
    vectors = map(json.loads, (corpus / "captures" / "dlms_vectors.jsonl").read_text().splitlines())
    checked = 0
    for vector in vectors:
        octets = bytes.fromhex(vector["input"].get("apdu") or vector["input"].get("frame") or "")
        if vector["kind"] in {"acse", "hdlc-frame"}:
            assert not errors(driver.explain(octets)), vector["name"]
            check_places(driver.explain(octets), len(octets))
            checked += 1
        if vector["kind"] == "acse":
            assert decode_apdu(octets).encode() == octets
    for frame in json.loads((corpus / "dlms_frames.json").read_text()):
        octets = bytes.fromhex(frame["hex"])
        layer = driver.explain(octets)
        assert [error for error in errors(layer) if "blocks" not in error and "block " not in error] == []
        decoded = decode_apdu(octets[8:])
        if frame["apdu"] != "GetResponseWithDatablock":  # these meters spend three octets on a short length
            assert decoded.encode() == octets[8:]
        assert decode_apdu(decoded.encode()) == decoded
        checked += 1
    assert checked
