from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role

from .support import NOW, PASSWORD, world


async def test_users_come_change_and_go(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as admin, head_end.client() as client:
        made = await admin.post("/api/v1/users", json={"name": "ada", "role": "operator", "password": PASSWORD})
        assert made.status_code == 201
        assert made.json() == {"name": "ada", "role": "operator", "created_at": NOW}
        again = {"name": "ada", "role": "viewer", "password": PASSWORD}
        assert (await admin.post("/api/v1/users", json=again)).status_code == 409
        await client.post("/api/v1/session", json={"user": "ada", "password": PASSWORD})
        assert (await client.get("/api/v1/session")).json()["role"] == "operator"
        changed = await admin.patch("/api/v1/users/ada", json={"role": "viewer"})
        assert changed.json()["role"] == "viewer"
        assert (await client.get("/api/v1/session")).json()["kind"] == "nobody", "a change ends the sessions"
        assert [user["name"] for user in (await admin.get("/api/v1/users")).json()["items"]] == ["ada"]
        assert (await admin.delete("/api/v1/users/ada")).status_code == 204
        assert (await admin.delete("/api/v1/users/ada")).status_code == 404
        assert (await admin.patch("/api/v1/users/ada", json={"role": "viewer"})).status_code == 404


async def test_the_last_administrator_stays(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as admin:
        head_end.user("ada", Role.ADMIN)
        assert (await admin.delete("/api/v1/users/ada")).status_code == 409
        assert (await admin.patch("/api/v1/users/ada", json={"role": "viewer"})).status_code == 409
        head_end.user("bob", Role.ADMIN)
        assert (await admin.delete("/api/v1/users/ada")).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ada", "role": "operator", "password": "short"},
        {"name": "ada", "role": "emperor", "password": PASSWORD},
        {"name": "a b", "role": "viewer", "password": PASSWORD},
        {"name": "", "role": "viewer", "password": PASSWORD},
        {"name": "ada", "role": "viewer"},
    ],
)
async def test_what_is_no_user(tmp_path: Path, body: dict[str, Any]) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as admin:
        response = await admin.post("/api/v1/users", json=body)
        assert response.status_code == 422
        assert PASSWORD not in response.text
        assert "short" not in response.text


async def test_a_key_is_shown_once(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as admin, head_end.client() as client:
        made = await admin.post("/api/v1/keys", json={"name": "poller-1", "role": "operator"})
        assert made.status_code == 201
        key = made.json()["key"]
        client.headers["Authorization"] = f"Bearer {key}"
        assert (await client.get("/api/v1/session")).json() == {"kind": "key", "name": "poller-1", "role": "operator"}
        listed = await admin.get("/api/v1/keys")
        assert {"poller-1", "key-admin"} == {row["name"] for row in listed.json()["items"]}
        assert key not in listed.text
        assert (await admin.post("/api/v1/keys", json={"name": "poller-1", "role": "viewer"})).status_code == 409
        assert (await admin.delete("/api/v1/keys/poller-1")).status_code == 204
        assert (await admin.delete("/api/v1/keys/poller-1")).status_code == 404
