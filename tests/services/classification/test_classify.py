"""Classification of fingerprints: agreement, contradiction, unknown, rules of meter files, determinism, speed."""

import random
import time
from collections.abc import Mapping

import pytest

from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.errors import ConfigError
from headend.model.fingerprint import FACTS, Classification, Fingerprint
from headend.services.discovery.classify import Classifier


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(Library())


def fingerprint(facts: Mapping[str, str]) -> Fingerprint:
    return Fingerprint(digest="", facts=facts)


def test_a_name_tells_maker_model_and_meter_file(classifier: Classifier) -> None:
    facts = {"protocol": "dlms", "logical_device_name": "YTL1020000000000", "logical_device_name_flag": "YTL"}
    found = classifier.classify(fingerprint(facts | {"registration": "longi", "firmware": "1.2"}))
    assert (found.vendor, found.flag, found.model, found.profile_id) == ("IVY", "YTL", "EM114070", "ivy-em114070")
    assert (found.method, found.firmware) == ("identifier", "1.2")
    assert found.confidence > 0.98
    assert found.model_confidence > 0.7
    assert found.reasons[0].fact == "logical_device_name"
    assert [each.vendor for each in found.runners_up] == []


def test_name_and_title_that_agree_are_surer_than_one(classifier: Classifier) -> None:
    name = {"logical_device_name": "ISK1030789375606"}
    one = classifier.classify(fingerprint(name))
    both = classifier.classify(fingerprint(name | {"system_title": "49534b677513bf3b"}))
    assert one.vendor == both.vendor == "Iskraemeco"
    assert both.confidence > one.confidence
    assert both.against == ()


def test_name_and_title_that_contradict_each_other_are_both_told(classifier: Classifier) -> None:
    found = classifier.classify(
        fingerprint({"logical_device_name": "ISK1030789375606", "system_title": "4c475a6673d4d603"})
    )
    assert found.confidence < 0.7
    told = {each.vendor for each in found.runners_up} | {found.vendor}
    assert {"Iskraemeco", "Landis+Gyr"} <= told
    assert any("4c475a6673d4d603" in each.text or "ISK1030789375606" in each.text for each in found.against)
    assert all(each.weight < 0 for each in found.against)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"protocol": "dlms", "conformance": "001E1D", "max_pdu": "200"},
        {"logical_device_name": "HED7000000000001"},
        {"logical_device_name": "TESTMETER"},
        {"system_title": "4142434445464748"},
        {"registration": "longi"},
    ],
)
def test_what_tells_no_maker_is_unknown(classifier: Classifier, facts: dict[str, str]) -> None:
    found = classifier.classify(fingerprint(facts))
    assert (found.vendor, found.model, found.flag, found.profile_id, found.method) == ("", "", "", "", "none")
    assert found.confidence > 0.6


def test_registers_of_modbus_are_facts_of_rules(classifier: Classifier) -> None:
    found = classifier.classify(fingerprint({"protocol": "modbus", "holding/0xFC02/u16": "137"}))
    assert (found.vendor, found.profile_id, found.method) == ("Eastron", "eastron-sdm72d-v2", "rules")
    assert found.confidence == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("product", "profile_id"),
    [
        ("SDM630-Modbus", "eastron-sdm630"),
        ("SDM72D-M", "eastron-sdm72d"),
        ("SDM72D-M V2", "eastron-sdm72d-v2"),
        ("DTSU666-H", "chint-dtsu666"),
    ],
)
def test_a_product_that_is_named_is_the_one_of_the_meter_file(
    classifier: Classifier, product: str, profile_id: str
) -> None:
    found = classifier.classify(fingerprint({"protocol": "modbus", "device_id_product": product}))
    assert found.profile_id == profile_id


def test_models_whose_rules_say_the_same_are_not_told_apart(classifier: Classifier) -> None:
    """SDM220 and SDM230 have voltage and frequency at the same place, and nothing that is known to tell which one it is."""
    held = "frequency=input/0x0046/f32,voltage_l1=input/0x0000/f32"
    found = classifier.classify(fingerprint({"protocol": "modbus", "plausible": held}))
    assert (found.vendor, found.model, found.model_confidence) == ("Eastron", "", 0.0)
    assert found.profile_id in ("eastron-sdm220", "eastron-sdm230")
    named = classifier.classify(fingerprint({"protocol": "modbus", "plausible": held, "device_id_product": "SDM230"}))
    assert (named.model, named.profile_id) == ("SDM230", "eastron-sdm230")


