from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role

from .support import ELSEWHERE, LOOPBACK, world

OURS = "http://localhost"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:8080", "a.localhost"]
)
async def test_loopback_names_are_ours(tmp_path: Path, host: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get("/api/v1/meters", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "[2001:db8::1]", "", "["]
)
async def test_other_names_are_not(tmp_path: Path, host: str) -> None:
    """DNS rebinding: a name of an attacker that points to 127.0.0.1."""
    async with world(tmp_path) as head_end, head_end.client() as client:
        for path in ("/api/v1/meters", "/api/v1/health", "/", "/nothing"):
            response = await client.get(path, headers={"Host": host})
            assert response.status_code == 421
            assert response.json()["code"] == "host-not-allowed"


async def test_beyond_loopback_addresses_and_allowed_names_are_ours(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"host": "0.0.0.0", "allowed_hosts": ("Meters.Example",)}  # noqa: S104 - nothing listens
    async with world(tmp_path, **settings) as head_end, head_end.client(peer=ELSEWHERE) as client:
        for host, status in (("192.0.2.1:8080", 200), ("meters.example", 200), ("evil.example", 421)):
            assert (await client.get("/api/v1/health", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_origins_change_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        response = await client.post("/api/v1/meters", json={"url": "modbus://bench:7/1"}, headers=headers)
        assert response.status_code == 403
        assert response.json()["code"] == "origin-not-allowed"


@pytest.mark.parametrize("path", ["/api/v1/live", "/api/v1/readings/latest", "/"])
async def test_pages_of_other_origins_read_nothing(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get(path, headers={"Origin": "http://evil.example"})).status_code == 403


async def test_our_own_pages_and_programs_pass(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        for number, headers in enumerate(({"Origin": OURS}, {}, {"Sec-Fetch-Site": "same-origin", "Origin": OURS})):
            body = {"url": f"modbus://bench:7/{number}"}
            assert (await client.post("/api/v1/meters", json=body, headers=headers)).status_code == 201


async def test_a_link_from_elsewhere_opens_the_api(tmp_path: Path) -> None:
    """Following a link is a GET without Origin; what it brings stays in the browser's own window."""
    async with world(tmp_path) as head_end, head_end.client() as client:
        response = await client.get("/api/v1/version", headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 200
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_named_origins_may_read_and_send_with_a_key(tmp_path: Path) -> None:
    origin = "https://energy.example"
    async with world(tmp_path, cors_origins=(origin,)) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("1")
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        preflight = await client.options("/readings/", headers={"Origin": origin, **asked})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in preflight.headers
        body = {"meter_id": "1", "voltage": 230}
        answer = await client.post("/readings/", json=body, headers={"Origin": origin})
        assert answer.status_code == 201
        assert answer.headers["access-control-allow-origin"] == origin
        refused = await client.options("/readings/", headers={"Origin": "https://evil.example", **asked})
        assert refused.status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/meters", "/api/v1/health", "/nothing", "/api/v1/users", "/problems/decode"])
async def test_headers_of_every_answer(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        headers = (await client.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; frame-ancestors 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("declared", [True, False])
async def test_an_oversized_body_is_refused(tmp_path: Path, declared: bool) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield b" " * 1000

    async with world(tmp_path, max_body_octets=10_000) as head_end, head_end.client(Role.ADMIN) as client:
        content = b" " * 20_000 if declared else chunks()
        headers = {"Content-Type": "application/json"}
        response = await client.post("/api/v1/meters", content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["code"] == "too-large"
        assert sent <= 20_000


async def test_an_oversized_body_of_a_get_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, max_body_octets=1000) as head_end, head_end.client() as client:
        assert (await client.request("GET", "/api/v1/meters", content=b" " * 2000)).status_code == 413


async def test_a_body_that_does_not_arrive_in_time_is_given_up(tmp_path: Path) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with world(tmp_path, request_seconds=0.05) as head_end, head_end.client(Role.ADMIN, peer=LOOPBACK) as client:
        headers = {"Content-Type": "application/json"}
        response = await client.post("/api/v1/meters", content=stuck(), headers=headers)
        assert response.status_code == 408
