"""Connections and quarantine over REST."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from headend.drivers.recognition import Kind
from headend.drivers.registrations import built_in
from headend.model.access import Role
from headend.model.meter import Endpoint, EndpointKind
from headend.transport.memory import MemoryLink, memory_pair
from headend.web.live import LiveFeed

from .support import World, world

LONGI = built_in().get("longi")


def dial(head_end: World, number: str, peer: str = "192.0.2.7:50000") -> MemoryLink:
    near, far = memory_pair()
    near.peer = peer
    head_end.gateway.take(near)
    far.write(LONGI.encode(Kind.LOGIN, {"device": "meter", "number": number, "option": "00"}))
    return far


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_connections_page_by_page(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("m1", endpoint=Endpoint(kind=EndpointKind.INBOUND, host="0001"))
        links = [dial(head_end, f"{number:04}") for number in range(1, 6)]
        await settled()
        page = (await client.get("/api/v1/connections", params={"limit": 2})).json()
        assert page["total"] == 5
        assert [(each["id"], each["stage"], each["meters"]) for each in page["items"]] == [
            (1, "known", ["m1"]),
            (2, "unknown", []),
        ]
        assert (
            page["items"][0].items()
            >= {
                "peer": "192.0.2.7:50000",
                "label": "longi",
                "registration": "longi",
                "number": "0001",
                "trusted": True,
                "octets_in": 18,
                "octets_out": 18,
                "busy": False,
                "held": False,
            }.items()
        )
        last = (await client.get("/api/v1/connections", params={"limit": 10, "cursor": page["next"]})).json()
        assert ([each["id"] for each in last["items"]], last["next"]) == ([3, 4, 5], None)
        found = (await client.get("/api/v1/connections", params={"stage": "unknown", "search": "0004"})).json()
        assert [each["number"] for each in found["items"]] == ["0004"]
        assert (await client.get("/api/v1/connections", params={"stage": "gone"})).status_code == 422
        assert (await client.delete("/api/v1/connections/4")).status_code == 204
        assert (await client.delete("/api/v1/connections/99")).status_code == 404
        await settled()
        assert not links[3].is_open
        head_end.gateway.abort()
        await settled()


async def test_a_caller_is_adopted_with_one_call(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        link = dial(head_end, "0001")
        await settled()
        (caller,) = (await client.get("/api/v1/callers")).json()["items"]
        assert caller["number"] == "0001"
        assert caller["connections"] == [1]
        assert (await client.get(f"/api/v1/callers/{caller['id']}")).json() == caller
        body = {"id": "m1", "name": "Feeder 1", "protocol": "modbus", "params": {"unit": "3"}, "poll_seconds": 0}
        made = await client.post(f"/api/v1/callers/{caller['id']}/adopt", json=body)
        assert made.status_code == 201
        assert made.headers["location"] == "/api/v1/meters/m1"
        assert made.json()["url"] == "inbound://0001?protocol=modbus&framing=wrapper&unit=3"
        assert made.json()["state"]["online"] is True
        assert head_end.gateway.caller_of("m1") is not None
        assert (await client.get("/api/v1/callers")).json() == {"items": [], "total": 0, "next": None}
        assert (await client.get(f"/api/v1/callers/{caller['id']}")).status_code == 404
        link.abort()
        await settled()
        head_end.gateway.abort()


async def test_callers_are_adopted_together_and_each_that_cannot_be_says_why(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        for number in ("0001", "0002"):
            dial(head_end, number).abort()
        await settled()
        callers = (await client.get("/api/v1/callers", params={"search": "000"})).json()["items"]
        ids = [each["id"] for each in callers]
        body = {"callers": [*ids, "nobody"], "protocol": "modbus", "tags": ["new"]}
        said = (await client.post("/api/v1/callers/adopt", json=body)).json()["items"]
        assert [bool(each["meter_id"]) for each in said] == [True, True, False]
        assert "nobody" in said[2]["problem"]
        assert len(head_end.roster) == 2
        head_end.gateway.abort()


async def test_callers_are_blocked_and_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        link = dial(head_end, "0001")
        await settled()
        (caller,) = (await client.get("/api/v1/callers")).json()["items"]
        assert (await client.post(f"/api/v1/callers/{caller['id']}/block")).json()["blocked"] is True
        await settled()
        assert not link.is_open
        assert (await client.get("/api/v1/callers", params={"blocked": False})).json()["total"] == 0
        assert (await client.get("/api/v1/callers", params={"blocked": True})).json()["total"] == 1
        assert (await client.delete(f"/api/v1/callers/{caller['id']}")).status_code == 204
        assert (await client.delete(f"/api/v1/callers/{caller['id']}")).status_code == 404
        head_end.gateway.abort()


async def test_callers_page_by_page(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        for number in range(1, 6):
            dial(head_end, f"{number:04}").abort()
            await settled()
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (await client.get("/api/v1/callers", params={"limit": 2, "cursor": cursor})).json()
            assert page["total"] == 5
            found += [each["number"] for each in page["items"]]
            cursor = page["next"]
        assert sorted(found) == [f"{number:04}" for number in range(1, 6)]
        assert (await client.get("/api/v1/callers", params={"cursor": "x"})).status_code == 422
        head_end.gateway.abort()


async def test_only_admins_adopt_block_and_forget_and_only_operators_close(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        async with head_end.client(Role.VIEWER) as client:
            assert (await client.delete("/api/v1/connections/1")).status_code == 403
        async with head_end.client(Role.OPERATOR) as client:
            assert (await client.post("/api/v1/callers/x/adopt", json={})).status_code == 403
            assert (await client.post("/api/v1/callers/adopt", json={"callers": ["x"]})).status_code == 403
            assert (await client.post("/api/v1/callers/x/block")).status_code == 403
            assert (await client.delete("/api/v1/callers/x")).status_code == 403


async def test_who_follows_live_hears_of_connections(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        head_end.add("m1", endpoint=Endpoint(kind=EndpointKind.INBOUND, host="0001"))
        feed: LiveFeed = head_end.app.state.feed
        client = feed.join(["connections"], [])
        link = dial(head_end, "0001")
        await settled()
        feed.tick()
        link.abort()
        await settled()
        feed.tick()
        frames = [json.loads(frame.partition(b"data: ")[2]) for frame in client.frames]
        row = {"connection": 1, "peer": "192.0.2.7:50000"}
        assert [frame["connections"] for frame in frames] == [
            {"m1": {**row, "open": True}},
            {"m1": {**row, "open": False}},
        ]
        feed.leave(client)
        head_end.gateway.abort()
