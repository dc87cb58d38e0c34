"""The tables of the field: known rows by hand, laws that every row obeys, and the collected facts where they are at hand."""

import csv
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError, DecodeError
from headend.protocols.dlms.axdr import Tag
from headend.standards import flag
from headend.standards.codes import codes, codes_by_key, find_code
from headend.standards.cosem import attribute_offset, classes, find_class
from headend.standards.obis import Obis
from headend.standards.units import find_unit, units


def corpus(name: str) -> list[dict[str, str]]:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    with Path(folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_are_read_when_asked_and_not_before() -> None:
    script = (
        "import sys, headend.standards.codes, headend.standards.cosem, headend.standards.flag, headend.standards.units\n"
        "from headend.standards import codes, cosem, flag, units\n"
        "caches = codes.codes, cosem.classes, flag.manufacturers, units.units\n"
        "sys.exit(any(each.cache_info().currsize for each in caches))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("obis", "key", "unit", "tariff"),
    [
        ("1-0:1.8.0.255", "active_energy_import_total", "Wh", 0),
        ("1-0:1.8.3.255", "active_energy_import_t3", "Wh", 3),
        ("1-0:2.8.0.255", "active_energy_export_total", "Wh", 0),
        ("1-0:32.7.0.255", "voltage_l1", "V", 0),
        ("1-0:71.7.0.255", "current_l3", "A", 0),
        ("1-0:14.7.0.255", "frequency", "Hz", 0),
        ("0-0:1.0.0.255", "clock", "", 0),
    ],
)
def test_what_well_known_codes_mean(obis: str, key: str, unit: str, tariff: int) -> None:
    code = find_code(Obis.parse(obis))
    assert code is not None
    assert (code.key, code.unit, code.tariff) == (key, unit, tariff)
    assert codes_by_key()[key] is code


def test_a_code_that_nobody_uses() -> None:
    assert find_code(Obis(1, 0, 250, 250, 250, 250)) is None


def test_codes_and_keys_are_unique() -> None:
    assert len(codes()) == len(codes_by_key()) > 700
    assert all(class_id in classes() for code in codes().values() for class_id in code.classes)


@pytest.mark.corpus
def test_codes_agree_with_the_collected_facts() -> None:
    rows = corpus("obis_codes.csv")
    assert {str(Obis.parse(row["obis"])): row["canonical"] for row in rows} == {
        str(code.obis): code.key for code in codes().values()
    }
    for row in rows:
        code = codes_by_key()[row["canonical"]]
        assert [code.unit, code.direction, code.phase, str(code.tariff or ""), code.aggregation, code.kind] == [
            row[column] for column in ("unit", "direction", "phase", "tariff", "aggregation", "kind")
        ]


@pytest.mark.parametrize(
    ("code", "symbol", "base", "factor", "exponent"),
    [
        (30, "Wh", "Wh", Fraction(1), 0),
        (27, "W", "W", Fraction(1), 0),
        (7, "s", "s", Fraction(1), 0),
        (5, "h", "s", Fraction(3600), None),
        (19, "l", "m3", Fraction(1, 1000), -3),
        (24, "bar", "Pa", Fraction(100_000), 5),
        (25, "J", "Wh", Fraction(1, 3600), None),
        (142, "psi", "Pa", Fraction("4.4482216152605") / Fraction("0.00064516"), None),
        (255, "", "", Fraction(1), 0),
    ],
)
def test_units(code: int, symbol: str, base: str, factor: Fraction, exponent: int | None) -> None:
    unit = find_unit(code)
    assert unit is not None
    assert (unit.symbol, unit.base, unit.factor, unit.exponent) == (symbol, base, factor, exponent)


def test_reserved_units_are_unknown() -> None:
    assert find_unit(0) is None
    assert find_unit(200) is None


def test_units_of_one_base_agree() -> None:
    """Three feet of water weigh what they weigh: factors of derived units follow from those of simple ones."""
    of = {code: unit.factor for code, unit in units().items()}
    assert of[137] == of[129] ** 3
    assert of[136] == of[128] ** 3
    assert of[140] == 231 * of[136]
    assert of[138] == of[135] * of[129]
    assert of[156] == of[137] / 24
    assert of[174] * 24 == of[173] == of[146]


@pytest.mark.corpus
def test_units_agree_with_the_collected_facts() -> None:
    known = {int(row["code"]): row["symbol"] for row in corpus("dlms_units.csv")}
    assert set(units()) == set(known) - {253}
    assert all(unit.symbol == known[code] for code, unit in units().items() if known[code] and code not in (138, 255))


@pytest.mark.parametrize(
    ("letters", "code", "name"),
    [("KFM", 0x2CCD, "Kaifa"), ("KAM", 0x2C2D, "Kamstrup"), ("LGZ", 0x30FA, "Landis"), ("ISK", 0x266B, "Iskra")],
)
def test_manufacturers(letters: str, code: int, name: str) -> None:
    assert flag.to_mbus(letters) == code
    assert flag.from_mbus(code) == flag.from_mbus(code | 0x8000) == letters
    assert name.lower() in (flag.find_manufacturer(letters.lower()) or "").lower()


@pytest.mark.parametrize(
    ("octets", "letters"),
    [(b"LGZ1030655933512", "LGZ"), (b"kaM\x01\x02", "KAM"), (b"\x00\x00\x00", None), (b"AB", None), (b"AB1", None)],
)
def test_the_manufacturer_of_a_system_title(octets: bytes, letters: str | None) -> None:
    assert flag.from_octets(octets) == letters


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3))
def test_mbus_codes_round_trip(letters: str) -> None:
    assert flag.from_mbus(flag.to_mbus(letters)) == letters


