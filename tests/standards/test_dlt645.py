"""The identifiers of DL/T 645: known ones by hand, laws of the tables, and the collected facts where they are at hand."""

import csv
import os
import re
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError
from headend.model.quantity import base_unit
from headend.standards.dlt645 import (
    Register,
    Version,
    di_of_1997,
    error_reasons,
    find_register,
    format_length,
    registers,
    status_bits,
)
from headend.standards.obis import Obis

V1997, V2007 = Version.V1997, Version.V2007


def corpus(name: str) -> list[dict[str, str]]:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    with Path(folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("di", "key", "format_", "unit", "length", "obis"),
    [
        (0x00010000, "active_energy_import_total", "XXXXXX.XX", "kWh", 4, "1-0:1.8.0.255"),
        (0x00010200, "active_energy_import_t2", "XXXXXX.XX", "kWh", 4, "1-0:1.8.2.255"),
        (0x0001FF00, "active_energy_import_block", "XXXXXX.XX", "kWh", 20, ""),
        (0x00010103, "active_energy_import_t1_hist3", "XXXXXX.XX", "kWh", 4, "1-0:1.8.1.3"),
        (0x003D0000, "active_energy_import_l3", "XXXXXX.XX", "kWh", 4, "1-0:61.8.0.255"),
        (0x01010000, "active_demand_max_import_total", "XX.XXXX,YYMMDDhhmm", "kW", 8, "1-0:1.6.0.255"),
        (0x02010200, "voltage_l2", "XXX.X", "V", 2, "1-0:52.7.0.255"),
        (0x0203FF00, "active_power_block", "XX.XXXX", "kW", 12, ""),
        (0x020B0315, "current_harmonic21_l3", "XX.XX", "%", 2, "1-0:71.7.21.255"),
        (0x0400010C, "clock_datetime", "YYMMDDWWhhmmss", "", 7, "0-0:1.0.0.255"),
        (0x04000503, "status_word_3", "BITS16", "", 2, ""),
        (0x05060102, "freeze_daily_import_last2", "XXXXXX.XX", "kWh", 20, ""),
        (0x00900200, "prepay_credit_remaining", "XXXXXX.XX", "CNY", 4, ""),
    ],
)
def test_what_well_known_identifiers_mean(di: int, key: str, format_: str, unit: str, length: int, obis: str) -> None:
    found = find_register(di)
    assert found is not None
    assert (found.key, found.format, found.unit, found.length, found.obis) == (key, format_, unit, length, obis)
    assert str(found) == f"{di:08X}"


@pytest.mark.parametrize(
    ("di", "key", "equivalent"),
    [
        (0x9010, "active_energy_import_total", 0x00010000),
        (0x901F, "active_energy_import_block", 0x0001FF00),
        (0x9414, "active_energy_import_last_month_t4", 0x00010401),
        (0xB613, "voltage_l3", 0x02010300),
        (0xB630, "active_power_total", 0x02030000),
        (0xC032, "meter_number", 0x04000402),
        (0xC314, "holiday_count", None),
    ],
)
def test_what_the_older_identifiers_mean(di: int, key: str, equivalent: int | None) -> None:
    found = find_register(di, V1997)
    assert found is not None
    assert (found.key, found.equivalent, str(found)) == (key, equivalent, f"{di:04X}")
    if equivalent is not None:
        assert di_of_1997(equivalent) == di


@pytest.mark.parametrize("di", [0x00FF0000, 0x02010000, 0x02010400, 0x0001000D, 0x99999999, 0xFFFFFFFF])
def test_identifiers_that_mean_nothing(di: int) -> None:
    assert find_register(di) is None
    assert find_register(di & 0xFFFF | 0xD000, V1997) is None


def test_signs() -> None:
    signed = {0x00000000: True, 0x00010000: False, 0x02020100: True, 0x02030000: True, 0x02010100: False}
    assert {di: found.signed for di in signed if (found := find_register(di))} == signed


@pytest.mark.parametrize("version", list(Version))
def test_laws_of_the_tables(version: Version) -> None:
    keys: set[str] = set()
    identifiers: set[int] = set()
    for each in registers(version):
        assert each.di not in identifiers, str(each)
        assert each.key not in keys, each.key
        assert not re.search(r"[{}]|None|-1", each.key + each.name), each
        assert each.access in ("r", "rw", "w")
        assert not each.obis or str(Obis.parse(each.obis)) == each.obis
        identifiers.add(each.di)
        keys.add(each.key)
    assert len(identifiers) > (250 if version is V1997 else 15_000)