def test_a_rule_that_is_not_met_speaks_against(classifier: Classifier) -> None:
    facts = {"protocol": "modbus", "holding/0x0045/text20": "Schneider", "holding/0x0031/text20": "PM5100"}
    found = classifier.classify(fingerprint(facts | {"device_id_vendor": "Schneider Electric"}))
    assert found.profile_id == "schneider-iem3000"
    assert any("PM5100" in each.text for each in found.against)
    assert found.model_confidence < 0.5


def test_a_rule_of_a_protocol_is_not_met_by_another(classifier: Classifier) -> None:
    assert classifier.classify(fingerprint({"protocol": "dlms", "holding/0xFC02/u16": "137"})).vendor == ""


@pytest.mark.parametrize(
    ("facts", "profile_id"),
    [
        ({"edition": "1997"}, "generic-dlt645-1997"),
        ({"edition": "2007", "plausible": "voltage_l1=02010100,voltage_l2=02010200"}, "generic-dlt645-3p"),
        ({"edition": "2007", "plausible": "voltage_l1=02010100"}, "generic-dlt645-1p"),
        ({"edition": "2007"}, ""),
    ],
)
def test_a_generic_meter_file_serves_a_meter_of_nobody(
    classifier: Classifier, facts: dict[str, str], profile_id: str
) -> None:
    found = classifier.classify(fingerprint({"protocol": "dlt645", **facts}))
    assert (found.vendor, found.model, found.profile_id) == ("", "", profile_id)


def test_a_file_that_was_drafted_of_an_unknown_meter_serves_the_next_one_of_its_kind() -> None:
    text = """
[meter]
vendor = "unknown"
model = "unknown"
protocol = "dlms"
source = "discovery"

[[detect]]
fact = "object_digest"
value = "0a0b"
weight = 70
"""
    found = Classifier([load_profile(text, "drafted")]).classify(
        fingerprint({"protocol": "dlms", "object_digest": "0a0b"})
    )
    assert (found.vendor, found.profile_id) == ("", "drafted")


def test_the_same_facts_in_any_order_give_the_same_answer(classifier: Classifier) -> None:
    facts = {
        "protocol": "dlms",
        "logical_device_name": "ISK1030789375606",
        "system_title": "4c475a6673d4d603",
        "manufacturer_text": "Kamstrup_V0001",
        "identification": "/EGM5G15",
    }
    answers: set[Classification] = set()
    for seed in range(8):
        names = list(facts)
        random.Random(seed).shuffle(names)
        answers.add(classifier.classify(fingerprint({name: facts[name] for name in names})))
    assert len(answers) == 1


def test_the_detect_rules_of_all_meter_files_name_facts_that_there_are() -> None:
    for profile in Library():
        for rule in profile.detect:
            if rule.fact not in FACTS:
                driver(profile.protocol).parse_ref(rule.fact)


@pytest.mark.parametrize(("value", "weight"), [("/(/", 5), ("x", 0), ("x", 101)])
def test_a_rule_that_cannot_be_one_is_refused(value: str, weight: int) -> None:
    text = f"""
[meter]
vendor = "V"
model = "M"
protocol = "dlms"
source = "test"

[[detect]]
fact = "serial_number"
value = "{value}"
weight = {weight}
"""
    with pytest.raises(ConfigError, match="detect"):
        Classifier([load_profile(text, "broken")])


def test_classifying_takes_less_than_two_milliseconds(classifier: Classifier) -> None:
    facts = {"protocol": "dlms", "logical_device_name": "ISK1030789375606", "system_title": "49534b677513bf3b"}
    print_ = fingerprint(facts)
    began = time.process_time()
    for _ in range(50):
        classifier.classify(print_)
    assert (time.process_time() - began) / 50 < 0.002
