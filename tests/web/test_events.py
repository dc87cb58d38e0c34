from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.event import Event, EventType, Severity

from .support import NOW, World, world


def fill(head_end: World) -> None:
    kinds = [EventType.METER_OFFLINE, EventType.METER_ONLINE]
    head_end.store.events.append(
        Event(
            type=kinds[number % 2],
            severity=Severity.WARNING,
            occurred_at=NOW + number,
            meter_id="a" if number < 5 else "b",
            data={"number": number},
        )
        for number in range(7)
    )


async def test_a_walk_by_cursor_meets_every_event_once(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end)
        met: list[int] = []
        params: dict[str, Any] = {"limit": 3}
        while True:
            page = (await client.get("/api/v1/events", params=params)).json()
            met += [item["data"]["number"] for item in page["items"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert met == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("meter_id=b", [6, 5]),
        ("types=METER_ONLINE", [5, 3, 1]),
        ("types=METER_ONLINE,METER_OFFLINE&meter_id=a&limit=2", [4, 3]),
        (f"start={NOW + 2}&end={NOW + 4}", [3, 2]),
        ("meter_id=nobody", []),
    ],
)
async def test_filters(tmp_path: Path, query: str, numbers: list[int]) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end)
        items = (await client.get(f"/api/v1/events?{query}")).json()["items"]
        assert [item["data"]["number"] for item in items] == numbers


async def test_the_first_to_acknowledge_stays(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as head_end,
        head_end.client(Role.OPERATOR) as client,
        head_end.client(Role.ADMIN) as admin,
    ):
        fill(head_end)
        number = (await client.get("/api/v1/events?limit=1")).json()["items"][0]["number"]
        seen = (await client.post(f"/api/v1/events/{number}/acknowledge")).json()
        assert (seen["acknowledged_by"], seen["acknowledged_at"]) == ("key:key-operator", NOW)
        again = (await admin.post(f"/api/v1/events/{number}/acknowledge")).json()
        assert again["acknowledged_by"] == "key:key-operator"
        assert (await client.post("/api/v1/events/99999/acknowledge")).status_code == 404
        assert (await client.post(f"/api/v1/events/{2**70}/acknowledge")).status_code == 422
        assert (await client.get("/api/v1/events?types=GOSSIP")).status_code == 422
