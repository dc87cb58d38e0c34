"""The table of features says nothing that no test shows."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
PAGE = ROOT.parent / "docs" / "reference" / "dlms-features.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("| \n").split(" | "))
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| feature |", "| --- |"))
]
KINDS = {"peer", "vector", "pair"}


@cache
def names_in(file: str) -> frozenset[str]:
    """Test functions and classes of a file; a class may be made by an assignment."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return frozenset(name for name in found if name.startswith(("test_", "Test")))


def test_the_table_is_there() -> None:
    assert len(ROWS) > 60
    assert {len(row) for row in ROWS} == {7}
    assert {row[5] for row in ROWS} <= {"yes", "no"}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_yes_names_tests_that_exist_and_each_no_has_a_reason(row: tuple[str, ...]) -> None:
    *_, answer, proof = row
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", proof)
    if answer == "no":
        assert not named
        assert len(proof.split()) > 1
        return
    assert named
    for file, name in named:
        assert name in names_in(file), f"{file} has no {name}"
    for part in proof.split("; "):
        kind, colon, tests = part.partition(": ")
        if colon:
            assert kind in KINDS
            assert (kind == "peer") == ("`interop/" in tests)
