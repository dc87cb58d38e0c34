from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role

from .support import NOW, batch, world

READING = {"meter_id": 1, "voltage": 230.1, "current": 4.2, "power": 966.0, "energy": 1234567.0}


async def test_a_reading_comes_back_as_it_went_in(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("1")
        posted = await client.post("/readings/", json=READING | {"timestamp": "2025-12-31T23:59:00Z"})
        assert posted.status_code == 201
        expected = READING | {"meter_id": "1", "timestamp": "2025-12-31T23:59:00.000Z"}
        assert posted.json() == expected
        await head_end.stored(4)
        for path in ("/readings/", "/readings/1", "/readings/?meter_id=1"):
            assert (await client.get(path)).json() == [expected]
        assert (await client.get("/meters/")).json() == [{"meter_id": "1", "name": "1", "online": None}]


async def test_an_unknown_meter_is_made_only_when_the_settings_allow_it(tmp_path: Path) -> None:
    async with world(tmp_path / "a") as head_end, head_end.client(Role.OPERATOR) as client:
        assert (await client.post("/readings/", json=READING)).status_code == 404
    async with (
        world(tmp_path / "b", accept_unknown_meters=True) as head_end,
        head_end.client(Role.OPERATOR) as client,
        head_end.client(Role.ADMIN) as admin,
    ):
        assert (await client.post("/readings/", json=READING)).status_code == 201
        meter = head_end.store.meters.get("1").meter
        assert meter.poll_seconds == 0
        named = await admin.patch("/api/v1/meters/1", json={"name": "Shed"}, headers={"If-Match": '"1"'})
        assert named.json()["name"] == "Shed"


@pytest.mark.parametrize(
    "body",
    [
        {"meter_id": 1},
        {"voltage": 230},
        {"meter_id": "../1", "voltage": 230},
        {"meter_id": 1, "voltage": "high"},
        {"meter_id": 1, "voltage": 230, "timestamp": "noon"},
    ],
)
async def test_what_is_no_reading(tmp_path: Path, body: dict[str, Any]) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("1")
        assert (await client.post("/readings/", json=body)).status_code == 422


async def test_filters_and_order(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        for meter_id in ("1", "2", "3"):
            head_end.add(meter_id)
        for minute in range(10):
            meter_id = "1" if minute % 2 else "2"
            at = NOW - minute * 60_000
            head_end.bus.publish(batch(meter_id, {"voltage_l1": 230 + minute, "active_energy_abs_total": minute}, at))
        await head_end.stored(20)
        rows = (await client.get("/readings/", params={"limit": 3})).json()
        assert [(row["meter_id"], row["voltage"], row["energy"]) for row in rows] == [
            ("2", 230, 0),
            ("1", 231, 1),
            ("2", 232, 2),
        ]
        params: dict[str, Any] = {"meter_id": "1", "start": NOW - 5 * 60_000, "end": NOW - 60_000}
        rows = (await client.get("/readings/", params=params)).json()
        assert [row["voltage"] for row in rows] == [233, 235]
        assert (await client.get("/readings/3")).json() == []
        assert (await client.get("/readings/4")).status_code == 404
