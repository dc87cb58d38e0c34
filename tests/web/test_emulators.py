from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.errors import HeadendError
from headend.model.access import Role
from headend.runtime.connect import connect

from .support import world

TEMPLATE = {"profile": "eastron-sdm120", "settings": {"load": "solar"}, "note": "with roof"}


async def started(client: httpx.AsyncClient, count: int = 3) -> dict[str, Any]:
    assert (await client.put("/api/v1/emulators/templates/flats", json=TEMPLATE)).status_code == 200
    made = await client.post("/api/v1/emulators/instances", json={"template": "flats", "count": count})
    assert made.status_code == 201
    found: dict[str, Any] = made.json()
    return found


async def volts(url: str) -> Any:
    async with connect(url, timeout=0.5) as meter:
        return (await meter.read("voltage_l1")).value


async def test_templates_are_made_shown_and_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        await client.put("/api/v1/emulators/templates/flats", json=TEMPLATE)
        (shown,) = (await client.get("/api/v1/emulators/templates")).json()["items"]
        assert shown == {"name": "flats", **TEMPLATE}
        wrong = await client.put(
            "/api/v1/emulators/templates/flats", json={"profile": "eastron-sdm120", "settings": {"count": 2}}
        )
        assert wrong.status_code == 422
        assert "count" in wrong.json()["detail"]
        assert (await client.get("/api/v1/emulators/templates/flats")).json()["note"] == "with roof"
        assert (await client.delete("/api/v1/emulators/templates/flats")).status_code == 204
        assert (await client.get("/api/v1/emulators/templates/flats")).status_code == 404


async def test_meters_are_started_read_broken_and_mended(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        made = await started(client)
        assert (made["group"], made["meters"]) == ("flats", 3)
        page = (await client.get("/api/v1/emulators/meters", params={"limit": 2})).json()
        assert page["total"] == 3
        url = page["items"][0]["url"]
        assert 180 < await volts(url) < 280

        broken = await client.post("/api/v1/emulators/break", json={"kind": "silent", "name": "flats-*"})
        assert broken.json() == {"meters": 3}
        with pytest.raises(HeadendError):
            await volts(url)
        (group,) = (await client.get("/api/v1/emulators/instances")).json()["items"]
        assert (group["running"], group["faulty"]) == (3, 3)
        meters = (await client.get("/api/v1/emulators/meters")).json()["items"]
        assert [each["kind"] for each in meters[0]["faults"]] == ["silent"]

        mended = await client.post("/api/v1/emulators/mend", json={"numbers": [meters[0]["number"]]})
        assert mended.json()["meters"] >= 1
        assert 180 < await volts(url) < 280

        stopped = await client.post("/api/v1/emulators/stop", json={"group": "flats"})
        assert stopped.json() == {"meters": 3}
        assert (await client.get("/api/v1/emulators/instances")).json()["items"][0]["running"] == 0
        assert (await client.post("/api/v1/emulators/start", json={})).json() == {"meters": 3}
        assert (await client.post("/api/v1/emulators/reboot", json={"seconds": 0})).json() == {"meters": 3}
        clock = await client.put("/api/v1/emulators/clock", json={"at": 1_700_000_000_000, "speed": 60})
        assert clock.json()["speed"] == 60
        assert clock.json()["at"] >= 1_700_000_000_000

        assert (await client.delete("/api/v1/emulators/instances/flats")).json() == {"meters": 3}
        assert (await client.get("/api/v1/emulators/instances")).json()["items"] == []
        assert (await client.get("/api/v1/emulators/meters")).json() == {"items": [], "total": 0}


async def test_many_groups_are_started_each_for_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        await client.put("/api/v1/emulators/templates/flats", json=TEMPLATE)
        items = [
            {"template": "flats", "count": 2, "group": "east"},
            {"template": "none", "count": 1},
            {"template": "flats", "group": "east"},
        ]
        done = (await client.post("/api/v1/emulators/instances/bulk", json={"items": items})).json()["items"]
        assert [bool(each["error"]) for each in done] == [False, True, True]
        assert done[0]["instance"]["meters"] == 2


async def test_what_can_be_wrong_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        kinds = (await client.get("/api/v1/emulators/faults")).json()["items"]
        assert {"kind": "fcs", "layer": "frame"} in kinds
        assert {"kind": "one-session", "layer": "session"} in kinds
        refused = await client.post("/api/v1/emulators/break", json={"kind": "silent"})
        assert refused.status_code == 403
