"""Meter files that are written: what was written loads as what it was."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.library import Library, load_profile
from headend.drivers.meter_text import document_of, set_meter_key, write
from headend.errors import ConfigError
from headend.model.profile import MeterProfile

FILE = """\
# a remark
[meter]
vendor = "Acme"
model = "A1"
protocol = "modbus"
state = "DRAFT"  # as yet
source = "a document"

[[object]]
ref = "input/0/u16"
"""
PLAIN = st.recursive(
    st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def fields(profile: MeterProfile) -> dict[str, Any]:
    return {field.name: getattr(profile, field.name) for field in dataclasses.fields(profile)}


@pytest.mark.parametrize("profile", list(Library()), ids=lambda profile: profile.id)
def test_every_file_of_the_library_loads_as_it_was(profile: MeterProfile) -> None:
    text = write(document_of(profile), "written anew\nin two lines")
    assert fields(load_profile(text, profile.id)) == fields(profile)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_any_table_is_read_as_it_was_written(values: dict[str, Any]) -> None:
    assert tomllib.loads(write({"meter": values})) == {"meter": values}


@given(st.lists(st.dictionaries(st.text(), PLAIN, max_size=3), min_size=1, max_size=3))
def test_any_list_of_tables_is_read_as_it_was_written(values: list[dict[str, Any]]) -> None:
    assert tomllib.loads(write({"object": values})) == {"object": values}


def test_one_key_is_changed_and_everything_else_left_alone() -> None:
    assert set_meter_key(FILE, "state", "EMULATED") == FILE.replace('"DRAFT"', '"EMULATED"')
    changed = set_meter_key(FILE, "revision", 7)
    assert changed == FILE.replace("[meter]\n", "[meter]\nrevision = 7\n")
    assert load_profile(set_meter_key(changed, "revision", 8), "a").revision == 8


@pytest.mark.parametrize(
    "text", ['meter = { state = "DRAFT" }\n', 'meter.state = "DRAFT"\n', '[meter]\nstate = """\nDRAFT"""\n']
)
def test_a_form_that_cannot_be_changed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be changed"):
        set_meter_key(text, "state", "EMULATED")
