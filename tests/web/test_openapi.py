"""The description of the API is kept: a change shows in the diff. UPDATE_DOCS=1 writes openapi.json and the page anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from headend.web.app import describe
from headend.web.problems import KINDS

from .support import world

SNAPSHOT = Path(__file__).with_name("openapi.json")
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/rest.md"


async def document(folder: Path) -> dict[str, Any]:
    async with world(folder) as head_end:
        return json.loads(json.dumps(describe(head_end.app), sort_keys=True))  # type: ignore[no-any-return]


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


async def test_the_description_is_as_it_was(tmp_path: Path) -> None:
    text = json.dumps(await document(tmp_path), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8"), "run with UPDATE_DOCS=1 when the change is meant"


async def test_every_operation_is_described(tmp_path: Path) -> None:
    described = await document(tmp_path)
    ids = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(described):
        where = f"{method} {path}"
        assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"]), where
        assert len(operation["tags"]) == 1, where
        assert operation["description"].endswith("."), where
        assert "x-access" in operation, where


async def test_what_is_served_is_what_is_described(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get("/api/v1/openapi.json")).json() == describe(head_end.app)


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    sentence = re.split(r"\.\s", operation["description"])[0].rstrip(".")
    return f"| `{method} {path}` | {operation['x-access']} | {sentence} |"


async def test_the_page_lists_every_operation_with_its_rule(tmp_path: Path) -> None:
    rows = [_row(*each) for each in operations(await document(tmp_path))]
    problems = [f"| `{code}` | {kind.status} | {kind.meaning} |" for code, kind in sorted(KINDS.items())]
    text = PAGE.read_text(encoding="utf-8")
    for title, expected in (("| Operation | Who | What |", rows), ("| `code` | Status | Meaning |", problems)):
        before, after = text.split(title + "\n")
        table = re.match(r"(?:\|.*\n)*", after)
        assert table is not None
        text = before + "\n".join([title, "| --- | --- | --- |", *expected, ""]) + after[table.end() :]
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "run with UPDATE_DOCS=1"
