"""Normalisation: quantities where they are, meanings where there is none, and the figures over the object lists of real meters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headend.drivers.library import Library
from headend.model.objects import ObjectInfo, ObjectRef
from headend.services.discovery.normalise import Coverage, Normalised, Row, Status, explain, listed, normalise
from headend.standards.obis import Obis
from headend.standards.units import find_unit

NO_UNIT = 255


def entry(name: str, class_id: int = 3) -> ObjectInfo:
    """One line of an object list."""
    return ObjectInfo(ref=ObjectRef("dlms", f"{class_id}/{name}/2"), class_id=class_id, version=0)


def rows(*objects: ObjectInfo, country: str = "") -> tuple[Row, ...]:
    """The rows of a few objects."""
    return normalise("dlms", objects, country=country).rows


def test_a_quantity_of_the_catalogue_has_its_unit_direction_phase_and_tariff() -> None:
    energy, voltage = rows(entry("1-0:2.8.3.255"), entry("1-0:72.7.0.255"))
    assert (energy.status, energy.quantity, energy.unit) == (Status.MAPPED, "active_energy_export_t3", "Wh")
    assert (energy.direction, energy.tariff, energy.behaviour) == ("export", 3, "cumulative")
    assert energy.processing == "time integral 1"
    assert (voltage.quantity, voltage.phase, voltage.behaviour) == ("voltage_l3", "l3", "instant")
    assert voltage.ref == "dlms:3/1-0:72.7.0.255/2"


def test_a_value_of_a_billing_period_is_not_the_present_one() -> None:
    (row,) = rows(entry("1-0:1.8.0.101"))
    assert (row.quantity, row.key, row.period) == ("", "active_energy_import_total", 101)
    assert row.meaning == "Active energy import, time integral 1, last billing period"


def test_a_key_beyond_the_catalogue_follows_its_grammar() -> None:
    (row,) = rows(entry("1-0:21.6.3.255", 4))
    assert (row.status, row.quantity, row.key, row.unit) == (Status.MAPPED, "", "active_demand_max_import_l1_t3", "W")


def test_objects_without_a_measurement_have_their_meaning() -> None:
    clock, association, own, calendar = rows(
        entry("0-0:1.0.0.255", 8), entry("0-0:40.0.1.255", 15), entry("0-0:128.7.0.255", 1), entry("0-0:13.0.0.255", 20)
    )
    assert (clock.meaning, clock.quantity, clock.kind) == ("Clock", "meter_time", "clock")
    assert (association.status, association.meaning) == (Status.NAMED, "Association 1")
    assert (own.status, own.own, own.meaning) == (Status.UNMAPPED, True, "Abstract, manufacturer specific, a data")
    assert (calendar.status, calendar.kind) == (Status.NAMED, "tariff")


def test_the_serial_number_of_another_channel_is_not_the_meters() -> None:
    own, of_gas = rows(entry("0-0:96.1.0.255", 1), entry("0-1:96.1.0.255", 1))
    assert (own.quantity, of_gas.quantity) == ("serial_number", "")
    assert of_gas.meaning == "Device identifier of channel 1"


def test_a_country_changes_what_a_code_means() -> None:
    assert rows(entry("0-0:96.1.1.255", 1))[0].meaning == "Device identifier 2"
    (named,) = rows(entry("0-0:96.1.1.255", 1), country="IN")
    assert (named.quantity, named.variant) == ("manufacturer", "india")
    seen = normalise("dlms", [entry("0-0:94.91.0.255", 1), entry("1-0:94.91.3.255", 7), entry("0-0:96.1.1.255", 1)])
    assert (seen.variant, seen.rows[2].meaning) == ("india", "Name of the manufacturer")


@pytest.mark.parametrize("profile_id", ["eastron-sdm630", "generic-dlt645-3p", "abb-b23"])
def test_objects_of_a_meter_file_are_what_it_says(profile_id: str) -> None:
    profile = Library().get(profile_id)
    found = normalise(profile.protocol, listed(profile))
    assert [row.quantity for row in found.rows] == [each.quantity for each in profile.objects]
    assert found.coverage.quantity_share > 0.9
    energy = next(row for row in found.rows if row.quantity == "active_energy_import_total")
    assert (energy.unit, energy.direction, energy.kind) == ("Wh", "import", "measurement")


def test_a_name_that_is_no_obis_code_does_no_harm() -> None:
    (row,) = rows(ObjectInfo(ref=ObjectRef("dlms", "3/0.x.24.3.0.255/2"), class_id=3))
    assert row.status is Status.UNMAPPED
    assert normalise("dlms", []).coverage.meaning_share == 1.0


def test_one_code_is_explained_without_a_meter() -> None:
    assert explain(Obis.parse("1-0:1.8.0")).quantity == "active_energy_import_total"
    assert explain(Obis.parse("0-0:96.51.3.255"), 1, "russia").meaning == "Magnetic field"


def test_the_json_can_be_written_and_holds_the_figures() -> None:
    document = json.loads(json.dumps(normalise("dlms", [entry("1-0:1.8.0.255"), entry("0-0:200.1.0.255")]).to_json()))
    assert document["schema"] == "headend-normalised-objects/1"
    assert document["coverage"]["objects"] == 2
    assert document["rows"][0]["status"] == "mapped"


def test_coverage_counts_what_is_understood() -> None:
    found = Coverage(objects=10, understood=7, own=2, measurements=4, mapped=3, catalogued=2)
    assert (found.meaning_share, found.standard_share, found.quantity_share) == (0.7, 0.875, 0.75)


@pytest.mark.corpus
def test_the_object_lists_of_real_meters_are_understood(corpus: Path) -> None:
    total = {"objects": 0, "understood": 0, "own": 0, "measurements": 0, "mapped": 0}
    lists: list[Normalised] = []
    for path in sorted((corpus / "association_views").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            continue
        own = [entry(each["obis"], each["class_id"]) for each in document["objects"] if "x" not in each["obis"]]
        lists.append(normalise("dlms", own, vendor=document.get("vendor_flag") or ""))
        for name in total:
            total[name] += getattr(lists[-1].coverage, name)
    assert len(lists) > 100
    assert total["understood"] / (total["objects"] - total["own"]) >= 0.95
    assert total["understood"] / total["objects"] >= 0.85
    assert total["mapped"] / total["measurements"] >= 0.95
    electricity = [each for each in lists if not any(row.name.startswith("7-") for row in each.rows)]
    shares = sorted(each.coverage.quantity_share for each in electricity)
    assert shares[len(shares) // 20] >= 0.9


WRONG_IN_METERS = {
    *("1-0:1.2.0.255", "1-0:1.4.0.255", "1-0:1.6.0.255", "1-0:15.6.0.255", "1-0:15.16.0.255", "1-0:15.16.1.255"),
    *(f"1-0:{c}.29.0.255" for c in (1, 2, 3, 4)),
    *(f"1-0:{c}.7.0.255" for c in (3, 13, 21, 23, 33, 41, 43, 53, 61, 63, 73)),
    "1-0:88.8.0.255",
}
"""Registers whose unit in some meters (or in the files about them) is none of their quantity: volts of a power, Wh of a factor"""


@pytest.mark.corpus
def test_units_are_those_that_the_meters_say_themselves(corpus: Path) -> None:
    told, right, wrong = 0, 0, set()
    for path in sorted((corpus / "association_views").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            continue
        own = [each for each in document["objects"] if "x" not in each["obis"]]
        found = normalise("dlms", [entry(each["obis"], each["class_id"]) for each in own])
        for each, row in zip(own, found.rows, strict=True):
            said = (each.get("attr_values_hex") or {}).get("3", "")
            if each["class_id"] not in (3, 4) or not said.startswith("02020f"):
                continue
            code = int(said[-2:], 16)
            unit = find_unit(code)
            if row.status is not Status.MAPPED or unit is None:
                continue
            told += 1
            if unit.base == row.unit or (code == NO_UNIT and row.unit in ("", "1", "%", "count")):
                right += 1
            else:
                wrong.add(row.name)
    assert told > 4000
    assert right / told > 0.9
    assert wrong <= WRONG_IN_METERS
