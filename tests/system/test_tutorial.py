"""The tutorial of discovery works as it is written: its commands, in a shell, one after the other."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .served import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs/tutorial/find-a-fleet.md").read_text(encoding="utf-8")


def script(folder: Path) -> str:
    """The commands of the page; ports that other tests may have are others, and the program is the one that is tested."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace(". .venv/bin/activate\n", "")
    fleet = (ROOT / "examples/vendors.toml").read_text(encoding="utf-8")
    for port in ("4059", "4060", "5020", "8645", "4999"):
        other = str(free_port())
        text = re.sub(rf"\b{port}\b", other, text)
        fleet = re.sub(rf"\b{port}\b", other, fleet)
    (folder / "examples").mkdir()
    (folder / "examples/vendors.toml").write_text(fleet, encoding="utf-8")
    # A port that nobody knows is asked for every protocol; in the page each is asked for its own.
    return 'headend() { "$PYTHON" -m headend.cli.main "$@"; }\nset -e\n' + text


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", script(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for maker in ("Landis+Gyr", "Kamstrup", "Iskraemeco", "ZIV"):
        assert maker in done.stdout
    assert "were mended" in done.stdout
    lines = (tmp_path / "fleet/profiles.ndjson").read_text(encoding="utf-8").splitlines()
    exported = {json.loads(line)["id"] for line in lines}
    assert "eastron-sdm630" in exported
    assert any(each.startswith("kamstrup-") for each in exported)  # drafted of a meter that was found
    with (tmp_path / "fleet/sdm630.csv").open(encoding="utf-8", newline="") as file:
        assert {row["quantity"] for row in csv.DictReader(file)} >= {"voltage_l1", "frequency"}
