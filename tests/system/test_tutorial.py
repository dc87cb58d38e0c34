"""The tutorial of discovery works as it is written: its commands, in a shell, one after the other."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs/tutorial/find-a-fleet.md").read_text(encoding="utf-8")


PORTS = {"4059": (4059, 4061), "4060": (4060, 3333), "5020": (5020, 1502), "8645": (8645,), "4999": (4999,)}
"""those of the page, and what else is asked for the same protocol first, where other tests have them"""


def free_one(ports: tuple[int, ...]) -> int:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                return port
    return free_port()


def script(folder: Path) -> str:
    """The commands of the page, of the program that is tested; ports that others have are replaced."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace(". .venv/bin/activate\n", "")
    fleet = (ROOT / "examples/vendors.toml").read_text(encoding="utf-8")
    for port, others in PORTS.items():
        other = str(free_one(others))
        text = re.sub(rf"\b{port}\b", other, text)
        fleet = re.sub(rf"\b{port}\b", other, fleet)
    (folder / "examples").mkdir()
    (folder / "examples/vendors.toml").write_text(fleet, encoding="utf-8")
    program = folder / "headend"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headend.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + text


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", script(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for maker in ("Landis+Gyr", "Kamstrup", "Iskraemeco", "Itron"):
        assert maker in done.stdout
    assert "were mended" in done.stdout
    lines = (tmp_path / "fleet/profiles.ndjson").read_text(encoding="utf-8").splitlines()
    exported = {json.loads(line)["id"] for line in lines}
    assert "eastron-sdm630" in exported
    assert any(each.startswith("kamstrup-") for each in exported)  # drafted of a meter that was found
    with (tmp_path / "fleet/sdm630.csv").open(encoding="utf-8", newline="") as file:
        assert {row["quantity"] for row in csv.DictReader(file)} >= {"voltage_l1", "frequency"}
