"""`headend serve` with its embedded broker: users over TCP and WebSocket, who may ask, and the layout for `ivy/v1`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import aiomqtt
import pytest

from tests.ports import free_port

from .served import HeadEnd, Meters, configured, enter

METER = "smart-001"
FLEET = """
[fleet]
seed = 3

[[group]]
profile = "generic-dlms-functions"
count = 1
first_address = "127.37.0.1"
port = {port}
name = "smart-{{number:03}}"
"""
SETTINGS = """
[mqtt]
embedded_port = 0
embedded_ws_port = {port}
embedded_users = {{ ada = "env:TEST_ADA", bob = "env:TEST_BOB" }}
roles = {{ ada = "operator" }}
layouts = ["headend", "ivy"]
commands = true
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    with Meters(tmp_path, FLEET.format(port=free_port())) as running:
        yield running


def client(port: int, user: str, transport: Literal["tcp", "websockets"] = "tcp") -> aiomqtt.Client:
    version = aiomqtt.ProtocolVersion.V311
    return aiomqtt.Client(
        "127.0.0.1", port, username=user, password=f"{user}'s word", protocol=version, transport=transport
    )


async def next_on(client: aiomqtt.Client, topic: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        async for message in client.messages:
            if message.topic.value == topic:
                return dict(json.loads(bytes(message.payload)))
    raise AssertionError("no message")


async def test_users_read_and_ask_over_both_transports(tmp_path: Path, meters: Meters) -> None:
    settings = SETTINGS.format(port=(over_ws := free_port()))
    configured(tmp_path, settings)
    enter(tmp_path, meters.roster, 1.0)
    words = {"TEST_ADA": "ada's word", "TEST_BOB": "bob's word"}
    head_end = await asyncio.to_thread(HeadEnd, tmp_path, settings, words)
    try:
        async with client(head_end.mqtt, "bob") as bob, client(over_ws, "ada", "websockets") as ada:
            await bob.subscribe("ivy/v1/#", qos=1)
            values = (await next_on(bob, f"ivy/v1/meters/{METER}/telemetry"))["values"]
            assert values["TOTAL_ACTIVE_POSITIVE"]["unit"] == "kWh"
            await ada.subscribe(f"headend/v1/meters/{METER}/command/response", qos=1)
            asking = f"headend/v1/meters/{METER}/command/request"
            await bob.publish(asking, b'{"id": "bob", "method": "read_address"}', qos=1)
            for number, (method, outcome) in enumerate((("read_address", ""), ("disconnect", "permission-denied"))):
                await ada.publish(asking, json.dumps({"id": str(number), "method": method}), qos=1)
                answer = await next_on(ada, f"headend/v1/meters/{METER}/command/response")
                assert (answer["id"], answer.get("error", "")) == (str(number), outcome), answer
            assert "mqtt:ada is operator" in answer["detail"]
    finally:
        assert await asyncio.to_thread(head_end.stop) == 0
        head_end.__exit__(None, None, None)
