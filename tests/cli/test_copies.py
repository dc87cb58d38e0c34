"""`headend backup`, `restore` and `move`: what they print, and what they refuse."""

from __future__ import annotations

from pathlib import Path

from headend.storage.store import Store
from tests.northbound.exports.world import meter

from .conftest import Headend


def names(file: Path) -> list[str]:
    with Store.open(file, vault_key=None) as store:
        return [stored.meter.id for stored in store.meters.list(limit=10)]


def test_a_backup_comes_back(headend: Headend, tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "backup.db"
    with Store.open(here / "headend.db", vault_key=None) as store:
        store.meters.put(meter("m1"), revision=0)
    said = headend("backup", str(file), "--data", str(here))
    assert (said.code, said.err) == (0, "")
    assert "vault.key" in said.out
    assert headend("backup", str(file), "--data", str(here)).code == 2
    said = headend("restore", str(file), "--data", str(there))
    assert said.code == 0
    assert "counters.db" in said.out
    assert names(there / "headend.db") == ["m1"]
    said = headend("restore", str(file), "--data", str(there))
    assert said.code == 2
    assert "--force" in said.err
    assert headend("restore", str(file), "--data", str(there), "--force").code == 0


def test_a_move_says_what_was_moved(headend: Headend, tmp_path: Path) -> None:
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        store.meters.put(meter("m1"), revision=0)
    said = headend("move", "--to", f"sqlite:///{tmp_path}/other.db", "--data", str(tmp_path))
    assert said.code == 0
    assert ["meters", "1"] in said.rows
    assert "[storage]" in said.err
    assert names(tmp_path / "other.db") == ["m1"]
    assert headend("move", "--to", f"sqlite:///{tmp_path}/other.db", "--data", str(tmp_path)).code == 2
