from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.model.access import Role

from .support import ELSEWHERE, LOOPBACK, PASSWORD, world

ORIGIN = {"Origin": "http://localhost"}


async def log_in(client: httpx.AsyncClient, user: str = "ada", password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/v1/session", json={"user": user, "password": password})


async def test_a_login_gives_the_role_of_the_user(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.user("ada", Role.ADMIN)
        assert (await client.get("/api/v1/session")).json() == {"kind": "nobody", "name": "", "role": "viewer"}
        assert (await client.get("/api/v1/users")).status_code == 401
        answer = await log_in(client)
        assert answer.json() == {"kind": "user", "name": "ada", "role": "admin"}
        assert (await client.get("/api/v1/session")).json() == answer.json()
        assert (await client.get("/api/v1/users")).status_code == 200


@pytest.mark.parametrize(
    ("settings", "name", "secure"),
    [
        ({}, "headend", False),
        ({"host": "192.0.2.1"}, "__Host-headend", True),
        ({"tls_certificate": Path("cert.pem")}, "__Host-headend", True),
        ({"host": "192.0.2.1", "cookie_secure": False}, "headend", False),
    ],
)
async def test_the_cookie(tmp_path: Path, settings: dict[str, Any], name: str, secure: bool) -> None:
    async with world(tmp_path, **settings) as head_end, head_end.client() as client:
        head_end.user("ada")
        cookie = (await log_in(client)).headers["set-cookie"]
        assert cookie.startswith(f"{name}=")
        parts = cookie.lower().split("; ")
        assert {"httponly", "samesite=strict", "path=/"} <= set(parts)
        assert ("secure" in parts) is secure
        assert not any(part.startswith("domain") for part in parts)


async def test_a_change_under_a_login_needs_our_origin(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.user("ada", Role.ADMIN)
        await log_in(client)
        body = {"url": "modbus://bench:7/1"}
        assert (await client.post("/api/v1/meters", json=body)).status_code == 403
        assert (await client.post("/api/v1/meters", json=body, headers=ORIGIN)).status_code == 201
        other = {"Origin": "http://localhost:3000"}
        assert (await client.post("/api/v1/meters", json=body, headers=other)).status_code == 403


async def test_a_page_that_may_call_us_does_not_get_the_login(tmp_path: Path) -> None:
    """Another port of the same machine is the same site: its requests carry our cookie."""
    origin = {"Origin": "http://localhost:3000"}
    async with world(tmp_path, cors_origins=(origin["Origin"],)) as head_end, head_end.client() as client:
        head_end.user("ada", Role.ADMIN)
        await log_in(client)
        assert (await client.post("/api/v1/meters", json={}, headers=origin)).status_code == 401
        assert (await client.get("/api/v1/session", headers=origin)).json()["kind"] == "nobody"


async def test_logging_out_ends_the_session_everywhere(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client, head_end.client() as thief:
        head_end.user("ada", Role.ADMIN)
        await log_in(client)
        thief.cookies = httpx.Cookies(client.cookies)
        assert (await thief.get("/api/v1/users")).status_code == 200
        out = await client.delete("/api/v1/session", headers=ORIGIN)
        assert out.status_code == 204
        assert 'headend=""' in out.headers["set-cookie"]
        assert (await thief.get("/api/v1/users")).status_code == 401


async def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path, session_seconds=100) as head_end, head_end.client() as client:
        head_end.user("ada", Role.ADMIN)
        await log_in(client)
        head_end.time = 99.0
        assert (await client.get("/api/v1/users")).status_code == 200
        head_end.time = 105.0
        assert (await client.get("/api/v1/users")).status_code == 401


async def test_a_failed_login_tells_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.user("ada")
        wrong = await log_in(client, "ada", "wrong password")
        unknown = await log_in(client, "eve", "wrong password")
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.json() == unknown.json()
        assert "set-cookie" not in wrong.headers


async def failures(client: httpx.AsyncClient, user: str, count: int) -> list[int]:
    return [(await log_in(client, user, f"wrong {number}")).status_code for number in range(count)]


async def test_guessing_is_slowed_down_for_the_name_at_the_peer(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as head_end,
        head_end.client(peer=LOOPBACK) as client,
        head_end.client(peer=ELSEWHERE) as other,
    ):
        head_end.user("ada")
        assert await failures(client, "ada", 7) == [401] * 5 + [429] * 2
        blocked = await log_in(client)
        assert blocked.status_code == 429
        assert int(blocked.headers["retry-after"]) > 0
        assert (await log_in(other)).status_code == 200, "somebody else's guesses do not lock the user out"
        head_end.time += int(blocked.headers["retry-after"])
        assert (await log_in(client)).status_code == 200
        assert await failures(client, "ada", 5) == [401] * 5, "a success clears the count"


async def test_guessing_many_names_is_slowed_down_for_the_peer(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        statuses = [(await log_in(client, f"user{number}", "guess")).status_code for number in range(25)]
        assert statuses == [401] * 20 + [429] * 5


async def test_guessing_from_a_network_of_addresses_is_slowed_down(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        statuses = []
        for number in range(7):
            async with head_end.client(peer=(f"2001:db8::{number}", 1)) as client:
                statuses.append((await log_in(client, "ada", "guess")).status_code)
        assert statuses == [401] * 5 + [429] * 2


async def test_changing_the_own_password(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.user("ada")
        await log_in(client)
        body = {"old": "not the old one", "new": "a new long password"}
        assert (await client.put("/api/v1/session/password", json=body, headers=ORIGIN)).status_code == 401
        body["old"] = PASSWORD
        assert (await client.put("/api/v1/session/password", json=body, headers=ORIGIN)).status_code == 204
        assert (await client.get("/api/v1/session")).json()["kind"] == "nobody", "all sessions have ended"
        assert (await log_in(client)).status_code == 401
        assert (await log_in(client, "ada", "a new long password")).status_code == 200
