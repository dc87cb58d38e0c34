"""What a linter does not check: sizes, vendored files, wheels' content, words."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "headend"
MODULES = sorted(SOURCE.rglob("*.py"))
VENDOR = SOURCE / "web" / "static" / "vendor"
MAX_LINES = 500


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES, f"{path.name} is longer than {MAX_LINES} lines: split it by mechanism"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 100, f"{path.name}: {node.name} is {length} lines long"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unfinished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)


def test_vendored_files_are_what_their_packages_ship() -> None:
    listed = json.loads((VENDOR / "vendored.json").read_text())
    for row in listed:
        assert hashlib.sha256((VENDOR / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert all((VENDOR / name).is_file() for name in row["licence_files"])
    known = (
        {row["file"] for row in listed} | {name for row in listed for name in row["licence_files"]} | {"vendored.json"}
    )
    assert {path.name for path in VENDOR.iterdir()} == known


def test_the_console_loads_nothing_from_elsewhere() -> None:
    for path in (SOURCE / "web" / "static").rglob("*"):
        if path.suffix in (".js", ".css", ".html") and VENDOR not in path.parents:
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//cdn", text), path.name
            assert "innerHTML" not in text, path.name


def test_no_path_or_host_of_a_machine_in_the_tree() -> None:
    wrong = re.compile("/" + "work/|/" + "root/|deb" + "ian" + r"\.org|pypi" + r"\.org|registry\." + "npmjs")
    for folder in ("src", "tests", "docs", "bench", "fuzz"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".js", ".json", ".html") and VENDOR not in path.parents:
                assert not wrong.search(path.read_text(encoding="utf-8")), path


def test_package_data_is_inside_the_package() -> None:
    package = files("headend")
    assert (package / "py.typed").is_file()
    assert (package / "web" / "static" / "index.html").is_file()
    assert any((package / "profiles").iterdir())
