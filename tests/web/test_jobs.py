from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.model.access import Role
from headend.model.event import Event, EventType
from headend.model.meter import Endpoint, EndpointKind

from .support import NOW, World, world

COMMANDS = "/api/v1/meters/a/commands"
WAIT = {"Prefer": "wait=30"}


def install(head_end: World) -> None:
    head_end.add("a", params={"unit": "1"})
    head_end.add("dead", endpoint=Endpoint(kind=EndpointKind.TCP, host="nobody", port=7))


async def propose(client: httpx.AsyncClient, kind: str = "disconnect", **body: Any) -> Any:
    answer = await client.post(COMMANDS, json={"kind": kind, **body})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json()['id']}"
    return answer.json()


async def test_a_command_in_two_steps_and_who_gave_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.DISPATCHER) as client:
        install(head_end)
        tape = head_end.bus.subscribe("tape", Event)
        proposed = await propose(client)
        assert (proposed["state"], proposed["verdict"]) == ("proposed", None)
        assert proposed["confirm_by"] == NOW + 120_000
        path = f"/api/v1/jobs/{proposed['id']}"
        assert "code" not in (await client.get(path)).json()
        done = await client.post(f"{path}/confirm", json={"code": proposed["code"]}, headers=WAIT)
        assert done.status_code == 200
        assert done.json() | {"state": "succeeded", "verdict": "confirmed", "observed": False} == done.json()
        assert (await client.get(path)).json() == done.json()
        assert (await client.get("/api/v1/jobs")).json() == {"items": [done.json()], "next": None}
        async for event in tape:
            if event.type is EventType.COMMAND_FINISHED:
                assert event.data["actor"] == "key:key-dispatcher"
                break