def test_units_are_those_of_readings_or_of_none() -> None:
    foreign = set()
    for each in {(each.unit, each.format) for each in chain(registers(V2007), registers(V1997))}:
        try:
            base_unit(each[0])
        except ConfigError:
            foreign.add(each[0])
    assert foreign == {"min", "CNY", "CNY/kWh", "imp/kWh", "imp/kvarh", "count,min"}


@given(st.integers(0, 0xFFFFFFFF))
def test_any_number_is_an_identifier_or_none(di: int) -> None:
    for version, number in ((V2007, di), (V1997, di & 0xFFFF)):
        found = find_register(number, version)
        assert found is None or found.di == number


def test_lengths() -> None:
    lengths = {
        "XXXXXX.XX": 4,
        "XX.XXXX,YYMMDDhhmm": 8,
        "NN": 1,
        "XXX": 2,
        "DIGITS12": 6,
        "ASCII32": 32,
        "BITS16": 2,
        "OCTETS": 0,
        "OCTETS131": 131,
    }
    assert {text: format_length(text) for text in lengths} == lengths


def test_bits() -> None:
    assert error_reasons(0x04) == ["wrong password or not authorised"]
    assert error_reasons(0x03) == ["another error", "no such data"]
    assert error_reasons(0) == []
    assert (4, 4, "relay open") in status_bits(3)
    assert (2, 2, "overvoltage L2") in status_bits(5)


@pytest.mark.corpus
def test_identifiers_of_2007_agree_with_the_collected_facts() -> None:
    rows = corpus("dlt645_2007_registers.csv")
    for row in rows:
        found = find_register(int(row["di"], 16))
        assert found is not None, row
        assert _facts(found) == _stated(row, row["bytes_per_item"], row["items"]), row
        assert found.access == row["access"].lower()
        assert found.obis == _obis(row["obis"])
    assert len(rows) == 632


@pytest.mark.corpus
def test_identifiers_of_1997_agree_with_the_collected_facts() -> None:
    rows = corpus("dlt645_1997_registers.csv")
    for row in rows:
        found = find_register(int(row["di"], 16), V1997)
        assert found is not None, row
        items = 5 if row["canonical"].endswith("_block") else 1
        assert _facts(found) == _stated(row, str(int(row["bytes"]) // items), str(items)), row
        if row["di_2007_equivalent"]:
            assert found.equivalent == int(row["di_2007_equivalent"], 16), row
    assert len(rows) == 140


@pytest.mark.corpus
def test_both_versions_agree_on_what_means_the_same() -> None:
    doubtful = {
        "C211": "said of the number of tariffs, but it is the width of pulses; the tariffs are C313",
        "B66": "apparent powers are no identifiers of 1997",
        "B69": "voltages between lines are none either",
        "B01": "the time of a demand stands apart in 1997: the demand itself is compared",
        "B02": "the same",
    }
    for row in corpus("dlt645_2007_registers.csv"):
        for text in filter(None, row["di_1997"].split("/")):
            if not text.startswith(tuple(doubtful)):
                assert di_of_1997(int(row["di"], 16)) == int(text, 16), row


@pytest.mark.corpus
def test_bits_agree_with_the_collected_facts() -> None:
    rows = corpus("dlt645_error_word.csv")
    assert [bool(error_reasons(int(row["mask_hex"], 16))) for row in rows] == [True] * 8
    for row in corpus("dlt645_status_words.csv"):
        if not row["meaning"].startswith("reserved"):
            first, _, last = row["bit"].partition("-")
            assert any(bits[:2] == (int(first), int(last or first)) for bits in status_bits(int(row["word"]))), row


def _facts(found: Register) -> tuple[object, ...]:
    return found.key, found.unit, found.format, found.item_length, found.items, found.signed


def _stated(row: dict[str, str], length: str, items: str) -> tuple[object, ...]:
    """The same of a collected row; bitmaps and structures, which it calls several things, by their length."""
    format_, octets = row["format"], int(length)
    unit = {"degC": "°C"}.get(row["unit"], row["unit"])
    bits = "bitmap" in format_ or row["canonical"].startswith(_BITMAPS) or row["canonical"].endswith("combination_word")
    if bits:
        format_ = f"BITS{8 * octets}"
    elif format_ == "NNNNNNNNNNNN":
        format_ = "DIGITS12"
    elif format_ == "struct":
        format_ = f"OCTETS{octets or ''}"
    return row["canonical"], unit, format_, octets, int(items), row["signed"] == "1"


_BITMAPS = (
    "status_word", "baud_word", "weekend_word", "reactive_combination", "load_record_mode", "freeze_mode",
)  # fmt: skip


def _obis(text: str) -> str:
    """As collected: `1-0:1.8.0*01 (approx)` is the code of the last settlement, and some are said to be near or signed."""
    return str(Obis.parse(re.sub(r" \(\w+\)", "", text))) if text else ""
