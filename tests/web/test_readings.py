from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.reading import ReadingBatch, Source

from .support import NOW, World, batch, world

HOUR = 3_600_000


async def fill(head_end: World) -> None:
    """Voltages of one meter, every quarter of an hour of the last two hours."""
    head_end.add("a")
    times = [NOW - 2 * HOUR + step * HOUR // 4 for step in range(8)]
    head_end.bus.publish(
        ReadingBatch(
            meter_id="a",
            source=Source.PUSH,
            received_at=NOW,
            quantities=("voltage_l1",) * 8,
            values=[230 + step / 2 for step in range(8)],
            measured_at=times,
            quality=(0,) * 7 + (1,),
        )
    )
    await head_end.stored(8)


async def test_the_latest_of_each_series(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        head_end.add("b")
        head_end.bus.publish(batch("b", {"relay_closed": True, "serial_number": "S1", "active_energy_import_total": 7}))
        await head_end.stored(11)
        body = (await client.get("/api/v1/readings/latest")).json()
        assert body["columns"] == [
            "meter_id",
            "quantity",
            "value",
            "measured_at",
            "quality",
            "received_at",
            "source",
            "stale",
        ]
        assert body["rows"] == [
            ["a", "voltage_l1", 233.5, NOW - HOUR // 4, 1, NOW, "push", False],
            ["b", "active_energy_import_total", 7, NOW, 0, NOW, "poll", False],
            ["b", "relay_closed", True, NOW, 0, NOW, "poll", False],
            ["b", "serial_number", "S1", NOW, 0, NOW, "poll", False],
        ]
        some = await client.get("/api/v1/readings/latest?meters=b,c&quantities=relay_closed,voltage_l1")
        assert [row[:2] for row in some.json()["rows"]] == [["b", "relay_closed"]]


async def test_values_that_json_has_no_room_for(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a")
        values = {"active_energy_import_total": 2**70, "voltage_l1": float("nan"), "serial_number": "\udc80"}
        head_end.bus.publish(batch("a", values))
        await head_end.stored(3)
        rows = (await client.get("/api/v1/readings/latest")).json()["rows"]
        assert {row[1]: row[2] for row in rows} == {
            "active_energy_import_total": 2**70,
            "voltage_l1": None,
            "serial_number": "\udc80",
        }


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (str(NOW - HOUR), str(NOW - HOUR // 4)),
        ("2025-12-31T23:00:00Z", "2025-12-31T23:45:00Z"),
        ("2026-01-01T00:00:00+01:00", "2026-01-01T00:45:00+01:00"),
    ],
)
async def test_a_series_is_half_open(tmp_path: Path, start: str, end: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        params = {"quantity": "voltage_l1", "start": start, "end": end}
        body = (await client.get("/api/v1/meters/a/readings", params=params)).json()
        assert body["measured_at"] == [NOW - HOUR, NOW - HOUR * 3 // 4, NOW - HOUR // 2]
        assert body["values"] == [232.0, 232.5, 233.0]
        assert body["unit"] == "V"
        assert body["next"] is None


async def test_a_long_series_comes_in_pieces(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        met: list[int] = []
        start: int | None = NOW - 3 * HOUR
        while start is not None:
            params: dict[str, Any] = {"quantity": "voltage_l1", "start": start, "end": NOW, "limit": 3}
            body = (await client.get("/api/v1/meters/a/readings", params=params)).json()
            met += body["measured_at"]
            start = body["next"]
        assert met == [NOW - 2 * HOUR + step * HOUR // 4 for step in range(8)]


async def test_a_series_with_its_receipts(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        head_end.bus.publish(batch("a", {"voltage_l1": 240.0}))
        await head_end.stored(9)
        params: dict[str, Any] = {"quantity": "voltage_l1", "start": NOW - HOUR // 2, "receipts": True}
        body = (await client.get("/api/v1/meters/a/readings", params=params)).json()
        assert body["measured_at"] == [NOW - HOUR // 2, NOW - HOUR // 4, NOW]
        assert body["quality"] == [0, 1, 0]
        assert body["received_at"] == [NOW] * 3
        assert body["source"] == ["push", "push", "poll"]
        piece = (await client.get("/api/v1/meters/a/readings", params={**params, "limit": 2})).json()
        assert (len(piece["source"]), piece["next"]) == (2, NOW - HOUR // 4 + 1)
        plain = (await client.get("/api/v1/meters/a/readings?quantity=voltage_l1")).json()
        assert not {"received_at", "source"} & plain.keys()


async def test_buckets(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        body = (await client.get("/api/v1/meters/a/readings?quantity=voltage_l1&bucket=1h")).json()
        assert body["measured_at"] == [NOW - 2 * HOUR, NOW - HOUR]
        assert body["minimum"] == [230.0, 232.0]
        assert body["maximum"] == [231.5, 233.5]
        assert body["mean"] == [230.75, 232.75]
        assert body["last"] == [231.5, 233.5]
        assert body["count"] == [4, 4]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("quantity=colour", "query.quantity"),
        ("", "query.quantity"),
        ("quantity=voltage_l1&start=yesterday", "query.start"),
        ("quantity=voltage_l1&start=2026-01-01T00:00:00", "query.start"),
        ("quantity=voltage_l1&end=99999999999999", "query.end"),
        ("quantity=voltage_l1&bucket=fortnight", "query.bucket"),
        ("quantity=voltage_l1&bucket=0", "query.bucket"),
        ("quantity=voltage_l1&bucket=1ms", "query.bucket"),
        ("quantity=voltage_l1&limit=100001", "query.limit"),
    ],
)
async def test_what_cannot_be_asked(tmp_path: Path, query: str, field: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a")
        response = await client.get(f"/api/v1/meters/a/readings?{query}")
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_submitted_readings_are_stored_and_seen(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a")
        readings = [
            {"meter_id": "a", "quantity": "active_energy_import_total", "value": 2**53 + 1},
            {"meter_id": "a", "quantity": "voltage_l1", "value": 230.5, "measured_at": "2025-12-31T23:00:00Z"},
            {"meter_id": "a", "quantity": "relay_closed", "value": True, "measured_at": NOW - 1, "quality": 32},
        ]
        response = await client.post("/api/v1/readings", json={"readings": readings})
        assert response.status_code == 202
        assert response.json() == {"accepted": 3}
        await head_end.stored(3)
        rows = (await client.get("/api/v1/readings/latest")).json()["rows"]
        assert [row[1:5] for row in rows] == [
            ["active_energy_import_total", 2**53 + 1, NOW, 0],
            ["relay_closed", True, NOW - 1, 32],
            ["voltage_l1", 230.5, NOW - HOUR, 0],
        ]
        assert {row[6] for row in rows} == {"submitted"}


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"meter_id": "nobody"}, 404),
        ({"quantity": "colour"}, 422),
        ({"value": "high"}, 422),
        ({"value": True}, 422),
        ({"value": None}, 422),
        ({"value": 2**64}, 422),
        ({"measured_at": "2026-01-01T00:00:00"}, 422),
        ({"measured_at": -5}, 422),
        ({"quality": 64}, 422),
    ],
)
async def test_one_wrong_reading_refuses_all(tmp_path: Path, wrong: dict[str, Any], status: int) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a")
        good = {"meter_id": "a", "quantity": "voltage_l1", "value": 230}
        tape = head_end.bus.subscribe("tape", ReadingBatch)
        response = await client.post("/api/v1/readings", json={"readings": [good, good | wrong]})
        assert response.status_code == status, response.text
        assert tape.size == 0
