"""How meters are polled, over REST."""

from __future__ import annotations

from pathlib import Path

from headend.model.access import Role

from .support import world


async def test_wires_and_what_was_saved(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        for number in range(3):
            head_end.add(f"m{number}", poll_seconds=60.0, profile_id="bench")
            knowledge = head_end.roster.state(f"m{number}").knowledge
            knowledge.requests, knowledge.singles = 2, 20
        whole = (await client.get("/api/v1/acquisition")).json()
        assert (whole["meters"], whole["requests"], whole["singles"], whole["saved_ratio"]) == (3, 6, 60, 0.9)
        assert sum(each["meters"] for each in whole["items"]) == 3
        assert {each["circuit"] for each in whole["items"]} == {"closed"}
        assert (await client.get("/api/v1/acquisition", params={"limit": 0})).json()["items"] == []

        async def wires(**params: object) -> tuple[int, list[str]]:
            said = (await client.get("/api/v1/acquisition", params=params)).json()
            return said["found"], [each["wire"] for each in said["items"]]

        second = head_end.roster.state("m1").meter.endpoint.wire
        assert await wires(search="M1") == (1, [second])
        assert await wires(search=second[2:]) == (1, [second])
        assert await wires(search="nobody") == (0, [])
        assert await wires(troubled=True) == (0, [])
        assert await wires(limit=1) == (whole["found"], [whole["items"][0]["wire"]])


async def test_the_plan_of_a_meter_and_what_was_learned_of_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("m1", poll_seconds=60.0, profile_id="bench")
        knowledge = head_end.roster.state("m1").knowledge
        knowledge.tell("length", [60, 64])
        plan = (await client.get("/api/v1/meters/m1/plan")).json()
        (group,) = plan["groups"]
        assert group["quantities"] == ["voltage_l1"]
        assert group["every"] > 0
        assert plan["learned"] == {"length": [60, 64]}
        assert (await client.delete("/api/v1/meters/m1/plan")).status_code == 204
        assert (await client.get("/api/v1/meters/m1/plan")).json()["learned"] == {}
        assert (await client.get("/api/v1/meters/nobody/plan")).status_code == 404
        assert (await client.delete("/api/v1/meters/nobody/plan")).status_code == 404
