from __future__ import annotations

import inspect
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import pytest

from headend import errors
from headend.errors import AssociationRejected, DecodeError, HeadendError
from headend.model.access import Role
from headend.web.problems import KINDS, from_error

from .support import world

TREE = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, HeadendError)]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.code)
def test_every_error_of_the_tree_has_a_status_of_its_own_choice(kind: type[HeadendError]) -> None:
    assert kind.code in KINDS
    extra: dict[str, Any] = {"result": 1, "diagnostic": 13} if kind is AssociationRejected else {}
    response = from_error(kind("it happened", hint="try this", **extra))
    body = orjson.loads(response.body)
    assert response.status_code == body["status"] == KINDS[kind.code].status >= 400
    assert response.media_type == "application/problem+json"
    assert body["type"] == f"/problems/{kind.code}"
    assert body["code"] == kind.code
    assert body["detail"] == "it happened"
    assert body["hint"] == "try this"


def test_a_retryable_refusal_says_when_to_come_back() -> None:
    assert from_error(errors.StorageError("away")).headers["retry-after"] == "5"


def test_a_decode_error_tells_where() -> None:
    body = orjson.loads(from_error(DecodeError("no such tag", offset=7, got="0xFF")).body)
    assert body["detail"] == "no such tag (at octet 7, got 0xFF)"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nothing", b"", 404, "not-found"),
        ("GET", "/api/v1/nothing", b"", 404, "not-found"),
        ("GET", "/api/v1/meters/nobody", b"", 404, "not-found"),
        ("DELETE", "/api/v1/version", b"", 405, "method-not-allowed"),
        ("POST", "/api/v1/meters", b"{no json", 400, "malformed-request"),
        ("POST", "/api/v1/meters", b"[]", 422, "invalid-request"),
        ("POST", "/api/v1/meters", b'{"url": 7}', 422, "invalid-request"),
        ("POST", "/api/v1/meters", b'{"url": "gopher://x"}', 422, "config"),
        ("POST", "/api/v1/meters", b'{"url": "modbus://bench:7/1", "colour": 1}', 422, "invalid-request"),
        ("GET", "/api/v1/meters?limit=0", b"", 422, "invalid-request"),
        ("POST", "/api/v1/decode", b'{"hex": "0g"}', 422, "config"),
        ("PATCH", "/api/v1/meters/nobody", b"{}", 428, "precondition-required"),
        ("GET", "/problems/nothing", b"", 404, "not-found"),
    ],
)
async def test_every_refusal_is_a_problem(
    tmp_path: Path, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        headers = {"Content-Type": "application/json"}
        response = await client.request(method, path, content=content, headers=headers)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body = response.json()
        assert body["code"] == code
        assert body["status"] == status
        assert body["title"]
        assert body["detail"]


async def test_errors_name_the_field_and_what_was_expected(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        response = await client.post("/api/v1/meters", json={"url": "modbus://bench:7/1", "poll_seconds": -1})
        assert response.json()["errors"] == [
            {"field": "body.poll_seconds", "expected": "Input should be greater than or equal to 0"}
        ]
        response = await client.get("/api/v1/live?topics=gossip")
        assert response.json()["errors"] == [
            {"field": "query.topics", "expected": "topics: expected some of readings, status, connections, events"}
        ]


async def test_a_bug_is_logged_and_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        object.__setattr__(head_end.app.state.parts, "profiles", None)
        response = await client.get("/api/v1/profiles")
        assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
        assert response.json()["code"] == "error"
        assert "NoneType" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
    assert "NoneType" in capsys.readouterr().out


async def test_a_problem_explains_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        for code, kind in KINDS.items():
            text = (await client.get(f"/problems/{code}")).text
            assert text == f"{code} (status {kind.status}): {kind.meaning}\n"
            assert kind.meaning.endswith(".")
