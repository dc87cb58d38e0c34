"""What a probe asks for."""

from __future__ import annotations

import pytest

from headend.drivers.dlt645 import driver
from headend.errors import ConfigError


def refs(text: str) -> list[str]:
    return [entry.ref.address for entry in driver.candidates(text)]


def test_the_curated_list_has_what_meters_have_and_no_password() -> None:
    found = refs("")
    assert {"00010000", "00010400", "02010100", "02030000", "02800002", "04000402", "04000503", "00900200"} <= set(
        found
    )
    assert len(found) == len(set(found)) < 300
    assert not [ref for ref in found if ref.startswith("04000C")]
    quantities = {entry.ref.address: entry.quantity for entry in driver.candidates("")}
    assert quantities["02010100"] == "voltage_l1"
    assert quantities["00900100"] == "credit_energy"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0001[00-02]00", ["00010000", "00010100", "00010200"]),
        ("90[1F-21]", ["901F", "9020", "9021"]),
        ("00FF000[0-1]", ["00FF0000", "00FF0001"]),
        ("04000C0[1-2]", []),
    ],
)
def test_patterns(text: str, found: list[str]) -> None:
    assert refs(text) == found


@pytest.mark.parametrize(
    "text", ["00010000/0", "00010", "[00-10]", "0001[02-00]00", "0001[0-02]00", "[0000-FFFF][0000-FFFF]", "*"]
)
def test_patterns_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError):
        refs(text)
