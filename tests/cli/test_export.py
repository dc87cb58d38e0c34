"""`headend export`: files of the stored readings."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as ds

from headend.storage.store import Store
from tests.northbound.exports.world import DAY, IMPORT, meter, put, register, utc

from .conftest import Headend

START = utc(2026, 3, 1)


def fill(folder: Path) -> None:
    with Store.open(folder / "headend.db", vault_key=None) as store:
        store.meters.put(meter("m1"), revision=0)
        put(store, "m1", IMPORT, register(START, START + 2 * DAY))


def test_an_export_goes_to_a_file_or_to_standard_output(headend: Headend, tmp_path: Path) -> None:
    fill(tmp_path)
    asked = ("export", "csv", "--data", str(tmp_path), "--from", "2026-03-01", "--to", "2026-03-02")
    said = headend(*asked)
    assert (said.code, len(said.out.splitlines())) == (0, 97)
    file = tmp_path / "out.csv"
    assert headend(*asked, "--meter", "m1", "--quantity", IMPORT, "-o", str(file)).code == 0
    assert file.read_bytes().decode() == said.out


def test_days_are_partitions_that_other_tools_know(headend: Headend, tmp_path: Path) -> None:
    fill(tmp_path)
    folder = tmp_path / "lake"
    asked = ("export", "parquet", "--data", str(tmp_path), "--from", "2026-03-01", "--to", "2026-03-03", "--by-day")
    assert headend(*asked, "-o", str(folder)).code == 0
    table = ds.dataset(folder, partitioning="hive").to_table()
    assert sorted(set(table["day"].to_pylist())) == ["2026-03-01", "2026-03-02"]
    assert table.num_rows == 192
    assert headend(*asked).code == 2


def test_what_cannot_be_is_an_error_and_leaves_no_file(headend: Headend, tmp_path: Path) -> None:
    fill(tmp_path)
    file = tmp_path / "out"
    start = ("--data", str(tmp_path), "--from", "2026-03-01", "-o", str(file))
    for arguments, code in (
        (("docx", *start), 2),
        (("nem12", *start), 2),
        (("csv", *start, "--meter", "nobody"), 2),
        (("csv", *start[:2]), 2),
        (("csv", *start, "--to", "yesterday"), 2),
    ):
        said = headend("export", *arguments)
        assert said.code == code
        assert said.err.startswith("headend: ")
    assert not file.exists()
