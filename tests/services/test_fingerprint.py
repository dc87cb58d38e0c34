"""Fingerprints: what is part of the digest, what is not, and what two of them say of each other."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.discovery import Examination, Fact
from headend.model.fingerprint import FACTS, Fingerprint, Stability
from headend.model.jsontext import dumps
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.model.objects import ObjectInfo, ObjectRef
from headend.services.discovery.fingerprint import (
    ChangeKind,
    Verdict,
    build,
    compare,
    difference,
    nearest,
    object_digest,
    similarity,
)
from headend.services.discovery.identity_page import fingerprint_of, identity_page

PLACE = Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=4059)


def entry(name: str, class_id: int = 3, version: int = 0) -> ObjectInfo:
    """One line of an object list."""
    return ObjectInfo(ref=ObjectRef("dlms", f"{class_id}/{name}/2"), class_id=class_id, version=version)


METER = Examination(
    endpoint=PLACE,
    protocol="dlms",
    framing="wrapper",
    identity=MeterIdentity(
        serial="00123456", firmware="V1.02", logical_device_name="ISK0123456789012", system_title="49534b6600001234"
    ),
    facts=(
        Fact(name="conformance", value="00 10 1D", evidence=(1,)),
        Fact(name="contexts", value="sn,ln", evidence=(1,)),
        Fact(name="clients", value="16, 1,102"),
        Fact(name="suite", value="", note="nothing is ciphered that the public client may read"),
        Fact(name="policy", value="3"),
    ),
    objects=(entry("1-0:1.8.0.255"), entry("0-0:1.0.0.255", 8), entry("1-0:2.8.0.255")),
)

TEXTS = {"banner", "identification", "manufacturer_text", "model_text", "device_id_vendor", "device_id_product"}
"""facts that may hold the meter's own number"""

texts = st.text(max_size=12)
modbus_names = st.builds("holding/0x{:04X}/u16".format, st.integers(0, 0xFFFF))
facts = st.builds(Fact, name=st.sampled_from(sorted(FACTS)) | modbus_names, value=texts, note=texts)
objects = st.builds(
    entry,
    st.builds("1-0:{}.8.{}.255".format, st.integers(1, 99), st.integers(0, 8)),
    st.integers(1, 70),
    st.integers(0, 2),
)
examinations = st.builds(
    Examination,
    endpoint=st.just(PLACE),
    protocol=st.sampled_from(["dlms", "modbus", "dlt645"]),
    framing=st.sampled_from(["wrapper", "hdlc", "tcp"]),
    identity=st.builds(MeterIdentity, serial=texts, firmware=texts, logical_device_name=texts),
    facts=st.lists(facts, max_size=8, unique_by=lambda fact: fact.name).map(tuple),
    objects=st.lists(objects, max_size=12).map(tuple),
)


def test_the_documented_form_of_the_digest() -> None:
    meter = Examination(
        endpoint=PLACE,
        protocol="dlms",
        framing="hdlc",
        facts=(Fact(name="conformance", value="00101D"), Fact(name="meter_address", value="000000001234")),
        objects=(entry("1-0:2.8.0.255"), entry("0-0:1.0.0.255", 8)),
    )
    listed = b'headend objects 1\n[[3,0,"1-0:2.8.0.255"],[8,0,"0-0:1.0.0.255"]]'
    text = (
        'headend fingerprint 1\n[["conformance","00101d"],["framing","hdlc"],["object_count","2"],["object_digest","'
        + hashlib.sha256(listed).hexdigest()
        + '"],["protocol","dlms"]]'
    )
    assert build(meter).digest == "f1-" + hashlib.sha256(text.encode()).hexdigest()


def test_facts_are_canonical_and_what_the_wire_does_not_show_is_kept_apart() -> None:
    found = build(METER)
    assert found.facts["conformance"] == "00101d"
    assert found.facts["contexts"] == "ln,sn"
    assert found.facts["clients"] == "1,16,102"
    assert found.facts["logical_device_name_flag"] == found.facts["system_title_flag"] == "ISK"
    assert found.facts["object_count"] == "3"
    assert dict(found.unobserved) == {"suite": "nothing is ciphered that the public client may read"}
    assert found.objects == ((3, 0, "1-0:1.8.0.255"), (3, 0, "1-0:2.8.0.255"), (8, 0, "0-0:1.0.0.255"))