@pytest.mark.parametrize("letters", ["", "AB", "ABCD", "abc", "A1C", "ÄBC"])
def test_ids_that_are_none(letters: str) -> None:
    with pytest.raises(ConfigError):
        flag.to_mbus(letters)
    assert flag.find_manufacturer("???") is None


@pytest.mark.parametrize("code", [0, 0x7FFF, 0x0001])
def test_mbus_codes_that_are_none(code: int) -> None:
    with pytest.raises(DecodeError):
        flag.from_mbus(code)


@pytest.mark.corpus
def test_manufacturers_agree_with_the_collected_facts() -> None:
    rows = corpus("flag_manufacturers.csv")
    assert {row["flag"] for row in rows} == set(flag.manufacturers())
    assert all(flag.to_mbus(row["flag"]) == int(row["mbus_code"], 16) for row in rows if row["mbus_code"])


def test_attributes_and_methods_of_a_class() -> None:
    register = find_class(3)
    assert register is not None
    assert [(each.attribute_id, each.name) for each in register.attributes.values()] == [
        (1, "logical_name"),
        (2, "value"),
        (3, "scaler_unit"),
    ]
    assert register.methods == {1: "reset"}
    relay = find_class(70, 0)
    assert relay is not None
    assert relay.methods == {1: "remote_disconnect", 2: "remote_reconnect"}
    assert relay.attributes[3].type == "enum"
    assert find_class(8192) is None


@pytest.mark.parametrize(
    ("class_id", "version", "attributes", "methods"),
    [
        (7, 0, 8, 4),
        (7, 1, 8, 2),
        (15, 0, 8, 4),
        (15, 1, 9, 4),
        (15, 2, 11, 6),
        (15, 3, 11, 6),
        (8, 0, 9, 6),
        (4, 0, 5, 1),
        (12, 0, 2, 8),
        (12, 3, 6, 10),
        (28, 0, 6, 0),
        (28, 2, 7, 0),
        (40, 0, 7, 1),
        (40, 3, 13, 2),
        (50, 1, 15, 0),
        (64, 0, 5, 2),
        (64, 1, 6, 8),
        (65, 1, 8, 2),
        (67, 0, 15, 1),
        (72, 0, 12, 8),
        (72, 1, 14, 8),
        (77, 0, 9, 1),
        (90, 1, 10, 1),
        (91, 1, 22, 1),
        (91, 4, 29, 2),
        (92, 1, 19, 0),
        (92, 3, 23, 0),
        (111, 0, 19, 3),
        (116, 0, 12, 0),
        (128, 0, 11, 3),
        (152, 0, 13, 0),
    ],
)
def test_versions_of_a_class(class_id: int, version: int, attributes: int, methods: int) -> None:
    found = find_class(class_id, version)
    assert found is not None
    assert found.first_version <= version <= found.last_version
    assert (len(found.attributes), len(found.methods)) == (attributes, methods)


