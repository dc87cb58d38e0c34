"""The sink against the embedded broker and against mosquitto, watched by an independent client (paho, without aiomqtt)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headend.errors import ConfigError, NotFound
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch, Source
from headend.northbound.broker import EmbeddedBroker
from headend.northbound.client import Broker, broker_from_url
from headend.northbound.courier import Courier
from headend.northbound.layouts import HeadendLayout
from headend.northbound.mqtt import MqttSink
from headend.northbound.topics import Request, Topics
from headend.northbound.voice import Voice
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.storage.store import Store
from tests.mosquitto_server import mosquitto
from tests.ports import free_port
from tests.services.support import meter

from .contract import on_the_bus

TOPICS = Topics("headend/v1")


def voice(roster: Roster | None = None) -> Voice:
    return Voice([HeadendLayout(TOPICS)], version="1", roster=roster or Roster(Bus(), lambda: 5))


class Watcher:
    """A paho client in its own thread; what comes is put into an asyncio queue."""

    def __init__(self, port: int, *, version: int = paho.MQTTv311, user: tuple[str, str] | None = None) -> None:
        self.messages: asyncio.Queue[paho.MQTTMessage] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.refused = asyncio.Event()
        loop, refused = asyncio.get_running_loop(), self.refused.set
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        if user:
            self.client.username_pw_set(*user)

        def on_connect(client: paho.Client, _data: object, _flags: object, reason: object, _props: object) -> None:
            if getattr(reason, "is_failure", False):
                loop.call_soon_threadsafe(refused)
            else:
                client.subscribe("headend/#", qos=1)

        self.client.on_connect = on_connect
        # Nothing that the client holds leads back to the client: it closes its sockets when the last reference goes.
        put, ready = self.messages.put_nowait, self.ready.set
        self.client.on_subscribe = lambda *_: loop.call_soon_threadsafe(ready)
        self.client.on_message = lambda _client, _data, message: loop.call_soon_threadsafe(put, message)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    async def next(self, topic: str) -> paho.MQTTMessage:
        while True:
            message = await asyncio.wait_for(self.messages.get(), 10)
            if message.topic == topic:
                return message

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def answer(request: Request) -> object:
    if request.method == "bug":
        raise RuntimeError("a bug of ours")
    if request.method != "read":
        raise NotFound(f"no method {request.method!r}")
    return {"asked": dict(request.params)}


def make(target: Broker, roster: Roster | None = None) -> MqttSink:
    return MqttSink(target, voice(roster), lambda: 5, answer)


OWN: dict[int, Any] = {}
"""how the head-end signs in at a broker of its own, by port"""

BROKERS = [
    ("embedded", "3.1.1"),  # amqtt speaks nothing else
    pytest.param(("mosquitto", "3.1.1"), marks=pytest.mark.broker),
    pytest.param(("mosquitto", "5"), marks=pytest.mark.broker),
]


@pytest.fixture(params=BROKERS, ids=str)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(broker, MQTT version)."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def port(kind: tuple[str, str], tmp_path: Path) -> AsyncIterator[int]:
    if kind[0] == "embedded":
        broker = EmbeddedBroker("127.0.0.1", 0, (), requests=[TOPICS.requests])
        await broker.start()
        OWN[broker.port] = {"username": broker.own_name, "password": broker.own_password}
        yield broker.port
        await broker.stop()
        return
    chosen = free_port()
    async with mosquitto(tmp_path, chosen):
        yield chosen


@pytest.fixture
async def sink(kind: tuple[str, str], port: int, tmp_path: Path) -> AsyncIterator[tuple[Bus, int, str]]:
    version = kind[1]
    bus = Bus()
    roster = Roster(bus, lambda: 5)
    roster.load([meter("m1", "m1")])
    roster.state("m1").online = True
    target = Broker(host="127.0.0.1", port=port, version=version, **OWN.get(port, {}))
    async with on_the_bus(tmp_path, make(target, roster), bus) as courier:
        await asyncio.wait_for(courier.connected.wait(), 10)
        yield bus, port, version


async def test_a_stop_at_any_moment_of_connecting_ends_it(kind: tuple[str, str], port: int, tmp_path: Path) -> None:
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        for step in range(40):
            target = Broker(host="127.0.0.1", port=port, version=kind[1], **OWN.get(port, {}))
            courier = Courier("test", "mqtt", make(target), store.journal, clock=lambda: 5, publish=Bus().publish)
            task = asyncio.create_task(courier.run())
            await asyncio.wait({task}, timeout=step * 0.0005)
            task.cancel()
            _, still = await asyncio.wait({task}, timeout=10)
            assert not still
            assert task.cancelled()


def batch(value: float) -> ReadingBatch:
    return ReadingBatch(
        meter_id="m1",
        source=Source.POLL,
        received_at=7,
        quantities=["voltage_l1"],
        values=[value],
        measured_at=[7],
        quality=[0],
    )


async def test_readings_states_and_requests_travel(sink: tuple[Bus, int, str]) -> None:
    bus, port, _ = sink
    watcher = Watcher(port)
    try:
        await asyncio.wait_for(watcher.ready.wait(), 10)
        hello = await watcher.next("headend/v1/gateway/status")
        assert hello.retain
        assert json.loads(hello.payload)["online"] is True

        bus.publish(batch(230.5))
        message = await watcher.next("headend/v1/meters/m1/telemetry")
        assert json.loads(message.payload)["values"] == {"voltage_l1": 230.5}

        bus.publish(Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=9, meter_id="m1"))
        assert json.loads((await watcher.next("headend/v1/meters/m1/status")).payload) == {"online": True, "ts": 9}

        for payload, success in (
            (b'{"id":"1","method":"read","params":{"refs":[]}}', True),
            (b'{"id":"1","method":"x"}', False),
        ):
            watcher.client.publish("headend/v1/meters/m1/command/request", payload, qos=1)
            response = json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)
            assert (response["id"], response["success"]) == ("1", success)
        watcher.client.publish("headend/v1/meters/m1/command/request", b"{", qos=1)
        assert json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)["error"] == "config"
    finally:
        watcher.stop()


async def test_the_response_topic_and_correlation_data_of_mqtt_5(sink: tuple[Bus, int, str]) -> None:
    _, port, version = sink
    if version != "5":
        return
    watcher = Watcher(port, version=paho.MQTTv5)
    try:
        await asyncio.wait_for(watcher.ready.wait(), 10)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "headend/answers"
        properties.CorrelationData = b"\x01\x02"
        request = b'{"id":"1","method":"read"}'
        watcher.client.publish("headend/v1/meters/m1/command/request", request, qos=1, properties=properties)
        message = await watcher.next("headend/answers")
        assert message.properties.CorrelationData == b"\x01\x02"
    finally:
        watcher.stop()


@pytest.mark.parametrize(
    ("url", "expected"),
    [("mqtt://h", ("h", 1883, False)), ("mqtts://h", ("h", 8883, True)), ("mqtt://[::1]:1884/", ("::1", 1884, False))],
)
def test_broker_urls(url: str, expected: tuple[str, int, bool]) -> None:
    assert broker_from_url(url) == expected


@pytest.mark.parametrize("url", ["h", "http://h", "mqtt://", "mqtt://user:secret@h", "mqtt://h:x"])
def test_broker_urls_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.broker") as caught:
        broker_from_url(url)
    assert "secret" not in str(caught.value)


def test_a_password_that_is_not_text_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="expected UTF-8") as caught:
        Broker(host="127.0.0.1", password=Secret(b"\xffcorrect horse"))
    assert "horse" not in str(caught.value)


async def test_a_request_that_cannot_be_answered_ends_nothing(sink: tuple[Bus, int, str]) -> None:
    _, port, version = sink
    watcher = Watcher(port, version=paho.MQTTv5 if version == "5" else paho.MQTTv311)
    try:
        await asyncio.wait_for(watcher.ready.wait(), 10)
        request = b'{"id":"1","method":"read"}'
        watcher.client.publish(f"headend/v1/meters/{'%FF' * 9000}/command/request", request, qos=1)
        watcher.client.publish("headend/v1/meters/m1/command/request", b'{"id":"2","method":"bug"}', qos=1)
        response = json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)
        assert (response["id"], response["error"]) == ("2", "error")
        if version == "5":
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = "headend/answers/a+b"
            watcher.client.publish("headend/v1/meters/m1/command/request", request, qos=1, properties=properties)
        else:
            watcher.client.publish("headend/v1/meters/m1/command/request", request, qos=1)
        assert json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)["success"]
    finally:
        watcher.stop()


async def test_cancelling_ends_the_sink_when_the_broker_goes_in_the_same_moment(tmp_path: Path) -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection, a publication and a subscription, and hangs up at the second publication, the goodbye."""
        published = 0
        while published < 2 and (head := await reader.read(1)):
            length = shift = 0
            while True:
                octet = (await reader.readexactly(1))[0]
                length |= (octet & 0x7F) << shift
                shift += 7
                if octet < 0x80:
                    break
            body = await reader.readexactly(length)
            kind = head[0] >> 4
            if kind == 1:
                writer.write(b"\x20\x02\x00\x00")
            elif kind == 3:
                published += 1
                topic = int.from_bytes(body[:2], "big")
                if published == 1:
                    writer.write(b"\x40\x02" + body[2 + topic : 4 + topic])
            elif kind == 8:
                writer.write(b"\x90\x03" + body[:2] + b"\x01")
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = make(Broker(host="127.0.0.1", port=port, version="3.1.1"))
    with Store.open(tmp_path / "headend.db", vault_key=None) as store:
        courier = Courier("test", "mqtt", sink, store.journal, clock=lambda: 5, publish=Bus().publish)
        task = asyncio.create_task(courier.run())
        await asyncio.wait_for(courier.connected.wait(), 10)
        server.close()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, "the cancellation was taken for a lost connection"
        assert task.cancelled()


