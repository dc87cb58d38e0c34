from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.event import Event, EventType
from headend.model.meter import EndpointKind
from headend.model.url import format_url

from .support import batch, world

URL = "modbus://bench:7/1"


async def test_a_meter_from_its_url(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        tape = head_end.bus.subscribe("tape", Event)
        made = await client.post(
            "/api/v1/meters", json={"url": URL, "name": "Hall 2, feeder 1", "tags": ["a", "b", "a"]}
        )
        assert made.status_code == 201
        body = made.json()
        assert made.headers["location"] == f"/api/v1/meters/{body['id']}"
        assert made.headers["etag"] == '"1"'
        assert body["id"] == "hall-2-feeder-1"
        assert body["endpoint"] == {"kind": "tcp", "host": "bench", "port": 7, "path": "", "baud": 9600, "line": "8N1"}
        assert body["params"] == {"unit": "1"}
        assert body["tags"] == ["a", "b"]
        assert (await client.get(made.headers["location"])).json() == body
        assert head_end.roster.state(body["id"]).meter == head_end.store.meters.get(body["id"]).meter
        assert (await anext(tape)).type is EventType.METER_ADDED


async def test_a_meter_from_fields(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        body = {
            "id": "m1",
            "protocol": "modbus",
            "framing": "rtu",
            "endpoint": {"kind": "serial", "path": "/dev/ttyUSB0", "baud": 19200},
            "params": {"unit": "3"},
            "poll_seconds": 5,
            "enabled": False,
        }
        made = (await client.post("/api/v1/meters", json=body)).json()
        assert made["url"] == "modbus+serial:///dev/ttyUSB0/3?baud=19200"
        assert made["enabled"] is False
        assert head_end.roster.state("m1").meter.endpoint.kind is EndpointKind.SERIAL


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"url": URL, "protocol": "modbus"}, 422),
        ({"protocol": "modbus", "framing": "tcp"}, 422),
        ({"protocol": "modbus", "framing": "pigeon", "endpoint": {"host": "a", "port": 1}}, 422),
        ({"url": "modbus://bench:7/nine"}, 422),
        ({"url": URL, "profile_id": "no-such-model"}, 404),
        ({"url": URL, "id": "../etc"}, 422),
        ({"url": URL, "id": ""}, 422),
        ({"url": URL, "tags": ["two words"]}, 422),
        ({"url": URL, "tags": ["every:voltage_l1=often"]}, 422),
        ({"url": URL, "poll_seconds": 1e300}, 422),
        ({"url": f"{URL}?secret=file:/etc/passwd"}, 422),
        ({"url": f"{URL}?secret=env:HOME"}, 422),
        ({"url": URL, "secrets": {"secret": "hunter2"}}, 422),
        ({"url": URL, "secrets": {"colour": "text:red"}}, 422),
        ({"url": URL, "secrets": {"ek": "hex:0g"}}, 422),
    ],
)
async def test_what_cannot_be_a_meter(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        response = await client.post("/api/v1/meters", json=body)
        assert response.status_code == status, response.text
        assert not len(head_end.roster)
        assert head_end.store.meters.count() == 0


async def test_an_id_is_taken_once_and_invented_ids_differ(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        assert (await client.post("/api/v1/meters", json={"url": URL, "id": "a"})).status_code == 201
        assert (await client.post("/api/v1/meters", json={"url": URL, "id": "a"})).status_code == 409
        ids = [(await client.post("/api/v1/meters", json={"url": URL})).json()["id"] for _ in range(3)]
        assert ids == ["modbus-bench-7-1", "modbus-bench-7-1-2", "modbus-bench-7-1-3"]


async def test_a_walk_by_cursor_meets_every_meter_once(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        for number in range(25):
            head_end.add(f"m{number:02}", tags=("even",) if number % 2 == 0 else ())
        met: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get("/api/v1/meters", params={"limit": 10, "cursor": cursor})).json()
            assert page["total"] == 25
            met += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert met == [f"m{number:02}" for number in range(25)]
        found = (await client.get("/api/v1/meters", params={"tag": "even", "search": "M1"})).json()
        assert [item["id"] for item in found["items"]] == ["m10", "m12", "m14", "m16", "m18"]
        assert found["total"] == 5
        assert found["next"] is None


async def test_a_change_needs_the_revision_that_was_read(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a", name="old", tags=("keep",))
        tape = head_end.bus.subscribe("tape", Event)
        etag = (await client.get("/api/v1/meters/a")).headers["etag"]
        changed = await client.patch("/api/v1/meters/a", json={"name": "new"}, headers={"If-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] == '"2"'
        assert changed.json()["name"] == "new"
        assert changed.json()["tags"] == ["keep"]
        assert head_end.roster.state("a").meter.name == "new"
        assert (await anext(tape)).type is EventType.METER_CHANGED
        late = await client.patch("/api/v1/meters/a", json={"name": "late"}, headers={"If-Match": etag})
        assert late.status_code == 412
        assert head_end.store.meters.get("a").meter.name == "new"
        assert (
            await client.patch("/api/v1/meters/a", json={"name": "x"}, headers={"If-Match": "*"})
        ).status_code == 412


async def test_replacing_gives_defaults_to_what_is_absent(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a", name="old", tags=("gone",), params={"unit": "1"})
        replaced = await client.put("/api/v1/meters/a", json={"url": "modbus://there:9/4"}, headers={"If-Match": '"1"'})
        assert replaced.json()["url"] == "modbus://there:9/4"
        assert replaced.json()["name"] == ""
        assert replaced.json()["tags"] == []
        bare = await client.put("/api/v1/meters/a", json={"name": "x"}, headers={"If-Match": '"2"'})
        assert bare.status_code == 422


async def test_removal_takes_the_readings_unless_they_are_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        for meter_id in ("a", "b"):
            head_end.add(meter_id)
            head_end.bus.publish(batch(meter_id, {"voltage_l1": 230}))
        await head_end.stored(2)
        assert (await client.delete("/api/v1/meters/a")).status_code == 428
        assert (await client.delete("/api/v1/meters/a", headers={"If-Match": '"9"'})).status_code == 412
        assert (await client.delete("/api/v1/meters/a", headers={"If-Match": '"1"'})).status_code == 204
        keep = await client.delete("/api/v1/meters/b?keep_history=true", headers={"If-Match": '"1"'})
        assert keep.status_code == 204
        assert len(head_end.roster) == 0
        assert head_end.store.readings.count("a") == 0
        assert head_end.store.readings.count("b") == 1


async def test_secrets_go_in_and_never_come_out(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        body = {
            "id": "a",
            "url": f"{URL}?secret=text:swordfish",
            "secrets": {"ek": "hex:00112233445566778899AABBCCDDEEFF"},
        }
        answers = [await client.post("/api/v1/meters", json=body)]
        answers.append(await client.put("/api/v1/meters/a/secrets/ak", json={"value": "text:swordfish-ak"}))
        assert head_end.store.secrets.get("a", "secret").reveal() == b"swordfish"
        assert head_end.store.secrets.get("a", "ek").reveal() == bytes.fromhex("00112233445566778899AABBCCDDEEFF")
        answers.append(await client.get("/api/v1/meters/a/secrets"))
        assert answers[-1].json() == {"names": ["ak", "ek", "secret"]}
        wrong = {"value": "swordfish"}
        answers.append(await client.put("/api/v1/meters/a/secrets/ak", json=wrong))
        answers.append(await client.put("/api/v1/meters/a/secrets/ak", json={"value": ["swordfish"]}))
        answers.append(await client.put("/api/v1/meters/a/secrets/ak", json={"swordfish": 1}))
        answers.append(await client.post("/api/v1/meters", json={"id": "a", "url": f"{URL}?secret=swordfish"}))
        answers.append(await client.post("/api/v1/meters", json=body))
        paths = ("meters", "meters/a", "events", "readings/latest", "status")
        answers += [await client.get(f"/api/v1/{path}") for path in paths]
        answers.append(await client.delete("/api/v1/meters/a/secrets/ak"))
        answers.append(await client.get("/metrics"))
        for answer in answers:
            told = answer.text.replace('"swordfish"', "") if "body.swordfish" in answer.text else answer.text
            assert "swordfish" not in told.replace("body.swordfish", ""), answer.text
            assert "00112233" not in answer.text
        assert "swordfish" not in format_url(head_end.roster.state("a").meter)
        assert "swordfish" not in repr(head_end.roster.state("a"))
