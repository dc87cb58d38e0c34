"""Profiles for other systems: JSON by the schema and CSV, there and back."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.library import Library, load_profile
from headend.drivers.meter_text import write
from headend.errors import ConfigError
from headend.model.profile import MeterProfile
from headend.model.quantity import quantities
from headend.services.profiles.exchange import COLUMNS, from_csv, from_document, items, to_csv, to_document
from headend.services.profiles.schema import check, profile_schema
from headend.standards.event_codes import event_tables

LIBRARY = list(Library())
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
QUANTITIES = sorted(quantities())


def fields(profile: MeterProfile) -> dict[str, Any]:
    return {field.name: getattr(profile, field.name) for field in dataclasses.fields(profile)}


def over_the_wire(profile: MeterProfile) -> MeterProfile:
    profile_id, text = from_document(orjson.loads(orjson.dumps(to_document(profile))))
    return load_profile(text, profile_id)


@st.composite
def profiles(draw: st.DrawFn) -> MeterProfile:
    """Any profile of a DLMS meter, with texts that nobody has thought of."""
    codes = draw(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), unique=True, max_size=5))
    objects = []
    for c, e in codes:
        quantity = draw(st.sampled_from(["", *QUANTITIES]))
        table: dict[str, Any] = {"ref": f"3/1-0:{c}.7.{e}.255/2", "quantity": quantity, "note": draw(TEXTS)}
        table["unit"] = quantities()[quantity].unit if quantity and draw(st.booleans()) else ""
        table["scaler"] = draw(st.integers(-9, 9) | st.just("meter"))
        table |= {"name": draw(TEXTS), "poll": draw(st.booleans()), "writable": draw(st.booleans())}
        if draw(st.booleans()):
            table["emulate"] = {"value": draw(TEXTS | st.integers(-(2**40), 2**40) | st.booleans())}
        objects.append(table)
    meter = {"vendor": draw(TEXTS), "model": draw(TEXTS), "protocol": "dlms", "source": draw(TEXTS)}
    meter |= {"note": draw(TEXTS), "revision": draw(st.integers(1, 10**6)), "flag": draw(TEXTS)}
    detect = draw(st.lists(st.tuples(TEXTS, TEXTS, st.integers(1, 100)), max_size=3))
    log = {
        "ref": "7/0-0:99.98.0.255/2",
        "name": draw(TEXTS),
        "period_seconds": draw(st.integers(0, 86_400)),
        "capacity": draw(st.integers(0, 10_000)),
        "columns": [each["ref"] for each in objects],
        "event_table": draw(st.sampled_from(["", *event_tables()])),
        "events": draw(st.dictionaries(st.integers(0, 2**32).map(str), TEXTS, max_size=3)),
    }
    document = {
        "meter": meter,
        "object": objects,
        "load_profile": [log],
        "association": {"client": draw(st.integers(1, 100)), "auth": draw(st.sampled_from(["none", "lls"]))},
        "detect": [{"fact": fact, "value": value, "weight": weight} for fact, value, weight in detect],
        "quirk": [{"name": name} for name in draw(st.lists(TEXTS, max_size=2))],
    }
    return load_profile(write(document), "any")


@pytest.mark.parametrize("profile", LIBRARY, ids=lambda profile: profile.id)
def test_every_profile_of_the_library_fits_the_schema_and_comes_back(profile: MeterProfile) -> None:
    check(orjson.loads(orjson.dumps(to_document(profile))))
    assert fields(over_the_wire(profile)) == fields(profile)


@given(profiles())
def test_any_profile_comes_back_as_it_was(profile: MeterProfile) -> None:
    assert fields(over_the_wire(profile)) == fields(profile)


@given(profiles())
def test_any_object_map_comes_back_from_csv_and_no_cell_is_a_formula(profile: MeterProfile) -> None:
    text = to_csv(profile)
    for row in list(csv.reader(io.StringIO(text, newline="")))[1:]:
        assert len(row) == len(COLUMNS)
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or float(cell) < 0
    if profile.objects:
        made = load_profile(from_csv(text, "b", vendor="V", model="M", source="S"), "b")
        bare = [dataclasses.replace(entry, emulate={}) for entry in profile.objects]
        assert [dataclasses.replace(entry, emulate={}) for entry in made.objects] == bare


def test_what_stands_for_an_object() -> None:
    document = to_document(Library().get("generic-dlms-3p"))
    (row,) = [row for row in document["obis_map"] if row["quantity"] == "active_energy_import_t1"]
    assert row == {
        "ref": "dlms:3/1-0:1.8.1.255/2", "obis": "1-0:1.8.1.255", "quantity": "active_energy_import_t1", "name": "",
        "unit": "Wh", "scaler": 0, "type": "uint32", "kind": "cumulative", "direction": "import", "phase": "",
        "tariff": 1, "poll": False, "writable": False, "note": "",
        "every": 0,
    }  # fmt: skip
    (row,) = [row for row in document["obis_map"] if row["quantity"] == "voltage_l2"]
    assert (row["direction"], row["phase"], row["kind"]) == ("", "l2", "instant")
    assert "history" in document["capabilities"]
    rows = {row["quantity"]: row for row in to_document(Library().get("eastron-sdm630"))["obis_map"]}
    assert (rows["voltage_l1"]["obis"], rows["voltage_l1"]["ref"]) == ("1-0:32.7.0.255", "modbus:input/0x0000/f32")


def test_no_secret_leaves() -> None:
    text = write(
        {
            "meter": {"vendor": "V", "model": "M", "protocol": "dlms", "source": "S"},
            "association": {"client": 1, "auth": "lls"},
            "client": [{"sap": 2, "params": {"auth": "lls"}, "secrets": "reader"}],
        }
    )
    profile = load_profile(text, "a")
    leaky = dataclasses.replace(profile, association={**profile.association, "secret": "env:X", "ek": "hex:00"})
    assert 'secret"' not in json.dumps(to_document(leaky)).replace("secrets", "")
    assert to_document(leaky)["association"] == {"client": 1, "auth": "lls"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "headend-profile/2"}, "schema: expected 'headend-profile/1'"),
        ({"revision": "3"}, "revision: expected integer, got '3'"),
        ({"revision": True}, "revision: expected integer, got True"),
        ({"revision": 0}, "revision: expected at least 1"),
        ({"state": "FINE"}, "state: expected one of DRAFT"),
        ({"colour": 1}, "colour: this is no part of headend-profile/1"),
        ({"id": "../x"}, "id: expected a text like"),
        ({"obis_map": [{"ref": 5}]}, r"obis_map\[0\].ref: expected string, got 5"),
        ({"obis_map": [{"quantity": "x"}]}, r"obis_map\[0\]: ref is missing"),
        ({"obis_map": [{"ref": "modbus:input/0/u16"}]}, "expected an object of dlms"),
        (
            {"obis_map": [{"ref": "dlms:3/1-0:1.8.0.255/2", "quantity": "cheese"}]},
            "quantity: expected a key of the catalogue",
        ),
        ({"identity": {"vendor": "V"}}, "identity: model is missing"),
        ({"association": {"client": [1]}}, "association.client: expected string or number or boolean"),
    ],
)
def test_what_is_wrong_in_a_document_is_told_with_its_place(change: dict[str, Any], message: str) -> None:
    document = orjson.loads(orjson.dumps(to_document(Library().get("generic-dlms-1p"))))
    with pytest.raises(ConfigError, match=message):
        from_document({**document, **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
    )
)
def test_no_json_whatever_breaks_the_check(document: Any) -> None:
    with pytest.raises(ConfigError):
        from_document(document)


def test_the_schema_uses_nothing_that_the_check_does_not_know() -> None:
    known = {
        "type",
        "const",
        "enum",
        "pattern",
        "minimum",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "$ref",
    }
    known |= {"$schema", "$defs", "title", "description"}

    def walk(rule: Any) -> None:
        if not isinstance(rule, dict):
            return
        assert set(rule) <= known
        for each in (*rule.get("properties", {}).values(), *rule.get("$defs", {}).values(), rule.get("items")):
            walk(each)
        walk(rule.get("additionalProperties"))

    walk(profile_schema())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("obis,unit\r\n", "line 1: there is no column ref"),
        ("ref,colour\r\n", "line 1: unknown columns: colour"),
        ("ref\r\n", "names no object"),
        ("ref,scaler\r\ndlms:3/1-0:1.8.0.255/2,x\r\n", "line 2: scaler: expected a whole number"),
        ("ref,poll\r\ndlms:3/1-0:1.8.0.255/2,perhaps\r\n", "line 2: poll: expected true or false"),
        ("ref\r\ndlms:3/1-0:1.8.0.255/2\r\nmodbus:input/0/u16\r\n", "line 3: ref: expected dlms:ADDRESS"),
        ("ref\r\n1.8.0\r\n", "line 2: ref: expected PROTOCOL:ADDRESS"),
        ("ref\r\nzigbee:1\r\n", "line 2: "),
        ("ref,unit\r\ndlms:3/1-0:1.8.0.255/2,ells\r\n", r"line 2: \[object\] unit"),
        ("ref\r\ndlms:3/1-0:1.8.0.255/2,more\r\n", "line 2: more cells"),
        ("ref\r\ndlms:3/1-0:1.8.0.255/2\r\ndlms:3/1-0:1.8.0.255/2\r\n", "stands at line"),
    ],
)
def test_what_is_wrong_in_an_object_map_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_csv(text, "a", vendor="V", model="M", source="S")


def test_many_come_in_three_forms_and_a_wrong_one_spoils_no_other() -> None:
    good = [to_document(profile) for profile in LIBRARY[:2]]
    lines = orjson.dumps(good[0]) + b"\n\nnonsense\n" + orjson.dumps(good[1]) + b'\n{"id": "x"}\n'
    found = list(items(lines))
    assert [(item.place, item.id, bool(item.error)) for item in found] == [
        ("line 1", LIBRARY[0].id, False), ("line 3", "", True), ("line 4", LIBRARY[1].id, False), ("line 5", "x", True),
    ]  # fmt: skip
    assert [item.id for item in items(orjson.dumps(good))] == [LIBRARY[0].id, LIBRARY[1].id]
    assert [item.id for item in items(orjson.dumps(good[0]))] == [LIBRARY[0].id]
    assert list(items(b" \n")) == []
