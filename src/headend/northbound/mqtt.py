"""The MQTT sink: readings and events to a broker, requests from it. MQTT 3.1.1 and 5.

Messages are published with QoS 1 and arrive at least once, also when the broker is away for hours: see `delivery`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headend.errors import Busy, ConfigError, HeadendError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch
from headend.northbound.delivery import WINDOW, Delivery, Send, send_all
from headend.northbound.layouts import Stats
from headend.northbound.message import Message
from headend.northbound.topics import Request, parse_request
from headend.northbound.voice import Voice
from headend.services.bus import Bus, Subscription
from headend.storage.outbox import Outbox
from headend.telemetry import SINK_MESSAGES

QUEUE: Final = 20_000
TRANSACTION: Final = 5000
AT_ONCE: Final = 200
"""items that are put into words before others have their turn"""
REQUESTS_AT_ONCE: Final = 200
REQUESTS_OF_ONE: Final = 100
"""requests of one user that may be under way at once; a meter that is away keeps one waiting for a minute"""
REQUESTS_QUEUED: Final = 1000
MAX_METER_ID: Final = 64
KEEP_ALIVE: Final = 20
"""seconds; a broker that is silent for longer is away, one that is slow is not"""
BACKOFF: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
GOODBYE: Final = 3.0
"""seconds that a broker may take at the end"""

Answer = Callable[[Request], Awaitable[object]]
"""Does what a request asks; returns what goes into `result`, raises errors of the tree."""


class Client(Protocol):
    """A connection to a broker."""

    @property
    def messages(self) -> AsyncIterable[aiomqtt.Message]:
        """What comes on subscribed topics."""
        ...

    async def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties | None, timeout: float
    ) -> object:
        """Publish, and wait for the acknowledgement; raises MqttError."""
        ...

    async def subscribe(self, topic: list[tuple[str, int]]) -> object:
        """Subscribe to filters; raises MqttError."""
        ...


Connect = Callable[[Message], AbstractAsyncContextManager[Client]]
"""Connects to the broker, which publishes the given message when the connection is lost."""

log = structlog.get_logger(__name__)
_quiet = logging.getLogger("headend.aiomqtt")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class _Client(aiomqtt.Client):
    """Notices when a broker acknowledges messages only to say that it does not take them (MQTT 5)."""

    _refused = False

    def _on_publish(
        self, client: paho.Client, userdata: object, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.is_failure:
            SINK_MESSAGES.labels("mqtt", "refused").inc()
            if not self._refused:
                log.error("the broker refuses messages: may this user publish there?", reason=str(reason_code))
            self._refused = True
        super()._on_publish(client, userdata, mid, reason_code, properties)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how to speak with it; `password` never shows. Raises ConfigError for one that is not text."""

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: str = ""
    username: str = ""
    password: Secret | None = None
    version: str = "5"
    client_id: str = ""

    def __post_init__(self) -> None:
        try:
            _ = self.password and self.password.reveal().decode()
        except UnicodeDecodeError:
            raise ConfigError("password of the MQTT broker: expected UTF-8, got other octets") from None

    def connect(self, will: Message) -> AbstractAsyncContextManager[Client]:
        """A connection, once it is entered."""
        client = _Client(
            self.host,
            self.port,
            username=self.username or None,
            password=self.password.reveal().decode() if self.password else None,
            identifier=self.client_id or None,
            protocol=aiomqtt.ProtocolVersion.V5 if self.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, 1, retain=True),
            tls_context=ssl.create_default_context(cafile=self.ca_file or None) if self.tls else None,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            max_inflight_messages=3 * WINDOW,
            max_queued_incoming_messages=REQUESTS_QUEUED,
            keepalive=KEEP_ALIVE,
            logger=_quiet,
            timeout=10,
        )
        client.pending_calls_threshold = 4 * WINDOW
        return client


@dataclass(frozen=True, slots=True)
class Report:
    """How often, and how, the sink says how the head-end is doing."""

    seconds: float
    make: Callable[[MqttSink], Stats]


class _EndError(Exception):
    """The sink is to end: leaves the task group of a connection."""


