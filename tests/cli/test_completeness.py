"""`headend completeness` on a database without a running head-end."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from headend.cli.main import app
from headend.model.intervals import DAY_MS, Grid
from headend.storage.store import Store, wall_millis

QUARTER = 900_000


def run(folder: Path, *args: str) -> str:
    result = CliRunner().invoke(app, ["completeness", "--data", str(folder), *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_completeness_of_the_fleet_of_a_meter_and_of_the_worst(tmp_path: Path) -> None:
    today = wall_millis() // DAY_MS
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        store.ledger.open("m1", "ref", Grid(QUARTER), since=(today - 1) * DAY_MS, until=wall_millis())
    rows = json.loads(run(tmp_path, "--json"))
    assert (rows[0]["expected"], rows[0]["arrived"], rows[0]["completeness"]) == (96, 0, 0.0)
    assert run(tmp_path, "--csv").splitlines()[0] == "day,expected,arrived,void,missing,completeness"
    assert run(tmp_path, "--meter", "m1", "--csv").splitlines()[1].startswith("ref,")
    assert json.loads(run(tmp_path, "--worst", "5", "--days", "1", "--json"))[0]["meter"] == "m1"
    assert "\t96\t0\t0\t96\t" in run(tmp_path)
