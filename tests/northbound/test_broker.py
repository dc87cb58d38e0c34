"""The embedded broker, seen by clients of two independent stacks (paho, aiomqtt on it) over TCP and WebSocket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, TypeAlias

import aiomqtt
import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidHandshake

from headend.errors import ConfigError
from headend.model.meter import Secret
from headend.northbound.broker import EmbeddedBroker, WebSocketPlace
from headend.northbound.gate import Limits
from headend.northbound.packets import encode_packet
from headend.northbound.rights import User, user

REQUESTS = "headend/v1/meters/+/command/request"
Transport: TypeAlias = Literal["tcp", "websockets"]
Enter: TypeAlias = Callable[..., AbstractAsyncContextManager[aiomqtt.Client]]


def named(name: str, *, publish: tuple[str, ...] = (), subscribe: tuple[str, ...] = ("#",)) -> User:
    return user(name, Secret(f"{name}'s word".encode()), subscribe=subscribe, publish=publish)


USERS = (
    named("ada", publish=(f"{REQUESTS}/ada",)),
    named("bob", subscribe=("headend/v1/meters/+/status",)),
    named("eve", publish=("#",)),
)


@asynccontextmanager
async def running(users: tuple[User, ...] = USERS, **limits: float) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(
        "127.0.0.1",
        0,
        users,
        requests=[REQUESTS],
        websocket=WebSocketPlace(port=0, origins=("https://plant.example",)),
        limits=Limits(**limits),  # type: ignore[arg-type] # all are numbers
    )
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@pytest.fixture(params=["tcp", "websockets"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def enter(transport: Transport) -> Enter:
    def client(broker: EmbeddedBroker, name: str = "", word: str | None = None, **more: object) -> aiomqtt.Client:
        if name and word is None:
            own = name == broker.own_name
            word = broker.own_password.reveal().decode() if own else f"{name}'s word"
        return aiomqtt.Client(
            "127.0.0.1",
            broker.port if transport == "tcp" else broker.websocket_port or 0,
            transport=transport,
            username=name or None,
            password=word,
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=20,
            **more,  # type: ignore[arg-type] # as the test says
        )

    return client


async def received(client: aiomqtt.Client) -> tuple[str, bytes]:
    async for message in client.messages:
        return message.topic.value, bytes(message.payload)
    raise AssertionError("no message")


async def test_readings_travel_over_both_transports_also_large_ones(enter: Enter) -> None:
    large = bytes(range(256)) * 2000
    async with running() as broker, enter(broker, broker.own_name) as head_end, enter(broker, "ada") as ada:
        await ada.subscribe("headend/v1/#", qos=1)
        for payload in (b"{}", large):
            await head_end.publish("headend/v1/meters/m1/telemetry", payload, qos=1)
            assert await received(ada) == ("headend/v1/meters/m1/telemetry", payload)


@pytest.mark.parametrize(("name", "word"), [("ada", "wrong"), ("nobody", "x"), ("", None)])
async def test_strangers_are_refused(enter: Enter, name: str, word: str | None) -> None:
    async with running() as broker:
        with pytest.raises(aiomqtt.MqttError):
            async with enter(broker, name, word):
                pass


async def test_without_users_everybody_may_read_and_ask_and_nothing_else(enter: Enter) -> None:
    async with running(()) as broker, enter(broker, broker.own_name) as head_end, enter(broker) as anybody:
        await head_end.subscribe("#", qos=1)
        await anybody.publish("headend/v1/meters/m1/telemetry", b"a lie", qos=1)
        await anybody.publish("headend/v1/meters/m1/command/request", b"{}", qos=1)
        assert await received(head_end) == ("headend/v1/meters/m1/command/request", b"{}")


async def test_who_asks_is_known_and_nobody_asks_in_anothers_name(enter: Enter) -> None:
    async with (
        running() as broker,
        enter(broker, broker.own_name) as head_end,
        enter(broker, "ada") as ada,
        enter(broker, "bob") as bob,
        enter(broker, "eve") as eve,
    ):
        await head_end.subscribe(f"{REQUESTS}/+", qos=1)
        topic = "headend/v1/meters/m1/command/request"
        await bob.publish(topic, b"bob may not", qos=1)
        await eve.publish(f"{topic}/ada", b"a lie", qos=1)
        await ada.publish(topic, b"1", qos=1)
        assert await received(head_end) == (f"{topic}/ada", b"1")
        await ada.publish(f"{topic}/ada", b"2", qos=1)
        assert await received(head_end) == (f"{topic}/ada", b"2")
        await eve.publish(topic, b"3", qos=1)
        assert await received(head_end) == (f"{topic}/eve", b"3")


async def test_subscriptions_need_rights_and_their_number_is_limited(enter: Enter) -> None:
    async with running(subscriptions=2) as broker, enter(broker, "bob") as bob, enter(broker, "ada") as ada:
        codes = await bob.subscribe(
            [("#", 1), ("headend/v1/meters/+/#", 1), ("headend/v1/meters/m1/status", 1), ("$SYS/#", 0)]
        )
        assert [code.value for code in codes] == [0x80, 0x80, 1, 0x80]
        assert [code.value for code in await ada.subscribe([("a", 0), ("b", 0), ("c", 0)])] == [0, 0, 0x80]
        await ada.unsubscribe("a")
        assert [code.value for code in await ada.subscribe([("c", 0), ("d", 0)])] == [0, 0x80]


async def test_what_is_retained_goes_only_to_those_who_asked_for_it(enter: Enter) -> None:
    async with running() as broker, enter(broker, broker.own_name) as head_end, enter(broker, "ada") as ada:
        await ada.subscribe("headend/v1/#", qos=1)
        await head_end.publish("headend/v1/gateway/status", b"on", qos=1, retain=True)
        await head_end.publish("headend/v1/meters/m1/status", b"on", qos=1, retain=True)
        await received(ada)
        await received(ada)
        async with enter(broker, "bob") as bob:
            await bob.subscribe("headend/v1/meters/+/status", qos=1)
            assert await received(bob) == ("headend/v1/meters/m1/status", b"on")
            assert len(bob.messages) == 0


async def test_retained_messages_of_clients_are_limited(enter: Enter) -> None:
    async with running(retained=1) as broker, enter(broker, "eve") as eve, enter(broker, broker.own_name) as head_end:
        for topic in ("a", "b", "a"):
            await eve.publish(topic, topic.encode(), qos=1, retain=True)
        await head_end.publish("c", b"c", qos=1, retain=True)
        await head_end.publish("done", b"", qos=1)
        async with enter(broker, "ada") as ada:
            await ada.subscribe("#", qos=1)
            assert {await received(ada), await received(ada)} == {("a", b"a"), ("c", b"c")}


async def test_a_client_id_belongs_to_its_user(enter: Enter) -> None:
    async with running() as broker, enter(broker, "ada", identifier="same") as ada:
        with pytest.raises(aiomqtt.MqttError):
            async with enter(broker, "eve", identifier="same", clean_session=False):
                pass
        await ada.subscribe("headend/v1/#", qos=1)


async def test_messages_wait_for_a_client_that_wants_them_but_not_all(enter: Enter) -> None:
    async with running(waiting=3) as broker, enter(broker, broker.own_name) as head_end:
        async with enter(broker, "ada", identifier="reader", clean_session=False) as ada:
            await ada.subscribe("t", qos=1)
        for number in range(5):
            await head_end.publish("t", b"%d" % number, qos=1)
        await head_end.subscribe("t", qos=1)
        await head_end.publish("t", b"5", qos=1)
        assert await received(head_end) == ("t", b"5")
        async with enter(broker, "ada", identifier="reader", clean_session=False) as ada:
            assert [(await received(ada))[1] for _ in range(3)] == [b"3", b"4", b"5"]


async def test_a_flood_of_one_client_does_not_hold_up_the_others(enter: Enter) -> None:
    async with (
        running(messages_per_second=50) as broker,
        enter(broker, broker.own_name) as head_end,
        enter(broker, "ada") as ada,
        enter(broker, "eve") as eve,
    ):
        await ada.subscribe("headend/v1/#", qos=1)
        before = asyncio.get_running_loop().time()

        async def flood() -> None:
            for _ in range(40):
                await asyncio.gather(*(eve.publish("flood", bytes(100), qos=0) for _ in range(50)))

        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood())
            for number in range(200):
                await head_end.publish("headend/v1/meters/m1/telemetry", b"%d" % number, qos=1)
                assert (await received(ada))[1] == b"%d" % number
            flooding.cancel()
        assert asyncio.get_running_loop().time() - before < 30


async def test_a_fast_client_is_slowed_down_to_its_rate() -> None:
    async with running(messages_per_second=40) as broker:
        reader, writer = await raw(broker, "eve")
        began = asyncio.get_running_loop().time()
        for number in range(1, 81):
            writer.write(encode_packet(0x32, b"\0\1t" + number.to_bytes(2, "big")))
        for _ in range(80):
            assert (await asyncio.wait_for(reader.readexactly(4), 20))[:2] == b"\x40\x02"
        assert asyncio.get_running_loop().time() - began > 0.9
        writer.close()


async def raw(
    broker: EmbeddedBroker, name: str, keep_alive: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    word = f"{name}'s word".encode()
    body = b"\0\4MQTT\4\xc2" + keep_alive.to_bytes(2, "big") + b"\0\0"
    for text in (name.encode(), word):
        body += len(text).to_bytes(2, "big") + text
    writer.write(encode_packet(0x10, body))
    assert await asyncio.wait_for(reader.readexactly(4), 20) == b"\x20\x02\0\0"
    return reader, writer


BAD = {
    "a packet that nobody has room for": b"\x30\xff\xff\xff\x7f\x00\x01a" + bytes(1000),
    "a length of five octets": b"\x30\xff\xff\xff\xff\x01",
    "a second connect": b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
    "what only a broker says": b"\x20\x02\x00\x00",
    "a kind that is reserved": b"\xf0\x00",
    "a ping with more behind it": b"\xc0\x05\x30\x03\0\1t",
    "a wildcard in a topic": encode_packet(0x30, b"\0\3a/#"),
    "a topic of the broker's own": encode_packet(0x30, b"\0\4$SYS"),
    "no topic": encode_packet(0x30, b"\0\0"),
    "a topic that is not UTF-8": encode_packet(0x30, b"\0\1\xff"),
    "a topic longer than the packet": encode_packet(0x30, b"\0\x09t"),
    "a QoS of 3": encode_packet(0x36, b"\0\1t\0\1"),
    "a subscription to nothing": encode_packet(0x82, b"\0\1"),
    "a subscription with a QoS of 3": encode_packet(0x82, b"\0\1\0\1t\3"),
    "too many unfinished messages": b"".join(
        encode_packet(0x34, b"\0\1t" + number.to_bytes(2, "big")) for number in range(1, 120)
    ),
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD.keys())
async def test_who_says_what_cannot_be_is_cut_off(octets: bytes) -> None:
    async with running(messages_per_second=1000) as broker:
        reader, writer = await raw(broker, "eve")
        writer.write(octets)
        answer = await asyncio.wait_for(_rest(reader), 20)
        assert len(answer) <= 4 * 120
        writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


HELLOS = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "another packet": b"\xc0\x00",
    "a client of MQTT 5": encode_packet(0x10, b"\0\4MQTT\5\2\0\0\0\0\1x"),
    "a client of MQTT 3.1": encode_packet(0x10, b"\0\6MQIsdp\3\2\0\0\0\1x"),
    "a reserved flag": encode_packet(0x10, b"\0\4MQTT\4\3\0\0\0\1x"),
    "a password without a name": encode_packet(0x10, b"\0\4MQTT\4\x42\0\0\0\1x\0\1x"),
    "no client id for a session that stays": encode_packet(0x10, b"\0\4MQTT\4\0\0\0\0\0"),
    "a will where nobody may write": encode_packet(0x10, b"\0\4MQTT\4\6\0\0\0\1x\0\1a\0\1b"),
}


@pytest.mark.parametrize("octets", HELLOS.values(), ids=HELLOS.keys())
async def test_who_cannot_come_in_hears_why_or_nothing(octets: bytes) -> None:
    async with running((), hello_seconds=0.5) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(octets)
        answer = await asyncio.wait_for(_rest(reader), 20)
        assert answer == b"" or (answer[:3] == b"\x20\x02\0" and answer[3] in (1, 2, 4))
        assert answer == b"" or len(answer) == 4
        writer.close()


async def test_who_says_nothing_is_cut_off() -> None:
    async with running(hello_seconds=1.0) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        assert await asyncio.wait_for(_rest(reader), 20) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.websocket_port)
        await asyncio.wait_for(_rest(reader), 20)
        writer.close()
        reader, writer = await raw(broker, "eve", keep_alive=1)
        assert await asyncio.wait_for(_rest(reader), 20) == b""
        writer.close()


async def test_there_are_only_so_many_clients() -> None:
    async with running(clients=2) as broker:
        clients = [await raw(broker, "ada") for _ in range(2)]
        for port in (broker.port, broker.websocket_port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await asyncio.wait_for(_rest(reader), 20) == b""
            writer.close()
        for _, writer in clients:
            writer.close()


async def test_pages_of_other_sites_are_not_let_in() -> None:
    async with running() as broker:
        place = f"ws://127.0.0.1:{broker.websocket_port}/mqtt"
        with pytest.raises(InvalidHandshake):
            async with websocket(place, subprotocols=["mqtt"], origin="https://evil.example"):  # type: ignore[list-item,arg-type] # texts
                pass
        async with websocket(place, subprotocols=["mqtt"], origin="https://plant.example") as page:  # type: ignore[list-item,arg-type] # ditto
            await page.send("text")
            await asyncio.wait_for(page.wait_closed(), 20)


@pytest.mark.parametrize("which", ["embedded_port", "embedded_ws_port"])
async def test_a_port_that_is_taken_is_named(which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        port, place = (taken, None) if which == "embedded_port" else (0, WebSocketPlace(port=taken))
        broker = EmbeddedBroker("127.0.0.1", port, (), websocket=place)
        with pytest.raises(ConfigError, match="cannot listen") as caught:
            await broker.start()
        assert f"mqtt.{which}" in caught.value.hint
