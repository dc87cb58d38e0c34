"""Scans and devices over REST: virtual meters on loopback are found, looked at, compared and adopted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.model.access import Role
from headend.model.scan import ScanJob, ScanRequest, ScanState

from .support import World, world

EARLIER = ("/fingerprints", "/associations", "/associations/objects", "/obis/normalize", "/vendors/classify")


async def fleet(client: httpx.AsyncClient) -> int:
    """Three meters of two makers; returns their port."""
    await client.put(
        "/api/v1/emulators/templates/panels", json={"profile": "eastron-sdm630", "settings": {"framing": "tcp"}}
    )
    made = await client.post("/api/v1/emulators/instances", json={"template": "panels", "count": 2})
    assert made.status_code == 201, made.text
    return int(made.json()["port"])


async def scanned(head_end: World, client: httpx.AsyncClient, port: int) -> dict[str, Any]:
    """A scan of the addresses of the fleet, to its end."""
    running = asyncio.create_task(head_end.discovery.run())
    try:
        body = {"targets": "127.100.0.1-127.100.0.4", "ports": str(port), "reason": "a test"}
        begun = await client.post("/api/v1/scans", json=body)
        assert begun.status_code == 202, begun.text
        for _ in range(600):
            scan: dict[str, Any] = (await client.get(begun.headers["location"])).json()
            if scan["state"] not in ("queued", "running"):
                return scan
            await asyncio.sleep(0.05)
        raise AssertionError(scan)
    finally:
        running.cancel()


async def test_meters_are_found_looked_at_and_adopted(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        scan = await scanned(head_end, client, await fleet(client))
        assert (scan["state"], scan["progress"]["targets"], scan["progress"]["devices"]) == ("finished", 4, 2)
        assert sum(scan["progress"]["states"].values()) == 4
        query = {"limit": 1, "outcome": "identified"}
        hits = (await client.get(f"/api/v1/scans/{scan['id']}/hits", params=query)).json()
        assert [hit["outcome"] for hit in hits["items"]] == ["identified"]
        query = {"after": hits["next"], "outcome": "identified"}
        more = (await client.get(f"/api/v1/scans/{scan['id']}/hits", params=query)).json()
        assert [hit["host"] for hit in (*hits["items"], *more["items"])] == ["127.100.0.1", "127.100.0.2"]
        report = (await client.get(f"/api/v1/scans/{scan['id']}/report")).json()
        assert report["protocols"] == {"modbus": 2}
        assert sum(network["devices"] for network in report["networks"]) == 2
        again = await client.post(f"/api/v1/scans/{scan['id']}/cancel")
        assert again.status_code == 409

        page = (await client.get("/api/v1/devices", params={"limit": 1, "state": "new"})).json()
        assert page["total"] == 2
        device = page["items"][0]
        assert (device["vendor"], device["profile_id"]) == ("Eastron", device["profile_id"])
        assert device["profile_id"].startswith("eastron-")
        detail = (await client.get(f"/api/v1/devices/{device['id']}")).json()
        assert detail["classification"]["vendor"] == "Eastron"
        assert {fact["name"] for fact in detail["page"]["fingerprint"]["facts"]} >= {"protocol", "framing"}
        evidence = (await client.get(f"/api/v1/devices/{device['id']}/evidence")).json()["items"]
        assert any(step["received"] for step in evidence)
        history = (await client.get(f"/api/v1/devices/{device['id']}/history")).json()["items"]
        assert [one["digest"] for one in history] == [device["digest"]]
        other = (await client.get("/api/v1/devices", params={"after": page["next"]})).json()["items"][0]
        compared = await client.get("/api/v1/devices/difference", params={"a": device["id"], "b": other["id"]})
        assert compared.json()["verdict"] in ("same-model", "same-meter")
        assert (await client.get("/api/v1/devices/difference", params={"a": device["id"]})).status_code == 404

        body = {"all": True, "name": "panel {host}", "tags": ["roof"], "poll_seconds": 5}
        done = (await client.post("/api/v1/devices/adopt", json=body)).json()["items"]
        assert [each["error"] for each in done] == ["", ""]
        meters = (await client.get("/api/v1/meters", params={"tag": "roof"})).json()
        assert {each["id"] for each in meters["items"]} == {each["meter_id"] for each in done}
        assert all(each["profile_id"].startswith("eastron-") for each in meters["items"])
        assert (await client.get("/api/v1/devices", params={"state": "adopted"})).json()["total"] == 2
        summary = (await client.get("/api/v1/summary")).json()
        assert (summary["devices"], summary["new_devices"], summary["instances"]) == (2, 0, 2)
        assert all(part["ready"] for part in summary["parts"])


async def test_a_part_that_does_not_work_is_not_ready(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:

        async def waiting() -> list[str]:
            parts = (await client.get("/api/v1/summary")).json()["parts"]
            return [part["part"] for part in parts if not part["ready"]]

        head_end.add("a")
        assert await waiting() == []  # nobody has tried it yet
        head_end.roster.state("a").online = False
        head_end.store.scans.add(
            ScanJob(id="s1", request=ScanRequest(targets="10.0.0.1"), actor="a", created_at=1, state=ScanState.FAILED)
        )
        assert await waiting() == ["acquisition", "discovery"]
        head_end.add("b")
        assert await waiting() == ["discovery"]


async def test_devices_are_ignored_shown_again_and_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        await scanned(head_end, client, await fleet(client))
        ids = [each["id"] for each in (await client.get("/api/v1/devices")).json()["items"]]
        assert (await client.post("/api/v1/devices/ignore", json={"ids": ids[:1]})).json() == {"devices": 1}
        assert (await client.get("/api/v1/devices", params={"state": "new"})).json()["total"] == 1
        assert (await client.post("/api/v1/devices/unignore", json={"all": True})).json() == {"devices": 1}
        assert (await client.post("/api/v1/devices/reclassify", json={})).json() == {"devices": 0}
        assert (await client.post("/api/v1/devices/forget", json={"ids": ids})).json() == {"devices": 2}
        assert (await client.get("/api/v1/devices")).json()["total"] == 0


async def test_one_place_is_looked_into_now(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        async with head_end.client(Role.ADMIN) as admin:
            port = await fleet(admin)
        seen = (await client.post("/api/v1/devices/examine", json={"target": f"tcp://127.100.0.1:{port}"})).json()
        assert [each["vendor"] for each in seen["devices"]] == ["Eastron"]
        again = await client.post(f"/api/v1/devices/{seen['devices'][0]['id']}/examine", json={})
        assert again.json()["devices"][0]["id"] == seen["devices"][0]["id"]
        outside = await client.post("/api/v1/devices/examine", json={"target": "tcp://198.51.100.7:502"})
        assert outside.status_code == 403


async def test_credentials_of_networks_never_come_out(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        body = {"params": {"client": "1", "auth": "lls"}, "secrets": {"secret": "text:hunter22"}}
        assert (await client.put("/api/v1/credentials/127.11.0.0/16", json=body)).status_code == 204
        shown = await client.get("/api/v1/credentials")
        assert shown.json()["items"] == [
            {"name": "127.11.0.0/16", "params": body["params"], "secrets": ["secret"]},
        ]
        assert "hunter22" not in shown.text
        assert (await client.delete("/api/v1/credentials/127.11.0.0/16")).status_code == 204
        assert (await client.get("/api/v1/credentials")).json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/scans", {"targets": "127.0.0.1"}),
        ("POST", "/api/v1/devices/adopt", {"all": True}),
        ("POST", "/api/v1/devices/examine", {"target": "tcp://127.0.0.1:1"}),
        ("GET", "/api/v1/credentials", None),
        ("POST", "/discovery/scan", {"ip_range": "127.0.0.1"}),
    ],
)
async def test_viewers_reach_for_no_network(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        assert (await client.request(method, path, json=body)).status_code == 403


async def test_what_may_not_be_scanned_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        refused = await client.post("/api/v1/scans", json={"targets": "198.51.100.0/24"})
        assert refused.status_code == 403
        assert "198.51.100.0" in refused.json()["detail"]
        assert (await client.post("/api/v1/scans", json={"targets": "nonsense/99"})).status_code == 422
        assert (await client.get("/api/v1/scans")).json()["items"] == []


async def test_the_paths_of_the_earlier_platform_answer_too(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        made = await client.post("/emulators/templates", json={"name": "panels", "profile": "eastron-sdm630"})
        assert made.status_code == 201
        assert (
            await client.post("/emulators/instances/bulk", json={"template": "panels", "count": 2})
        ).status_code == 201
        port = (await client.get("/emulators/instances")).json()["items"][0]["port"]
        running = asyncio.create_task(head_end.discovery.run())
        body = {"ip_range": "127.100.0.1-127.100.0.2", "ports": [port], "timeout_seconds": 1, "retries": 2}
        begun = await client.post("/discovery/scan", json={**body, "max_concurrency": 100})
        assert begun.status_code == 202
        for _ in range(600):
            (log,) = (await client.get("/discovery/logs")).json()
            if log["done"]:
                break
            await asyncio.sleep(0.05)
        running.cancel()
        assert (log["target_count"], log["discovered_count"]) == (2, 2)
        assert (await client.get("/summary")).json() == {"templates": 1, "instances": 2, "profiles": 2, "meters": 0}
        first = (await client.get("/fingerprints")).json()[0]
        for path in EARLIER:
            assert (await client.get(f"{path}/{first['id']}")).status_code == 200, path
        assert (await client.get(f"/vendors/classify/{first['id']}")).json()["vendor"] == "Eastron"
        assert (await client.get("/profiles")).json()[0]["vendor"] == "Eastron"
        exported = (await client.get(f"/profiles/{first['id']}/export")).json()
        assert exported["schema"].startswith("headend-profile/")
