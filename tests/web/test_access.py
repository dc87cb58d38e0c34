from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.model.access import Role
from headend.web import app as web_app
from headend.web.access import GuardedRoute

from .support import ELSEWHERE, LOOPBACK, World, world

RULES = {"public", "viewer", "signed-in", "operator", "admin"}
ORDER = ["viewer", "operator", "dispatcher", "admin"]


def operations(head_end: World) -> list[tuple[str, str, str]]:
    """(method, path, rule) of every operation of the description."""
    document = web_app.describe(head_end.app)
    return [
        (method.upper(), path, operation["x-access"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """A request that reaches the route, and that it refuses for its content."""
    filled = re.sub(r"{\w+}", "zz", path)
    return await client.request(method, filled, params={"topics": "none"} if path.endswith("/live") else None)


def answers(response: httpx.Response) -> bool:
    """Whether the access rule let the request pass."""
    return response.status_code not in (401, 403)


async def test_every_operation_names_a_rule_we_know(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        found = operations(head_end)
        assert len(found) > 35
        assert {rule for _, _, rule in found} == RULES


def test_a_route_without_a_rule_cannot_be_made() -> None:
    async def endpoint() -> None: ...

    with pytest.raises(KeyError, match="x-access"):
        GuardedRoute("/forgotten", endpoint)


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("where", ["this machine", "beyond"])
async def test_matrix_of_roles_and_routes(tmp_path: Path, role: Role | None, where: str) -> None:
    settings: dict[str, Any] = {"host": "127.0.0.1"} if where == "this machine" else {"host": "192.0.2.1"}
    peer, base = (LOOPBACK, "http://localhost") if where == "this machine" else (ELSEWHERE, "http://192.0.2.1:8080")
    async with world(tmp_path, **settings) as head_end, head_end.client(role, peer=peer, base=base) as client:
        for method, path, rule in operations(head_end):
            response = await ask(client, method, path)
            if rule == "public":
                expected = True
            elif role is None:
                expected = rule == "viewer" and where == "this machine"
            else:
                needed = "viewer" if rule == "signed-in" else rule
                expected = ORDER.index(role.value) >= ORDER.index(needed)
            if (method, path) == ("PUT", "/api/v1/session/password") and role is not None:
                expected = True  # refused for its content: the body is missing
            assert answers(response) is expected, (method, path, rule, response.status_code)
            if not expected:
                assert response.headers["content-type"] == "application/problem+json"
                assert response.status_code == (401 if role is None else 403)


async def test_the_description_is_for_viewers(tmp_path: Path) -> None:
    async with world(tmp_path, host="192.0.2.1") as head_end:
        for role, status in ((None, 401), (Role.VIEWER, 200)):
            async with head_end.client(role, peer=ELSEWHERE, base="http://192.0.2.1:8080") as client:
                assert (await client.get("/api/v1/openapi.json")).status_code == status


async def test_beyond_loopback_only_health_login_problems_and_files_are_public(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        public = {(method, path) for method, path, rule in operations(head_end) if rule == "public"}
        health = {("GET", path) for path in ("/api/v1/health", "/health", "/api/system/health")}
        assert public == {*health, ("POST", "/api/v1/session"), ("GET", "/problems/{code}")}


@pytest.mark.parametrize(
    ("peer", "base", "headers"),
    [
        (ELSEWHERE, "http://localhost", {}),
        (LOOPBACK, "http://headend.example", {}),
        (LOOPBACK, "http://localhost", {"X-Forwarded-For": "192.0.2.7"}),
        (LOOPBACK, "http://localhost", {"Forwarded": "for=192.0.2.7"}),
    ],
)
async def test_what_a_proxy_passes_on_is_not_this_machine(
    tmp_path: Path, peer: tuple[str, int], base: str, headers: dict[str, str]
) -> None:
    async with (
        world(tmp_path, allowed_hosts=("headend.example",)) as head_end,
        head_end.client(peer=peer, base=base) as client,
    ):
        assert (await client.get("/api/v1/meters", headers=headers)).status_code == 401


async def test_reading_without_a_credential_can_be_turned_off(tmp_path: Path) -> None:
    async with world(tmp_path, public_read=False) as head_end, head_end.client() as client:
        assert (await client.get("/api/v1/meters")).status_code == 401
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/api/v1/health")).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Bearer ", "Basic YTpi", "hk_key-admin_0123456789"])
async def test_a_wrong_credential_is_worse_than_none(tmp_path: Path, authorization: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.key(Role.ADMIN)
        response = await client.get("/api/v1/meters", headers={"Authorization": authorization})
        assert response.status_code == 401
        assert "invalid_token" in response.headers["www-authenticate"]


async def test_access_is_checked_before_the_body_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        response = await client.post(
            "/api/v1/meters", content=b"{no json", headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 401


async def test_a_removed_key_is_refused_at_once(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as head_end,
        head_end.client(Role.ADMIN) as admin,
        head_end.client(Role.VIEWER) as viewer,
    ):
        assert (await viewer.get("/api/v1/meters")).status_code == 200
        assert (await admin.delete("/api/v1/keys/key-viewer")).status_code == 204
        assert (await viewer.get("/api/v1/meters")).status_code == 401


async def test_a_key_removed_elsewhere_is_refused_within_seconds(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as viewer:
        assert (await viewer.get("/api/v1/meters")).status_code == 200
        head_end.access.remove_key("key-viewer")
        head_end.time = 6.0
        assert (await viewer.get("/api/v1/meters")).status_code == 401
