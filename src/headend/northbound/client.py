"""A connection to an MQTT broker, for all sinks that speak MQTT. 3.1.1 and 5, TLS, client certificates, QoS 0 and 1."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.meter import Secret
from headend.northbound.message import Message

WINDOW: Final = 128
"""messages of one stream under way at once"""
REQUESTS_QUEUED: Final = 1000
LATER: Final = frozenset({0x88, 0x89, 0x93, 0x97})
"""Reasons (MQTT 5) that may pass: server unavailable, server busy, too much under way, quota exceeded."""
KEEP_ALIVE: Final = 20
"""seconds; a broker that is silent for longer is away, one that is slow is not"""


class Client(Protocol):
    """A connection to a broker."""

    @property
    def messages(self) -> AsyncIterable[aiomqtt.Message]:
        """What comes on subscribed topics."""
        ...

    async def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties | None, timeout: float
    ) -> object:
        """Publish, and wait for the acknowledgement; raises MqttError, as MessageRefused where it says no."""
        ...

    async def subscribe(self, topic: list[tuple[str, int]]) -> object:
        """Subscribe to filters; raises MqttError."""
        ...


_quiet = logging.getLogger("headend.aiomqtt")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class MessageRefused(aiomqtt.MqttError):
    """The broker acknowledged a message only to say that it does not take it; `later`: it may take it another time."""

    def __init__(self, reason: ReasonCode) -> None:
        super().__init__(f"the broker refuses the message: {reason}")
        self.later = reason.value in LATER


class Reachable(Protocol):
    """A broker."""

    def connect(self, will: Message | None = None) -> AbstractAsyncContextManager[Client]:
        """A connection, once it is entered; the broker publishes `will` when it is lost."""
        ...


class _Client(aiomqtt.Client):
    """Says of each message whether the broker has taken it: MQTT 5 acknowledges also what it does not take."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as aiomqtt has them
        super().__init__(*args, **options)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def publish(  # type: ignore[override] # what Client says; aiomqtt takes more, and says less of what became of it
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties | None, timeout: float
    ) -> None:
        """Publish, and wait for the acknowledgement; raises MqttError, as MessageRefused where it says no."""
        said = self._client.publish(topic, payload, qos, retain, properties)
        if said.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(said.rc, "Could not publish message")
        if said.is_published():
            return
        taken = self._waiting[said.mid] = asyncio.get_running_loop().create_future()
        try:
            await (taken if timeout == math.inf else asyncio.wait_for(taken, timeout))
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None
        finally:
            self._waiting.pop(said.mid, None)

    def _on_publish(
        self, client: paho.Client, userdata: object, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        del client, userdata, properties
        taken = self._waiting.get(mid)
        if taken is None or taken.done():
            return
        if reason_code.is_failure:
            taken.set_exception(MessageRefused(reason_code))
        else:
            taken.set_result(None)


class _Window:
    """How many are under way. Brokers and kernels hold small answers back: new messages go in bursts, not one for one."""

    def __init__(self) -> None:
        self._flying = 0
        self._room = asyncio.Event()

    async def enter(self) -> None:
        if self._flying >= WINDOW:
            self._room.clear()
            await self._room.wait()
        self._flying += 1

    def leave(self) -> None:
        self._flying -= 1
        if self._flying <= WINDOW // 2:
            self._room.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how to speak with it; `password` never shows. Raises ConfigError for one that is not text."""

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: str = ""
    certificate: str = ""
    """PEM file with the certificate that we show; together with `key_file`"""
    key_file: str = ""
    username: str = field(default="", repr=False)
    """may be a secret itself: the access token of a platform"""
    password: Secret | None = None
    version: str = "5"
    client_id: str = ""

    def __post_init__(self) -> None:
        try:
            _ = self.password and self.password.reveal().decode()
        except UnicodeDecodeError:
            raise ConfigError("password of the MQTT broker: expected UTF-8, got other octets") from None
        if bool(self.certificate) is not bool(self.key_file):
            raise ConfigError("a certificate for the MQTT broker and its key belong together: one of them is missing")
        if self.certificate and not self.tls:
            raise ConfigError("a certificate is shown over TLS only", hint="write mqtts://…")

    def connect(self, will: Message | None = None) -> AbstractAsyncContextManager[Client]:
        """A connection, once it is entered."""
        client = _Client(
            self.host,
            self.port,
            username=self.username or None,
            password=self.password.reveal().decode() if self.password else None,
            identifier=self.client_id or None,
            protocol=aiomqtt.ProtocolVersion.V5 if self.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, will.qos, retain=will.retain) if will else None,
            tls_context=self._tls_context(),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            max_inflight_messages=3 * WINDOW,
            max_queued_incoming_messages=REQUESTS_QUEUED,
            keepalive=KEEP_ALIVE,
            logger=_quiet,
            timeout=10,
        )
        client.pending_calls_threshold = 4 * WINDOW
        return client

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"the certificate for the MQTT broker cannot be used: {error}") from error
        return context


async def publish_all(client: Client, messages: Iterable[Message]) -> None:
    """Publish messages in their order, up to WINDOW of them under way, and wait until the broker has all.

    Raises SinkError where the broker is away, SinkRefused where it does not take one of them.
    """
    window = _Window()

    async def publish(message: Message) -> None:
        try:
            await client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                properties=message.properties,
                timeout=math.inf,
            )
        finally:
            window.leave()

    try:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                await window.enter()
                group.create_task(publish(message), name="mqtt-publish")
    except BaseExceptionGroup as failed:
        first = _first(failed)
        if isinstance(first, MessageRefused) and not first.later:
            raise SinkRefused(str(first)) from first
        if not isinstance(first, aiomqtt.MqttError | OSError):
            raise
        raise SinkError(f"the broker is away: {first}") from first


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def broker_from_url(url: str, setting: str = "mqtt.broker") -> tuple[str, int, bool]:
    """(host, port, TLS) of `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`; raises ConfigError that names the setting."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username or parts.path.strip("/"):
        raise ConfigError(f"{setting}: expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    tls = parts.scheme == "mqtts"
    return parts.hostname, port or (8883 if tls else 1883), tls
