"""`fingerprint` and `obis`: what they say of files, and of codes of the standard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson

from headend.model.discovery import Evidence, Examination, Fact, Trial, TrialOutcome
from headend.model.discovery_json import to_json
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.model.objects import ObjectInfo, ObjectRef
from headend.services.discovery.fingerprint import build

from .conftest import Headend

METER = Examination(
    endpoint=Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=4059),
    protocol="dlms",
    framing="wrapper",
    identity=MeterIdentity(serial="00123456", firmware="V1.02", logical_device_name="ISK0123456789012"),
    facts=(Fact(name="conformance", value="00101D", evidence=(0,)), Fact(name="suite", value="", note="not readable")),
    trials=(
        Trial(
            client=16,
            server=1,
            referencing="ln",
            context="ln",
            mechanism="none",
            outcome=TrialOutcome.ACCEPTED,
            evidence=(0,),
        ),
    ),
    objects=(
        ObjectInfo(ref=ObjectRef("dlms", "3/1-0:1.8.0.255/2"), class_id=3, version=0),
        ObjectInfo(ref=ObjectRef("dlms", "1/0-0:128.1.0.255/2"), class_id=1, version=0),
    ),
    evidence=(Evidence(probe="associate", at=5, sent=b"\x60", received=b"\x61"),),
)


def write(path: Path, document: object) -> str:
    """A file with the JSON of a part of the model."""
    path.write_bytes(to_json(document))
    return str(path)


def test_a_file_is_shown(headend: Headend, tmp_path: Path) -> None:
    said = headend("fingerprint", "show", write(tmp_path / "a.json", METER))
    assert said.code == 0
    assert ["digest", build(METER).digest] in said.rows
    assert ["conformance", "00101d", "model"] in said.rows
    assert ["suite", "not observable: not readable", "model"] in said.rows
    assert ["16 (public client)", "1", "ln", "none", "accepted", "", "0"] in said.rows
    assert "2 objects: 1 understood, 1 of the manufacturer's own; 1 of 1 measurements have a quantity" in said.out


def test_the_json_is_what_a_page_needs(headend: Headend, tmp_path: Path) -> None:
    wrapped = tmp_path / "device.json"
    wrapped.write_bytes(orjson.dumps({"url": "dlms://192.0.2.7", "examination": orjson.loads(to_json(METER))}))
    document = headend("fingerprint", "show", str(wrapped), "--json").json
    assert document["schema"] == "headend-meter-identity/1"
    facts = {each["name"]: each for each in document["fingerprint"]["facts"]}
    assert facts["conformance"] == {
        "name": "conformance",
        "value": "00101d",
        "stability": "model",
        "about": "what the public client was granted: three octets in hexadecimal",
        "note": "",
        "evidence": [0],
    }
    assert document["associations"]["trials"][0]["outcome"] == "accepted"
    assert document["objects"]["rows"][0]["quantity"] == "active_energy_import_total"


def test_two_files_are_compared(headend: Headend, tmp_path: Path) -> None:
    before = write(tmp_path / "a.json", METER)
    newer = replace(METER, identity=replace(METER.identity, firmware="V1.03"))
    after = write(tmp_path / "b.json", {"fingerprint": build(newer)})
    said = headend("fingerprint", "diff", before, after)
    assert said.out.splitlines()[0] == "the same meter, changed since: firmware (100% alike)"
    assert ["fact-changed", "firmware", "V1.02", "V1.03"] in said.rows
    document = headend("fingerprint", "diff", before, after, "--json").json
    assert (document["verdict"], document["updated"]) == ("same-meter", True)
    assert document["changes"][0]["stability"] == "model"


def test_what_was_shown_can_be_compared_again(headend: Headend, tmp_path: Path) -> None:
    """As people and REST keep it: the page alone, or within the document of a device."""
    shown = headend("fingerprint", "show", write(tmp_path / "a.json", METER), "--json").json
    device = write(tmp_path / "device.json", {"id": "x", "page": shown})
    other = replace(METER, identity=replace(METER.identity, firmware="V1.03"), objects=METER.objects[:1])
    said = headend("fingerprint", "diff", device, write(tmp_path / "b.json", [{"found": {"examination": other}}]))
    assert said.out.splitlines()[0] == "the same meter, changed since: firmware, objects (50% alike)"
    assert ["object-gone", "0-0:128.1.0.255", "class 1 version 0", ""] in said.rows
    assert ["digest", build(METER).digest] in headend("fingerprint", "show", device).rows


def test_a_file_without_a_meter_is_refused(headend: Headend, tmp_path: Path) -> None:
    for content in ("[]", "{", '{"objects": 3}'):
        (tmp_path / "a.json").write_text(content, encoding="utf-8")
        assert headend("fingerprint", "show", str(tmp_path / "a.json")).code == 2
    assert headend("fingerprint", "show", str(tmp_path / "none.json")).code == 2


def test_codes_are_explained(headend: Headend) -> None:
    said = headend("obis", "1-0:1.8.2", "0.0.96.1.1.255")
    assert ["1-0:1.8.2.255", "Active energy import, time integral 1, rate 2"] in said.rows
    assert ["quantity", "active_energy_import_t2"] in said.rows
    assert ["unit", "Wh"] in said.rows
    assert ["kind", "measurement, cumulative"] in said.rows
    assert ["in India (IS 15959)", "Name of the manufacturer"] in said.rows
    for same in ("0100010802FF", "0x0100010802ff", "active_energy_import_t2"):
        assert headend("obis", same).rows[0] == ["1-0:1.8.2.255", "Active energy import, time integral 1, rate 2"]
    for wrong in ("1-0:256.8.0", "credit_balance", "01000108", "nonsense"):
        assert headend("obis", wrong).code == 2


def test_a_country_goes_first_and_a_maker_too(headend: Headend) -> None:
    assert ["0-0:96.1.1.255", "Name of the manufacturer"] in headend("obis", "0-0:96.1.1.255", "--country", "IN").rows
    document = headend("obis", "128-0:3.0.0.255", "--vendor", "KPZ", "--class", "3", "--json").json
    assert (document[0]["meaning"], document[0]["variant"], document[0]["status"]) == ("Calibration 3", "kpz", "named")
    assert ["1-0:200.8.0.255", "Electricity (nearest meaning)"] in headend("obis", "1-0:200.8.0").rows
