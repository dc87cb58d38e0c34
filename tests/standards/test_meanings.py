"""What OBIS codes mean by their groups: against the catalogue, the table of frequent codes, and the standard's examples."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.quantity import quantities
from headend.standards.codes import codes
from headend.standards.meanings import Grade, meaning
from headend.standards.obis import Obis
from headend.standards.tables import read_table
from headend.standards.variants import find_variant, variants

octets = st.integers(0, 255)
obis_codes = st.builds(Obis, octets, octets, octets, octets, octets, octets)

EXAMPLES = [
    # code, class, variant, text, key, unit, grade
    ("1-0:1.8.0.255", 3, "", "Active energy import, time integral 1", "active_energy_import_total", "Wh", Grade.CODE),
    ("1-0:1.8.2.255", 3, "", "Active energy import, time integral 1, rate 2", "active_energy_import_t2", "Wh", Grade.CODE),
    ("1-0:5.8.0.101", 3, "", "Reactive energy quadrant I, time integral 1, last billing period",
     "reactive_energy_q1_total", "varh", Grade.CODE),
    ("1-0:2.6.1.3", 4, "", "Active power export, maximum 1, rate 1, billing period 3",
     "active_demand_max_export_t1", "W", Grade.CODE),
    ("1-0:61.6.12.255", 4, "", "Active power import L3, maximum 1, rate 12", "active_demand_max_import_l3_t12", "W", Grade.CODE),
    ("1-0:52.7.0.255", 3, "", "Voltage L2", "voltage_l2", "V", Grade.CODE),
    ("1-0:32.7.5.255", 3, "", "Voltage L1, harmonic 5", "voltage_h5_l1", "", Grade.CODE),
    ("1-0:71.7.124.255", 3, "", "Current L3, total harmonic distortion", "current_thd_l3", "%", Grade.CODE),
    ("1-0:91.7.0.255", 3, "", "Current neutral", "current_neutral", "A", Grade.CODE),
    ("1-0:12.32.0.255", 1, "", "Voltage, under limit occurrence counter", "voltage_sag_count_total", "count", Grade.CODE),
    ("1-0:81.7.4.255", 3, "", "Angle from U(L1) to I(L1)", "phase_angle_i_l1_u_l1", "deg", Grade.CODE),
    ("0-0:1.0.0.255", 8, "", "Clock", "meter_time", "", Grade.CODE),
    ("0-3:24.2.1.255", 4, "", "M-Bus value 1 of channel 3", "", "", Grade.CODE),
    ("0-0:97.98.20.255", 1, "", "Alarm descriptor 20", "", "", Grade.CODE),
    ("0-0:96.51.0.255", 1, "", "Abstract, service entry, manufacturer specific, a data", "", "", Grade.NEAREST),
    ("0-0:96.51.0.255", 1, "russia", "State of the case", "", "", Grade.CODE),
    ("128-0:3.0.0.255", 3, "kpz", "Calibration 3", "", "", Grade.CODE),
    ("1-0:131.7.0.255", 3, "kpz", "Tangent of the load", "power_tangent_total", "1", Grade.CODE),
    ("1-0:131.7.0.255", 3, "saudi", "Voltage L2 to L3", "voltage_l2l3", "V", Grade.CODE),
    ("0-0:94.34.60.255", 3, "", "Specific to Spain, a register", "", "", Grade.NEAREST),
    ("0-0:94.34.60.255", 3, "spain", "Duration from which a power failure is long", "", "s", Grade.CODE),
    ("0-0:128.4.0.255", 70, "", "Disconnect control", "", "", Grade.CLASS),
    ("1-0:1.4.0.255", 21, "", "Register monitor of Active power import, current average 1", "", "", Grade.CODE),
    ("1-200:1.8.0.255", 3, "", "Electricity, active power import, manufacturer specific, a register", "", "", Grade.NEAREST),
]  # fmt: skip


@pytest.mark.parametrize(("code", "class_id", "variant", "text", "key", "unit", "grade"), EXAMPLES)
def test_codes_of_the_standard_and_of_countries(
    code: str, class_id: int, variant: str, text: str, key: str, unit: str, grade: Grade
) -> None:
    found = meaning(Obis.parse(code), class_id, variant)
    assert (found.text, found.key, found.unit, found.grade) == (text, key, unit, grade)


def test_the_groups_say_the_same_as_the_catalogue_of_quantities() -> None:
    named_otherwise = {"active_power_total", "active_power_l1", "active_power_l2", "active_power_l3"}
    for key, quantity in quantities().items():
        if quantity.obis:
            found = meaning(Obis.parse(quantity.obis), 3)
            assert (found.unit, found.tariff) == (quantity.unit, quantity.tariff), key
            assert key == found.key or key in named_otherwise
            assert quantity.phase in ("", found.phase)


def test_the_groups_say_the_same_as_the_table_of_frequent_codes() -> None:
    for obis, code in codes().items():
        found = meaning(obis, code.classes[0] if code.classes else 0)
        if code.kind not in ("manufacturer", "alarm"):
            assert found.grade is Grade.CODE, code.key
            assert not code.unit or found.unit == code.unit, code.key
            assert (found.direction, found.phase, found.tariff) == (code.direction, code.phase, code.tariff), code.key


@given(obis_codes, st.integers(0, 0xFFFF), st.sampled_from(["", *variants()]))
def test_every_code_has_a_meaning_or_the_nearest_one(obis: Obis, class_id: int, variant: str) -> None:
    found = meaning(obis, class_id, variant)
    assert found.text.strip()
    assert not (found.key and found.grade is Grade.NEAREST)
    assert not (found.own and found.grade is not Grade.NEAREST)
    assert found.period is None or found.period == obis.f


def test_rows_are_of_variants_that_are_known_and_name_a_kind() -> None:
    kinds = {code.kind for code in codes().values()}
    for row in read_table("obis_meanings"):
        assert row["variant"] in ("", *variants()), row
        assert row["kind"] in kinds, row
        assert None not in row, f"a comma too many: {row}"
        assert row["meaning"], row
    assert all(each.base in ("", *variants()) for each in variants().values())


def test_no_row_is_hidden_by_one_before_it() -> None:
    """A pattern without x and sets has to be found by its own code."""
    for row in read_table("obis_meanings"):
        if not set(row["pattern"]) & set("x["):
            found = meaning(Obis.parse(row["pattern"]), 1, row["variant"])
            assert (found.variant, found.kind) == (row["variant"], row["kind"]), row


def test_a_variant_is_chosen_by_country_then_by_the_object_list_then_by_maker() -> None:
    indian = [Obis.parse(text) for text in ("0-0:94.91.0.255", "1-0:94.91.3.255", "1-0:1.8.0.255")]
    assert find_variant(indian) == "india"
    assert find_variant(indian, country="sa") == "saudi"
    assert find_variant(indian[:1]) == ""
    assert find_variant(indian[:1], vendor="LNT") == "india"
    assert find_variant([], vendor="KPZ") == "kpz"
    british = [Obis.parse(f"0-0:93.44.{e}.255") for e in range(5)]
    assert find_variant([*british, Obis.parse("0-1:94.34.20.255"), Obis.parse("0-1:94.34.40.255")]) == "uk"
    assert find_variant([]) == ""


@pytest.mark.corpus
def test_no_unit_contradicts_the_public_list_of_codes(corpus: Path) -> None:
    with (corpus / "obis_codes.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["unit"] and row["class_ids"]]
    assert len(rows) > 400
    for row in rows:
        found = meaning(Obis.parse(row["obis"]), int(row["class_ids"].split(",")[0]))
        assert found.unit == row["unit"], row["obis"]
        assert found.direction == row["direction"], row["obis"]
        assert found.phase == row["phase"], row["obis"]
