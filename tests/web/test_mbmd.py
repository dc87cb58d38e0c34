"""The interface of mbmd: its names, forms and codes, and its WebSocket through a real server and another library."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headend.model.access import Role
from headend.storage.store import Store
from headend.web.serve import serve
from headend.web.settings import WebSettings
from tests.new_database import laid

from .support import ELSEWHERE, KEY, NOW, Time, World, batch, world

VALUES = {
    "voltage_l1": 230.5,
    "voltage_l2": 231.5,
    "active_energy_import_total": 1500,
    "active_power_total": 950,
    "serial_number": "S1",
}


async def fill(head_end: World, name: str = "SDM1.1") -> None:
    head_end.add(name)
    head_end.bus.publish(batch(name, VALUES))
    await head_end.stored(len(VALUES))


async def test_last_values_have_the_names_and_units_of_mbmd(tmp_path: Path) -> None:
    async with world(tmp_path, mbmd=True) as head_end, head_end.client() as client:
        await fill(head_end)
        said = (await client.get("/api/last/SDM1.1")).json()
        assert said == {
            "Timestamp": "2026-01-01T00:00:00.000Z",
            "Unix": NOW // 1000,
            "Import": 1.5,
            "Power": 950.0,
            "VoltageL1": 230.5,
            "VoltageL2": 231.5,
        }
        assert list(said)[2:] == sorted(list(said)[2:])
        assert (await client.get("/api/last")).json() == {"SDM1.1": said}


async def test_means_are_of_the_last_minute(tmp_path: Path) -> None:
    async with world(tmp_path, mbmd=True) as head_end, head_end.client() as client:
        head_end.add("a-1")
        for seconds, value in ((0, 100.0), (50, 230.0), (100, 232.0)):
            head_end.time = seconds
            head_end.bus.publish(batch("a-1", {"voltage_l1": value}, NOW + seconds * 1000))
        await head_end.stored(3)
        said = (await client.get("/api/avg/a.1")).json()
        assert said == {"Timestamp": "2026-01-01T00:01:40.000Z", "Unix": NOW // 1000 + 100, "Voltage": 231.0}
        assert (await client.get("/api/avg")).json() == {"a.1": said}
        head_end.time = 1000
        assert (await client.get("/api/avg/a.1")).status_code == 400


async def test_without_data_the_code_is_400_and_the_body_a_text(tmp_path: Path) -> None:
    async with world(tmp_path, mbmd=True) as head_end, head_end.client() as client:
        for path in ("last", "last/a", "avg", "avg/a"):
            answer = await client.get(f"/api/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")


async def test_the_status_names_all_meters(tmp_path: Path) -> None:
    async with world(tmp_path, mbmd=True) as head_end, head_end.client() as client:
        await fill(head_end)
        said = (await client.get("/api/status")).json()
        assert said.keys() == {"StartTime", "UpTime", "Goroutines", "Memory", "Modbus", "ConfiguredMeters"}
        assert [each["Id"] for each in said["ConfiguredMeters"]] == ["SDM1.1"]
        assert said["Modbus"].keys() == {
            "TotalModbusRequests",
            "ModbusRequestRatePerMinute",
            "TotalModbusErrors",
            "ModbusErrorRatePerMinute",
        }


async def test_it_is_served_where_it_is_wanted_to_who_may_read(tmp_path: Path) -> None:
    async with world(tmp_path / "off") as head_end, head_end.client() as client:
        assert (await client.get("/api/last")).status_code == 404
    async with world(tmp_path / "on", mbmd=True) as head_end:
        async with head_end.client(peer=ELSEWHERE) as nobody:
            assert (await nobody.get("/api/status")).status_code == 401
        async with head_end.client(Role.VIEWER, peer=ELSEWHERE) as viewer:
            assert (await viewer.get("/api/status")).status_code == 200


@contextlib.asynccontextmanager
async def served(folder: Path, **said: Any) -> AsyncIterator[tuple[World, int]]:
    settings = WebSettings(port=0, mbmd=True, **said)
    with Store.open(laid(folder / "headend.db"), vault_key=KEY) as store:
        head_end = World(store, Time(), settings, folder)
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(head_end.app, settings, port.set_result))
        try:
            yield head_end, await asyncio.wait_for(port, 30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_readings_and_status_come_over_a_websocket(tmp_path: Path) -> None:
    async with served(tmp_path) as (head_end, port), connect(f"ws://127.0.0.1:{port}/ws") as socket:
        first = json.loads(await asyncio.wait_for(socket.recv(), 30))
        assert "ConfiguredMeters" in first
        head_end.bus.publish(batch("SDM1.1", VALUES))
        found = []
        while len(found) < 4:
            said = json.loads(await asyncio.wait_for(socket.recv(), 30))
            if "Device" in said:
                found.append(said)
    assert found[0] == {
        "Device": "SDM1.1",
        "Value": 230.5,
        "IEC61850": "VoltageL1",
        "Description": "L1 Voltage",
        "Timestamp": NOW,
    }
    assert [each["IEC61850"] for each in found] == ["VoltageL1", "VoltageL2", "Import", "Power"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Authorization": "Bearer wrong"}])
async def test_a_page_of_somebody_else_cannot_listen(tmp_path: Path, headers: dict[str, str]) -> None:
    async with served(tmp_path) as (_, port):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers) as socket:
                await asyncio.wait_for(socket.recv(), 30)


async def test_nobody_listens_where_reading_needs_a_credential(tmp_path: Path) -> None:
    async with served(tmp_path, public_read=False) as (head_end, port):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with connect(f"ws://127.0.0.1:{port}/ws") as socket:
                await asyncio.wait_for(socket.recv(), 30)
        key = {"Authorization": f"Bearer {head_end.key(Role.VIEWER)}"}
        async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=key) as socket:
            assert "ConfiguredMeters" in json.loads(await asyncio.wait_for(socket.recv(), 30))
