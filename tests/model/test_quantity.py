from __future__ import annotations

import csv
from pathlib import Path

import pytest

from headend.errors import ConfigError, NotFound
from headend.model.quantity import Kind, base_unit, find_quantity, for_obis, quantities, quantity
from headend.standards.obis import Obis


def test_keys_and_codes_name_one_quantity_each() -> None:
    rows = list(quantities().values())
    assert len({row.obis for row in rows if row.obis}) == sum(1 for row in rows if row.obis)
    assert all(base_unit(row.unit) == (row.unit, 0) for row in rows)
    for row in rows:
        if row.obis:
            assert for_obis(Obis.parse(row.obis)) is row


@pytest.mark.parametrize(
    ("code", "key", "unit"),
    [
        ("1-0:1.8.0.255", "active_energy_import_total", "Wh"),
        ("1-0:1.8.4.255", "active_energy_import_t4", "Wh"),
        ("1-0:61.7.0.255", "active_power_import_l3", "W"),
        ("1-1:32.7.0.255", "voltage_l1", "V"),
        ("1-0:14.7.0.255", "frequency", "Hz"),
        ("1-0:16.7.0.255", "active_power_total", "W"),
        ("1-0:8.8.0.255", "reactive_energy_q4_total", "varh"),
    ],
)
def test_codes_of_the_standard(code: str, key: str, unit: str) -> None:
    found = for_obis(Obis.parse(code))
    assert found is not None
    assert (found.key, found.unit) == (key, unit)


def test_tariff_phase_and_kind() -> None:
    assert quantity("active_energy_import_t3").tariff == 3
    assert quantity("voltage_l2").phase == "l2"
    assert quantity("frequency").phase == ""
    assert quantity("active_energy_export_total").kind is Kind.CUMULATIVE


def test_unknown_names() -> None:
    assert find_quantity("voltage_l4") is None
    with pytest.raises(NotFound, match="voltage_l4"):
        quantity("voltage_l4")
    with pytest.raises(ConfigError, match="furlong"):
        base_unit("furlong")
    assert for_obis(Obis.parse("0-0:0.0.0.0")) is None


@pytest.mark.parametrize(
    ("symbol", "expected"), [("kWh", ("Wh", 3)), ("MW", ("W", 6)), ("mA", ("A", -3)), ("", ("", 0))]
)
def test_prefixes(symbol: str, expected: tuple[str, int]) -> None:
    assert base_unit(symbol) == expected


@pytest.mark.corpus
def test_agrees_with_the_collected_codes(corpus: Path) -> None:
    """Every collected electricity code with a unit has the same key and unit here, unless we have no such quantity."""
    checked = 0
    with (corpus / "obis_codes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = find_quantity(row["canonical"])
            if found is None or not found.obis or not row["unit"]:
                continue
            assert Obis.parse(found.obis) == Obis.parse(row["obis"]), row["canonical"]
            assert found.unit == row["unit"], row["canonical"]
            checked += 1
    assert checked > 400


def test_abstract_objects_of_another_channel_are_not_the_meters_own() -> None:
    own, behind = for_obis(Obis.parse("0-0:96.1.0")), for_obis(Obis.parse("0-1:96.1.0"))
    assert own is not None
    assert own.key == "serial_number"
    assert behind is None
    channel = for_obis(Obis.parse("1-1:1.8.0"))
    assert channel is not None
    assert channel.key == "active_energy_import_total"