def test_a_version_to_come_is_read_like_the_newest() -> None:
    assert find_class(15, 9) is find_class(15) is find_class(15, 3)


def test_classes_follow_one_another_and_have_known_types() -> None:
    words = {tag.name.lower() for tag in Tag} | {"any", "date_time", ""}
    for versions in classes().values():
        assert versions[0].first_version == 0
        for older, newer in pairwise(versions):
            assert newer.first_version == older.last_version + 1
        for known in versions:
            assert {attribute.type for attribute in known.attributes.values()} <= words
            names = [*(attribute.name for attribute in known.attributes.values()), *known.methods.values()]
            assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
            assert len(set(names)) == len(names), known.name
            assert list(known.attributes) == list(range(1, len(known.attributes) + 1))
            assert list(known.methods) == list(range(1, len(known.methods) + 1))


def test_methods_stand_behind_the_attributes_in_short_names() -> None:
    known = [each for versions in classes().values() for each in versions if each.methods_at is not None]
    assert len(known) > 50
    for each in known:
        assert each.methods
        last = attribute_offset(max(each.attributes))
        offsets = [
            each.method_offset(method_id) or 0 for method_id, name in each.methods.items() if "reserved" not in name
        ]
        assert all(offset > last and offset % 8 == 0 for offset in offsets), each.name


@pytest.mark.parametrize(
    ("class_id", "version", "method", "offset"),
    [
        (3, 0, 1, 0x28),
        (5, 0, 2, 0x50),
        (7, 1, 2, 0x60),
        (8, 0, 6, 0x88),
        (9, 0, 1, 0x20),
        (11, 0, 2, 0x18),
        (12, 0, 8, 0x58),
        (12, 3, 3, 0x30),
        (18, 0, 4, 0x58),
        (70, 0, 2, 0x28),
        (3, 0, 2, None),
        (77, 0, 1, None),
    ],
)
def test_short_names_of_methods(class_id: int, version: int, method: int, offset: int | None) -> None:
    found = find_class(class_id, version)
    assert found is not None
    assert found.method_offset(method) == offset


def test_short_names_of_attributes() -> None:
    """The object list of the current association, at base name FA00, is read at FA08 (6-2, table of reserved base names)."""
    assert [attribute_offset(attribute_id) for attribute_id in (1, 2, 3, 10)] == [0, 8, 0x10, 0x48]


# Meters that show more attributes than their version of the class has.
_MORE = {(15, 0): 9, (23, 0): 8, (23, 1): 9, (72, 0): 14}


@pytest.mark.corpus
def test_classes_have_the_attributes_that_meters_show() -> None:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    seen = set()
    for path in Path(folder, "association_views").glob("*.json"):
        view = json.loads(path.read_text(encoding="utf-8"))
        for item in view["objects"] if isinstance(view, dict) else ():
            class_id, version = item["class_id"], item.get("version")
            shown = [*(item.get("attr_values_hex") or ()), *(item.get("attr_access") or ())]
            shown += [entry[0] for entry in item.get("attrs") or ()]
            if class_id >= 8192:
                continue
            known = find_class(class_id, version)
            assert known is not None, item
            most = max(map(int, shown), default=1)
            assert most <= max(len(known.attributes), _MORE.get((class_id, version), 0)), (path.name, item)
            seen.add((class_id, version))
    assert len(seen) > 50


@pytest.mark.corpus
def test_classes_agree_with_the_collected_facts() -> None:
    for row in corpus("cosem_classes.csv"):
        class_id = int(row["class_id"])
        if class_id >= 8192:
            continue
        names = {attribute.name for known in classes()[class_id] for attribute in known.attributes.values()}
        assert set(filter(None, row["attributes_2_onwards"].split(";"))) <= names
        methods = {name for known in classes()[class_id] for name in known.methods.values()}
        assert {name for name in row["methods_1_onwards"].split(";") if name and name != "(reserved)"} <= methods