async def test_one_user_cannot_take_all_the_places(port: int, kind: tuple[str, str], tmp_path: Path) -> None:
    """A user whose requests wait for meters that are away is told so; others are answered."""
    if kind[0] != "embedded":
        return
    waiting = asyncio.Event()

    async def wait(request: Request) -> object:
        if request.method == "wait":
            await waiting.wait()
        return request.method

    target = Broker(host="127.0.0.1", port=port, version=kind[1], **OWN[port])
    sink = MqttSink(target, voice(), lambda: 5, wait)
    own = (OWN[port]["username"], OWN[port]["password"].reveal().decode())
    async with on_the_bus(tmp_path, sink, Bus()) as courier:
        await asyncio.wait_for(courier.connected.wait(), 10)
        watcher = Watcher(port, user=own)
        try:
            await _crowd(watcher, waiting)
            assert sink.requests == 102
        finally:
            watcher.stop()


async def _crowd(watcher: Watcher, waiting: asyncio.Event) -> None:
    await asyncio.wait_for(watcher.ready.wait(), 10)
    asking = "headend/v1/meters/m1/command/request"
    for number in range(101):
        watcher.client.publish(f"{asking}/ada", b'{"id":"%d","method":"wait"}' % number, qos=1)
    response = json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)
    assert response["error"] == "busy"
    watcher.client.publish(f"{asking}/bob", b'{"id":"bob","method":"read"}', qos=1)
    response = json.loads((await watcher.next("headend/v1/meters/m1/command/response")).payload)
    assert (response["id"], response["result"]) == ("bob", "read")
    waiting.set()
    await watcher.next("headend/v1/meters/m1/command/response")
