"""Pushes of real meters, with what their sources say about them; and the vectors and frames of the collection.

A stated value counts as found when the readings hold it. Three kinds of statements are none, and are counted apart:

- `unscaled`: the digits are right, the scale is not told by the push (or the source left it out);
- `default`: the source says 0 of what the push does not tell, or took the index of an object list for the value;
- `elsewhere`: the capture does not hold the object at all (sources extrapolate from earlier pushes).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from headend.drivers.base import Layer
from headend.drivers.dlms import driver
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.explain import explain_dialogue
from headend.model.meter import Secret
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


NO_KEY = "give ek"
"""What is said of a ciphered push whose key nobody published."""


class Told(NamedTuple):
    """A reading: in words, and the number in them (None for texts)."""

    text: str
    number: float | None


def captures(corpus: Path) -> Iterator[dict[str, Any]]:
    """All captures; one that only goes on with the blocks of the capture before it is joined to that one."""
    lines = (corpus / "captures" / "dlms_push.jsonl").read_text().splitlines()
    before: dict[str, Any] | None = None
    for each in map(json.loads, lines):
        capture = each
        if before is not None and each["checked"].get("plaintext_tag") == "E0":
            capture = before | {"name": f"{before['name']}, {each['name']}", "hex": before["hex"] + each["hex"]}
        elif before is not None:
            yield before
        before = capture
    if before is not None:
        yield before


def explained(capture: dict[str, Any]) -> Layer:
    keys = {name: Secret(bytes.fromhex(octets)) for name, octets in capture.get("keys", {}).items()}
    return driver.explain(bytes.fromhex(capture["hex"]), keys)


NOTHING: Final = {"no key published": NO_KEY, "its source has it refused": "block 3 is missing"}
"""All that keeps a capture from telling any value, and what the decoder must say about it."""
PARTLY: Final = {
    "damaged in its source": "FCS wrong",
    "the last block was not recorded": "the blocks after number",
    "the last segment was not recorded": "the APDU is incomplete",
}
"""All that keeps a capture from telling every value: those that are there are told."""


def unreadable(capture: dict[str, Any], layer: Layer) -> str:
    """Why a capture tells no value: a key of NOTHING, or empty."""
    if capture.get("expected", {}).get("must_be_rejected"):
        return "its source has it refused"
    ciphered = any("ciphering" in each.name for each in walk(layer))
    return "no key published" if ciphered and "keys" not in capture else ""


def incomplete(capture: dict[str, Any]) -> str:
    """Why a capture tells only some values: a key of PARTLY, or empty."""
    checked = capture["checked"]
    if checked.get("crc_ok", checked.get("checksum_ok")) != checked.get("frames"):
        return "damaged in its source"
    if checked.get("gbt_last") is False:
        return "the last block was not recorded"
    return "the last segment was not recorded" if "IndexError" in checked.get("axdr", "") else ""


def values(layer: Layer) -> int:
    """How many values of the notification are shown."""
    bodies = [each for each in walk(layer) if each.name.startswith(("notification body", "data"))]
    return sum(len(each.fields) for body in bodies for each in walk(body))


def told(layer: Layer) -> dict[str, Told]:
    """Readings by OBIS code."""
    found = {}
    for each in walk(layer):
        if each.name.startswith("Readings"):
            for name, value, _, _ in each.fields:
                number = re.match(r"-?\d+(\.\d+)?(e[+-]\d+)?(?= |$)", value.replace("true", "1").replace("false", "0"))
                found[name.split()[0]] = Told(value, float(number[0]) if number else None)
    return found


def judge(stated: float, reading: Told | None, obis: Obis, octets: bytes) -> str:
    name = obis.to_bytes()
    if reading is None:
        return "default" if stated == 0 else "elsewhere" if name not in octets else "wrong"
    listed = stated == 0 and name + b"\x0f\x02\x12\0\0" in octets
    if reading.number is None:
        return "default" if listed else "wrong"
    value = reading.number
    if math.isclose(value, stated, rel_tol=1e-6, abs_tol=0.0051 if stated else 0):
        return "found"  # some sources keep values as single floats, and print two decimals
    if stated == 0:
        return "default" if listed else "wrong"
    power = math.log10(value / stated) if value / stated > 0 else 0.5
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


def test_every_capture_is_explained_and_holds_what_its_source_states(corpus: Path) -> None:
    counts: Counter[str] = Counter()
    families: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {}
    wrong: list[str] = []
    for capture in captures(corpus):
        octets = bytes.fromhex(capture["hex"])
        layer = explained(capture)
        check_places(layer, len(octets))
        nothing, partly = unreadable(capture, layer), incomplete(capture)
        families[f"{capture['transport']}{', nothing' if nothing else ', partly' if partly else ''}"] += 1
        if nothing or partly:
            reasons.setdefault(nothing or partly, []).append(capture["name"])
            wrong += [f"{capture['name']}: {each}" for each in not_told(layer, nothing, partly)]
            continue
        wrong += [f"{capture['name']}: {problem}" for problem in errors(layer)]
        plain = capture["checked"].get("plaintext_hex") or capture["hex"]
        wrong += [f"{capture['name']}: {each}" for each in compare(capture, layer, bytes.fromhex(plain), counts)]
    print(dict(families), dict(counts), *(f"{key}: {names}" for key, names in reasons.items()), sep="\n")  # noqa: T201
    assert not wrong, "\n".join(wrong)
    assert counts["found"] > 10 * counts["unscaled"]
    assert set(reasons) == {*NOTHING, *PARTLY}
    assert len(reasons["its source has it refused"]) == 1


def not_told(layer: Layer, nothing: str, partly: str) -> Iterator[str]:
    """What the decoder should say of a capture that is not whole, and does not."""
    said = [*errors(layer), *all_values(layer)]
    if nothing == "no key published":
        if not field(layer, "system title"):
            yield "the outer fields are not shown"
        if not any(NO_KEY in each for each in said) and not errors(layer):
            yield f"{NO_KEY!r} is not said"
    elif not any((NOTHING | PARTLY)[nothing or partly] in each for each in said):
        yield f"is not said to be {nothing or partly}: {errors(layer)}"
    if partly and not nothing and not values(layer):
        yield "nothing of it is shown"


def compare(capture: dict[str, Any], layer: Layer, octets: bytes, counts: Counter[str]) -> Iterator[str]:
    """What the source states and the readings do not; `octets` are the plain ones."""
    expected = capture.get("expected", {})
    readings = told(layer)
    for key, stated, obis, factor in numbers(expected, readings):
        verdict = judge(stated * factor, readings.get(str(obis)), obis, octets)
        if verdict == "wrong" and stated == 0 and key in SUMMARY:
            verdict = "default"
        counts[verdict] += 1
        if verdict == "wrong":
            yield f"{key} is {stated}, {obis} reads {readings.get(str(obis))}"
    unnamed = (
        0  # values whose code the source knows and the push does not tell: the name of a list, a number at its end
    )
    for code, stated in texts(expected):
        reading = readings.get(str(Obis.parse(code))) if code else None
        unnamed += bool(code) and reading is None
        good = stated in reading.text if reading else any(stated in value for value in all_values(layer))
        counts["found" if good else "wrong"] += 1
        if not good:
            yield f"{code} is {stated!r}, reads {reading}"
    if "timestamp" in expected:
        shown_time = datetime.fromisoformat(field(layer, "date-time").partition(" (")[0]).replace(microsecond=0)
        stated = expected["timestamp"].removesuffix(" local")  # one source calls UTC local
        assert stated in {f"{shown_time:%F %T}", f"{shown_time.astimezone(UTC):%F %T}"}
        counts["found"] += 1
    count = expected.get("object_count") or expected.get("push_objects")
    if count:
        lines = unnamed + sum(len(each.fields) for each in walk(layer) if each.name.startswith("Readings"))
        counts["found" if count == lines else "wrong"] += 1
        if count != lines:
            yield f"{count} objects, {lines} readings"


def all_values(layer: Layer) -> Iterator[str]:
    for each in walk(layer):
        yield from (value for _, value, _, _ in each.fields)


def test_ciphered_captures_decipher_to_what_their_sources_have(corpus: Path) -> None:
    found = Counter()
    for capture in captures(corpus):
        checked = capture["checked"]
        if "ciphering" not in checked:
            continue
        layer = explained(capture)
        if not errors(layer):
            assert field(layer, "invocation counter") == str(checked["ciphering"]["invocation_counter"]), capture[
                "name"
            ]
            assert field(layer, "system title").startswith(checked["ciphering"]["system_title"])
        if "keys" not in capture or incomplete(capture):
            continue
        assert "deciphered with ek" in field(layer, "ciphertext"), capture["name"]
        tag = field(layer, "authentication tag")
        if checked["ciphering"].get("gcm_tag_ok"):
            assert tag.endswith("(verified)"), capture["name"]
        found[tag.partition(" ")[2]] += 1
        heard = Dialogue({name: Secret(bytes.fromhex(octets)) for name, octets in capture["keys"].items()})
        explain_dialogue(bytes.fromhex(capture["hex"]), heard)
        if "plaintext_hex" in checked:
            assert bytes.fromhex(checked["plaintext_hex"]) in heard.deciphered(), capture["name"]
    assert found["(verified)"] >= 3


def test_every_capture_that_is_whole_is_written_in_xml(corpus: Path) -> None:
    for capture in captures(corpus):
        layer = explained(capture)
        if errors(layer) or not any("IEC 62056-5-3" in each.name for each in walk(layer)):
            continue
        keys = {name: Secret(bytes.fromhex(octets)) for name, octets in capture.get("keys", {}).items()}
        document = ET.fromstring(driver.translate(bytes.fromhex(capture["hex"]), keys))  # noqa: S314 - of our own
        opened = "deciphered" in field(layer, "ciphertext")
        if opened and not any("blocks" in each.name for each in walk(layer)):
            assert document.find(".//NotificationBody") is not None, capture["name"]


def test_every_peculiarity_of_real_meters_is_named(corpus: Path) -> None:
    named = {
        value
        for capture in captures(corpus)
        for each in walk(explained(capture))
        for name, value, _, _ in each.fields
        if name == "peculiarity"
    }
    for beginning in (
        "date-time as tagged octet-string, as some meters send it",
        "a ciphered APDU in blocks",
        "no LLC header: only the first frame",
        "segments in UI frames",
        "encrypted without an authentication tag",
        "security suite 1",
        "attribute descriptor without tags",
        "values without OBIS codes",
        "an APDU in several frames: the control information counts them",
        "a frame of 257 octets",
        "7E within the frame",
    ):
        assert any(each.startswith(beginning) for each in named), beginning


def vectors(corpus: Path) -> Iterator[dict[str, Any]]:
    lines = (corpus / "captures" / "dlms_vectors.jsonl").read_text().splitlines()
    yield from map(json.loads, lines)


def secrets(given: dict[str, str], **names: str) -> dict[str, Secret]:
    return {ours: Secret(bytes.fromhex(given[theirs])) for ours, theirs in names.items() if theirs in given}


def test_vectors_decode_to_what_is_stated(corpus: Path) -> None:
    checked: Counter[str] = Counter()
    for vector in vectors(corpus):
        given, stated = vector["input"], vector["expected"]
        kind = vector["kind"]
        if kind in {"acse", "hdlc-frame"}:
            octets = bytes.fromhex(given.get("apdu") or given["frame"])
            assert not errors(driver.explain(octets)), vector["name"]
            check_places(driver.explain(octets), len(octets))
            if kind == "acse":
                assert decode_apdu(octets).encode() == octets
        elif kind == "glo-ciphering":
            dialogue = Dialogue(secrets(given, ek="ek", ak="ak", client_title="system_title"))
            layer = explain_dialogue(bytes.fromhex(stated["apdu"]), dialogue)
            assert list(dialogue.deciphered()) == [bytes.fromhex(given["plaintext"])], vector["name"]
            assert not errors(layer)
            assert field(layer, "authentication tag").endswith("(verified)")
        elif kind == "general-ciphering" and "apdu" in given:
            dialogue = Dialogue(secrets(given, ek="key", ak="ak"))
            layer = explain_dialogue(bytes.fromhex(given["apdu"]), dialogue)
            assert bytes.fromhex(stated["plaintext"]) in dialogue.deciphered()
            assert [error.partition(":")[0] for error in errors(layer)] == ["authentication tag wrong"]  # as published
        else:
            continue
        checked[kind] += 1
    print(dict(checked))  # noqa: T201
    assert set(checked) == {"acse", "hdlc-frame", "glo-ciphering", "general-ciphering"}


def test_frames_of_meters_decode_and_re_encode(corpus: Path) -> None:
    for frame in json.loads((corpus / "dlms_frames.json").read_text()):
        octets = bytes.fromhex(frame["hex"])
        layer = driver.explain(octets)
        if not any("block" in error for error in errors(layer)):
            assert errors(layer) == []
        decoded = decode_apdu(octets[8:])
        if frame["apdu"] != "GetResponseWithDatablock":  # these meters spend three octets on a short length
            assert decoded.encode() == octets[8:]
        assert decode_apdu(decoded.encode()) == decoded
