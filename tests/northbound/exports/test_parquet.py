"""Parquet, read back by the reader of Apache Arrow: the same rows as CSV has, with types."""

from __future__ import annotations

import csv
import importlib.util
import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headend.errors import ConfigError
from headend.northbound.exports import parquet
from headend.storage.store import Store
from tests.northbound.exports.world import DAY, EXPORT, IMPORT, exports, made, meter, pieces, put, register, utc

START = utc(2026, 3, 1)


def test_the_rows_are_those_of_csv(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 100)  # several row groups
    put(store, "m1", IMPORT, register(START, START + 2 * DAY))
    put(store, "m1", EXPORT, [(at, value / 1000) for at, value in register(START, START + 2 * DAY, seed=5)])  # type: ignore[operator] # ints
    found = exports(store, meter("m1"))
    file = pq.ParquetFile(io.BytesIO(made(found, "parquet", START, START + 2 * DAY)))
    assert file.num_row_groups == 4
    table = file.read()
    types = {field.name: field.type for field in table.schema}
    assert types["interval_start_utc"] == pa.timestamp("us", tz="UTC")
    assert types["value"] == pa.decimal128(38, 3)
    assert types["status"] == pa.int32()

    text = list(csv.DictReader(io.StringIO(made(found, "csv", START, START + 2 * DAY).decode(), newline="")))
    assert len(text) == table.num_rows == 384
    for row, line in zip(table.to_pylist(), text, strict=True):
        for name in ("interval_start_utc", "interval_end_utc", "read_at_utc"):
            assert row[name] == datetime.fromisoformat(line[name]).astimezone(UTC)
        assert row["value"] == Decimal(line["value"])
        assert row["status"] == int(line["status_hex"], 16)
        assert [row[name] for name in ("meter_id", "obis", "unit", "quality", "source")] == [
            line[name] for name in ("meter_id", "obis", "unit", "quality", "source")
        ]


def test_nothing_is_a_file_without_rows(store: Store) -> None:
    table = pq.read_table(io.BytesIO(made(exports(store, meter("m1")), "parquet", START, START + DAY)))
    assert (table.num_rows, table.column_names[0]) == (0, "meter_id")


def test_without_the_library_it_is_said_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pyarrow"):
        pieces(exports(store, meter("m1")), "parquet", START, START + DAY)
