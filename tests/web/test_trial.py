"""The trial of a meter over REST: the values of its plan, its error where it has one, and nothing in the list of meters."""

from __future__ import annotations

from pathlib import Path

from headend.model.access import Role

from .support import PROFILE, world


async def test_a_meter_is_tried_and_not_entered(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        body = {"url": f"modbus://bench/1?profile={PROFILE.id}", "name": "new"}
        tried = (await client.post("/api/v1/meters/try", json=body)).json()
        assert tried["values"]
        assert {"ref", "quantity", "unit", "value", "quality"} == tried["values"][0].keys()
        assert (await client.get("/api/v1/meters")).json()["total"] == 0


async def test_why_a_meter_is_not_reached_is_a_problem(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        answer = await client.post("/api/v1/meters/try", json={"url": "modbus://nobody/1"})
        assert (answer.status_code, answer.json()["code"]) == (502, "connect-refused")


async def test_only_who_may_add_meters_may_try_one(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        assert (await client.post("/api/v1/meters/try", json={"url": "modbus://bench/1"})).status_code == 403
