"""Drafts of meter files from what discovery has learned: they load, they can be emulated, they hold no more than was seen."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headend.drivers.dlms.listing import info_of
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.discovery import Evidence, Examination, Trial, TrialOutcome
from headend.model.fingerprint import Classification, Fingerprint, Reason
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import ObjectInfo
from headend.model.profile import ProfileState
from headend.runtime.rehearsal import rehearse
from headend.services.discovery.drafting import draft_profile, fitting
from headend.services.discovery.normalise import normalise
from headend.standards.obis import Obis
from headend.transport.memory import memory_pair

NOON = 1_763_726_400_000
PLACE = Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=4059)
NOTHING: Any = SimpleNamespace(rows=())
FACTS = {
    "protocol": "dlms",
    "serial_number": "12345678",
    "logical_device_name": "LGZ1030012345678",
    "logical_device_name_flag": "LGZ",
    "model_text": "/E350/",
    "object_digest": "ab12",
    "holding/0xFC02/u16": "32",
    "wrapper_wport": "17",
    "firmware": "",
}


async def listed(profile_id: str) -> tuple[ObjectInfo, ...]:
    """The objects of a virtual meter, as it lists them."""
    profile = Library().get(profile_id)
    near, far = memory_pair()
    the_driver = driver(profile.protocol)
    the_driver.serve(far, VirtualMeter(MeterKind(profile, lambda: NOON), 1))
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    framing = "wrapper" if profile.protocol == "dlms" else "tcp"
    meter = Meter(id="m", protocol=profile.protocol, framing=framing, endpoint=endpoint)
    own = profile if profile.protocol != "dlms" else None
    session = await the_driver.attach(near, meter, own, {})
    infos = tuple(await session.objects())
    await session.aclose()
    return infos


def examined(**fields: Any) -> Examination:
    said = {"endpoint": PLACE, "protocol": "dlms", "framing": "wrapper", **fields}
    return Examination(**said)


def drafted(examination: Examination, classification: Classification | None = None, normalised: Any = NOTHING) -> str:
    fingerprint = Fingerprint(digest="f1-0123", facts=FACTS)
    return draft_profile(examination, fingerprint, classification or Classification(), normalised)


@pytest.mark.parametrize("profile_id", ["generic-dlms-1p", "generic-dlms-3p", "generic-dlms-functions"])
async def test_a_meter_that_lists_its_objects_becomes_a_file_that_reads_back(profile_id: str) -> None:
    original = Library().get(profile_id)
    text = drafted(examined(objects=await listed(profile_id)))
    made = load_profile(text, "made")
    assert made.state is ProfileState.DRAFT
    known = {str(entry.ref): entry.quantity for entry in made.objects}
    wanted = {
        str(entry.ref): entry.quantity
        for entry in original.objects
        if entry.quantity.startswith(("active_", "voltage"))
    }
    assert {ref: known.get(ref) for ref in wanted} == wanted
    assert await rehearse(made, lambda: NOON) == []
    assert not [entry for entry in made.objects if entry.ref.address.startswith(("7/", "15/", "17/", "20/"))]
    assert "7/1-0:99.1.0.255/2" in text


async def test_load_profiles_are_laid_out_as_the_meter_said() -> None:
    table = "7/1-0:99.1.0.255/2"
    values = {
        f"{table}#columns": "8/0-0:1.0.0.255/2 3/1-0:1.8.0.255/2 1/0-0:96.10.1.255/2",
        f"{table}#period": "900",
        f"{table}#capacity": "4294967295",
    }
    text = drafted(examined(objects=await listed("generic-dlms-3p"), values=values))
    made = load_profile(text, "made")
    (layout,) = made.load_profiles
    assert (layout.period_seconds, layout.capacity) == (900, 100_000)
    assert [ref.address for ref in layout.columns] == values[f"{table}#columns"].split()
    assert "1/0-0:96.10.1.255/2" in {entry.ref.address for entry in made.objects}
    assert await rehearse(made, lambda: NOON) == []


async def test_what_it_is_and_where_it_was_seen_stands_in_it_but_nothing_of_the_single_meter() -> None:
    classification = Classification(
        vendor="Landis+Gyr",
        flag="LGZ",
        model="E350",
        confidence=0.93,
        reasons=(Reason(text="the name\nbegins with LGZ"),),
    )
    evidence = (Evidence(probe="aarq", at=NOON, sent=b"", received=b""),)
    text = drafted(examined(evidence=evidence, params={"client": "16", "unit": "7"}), classification)
    made = load_profile(text, "made")
    assert (made.vendor, made.model, made.flag, made.fingerprint) == ("Landis+Gyr", "E350", "LGZ", "f1-0123")
    assert made.source == "discovered at dlms://192.0.2.7:4059, 2025-11-21"
    assert dict(made.link) == {"client": "16"}
    assert made.quirks == {"wrapper-wport"}
    assert "12345678" not in text
    assert {(rule.fact, rule.value, rule.weight) for rule in made.detect} == {
        ("model_text", "/^.E350.$/", 80),
        ("object_digest", "ab12", 70),
        ("holding/0xFC02/u16", "32", 60),
        ("logical_device_name_flag", "LGZ", 30),
    }


async def test_normalisation_says_what_an_object_is_and_two_do_not_claim_the_same() -> None:
    objects = tuple(
        ObjectInfo(ref=driver("dlms").parse_ref(ref), class_id=3, class_name="register", unit=unit)
        for ref, unit in (("3/1-1:1.8.0.255", ""), ("3/1-0:1.8.0.255", ""), ("3/0-1:24.2.1.255", "m3"))
    )
    rows = [SimpleNamespace(ref=info.ref, quantity="active_energy_import_total") for info in objects]
    made = load_profile(drafted(examined(objects=objects), normalised=SimpleNamespace(rows=rows)), "made")
    assert [entry.quantity for entry in made.objects] == ["active_energy_import_total", "", ""]
    assert [entry.scaler for entry in made.objects] == [None, None, None]
    assert [entry.poll for entry in made.objects] == [True, False, False]


@pytest.mark.corpus
async def test_drafts_of_the_object_lists_of_real_meters_load_and_read_back(corpus: Path) -> None:
    drafts, objects, wrong = 0, 0, []
    for path in sorted((corpus / "association_views").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            continue
        known = [each for each in document["objects"] if "x" not in each["obis"]]
        infos = tuple(info_of(each["class_id"], Obis.parse(each["obis"])) for each in known)
        normalised = normalise("dlms", infos, vendor=document.get("vendor_flag") or "")
        made = load_profile(drafted(examined(objects=infos), normalised=normalised), path.stem)
        mismatches = await rehearse(made, lambda: NOON)
        drafts += 1
        objects += len(made.objects)
        wrong += [(path.stem, each) for each in mismatches]
    assert drafts > 100
    assert objects > 5000
    assert wrong == []


async def test_an_object_that_is_listed_twice_is_one_object() -> None:
    objects = await listed("generic-dlms-1p")
    made = load_profile(drafted(examined(objects=(*objects, *objects))), "made")
    assert len(made.objects) == len({entry.ref for entry in made.objects})


async def test_clients_that_want_a_secret_are_clients_of_the_virtual_meter() -> None:
    def trial(client: int, mechanism: str, outcome: TrialOutcome) -> Trial:
        return Trial(client=client, server=1, referencing="ln", context="ln", mechanism=mechanism, outcome=outcome)

    trials = (
        trial(16, "none", TrialOutcome.ACCEPTED),
        trial(1, "none", TrialOutcome.REJECTED),
        trial(1, "lls", TrialOutcome.WANTS_SECRET),
        trial(5, "lls", TrialOutcome.SILENT),
    )
    text = drafted(examined(trials=trials, params={"client": "16"}, objects=await listed("generic-dlms-1p")))
    made = load_profile(text, "made")
    assert [(each.sap, dict(each.params)) for each in made.clients] == [(1, {"auth": "lls"})]
    assert dict(made.association) == {"client": "16"}
    assert await rehearse(made, lambda: NOON) == []


@pytest.mark.parametrize("profile_id", ["eastron-sdm120", "generic-dlt645-1p"])
async def test_a_meter_without_a_list_of_its_own_is_read_by_the_file_that_fits(profile_id: str) -> None:
    profile = Library().get(profile_id)
    examination = examined(protocol=profile.protocol, framing="tcp")
    classification = Classification(vendor=profile.vendor, profile_id=profile_id)
    assert fitting(examination, classification) == profile_id
    made = load_profile(drafted(examination, classification), "made")
    assert made.note == f"{profile_id} of the library fits it"
    assert made.objects == ()
    assert fitting(examined(objects=await listed("generic-dlms-1p")), classification) == ""


def test_texts_of_a_meter_cannot_break_out_of_the_file() -> None:
    evil = MeterIdentity(manufacturer='"\n[link]\nclient = 1\n#', model='\\" \x7f\x00')
    text = drafted(examined(identity=evil, stopped='x\n[meter]\nvendor = "y"'))
    made = load_profile(text, "made")
    assert (made.vendor, made.model) == (evil.manufacturer, evil.model) or made.model == "/E350/"
    assert not made.link
