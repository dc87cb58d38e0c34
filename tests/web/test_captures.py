from __future__ import annotations

import asyncio
import json
from pathlib import Path

from headend.drivers.captures.packets import read_packets
from headend.drivers.recognition import Kind
from headend.model.access import Role
from headend.web.routes import captures as routes

from .support import PROFILE, world
from .test_callers import LONGI, dial, settled


async def test_a_capture_is_begun_listed_loaded_and_removed(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client(Role.OPERATOR) as client:
        made.add("m1", profile_id=PROFILE.id)
        begun = await client.post("/api/v1/captures", json={"meter_id": "m1", "seconds": 5})
        assert begun.status_code == 201
        where = begun.headers["Location"]
        await client.post("/api/v1/meters/m1/read", json={})
        link = made.lanes.link("tcp://bench:7")
        assert link is not None
        link.write(b"octets")
        assert (await client.get(where)).json()["packets"] == 1
        loaded = await client.get(f"{where}/file")
        assert loaded.headers["Content-Type"] == "application/x-pcapng"
        assert len(list(read_packets(loaded.content))) == 4
        stopped = await client.post(f"{where}/stop")
        assert stopped.json()["running"] is False
        assert [each["id"] for each in (await client.get("/api/v1/captures")).json()["items"]] == [begun.json()["id"]]
        assert (await client.delete(where)).status_code == 204
        assert (await client.get(where)).status_code == 404
        assert (await client.post("/api/v1/captures", json={"meter_id": "nobody"})).status_code == 404
        assert (await client.post("/api/v1/captures", json={"connection": 7})).status_code == 404
        assert (await client.post("/api/v1/captures", json={})).status_code == 422


async def test_only_operators_capture(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client(Role.VIEWER) as client:
        made.add("m1")
        assert (await client.post("/api/v1/captures", json={"meter_id": "m1"})).status_code == 403
        assert (await client.get("/api/v1/meters/m1/packets")).status_code == 403


async def test_the_wire_is_followed_in_words(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client(Role.OPERATOR) as client:
        made.add("m1", profile_id=PROFILE.id)
        await client.post("/api/v1/meters/m1/read", json={})
        watch = made.captures.watch(await made.captures.target("m1"))

        async def known() -> bool:
            return True

        driver = made.driver
        stream = routes.PacketStream(
            made.captures, watch, lambda octets: routes.to_document(driver.explain(octets, {})), known
        )
        sent: asyncio.Queue[bytes] = asyncio.Queue()
        gone = asyncio.Event()

        async def send(message: dict[str, object]) -> None:
            body = message.get("body", b"")
            assert isinstance(body, bytes)
            if body:
                sent.put_nowait(body)

        async def receive() -> dict[str, object]:
            await gone.wait()
            return {"type": "http.disconnect"}

        serving = asyncio.create_task(stream({"type": "http"}, receive, send))  # type: ignore[arg-type] # a test's scope
        assert await sent.get() == b"retry: 2000\n\n"
        link = made.lanes.link("tcp://bench:7")
        assert link is not None
        link.write(b"\x01\x02")
        event, data = (await sent.get()).decode().split("\n")[:2]
        assert event == "event: packet"
        said = json.loads(data.removeprefix("data: "))
        assert (said["octets"], said["sent"], said["layer"]["name"]) == ("0102", True, "bench")
        gone.set()
        link.write(b"\x03")
        await serving
        assert made.captures.watchers == 0


async def test_an_unknown_caller_is_captured(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client(Role.OPERATOR) as client:
        link = dial(made, "0001")
        await settled()
        begun = await client.post("/api/v1/captures", json={"connection": 1})
        assert begun.json()["name"] == "connection-1"
        link.write(LONGI.encode(Kind.HEARTBEAT, {"device": "meter", "number": "0001"}))
        await settled()
        loaded = (await client.get(f"{begun.headers['Location']}/file")).content
        heard = [loaded[packet.start + 40 : packet.end] for packet in read_packets(loaded)][3:]
        assert [each[8] for each in heard] == [0x0C, 0xCC]
        made.gateway.abort()
        await settled()
