from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from headend.standards.dlt645 import find_register
from headend.standards.event_codes import event_tables


def test_a_table_that_extends_another_one_says_what_that_says() -> None:
    tables = event_tables()
    assert tables["longi"].items() > tables["idis"].items()
    assert tables["idis"][62] == "disconnected remotely"
    assert tables["longi"][232] == "module cover removed"


def test_codes_that_come_and_go_by_phase_name_their_phases() -> None:
    idis = event_tables()["idis"]
    for first, what in ((76, "undervoltage"), (79, "overvoltage"), (82, "voltage missing"), (85, "voltage normal")):
        assert [idis[first + phase] for phase in range(3)] == [f"{what} L{phase}" for phase in (1, 2, 3)]


def test_the_event_records_of_dlt645_that_are_known_have_words() -> None:
    for code in event_tables()["dlt645"]:
        register = find_register(0x03000001 | code << 8)
        assert register is not None, f"{code:04X}"
        assert register.length > 6


@pytest.mark.corpus
def test_the_tables_have_the_codes_that_head_ends_know() -> None:
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder with the data sets")
    with (Path(folder) / "dlms_event_codes.csv").open(encoding="utf-8", newline="") as lines:
        known = {int(row["code"]): row["note"] for row in csv.DictReader(lines)}
    tables = event_tables()
    assert set(tables["longi"]) == set(known)
    assert set(tables["idis"]) == {code for code, note in known.items() if "vendor" not in note}
