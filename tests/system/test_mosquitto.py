"""`headend serve` against a real mosquitto with the files of `deploy/mosquitto`: rights, both layouts, requests, MQTT 5."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headend.errors import SinkRefused
from headend.model.meter import Secret
from headend.northbound.client import Broker, publish_all
from headend.northbound.message import Message
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings
from tests.ports import free_port

from .served import HeadEnd, Meters, certificate_files, configured, enter

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"
PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
METER = "smart-001"
FLEET = """
[fleet]
seed = 3

[[group]]
profile = "generic-dlms-functions"
count = 1
first_address = "127.36.0.1"
port = {port}
name = "smart-{{number:03}}"
"""
SETTINGS = """
[mqtt]
broker = "mqtt://127.0.0.1:{port}"
username = "headend"
password = "env:TEST_MQTT_PASSWORD"
layouts = ["ivy", "headend"]
commands = true
roles = {{ scada = "dispatcher" }}
stats_seconds = 0.5
"""

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


@contextmanager
def mosquitto(folder: Path, port: int, *more: tuple[str, str]) -> Iterator[None]:
    """mosquitto as it is deployed, but for places and ports; `more` is replaced, too."""
    program, passwords = (shutil.which(name, path=PATHS) for name in ("mosquitto", "mosquitto_passwd"))
    if program is None or passwords is None:
        pytest.skip("no mosquitto on this machine (Debian package mosquitto): make test installs it")
    for index, user in enumerate(("headend", "scada", "anna")):
        create = ["-c"] if index == 0 else []
        file = str(folder / "headend.passwords")
        subprocess.run([passwords, "-b", *create, file, user, f"{user}'s word"], check=True, capture_output=True)
    shutil.copy(DEPLOY / "headend.acl", folder)
    text = (DEPLOY / "mosquitto.conf").read_text()
    for ours, here in (
        ("pid_file /run/mosquitto/mosquitto.pid", f"user root\npid_file {folder}/mosquitto.pid"),
        ("log_dest syslog", "log_dest stderr"),
        ("password_file /etc/mosquitto/", f"password_file {folder}/"),
        ("acl_file /etc/mosquitto/", f"acl_file {folder}/"),
        ("listener 1883 127.0.0.1", f"listener {port} 127.0.0.1"),
        ("persistence_location /var/lib/mosquitto/", f"persistence_location {folder}/"),
        *more,
    ):
        assert text.count(ours) == 1, ours
        text = text.replace(ours, here)
    config = folder / "mosquitto.conf"
    config.write_text(text)
    with (
        (folder / "mosquitto.log").open("w") as said,
        subprocess.Popen([program, "-c", str(config)], stderr=said) as broker,
    ):
        try:
            yield
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait(20)


@asynccontextmanager
async def client(port: int, user: str, word: str = "") -> AsyncIterator[aiomqtt.Client]:
    async with asyncio.timeout(60):
        while True:
            try:
                made = aiomqtt.Client(
                    "127.0.0.1",
                    port,
                    username=user,
                    password=word or f"{user}'s word",
                    protocol=aiomqtt.ProtocolVersion.V5,
                )
                await made.__aenter__()
                break
            except aiomqtt.MqttError as error:
                if "refused" not in str(error) or "authori" in str(error).lower():
                    raise
                await asyncio.sleep(0.05)
    try:
        yield made
    finally:
        await made.__aexit__(None, None, None)


async def next_on(client: aiomqtt.Client, *topics: str) -> tuple[str, Any, aiomqtt.Message]:
    async with asyncio.timeout(60):
        async for message in client.messages:
            if message.topic.value in topics:
                return message.topic.value, json.loads(bytes(message.payload)), message
    raise AssertionError("no message")


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    with Meters(tmp_path, FLEET.format(port=free_port())) as running:
        yield running


async def test_the_deployed_files_do_what_they_say(tmp_path: Path, meters: Meters) -> None:
    port = free_port()
    with mosquitto(tmp_path, port):
        settings = SETTINGS.format(port=port)
        configured(tmp_path, settings)
        enter(tmp_path, meters.roster, 1.0)
        head_end = await asyncio.to_thread(HeadEnd, tmp_path, settings, {"TEST_MQTT_PASSWORD": "headend's word"})
        try:
            await watched(port)
            await asked(port)
        finally:
            assert await asyncio.to_thread(head_end.stop) == 0
            head_end.__exit__(None, None, None)
        with pytest.raises(aiomqtt.MqttError):
            async with client(port, "anna", "wrong"):
                pass


async def test_what_waits_for_the_broker_survives_a_kill(tmp_path: Path, meters: Meters) -> None:
    port, word = free_port(), {"TEST_MQTT_PASSWORD": "headend's word"}
    settings = SETTINGS.format(port=port)
    configured(tmp_path, settings)
    enter(tmp_path, meters.roster, 0.2)

    def run_without_broker() -> set[str]:
        with HeadEnd(tmp_path, settings, word) as head_end:
            head_end.wait(lambda: True if len(stored(tmp_path)) >= 20 else None)
            head_end.stop(signal.SIGKILL)
        return stored(tmp_path)

    waiting = await asyncio.to_thread(run_without_broker)
    with mosquitto(tmp_path, port):
        async with client(port, "anna") as anna:
            await anna.subscribe(
                [(f"headend/v1/{tail}", 1) for tail in ("meters/+/telemetry", "+/+/events", "gateway/events")]
            )
            head_end = await asyncio.to_thread(HeadEnd, tmp_path, settings, word)
            try:
                async with asyncio.timeout(60):
                    while waiting:
                        message = await anext(aiter(anna.messages))
                        waiting.discard(json.loads(bytes(message.payload))["id"])
            finally:
                assert await asyncio.to_thread(head_end.stop) == 0
                head_end.__exit__(None, None, None)


def stored(folder: Path) -> set[str]:
    """The ids of what the database says is to be delivered."""
    settings = load_settings(folder / "headend.toml")
    with open_store(settings) as store:
        start, found = 0, set[str]()
        while start < store.journal.head:
            segments, start = store.journal.read(start, store.journal.head)
            found |= {entry.id for segment in segments for entry in segment.entries()}
        return found


async def test_the_listener_with_tls_and_a_user_without_rights(tmp_path: Path) -> None:
    port, safe = free_port(), free_port()
    certificate, key = certificate_files(tmp_path)
    with mosquitto(
        tmp_path,
        port,
        ("#listener 8883", f"listener {safe} 127.0.0.1"),
        ("#certfile /etc/mosquitto/certs/fullchain.pem", f"certfile {certificate}"),
        ("#keyfile /etc/mosquitto/certs/privkey.pem", f"keyfile {key}"),
        ("#tls_version", "tls_version"),
    ):
        async with client(port, "anna") as anna:
            await anna.subscribe("headend/v1/#", qos=1)
            for user in ("scada", "headend"):
                target = Broker(
                    host="127.0.0.1",
                    port=safe,
                    tls=True,
                    ca_file=str(certificate),
                    username=user,
                    password=Secret(f"{user}'s word".encode()),
                )
                will = Message("headend/v1/gateway/status", b"{}", retain=True)
                said = Message("headend/v1/x", user.encode())
                async with target.connect(will) as safely:
                    if user == "scada":
                        with pytest.raises(SinkRefused, match="Not authorized"):
                            await publish_all(safely, [said])
                    else:
                        await publish_all(safely, [said])
            async with asyncio.timeout(60):
                message = await anext(aiter(anna.messages))
            assert bytes(message.payload) == b"headend"


async def watched(port: int) -> None:
    """Both layouts arrive, also what is retained; who may only read cannot ask."""
    async with client(port, "anna") as anna:
        await anna.subscribe([(f"{prefix}/#", 1) for prefix in ("ivy/v1", "headend/v1")])
        wanted = {
            f"{prefix}/{tail}"
            for prefix in ("ivy/v1", "headend/v1")
            for tail in ("gateway/status", "gateway/stats", f"meters/{METER}/status", f"meters/{METER}/telemetry")
        }
        while wanted:
            topic, body, message = await next_on(anna, *wanted)
            wanted.discard(topic)
            if topic == f"ivy/v1/meters/{METER}/telemetry":
                assert (body["meterId"], body["isBatch"]) == (METER, True)
                assert body["values"]["TOTAL_ACTIVE_POSITIVE"]["unit"] == "kWh"
            elif topic == f"ivy/v1/meters/{METER}/status":
                assert (body["online"], body["ip"]) == (True, "127.36.0.1")
            elif topic == "ivy/v1/gateway/status":
                assert body["status"] == "online"
            elif topic == "ivy/v1/gateway/stats":
                assert body["meters"] == {"connected": 1, "total": 1} or message.retain is False
        for topic in ("command/request", "command/request/anna", "command/request/scada", "telemetry"):
            await anna.publish(f"headend/v1/meters/{METER}/{topic}", b"a lie", qos=1)
        marker = f"headend/v1/meters/{METER}/command/request/scada"
        async with client(port, "scada") as scada:
            await scada.publish(marker, b'{"id": "0", "method": "read_address"}', qos=1)
        async with asyncio.timeout(60):
            async for message in anna.messages:
                assert bytes(message.payload) != b"a lie"
                if message.topic.value == marker:
                    break


async def asked(port: int) -> None:
    """A user reads a register and opens a relay, in two steps, with answers on a topic of the user's own."""
    async with client(port, "scada") as scada:
        await scada.subscribe([("answers/scada/#", 1), (f"ivy/v1/meters/{METER}/command/response", 1)])

        async def ask(prefix: str, request: dict[str, Any], own: bytes = b"") -> dict[str, Any]:
            properties = Properties(PacketTypes.PUBLISH)
            if own:
                properties.ResponseTopic = "answers/scada/here"
                properties.CorrelationData = own
            topic = f"{prefix}/meters/{METER}/command/request/scada"
            await scada.publish(topic, json.dumps(request), qos=1, properties=properties if own else None)
            where = "answers/scada/here" if own else f"{prefix}/meters/{METER}/command/response"
            _, body, message = await next_on(scada, where)
            if own:
                assert message.properties is not None
                assert message.properties.CorrelationData == own
            assert body["id"] == request["id"]
            return dict(body)

        read = await ask(
            "ivy/v1", {"id": "1", "method": "read_register", "params": {"register": "TOTAL_ACTIVE_POSITIVE"}}
        )
        assert (read["success"], read["result"]["register"], read["result"]["unit"]) == (
            True,
            "TOTAL_ACTIVE_POSITIVE",
            "kWh",
        )
        unknown = await ask("ivy/v1", {"id": "2", "method": "read_register", "params": {"register": "NONSENSE"}})
        assert (unknown["success"], unknown["error"]) == (False, "Invalid register")
        first = await ask("headend/v1", {"id": "3", "method": "relay_control", "params": {"state": "open"}}, b"\x01")
        assert (first["result"]["state"], first["result"]["confirmation"]) == ("proposed", "required")
        code = {"job": first["result"]["job"], "code": first["result"]["code"]}
        done = await ask("headend/v1", {"id": "4", "method": "confirm", "params": code}, b"\x02")
        assert (done["result"]["state"], done["result"]["verdict"]) == ("succeeded", "confirmed")
        relay = await ask("ivy/v1", {"id": "5", "method": "read_register", "params": {"register": "RELAY_STATUS"}})
        assert relay["result"]["value"] == 1
