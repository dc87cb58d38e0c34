"""`headend probe` against virtual meters and, for what is independent of them, the notes it leaves."""

from __future__ import annotations

import json
from pathlib import Path

from headend.drivers.library import load_profile

from .conftest import Headend


def test_a_probe_finds_notes_and_drafts(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    state, draft = tmp_path / "notes.jsonl", tmp_path / "draft.toml"
    url = meters["wrapper"].split("?")[0] + "?client=16"
    asked = ("probe", url, "3/1-0:[1,2,99].8.0.255/2", "--rate", "1000", "--state", str(state))
    said = headend(*asked, "--output", str(draft), "--json")
    assert said.code == 0
    assert {answer["ref"]: answer["error"] for answer in said.json["answers"]} == {
        "dlms:3/1-0:1.8.0.255/2": "",
        "dlms:3/1-0:2.8.0.255/2": "",
        "dlms:3/1-0:99.8.0.255/2": "object-undefined",
    }
    profile = load_profile(draft.read_text(), "draft")
    assert [entry.quantity for entry in profile.objects] == ["active_energy_import_total", "active_energy_export_total"]
    lines = state.read_text().splitlines()
    assert len(lines) == 4
    state.write_text("\n".join(lines[:-1]) + '\n{"ref": "torn')
    again = headend(*asked, "--json")
    assert again.code == 0
    assert (again.json["asked"], len(again.json["answers"])) == (1, 3)
    other = headend("probe", meters["tcp"], "input/0-2/f32", "--state", str(state))
    assert other.code == 2
    assert "not of" in other.err


def test_a_probe_that_cannot_be(headend: Headend, meters: dict[str, str], tmp_path: Path) -> None:
    said = headend("probe", meters["tcp"], "somewhere")
    assert said.code == 2
    assert "no range of registers" in said.err
    (tmp_path / "notes").write_text(json.dumps([]) + "\n")
    said = headend("probe", meters["tcp"], "input/0-2/f32", "--state", str(tmp_path / "notes"))
    assert said.code == 2
    assert "holds no notes" in said.err
