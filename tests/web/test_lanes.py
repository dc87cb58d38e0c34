from __future__ import annotations

from pathlib import Path

from .support import world


async def test_wires_are_listed_with_their_circuits(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get("/api/v1/lanes")).json() == {"items": [], "next": None}
        head_end.add("a")
        head_end.lanes.unit("a")
        body = (await client.get("/api/v1/lanes?limit=1")).json()
        (item,) = body["items"]
        assert body["next"] == item["wire"]["name"] == "tcp://bench:7"
        assert (item["wire"]["state"], item["meters"], item["troubled"]) == ("closed", 1, [])
        rest = (await client.get(f"/api/v1/lanes?after={body['next']}")).json()
        assert rest == {"items": [], "next": None}
        assert (await client.get("/api/v1/lanes?troubled=true")).json()["items"] == []
        assert (await client.get("/api/v1/lanes?limit=0")).status_code == 422
