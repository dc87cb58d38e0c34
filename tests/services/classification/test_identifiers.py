"""Identifiers as real meters show them: public captures of pushes, data sheets and the documents of IDIS."""

import pytest

from headend.services.discovery.classification.identifiers import identify
from headend.services.discovery.classification.witness import Witness, probabilities
from headend.standards.flag import to_mbus
from headend.standards.vendors import flag_of_vendor, vendor_in_text, vendor_name, vendor_of_flag


def only(**facts: str) -> Witness:
    (witness,) = identify(facts)
    return witness


@pytest.mark.parametrize(
    ("name", "flag", "vendor", "least"),
    [
        # pushes in UtilitechAS/amsreader-firmware, test/payloads
        ("ISK1030789375606", "ISK", "Iskraemeco", 0.98),
        ("ISK1020784605887", "ISK", "Iskraemeco", 0.98),
        ("KFM1200200182517", "KFM", "Kaifa", 0.95),
        ("KFM0200182517", "KFM", "Kaifa", 0.95),
        # olivenet-iot/ivy-4g-gateway: an IDIS form without a number of its own
        ("YTL1020000000000", "YTL", "IVY", 0.98),
        # padded, with a separator, as hexadecimal where it holds octets that are no letters, alone, in small letters
        ("KAM12345678\x00\x00\x00", "KAM", "Kamstrup", 0.95),
        ("LGZ 0012345678", "LGZ", "Landis+Gyr", 0.9),
        ("ITR-SL7000-0042", "ITR", "Itron", 0.9),
        ("454c5300010203040506", "ELS", "Elster", 0.8),
        ("454c534142030405", "ELS", "Elster", 0.8),
        ("SAG", "SAG", "Sagemcom", 0.7),
        ("kam12345678", "KAM", "Kamstrup", 0.7),
    ],
)
def test_a_logical_device_name_tells_its_maker(name: str, flag: str, vendor: str, least: float) -> None:
    witness = only(logical_device_name=name)
    assert (witness.flag, witness.vendor, witness.fact) == (flag, vendor, "logical_device_name")
    assert witness.reliability >= least


@pytest.mark.parametrize("name", ["TESTMETER", "Metering device", "Isko"])
def test_a_word_is_hardly_a_manufacturer_id(name: str) -> None:
    assert all(witness.reliability < 0.5 for witness in identify({"logical_device_name": name}))


@pytest.mark.parametrize("name", ["", "0123456789012345", "42", "   ", "ÄÖÜ123456", "+-#12345"])
def test_what_is_no_id_tells_nothing(name: str) -> None:
    assert not list(identify({"logical_device_name": name}))


def test_an_id_that_nobody_has_is_told_but_speaks_for_nobody() -> None:
    witness = only(logical_device_name="HED1000000000042")
    assert (witness.vendor, witness.reliability) == ("", 0.0)
    assert "not a registered id" in witness.text
    assert not probabilities([witness])


@pytest.mark.parametrize(
    ("title", "vendor", "least"),
    [
        # security headers of pushes in UtilitechAS/amsreader-firmware, test/payloads
        ("49534b677513bf3b", "Iskraemeco", 0.98),
        ("4b464d102002c8f5", "Kaifa", 0.95),
        ("4b414d4501b502d3", "Kamstrup", 0.95),
        ("4C475A6673D4D603", "Landis+Gyr", 0.98),
    ],
)
def test_a_system_title_tells_its_maker(title: str, vendor: str, least: float) -> None:
    witness = only(system_title=title)
    assert witness.vendor == vendor
    assert witness.reliability >= least


@pytest.mark.parametrize("order", ["big", "little"])
def test_a_title_of_the_italian_form_holds_the_id_as_a_code_of_mbus(order: str) -> None:
    code = to_mbus("SAC").to_bytes(2, "big" if order == "big" else "little")
    found = {
        witness.flag: witness for witness in identify({"system_title": (code + bytes.fromhex("785634120006")).hex()})
    }
    assert found["SAC"].vendor == vendor_of_flag("SAC")
    assert found["SAC"].reliability < 0.7


@pytest.mark.parametrize(
    "title", ["4142434445464748", "4d4d4d0000bc614e", "0000000000000000", "ffffffffffffffff", "", "xyz"]
)
def test_titles_of_examples_and_of_nobody_tell_nothing(title: str) -> None:
    assert not list(identify({"system_title": title}))


@pytest.mark.parametrize(
    ("facts", "vendor"),
    [
        ({"identification": "/ISK9\\2M551T-200"}, "Iskraemeco"),
        ({"identification": "/EGM5G15"}, "Elgama"),
        ({"identification": "/KFM5KAIFA-METER"}, "Kaifa"),
        ({"manufacturer_text": "Kamstrup_V0001"}, "Kamstrup"),
        ({"manufacturer_text": "AIDON_V0001"}, "Aidon"),
        ({"manufacturer_text": "KFM_001"}, "Kaifa"),
        ({"device_id_vendor": "Schneider Electric"}, "Schneider Electric"),
        ({"device_id_product": "iEM3255"}, "Schneider Electric"),
        ({"server_id": b"\x01\xffCARLO GAVAZZI EM24".hex()}, "Carlo Gavazzi"),
        ({"model_text": "SDM630-Modbus V2"}, "Eastron"),
        ({"logical_device_name_flag": "LGZ"}, "Landis+Gyr"),
        ({"system_title_flag": "ISK"}, "Iskraemeco"),
    ],
)
def test_texts_tell_their_maker(facts: dict[str, str], vendor: str) -> None:
    assert only(**facts).vendor == vendor


def test_makers_have_one_name() -> None:
    assert {vendor_of_flag(flag) for flag in ("LGZ", "LGB", "lgd", "LGF")} == {"Landis+Gyr"}
    assert vendor_of_flag("ITE") == vendor_of_flag("ACE") == vendor_name("Actaris (Itron)")
    assert vendor_name("Elster (Honeywell)") == vendor_name("Elster") == "Elster"
    assert vendor_name("Nobody & Sons (Ltd)") == "Nobody & Sons"
    assert vendor_of_flag("QQQ") is None
    assert flag_of_vendor("Landis+Gyr") == "LGZ"
    assert flag_of_vendor("Shelly") == flag_of_vendor("nobody") == ""
    assert vendor_in_text("an abbey") is None


def test_witnesses_that_agree_strengthen_each_other_and_those_that_disagree_share() -> None:
    def says(vendor: str, reliability: float, fact: str) -> Witness:
        return Witness(vendor=vendor, reliability=reliability, text="", fact=fact, method="identifier")

    assert probabilities([says("A", 0.9, "x")]) == pytest.approx({"A": 0.9})
    assert probabilities([says("A", 0.9, "x"), says("A", 0.5, "x")]) == pytest.approx({"A": 0.9})
    assert probabilities([says("A", 0.9, "x"), says("A", 0.9, "y")]) == pytest.approx({"A": 0.99})
    shared = probabilities([says("A", 0.97, "x"), says("B", 0.97, "y")])
    assert shared["A"] == shared["B"] < 0.5
    assert sum(shared.values()) < 1