async def test_what_needs_no_confirmation_and_a_client_that_waits(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        done = await client.post(COMMANDS, json={"kind": "freeze", "confirm": "a"})
        assert (done.status_code, done.json()["verdict"]) == (200, "confirmed")
        done = await client.post(
            COMMANDS, json={"kind": "read", "params": {"refs": ["voltage", "other"]}}, headers=WAIT
        )
        assert [row.get("value") for row in done.json()["result"]] == [2301, None]
        assert done.json()["detail"] == "1 values, 1 missing"
        done = await client.post(
            COMMANDS, json={"kind": "read-history", "params": {"ref": "modbus:voltage"}}, headers=WAIT
        )
        assert done.json()["detail"] == "3 rows"


async def test_a_command_that_waits_for_its_meter_is_taken_back(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        tape = head_end.bus.subscribe("tape", Event)
        job = (await client.post("/api/v1/meters/dead/commands", json={"kind": "freeze", "deadline": 500})).json()
        assert job["deadline"] == NOW + 500_000
        async for event in tape:
            if event.data.get("note"):
                assert "nobody listens" in str(event.data["note"])
                break
        path = f"/api/v1/jobs/{job['id']}"
        assert (await client.delete(path)).json()["state"] == "cancelled"
        assert (await client.delete(path)).status_code == 409
        assert (await client.post(f"{path}/confirm", json={})).status_code == 409
        listed = (await client.get("/api/v1/jobs?states=cancelled,expired&meter_id=dead")).json()["items"]
        assert [each["id"] for each in listed] == [job["id"]]


async def test_the_same_request_twenty_times(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.DISPATCHER) as client:
        install(head_end)
        asked = [
            client.post(COMMANDS, json={"kind": "disconnect"}, headers={"Idempotency-Key": "k1"}) for _ in range(20)
        ]
        answers = [answer.json() for answer in await asyncio.gather(*asked)]
        assert len({(answer["id"], answer["code"]) for answer in answers}) == 1
        other = await client.post(COMMANDS, json={"kind": "reconnect"}, headers={"Idempotency-Key": "k1"})
        assert other.status_code == 409


@pytest.mark.parametrize(
    ("role", "path", "body", "status", "code"),
    [
        (Role.DISPATCHER, COMMANDS, {"kind": "disconnect", "confirm": "b"}, 422, "invalid-request"),
        (Role.DISPATCHER, COMMANDS, {"kind": "explode"}, 422, "invalid-request"),
        (Role.DISPATCHER, COMMANDS, {"kind": "write", "params": {"ref": "0/0", "value": 1}}, 422, "config"),
        (Role.DISPATCHER, "/api/v1/meters/x/commands", {"kind": "freeze"}, 404, "not-found"),
        (Role.ADMIN, COMMANDS, {"kind": "change-secret", "secret": "hex:0"}, 422, "config"),
        (Role.ADMIN, COMMANDS, {"kind": "change-secret", "params": {"name": "ek"}}, 422, "config"),
        (Role.OPERATOR, COMMANDS, {"kind": "disconnect"}, 403, "permission-denied"),
        (Role.VIEWER, COMMANDS, {"kind": "read"}, 403, "permission-denied"),
        (None, COMMANDS, {"kind": "read"}, 401, "unauthenticated"),
        (Role.DISPATCHER, "/api/v1/jobs/x/confirm", {"code": "1"}, 404, "not-found"),
    ],
)
async def test_what_cannot_be_done(
    tmp_path: Path, role: Role | None, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    async with world(tmp_path) as head_end, head_end.client(role) as client:
        install(head_end)
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_new_secret_is_in_no_answer_no_job_and_no_trail(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        install(head_end)
        job = await propose(client, "change-secret", params={"name": "secret"}, secret="text:open-sesame")
        confirmed = await client.post(f"/api/v1/jobs/{job['id']}/confirm", json={"code": job["code"]}, headers=WAIT)
        assert confirmed.json()["verdict"] == "confirmed"
        assert head_end.store.secrets.get("a", "secret").reveal() == b"open-sesame"
        trail = (await client.get("/api/v1/audit")).json()
        assert [row["action"] for row in trail["items"]] == [
            "command-finished",
            "secret-changed",
            "command-begun",
            "command-confirmed",
            "command-proposed",
        ]
        said = [str(trail), str(job), confirmed.text, (await client.get("/api/v1/jobs")).text]
        said += [str(event) for event in head_end.store.events.list()]
        assert not any("sesame" in text for text in said)
        assert (await client.get("/api/v1/audit/check")).json() == {"verdict": "whole", "flaws": []}
        assert len((await client.get("/api/v1/audit?action=command-begun&subject=meter:a")).json()["items"]) == 1
    async with world(tmp_path / "other") as head_end, head_end.client(Role.DISPATCHER) as client:
        assert (await client.get("/api/v1/audit")).status_code == 403


async def test_changes_of_users_keys_and_secrets_are_in_the_trail(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        install(head_end)
        await client.post("/api/v1/users", json={"name": "anna", "role": "dispatcher", "password": "correct horse"})
        await client.patch("/api/v1/users/anna", json={"role": "viewer"})
        await client.delete("/api/v1/users/anna")
        await client.post("/api/v1/keys", json={"name": "ops", "role": "operator"})
        await client.delete("/api/v1/keys/ops")
        await client.put("/api/v1/meters/a/secrets/ek", json={"value": "hex:00112233445566778899aabbccddeeff"})
        await client.delete("/api/v1/meters/a/secrets/ek")
        rows = (await client.get("/api/v1/audit")).json()["items"][::-1]
        assert [(row["action"], row["subject"], row["data"]) for row in rows] == [
            ("user-changed", "user:anna", {"role": "dispatcher"}),
            ("user-changed", "user:anna", {"role": "viewer"}),
            ("user-removed", "user:anna", {}),
            ("key-created", "key:ops", {"role": "operator"}),
            ("key-removed", "key:ops", {}),
            ("secret-changed", "meter:a", {"secret": "ek"}),
            ("secret-changed", "meter:a", {"secret": "ek"}),
        ]
        assert {row["actor"] for row in rows} == {"key:key-admin"}
