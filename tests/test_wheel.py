"""The wheel: everything the program needs is inside, and it starts without the tree that it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("headend-*.whl")
    return zipfile.Path(path)


def test_all_that_the_package_has_is_in_the_wheel(wheel: zipfile.Path) -> None:
    inside = set(wheel.root.namelist())
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [line.removeprefix("src/") for line in tracked.splitlines()] or [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert not [name for name in files if name not in inside]
    for kind in ("/static/index.html", "/py.typed", "/profiles/generic-dlms-1p.toml", ".csv", "/migrations/env.py"):
        assert any(name.endswith(kind) for name in inside), kind
    assert not [name for name in inside if name.startswith(("tests/", "docs/")) or "__pycache__" in name]


def test_entry_points_and_licences(wheel: zipfile.Path) -> None:
    (info,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    points = ConfigParser()
    points.read_string((info / "entry_points.txt").read_text())
    assert points["console_scripts"]["headend"] == "headend.cli.main:run"
    assert {"dlms", "dlt645", "modbus"} <= set(points["headend.drivers"])
    metadata = (info / "METADATA").read_text()
    assert "License-Expression: Apache-2.0" in metadata
    licences = [name for name in wheel.root.namelist() if "/licenses/" in name]
    assert any(name.endswith("LICENSE") for name in licences)
    assert sum(name.endswith(".LICENSE") for name in licences) >= 3


def test_it_starts_from_the_wheel_alone(wheel: zipfile.Path, tmp_path: Path) -> None:
    wheel.root.extractall(tmp_path / "wheel")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "wheel"), "XDG_DATA_HOME": str(tmp_path / "share")}

    def headend(*arguments: str) -> str:
        script = "import headend, sys; from headend.cli.main import run; print(headend.__file__); run()"
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        where, _, said = done.stdout.partition("\n")
        assert where.startswith(str(tmp_path)), where
        assert done.returncode == 0, done.stderr
        return said

    assert headend("--version").startswith("headend ")
    assert "eastron-sdm630" in headend("profile", "list")
    assert "MBAP" in headend("decode", "000100000006110300 6B0003")
    assert headend("user", "list") == ""
    assert (tmp_path / "share" / "headend" / "headend.db").exists()