class MqttSink:
    """Publishes what passes over the bus, until cancelled."""

    def __init__(
        self,
        connect: Connect,
        voice: Voice,
        bus: Bus,
        answer: Answer,
        clock: Callable[[], int],
        *,
        outbox: Outbox,
        report: Report | None = None,
    ) -> None:
        self._connect = connect
        self._voice = voice
        self._bus = bus
        self._answer = answer
        self._clock = clock
        self._report = report
        self._since = clock()
        self._asking: Counter[str] = Counter()
        self.requests = 0
        """how many were answered"""
        self._items: Subscription[ReadingBatch | Event] = bus.subscribe("mqtt", ReadingBatch, Event, maxsize=QUEUE)
        self._delivery = Delivery(outbox, self._overflows)
        self._outbox = outbox
        self._ending = asyncio.Event()
        self._awake = asyncio.Event()
        """set while what passes over the bus is wanted at once"""
        self._collected = asyncio.Event()
        self.connected = asyncio.Event()
        """set while the broker is there"""

    async def run(self) -> None:
        """Connect, publish, come back after a lost connection, until cancelled; then say goodbye to the broker.

        Says on the log once that the broker went, and came. What the broker has not taken by then is in the outbox.
        """
        # The client library can lose a cancellation that meets it while it connects: the stop is an event of ours.
        collecting = asyncio.create_task(self._collect(), name="mqtt-collect")
        connections = asyncio.create_task(self._connections(), name="mqtt-connections")
        tasks = (collecting, connections)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._end()
            try:
                await asyncio.wait(tasks, timeout=GOODBYE)
            finally:
                for task in tasks:
                    task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await self._delivery.rest()
            await asyncio.to_thread(self._outbox.close)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _connections(self) -> None:
        failures = 0
        while not self._ending.is_set():
            will = self._voice.gateway(self._clock(), online=False)[0]
            try:
                async with self._connect(will) as client:
                    failures = 0
                    await self._converse(client)
            except* (aiomqtt.MqttError, OSError, ssl.SSLError) as group:
                if failures == 0:
                    log.warning("broker away", reason=str(_first(group)))
                failures += 1
            self.connected.clear()
            if not self._ending.is_set():
                self._awake.clear()
            await self._delivery.rest()
            pause = BACKOFF[min(failures, len(BACKOFF)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - spreads reconnects
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    @property
    def published(self) -> Mapping[str, int]:
        """Messages made so far: telemetry, status, events."""
        return self._voice.published

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages so far, by what became of them: sent, failed, stored, dropped."""
        return self._delivery.counts

    def _end(self) -> None:
        self.close()
        self._ending.set()
        self._awake.set()

    def close(self) -> None:
        """Follow the bus no longer."""
        self._items.close()

    async def _converse(self, client: Client) -> None:
        async def send(message: Message) -> None:
            await self._send(client, message)

        await self._say_hello(send)
        filters = [each.topics.requests for each in self._voice.layouts]
        await client.subscribe([(each, 1) for one in filters for each in (one, f"{one}/+")])
        await send_all(send, self._voice.statuses())
        log.info("broker connected")
        self.connected.set()
        self._awake.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._delivery.run(send), name="mqtt-delivery")
                group.create_task(self._take_requests(client), name="mqtt-requests")
                if self._report is not None:
                    group.create_task(self._tell(send, self._report), name="mqtt-stats")
                group.create_task(self._until_the_end(), name="mqtt-end")
        except* _EndError:
            pass
        await send_all(send, self._voice.gateway(self._clock(), online=False))

    async def _say_hello(self, send: Send) -> None:
        now = self._clock()
        await send_all(send, self._voice.gateway(now, online=True, uptime=(now - self._since) // 1000))

    async def _tell(self, send: Send, report: Report) -> NoReturn:
        """Say from time to time how the head-end is doing; only now, never later."""
        while True:
            await asyncio.sleep(report.seconds)
            await self._say_hello(send)
            await send_all(send, self._voice.stats(report.make(self)))

    async def _until_the_end(self) -> None:
        await self._ending.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE / 2):
                await self._collected.wait()
                await self._delivery.drained()
        raise _EndError

    async def _collect(self) -> None:
        """Make messages of what passes over the bus. While the broker is away, what came within a second goes together."""
        try:
            while items := await self._take():
                messages: list[Message] = []
                for index, item in enumerate(items, 1):
                    messages += self._voice.messages(item)
                    if index % AT_ONCE == 0:
                        await asyncio.sleep(0)
                await self._delivery.offer(messages)
        finally:
            self._collected.set()

    async def _take(self) -> list[ReadingBatch | Event]:
        if not self._awake.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), 1.0)
        return await self._items.take(WINDOW, 0.02, TRANSACTION)

    def _overflows(self, dropped: int) -> None:
        log.warning("the outbox is full: the oldest messages are dropped", dropped=dropped)
        full = Event(
            type=EventType.OUTBOX_FULL,
            severity=Severity.WARNING,
            occurred_at=self._clock(),
            data={"dropped": dropped, "messages": self._outbox.messages},
        )
        self._bus.publish(full)

    async def _send(self, client: Client, message: Message) -> None:
        try:
            await client.publish(
                message.topic,
                message.payload,
                qos=1,
                retain=message.retain,
                properties=message.properties,
                timeout=math.inf,
            )
        except aiomqtt.MqttError:
            self._delivery.count("failed")
            raise
        self._delivery.count("sent")

    async def _take_requests(self, client: Client) -> None:
        room = asyncio.Semaphore(REQUESTS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for message in client.messages:
                await room.acquire()
                task = group.create_task(self._respond(client, message), name="mqtt-request")
                task.add_done_callback(lambda _task: room.release())

    async def _answer_one_of_many(self, request: Request) -> object:
        if self._asking[request.user] > REQUESTS_OF_ONE:
            raise Busy(f"more than {REQUESTS_OF_ONE} requests at once")
        return await self._answer(request)

    async def _respond(self, client: Client, message: aiomqtt.Message) -> None:
        """Answer a request. Whoever may ask can neither end the sink nor have answers sent where none can go."""
        asked = message.topic.value
        layout = next(each for each in self._voice.layouts if each.topics.is_request(asked))
        meter_id, user = layout.topics.requested(asked)
        if len(meter_id) > MAX_METER_ID or message.retain:
            # A retained request would be carried out anew at every start.
            log.info("MQTT request is not taken", octets=len(message.topic.value), retained=message.retain)
            return
        self.requests += 1
        self._asking[user] += 1
        request_id = ""
        try:
            request = parse_request(meter_id, message.payload, user)
            request_id = request.id
            body = layout.response(request, self._clock(), await self._answer_one_of_many(request))
        except HeadendError as error:
            body = layout.refusal(request_id, self._clock(), error)
        except Exception:
            log.exception("MQTT request failed", meter=meter_id)
            bug = HeadendError("an internal error; the log says more")
            body = layout.refusal(request_id, self._clock(), bug)
        finally:
            self._asking[user] -= 1
            if not self._asking[user]:
                del self._asking[user]
        usual = layout.topics.meter(meter_id, "command/response")
        prefixes = [each.topics.prefix for each in self._voice.layouts]
        topic, properties = _where_to(getattr(message, "properties", None), usual, prefixes)
        await self._send(client, Message(topic, body, properties=properties))


def _where_to(asked: Properties | None, usual: str, prefixes: Sequence[str]) -> tuple[str, Properties | None]:
    """The topic of an answer: MQTT 5's response topic where the request has one, with its correlation data.

    `asked` are the properties of the request; MQTT 3.1.1 has none. Below our own prefixes only the usual topic is taken:
    whoever may ask must not be able to make us say something in the name of a meter.
    """
    if asked is None:
        return usual, None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's own signature
    data = getattr(asked, "CorrelationData", None)
    if data is not None:
        properties.CorrelationData = data
    topic = getattr(asked, "ResponseTopic", usual)
    ours = topic in prefixes or topic.startswith(("$", *(f"{prefix}/" for prefix in prefixes)))
    return topic if topic and not ours and not set("+#") & set(topic) else usual, properties


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def broker_from_url(url: str) -> tuple[str, int, bool]:
    """(host, port, TLS) of `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`; raises ConfigError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username or parts.path.strip("/"):
        raise ConfigError("mqtt.broker: expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    tls = parts.scheme == "mqtts"
    return parts.hostname, port or (8883 if tls else 1883), tls
