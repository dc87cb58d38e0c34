"""Many meters in one call, into a head-end that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.event import Event
from headend.model.meter import Secret

from .support import world

URL = "modbus://bench:7/1"


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"url": f"modbus://bench:7/{number % 200}", "name": f"m-{number:05}", **more} for number in range(count)]


async def test_thousands_of_meters_in_one_call(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        before = len(head_end.roster)
        said = await client.post("/api/v1/meters/import", json={"meters": rows(3000, poll_seconds=0)})
        assert (said.status_code, said.json()) == (200, {"added": 3000, "changed": 0, "same": 0})
        assert len(head_end.roster) == before + 3000
        assert head_end.roster.state("m-00042").meter == head_end.store.meters.get("m-00042").meter
        said = await client.post("/api/v1/meters/import", json={"meters": rows(10, poll_seconds=60, tags=["a"])})
        assert said.json() == {"added": 0, "changed": 10, "same": 0}
        assert head_end.roster.state("m-00003").meter.tags == ("a",)
        assert head_end.store.meters.get("m-00003").revision == 2
        said = await client.post("/api/v1/meters/import", json={"meters": rows(10, poll_seconds=60, tags=["a"])})
        assert said.json() == {"added": 0, "changed": 0, "same": 10}


async def test_meters_with_secrets_and_ids(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        meters = [
            {"url": URL, "id": "a", "secrets": {"secret": "text:12345678"}},
            {"url": "inbound://210600402941", "name": "Hall 2, feeder 1"},
        ]
        said = await client.post("/api/v1/meters/import", json={"meters": meters})
        assert said.json() == {"added": 2, "changed": 0, "same": 0}
        assert head_end.store.secrets.get("a", "secret") == Secret(b"12345678")
        assert head_end.roster.state("hall-2-feeder-1").meter.endpoint.host == "210600402941"


@pytest.mark.parametrize(
    ("wrong", "status", "field"),
    [
        ({"url": "ftp://bench"}, 422, "body.meters.1"),
        ({"url": URL, "profile_id": "nobody"}, 422, "body.meters.1"),
        ({"url": URL, "name": "m-00000"}, 422, "body.meters.1"),
        ({"name": "without"}, 422, "body.meters.1"),
        ({"url": URL, "colour": "red"}, 422, "body.meters.1.colour"),
    ],
)
async def test_one_that_is_wrong_keeps_all_out(tmp_path: Path, wrong: dict[str, str], status: int, field: str) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        tape = head_end.bus.subscribe("tape", Event)
        before = len(head_end.roster)
        said = await client.post("/api/v1/meters/import", json={"meters": [*rows(1), wrong]})
        assert said.status_code == status, said.text
        assert said.json()["errors"][0]["field"] == field
        assert len(head_end.roster) == before
        assert tape.size == 0


async def test_only_who_may_change_meters(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        said = await client.post("/api/v1/meters/import", json={"meters": rows(1)})
        assert said.status_code == 403