@given(examinations, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_nor_values_change_a_digest(meter: Examination, chance: random.Random) -> None:
    known = build(meter).digest
    shuffled_objects, shuffled_facts = list(meter.objects) * 2, list(meter.facts)
    chance.shuffle(shuffled_objects)
    chance.shuffle(shuffled_facts)
    again = replace(meter, objects=tuple(shuffled_objects), facts=tuple(shuffled_facts))
    again = replace(again, values={"1-0:1.8.0.255": str(chance.random())}, stopped="another budget", associations=7)
    assert build(again).digest == known


@given(examinations, st.dictionaries(st.sampled_from(sorted(FACTS)), texts))
def test_only_facts_of_the_model_change_a_digest(meter: Examination, values: dict[str, str]) -> None:
    of_one = [Fact(name=name, value=text) for name, text in values.items() if FACTS[name][0] is not Stability.MODEL]
    plain = tuple(fact for fact in meter.facts if fact.name in FACTS and fact.name not in TEXTS)
    before, after = replace(meter, facts=plain), replace(meter, facts=(*plain, *of_one))
    assert build(after).digest == build(before).digest


@given(examinations)
def test_a_page_gives_the_fingerprint_back(meter: Examination) -> None:
    assert fingerprint_of(json.loads(dumps(identity_page(meter)))) == build(meter)


@given(examinations)
def test_a_fingerprint_does_not_differ_from_itself(meter: Examination) -> None:
    found = build(meter)
    assert difference(found, build(meter)) == ()
    assert compare(found, found).verdict in (Verdict.SAME_METER, Verdict.SAME_MODEL)
    assert similarity(found, found) == 1.0


@given(examinations, examinations)
def test_differences_are_mirrored_and_equal_digests_mean_equal_facts(one: Examination, two: Examination) -> None:
    a, b = build(one), build(two)
    there, back = difference(a, b), difference(b, a)
    assert [(each.name, each.before, each.after) for each in there] == [
        (each.name, each.after, each.before) for each in back
    ]
    assert (a.objects == b.objects) == (not any(each.kind.value.startswith("object") for each in there))
    assert similarity(a, b) == similarity(b, a)
    assert compare(a, b).verdict is compare(b, a).verdict
    if not any(each.stability is Stability.MODEL for each in there):
        assert a.digest == b.digest


def test_a_fact_that_is_seen_or_not_seen_is_no_difference_of_the_models() -> None:
    deeper = replace(METER, facts=(*METER.facts, Fact(name="suite", value="0")))
    found = compare(build(METER), build(deeper))
    assert found.verdict is Verdict.SAME_METER
    assert not found.updated
    (change,) = found.changes
    assert (change.kind, change.name, change.after) == (ChangeKind.FACT_ADDED, "suite", "0")
    assert change.note == "nothing is ciphered that the public client may read"


def test_the_same_meter_after_an_update_of_its_firmware() -> None:
    updated = replace(
        METER,
        identity=replace(METER.identity, firmware="V1.03"),
        objects=(entry("1-0:1.8.0.255", 3, 1), entry("0-0:1.0.0.255", 8), entry("1-0:3.8.0.255")),
    )
    found = compare(build(METER), build(updated))
    assert found.verdict is Verdict.SAME_METER
    assert found.updated
    assert found.text == "the same meter, changed since: firmware, objects"
    shown = [
        (each.kind.value, each.name, each.before, each.after) for each in found.changes if "object-" in each.kind.value
    ]
    assert shown == [
        ("object-changed", "1-0:1.8.0.255", "class 3 version 0", "class 3 version 1"),
        ("object-gone", "1-0:2.8.0.255", "class 3 version 0", ""),
        ("object-added", "1-0:3.8.0.255", "", "class 3 version 0"),
    ]


def test_two_meters_of_a_model_share_a_digest_and_another_make_does_not() -> None:
    sister = replace(
        METER,
        identity=replace(
            METER.identity, serial="00999999", logical_device_name="ISK9999999999999", system_title="49534b6600009999"
        ),
    )
    assert build(sister).digest == build(METER).digest
    assert compare(build(METER), build(sister)).verdict is Verdict.SAME_MODEL
    newer = replace(sister, identity=replace(sister.identity, firmware="V2"))
    assert compare(build(METER), build(newer)).verdict is Verdict.OTHER_FIRMWARE
    assert compare(build(METER), build(newer)).text == "another firmware, or another model of the same family: firmware"
    named = [build(replace(each, facts=(Fact(name="model_text", value="A4"),))) for each in (METER, newer)]
    assert compare(*named).text == "the same model, another firmware: firmware"
    other = replace(sister, identity=replace(sister.identity, logical_device_name="LGZ9999999999999", system_title=""))
    assert compare(build(METER), build(other)).text == "another model: logical_device_name_flag"
    stranger = replace(sister, identity=MeterIdentity(), objects=(entry("1-0:99.1.0.255", 7),))
    assert compare(build(METER), build(stranger)).text == "another model: objects"


def test_its_own_number_in_a_text_of_the_maker_does_not_tell_two_meters_apart() -> None:
    def login(serial: str) -> Examination:
        banner = Fact(name="banner", value=b"LOGIN ".hex() + serial.encode().hex())
        return replace(METER, identity=MeterIdentity(serial=serial), facts=(banner,))

    assert build(login("00123456")).digest == build(login("00654321")).digest
    assert build(login("00123456")).facts["banner"] != build(login("00654321")).facts["banner"]


def test_references_are_names_of_facts_and_of_objects_without_a_class() -> None:
    meter = Examination(
        endpoint=PLACE,
        protocol="modbus",
        framing="tcp",
        facts=(Fact(name="modbus:holding/0xFC02/u16", value="77"),),
        objects=(ObjectInfo(ref=ObjectRef("modbus", "holding/0xFC02/u16")),),
    )
    found = build(meter)
    assert found.facts["holding/0xFC02/u16"] == "77"
    assert found.objects == ((0, 0, "holding/0xFC02/u16"),)
    assert build(replace(meter, facts=(Fact(name="holding/0xFC02/u16", value="78"),))).digest != found.digest


def test_the_nearest_of_many() -> None:
    mine = build(METER)
    near = build(replace(METER, objects=METER.objects[:2]))
    far = build(replace(METER, objects=(entry("1-0:99.1.0.255", 7),)))
    ranked = nearest(mine, [far, near], limit=1)
    assert [(round(share, 2), each) for share, each in ranked] == [(0.67, near)]


@given(examinations, st.lists(examinations, max_size=6))
def test_the_nearest_are_those_that_are_most_similar(mine: Examination, others: list[Examination]) -> None:
    one, many = build(mine), [build(each) for each in others]
    ranked = nearest(one, many, limit=3)
    assert [share for share, _ in ranked] == sorted((similarity(one, each) for each in many), reverse=True)[:3]
    assert all(share == similarity(one, each) for share, each in ranked)


@pytest.mark.corpus
def test_object_lists_of_real_meters_of_a_model_are_alike_and_those_of_others_are_not(corpus: Path) -> None:
    lists: dict[str, tuple[Fingerprint, tuple[str, str]]] = {}
    for path in sorted((corpus / "association_views").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("vendor"):
            objects = {(each["class_id"], 0, each["obis"]) for each in document["objects"]}
            digest = object_digest(objects)
            found = Fingerprint(digest=digest, facts={"object_digest": digest}, objects=tuple(sorted(objects)))
            lists.setdefault(digest, (found, (document["vendor"], document["model"])))
    same, others = [], []
    for (a, one), (b, two) in itertools.combinations(lists.values(), 2):
        verdict = compare(a, b).verdict
        if one == two:
            same.append(verdict)
        elif one[0] != two[0]:
            others.append(verdict)
    assert len(same) > 80
    assert sum(verdict is Verdict.OTHER_FIRMWARE for verdict in same) / len(same) >= 0.98
    assert len(others) > 1500
    assert sum(verdict is Verdict.OTHER_MODEL for verdict in others) / len(others) >= 0.995
