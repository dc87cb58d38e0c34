"""The MQTT sink: readings and events to a broker, requests from it. MQTT 3.1.1 and 5.

Messages are published with QoS 1, a window of them at a time, and are forgotten when the broker has acknowledged them;
after a lost connection those without acknowledgement are sent again. While the broker is away the newest readings wait in
a bounded queue; what does not fit is counted and can be read from the database.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headend.errors import ConfigError, HeadendError
from headend.model.event import Event, EventType
from headend.model.meter import Secret
from headend.model.reading import ReadingBatch
from headend.northbound.topics import (
    Request,
    Topics,
    event_payload,
    parse_request,
    response_payload,
    status_payload,
    telemetry_payload,
)
from headend.services.bus import Bus
from headend.telemetry import SINK_MESSAGES

WINDOW: Final = 64
QUEUE_BATCHES: Final = 20_000
QUEUE_EVENTS: Final = 5_000
REQUESTS_AT_ONCE: Final = 100
MAX_METER_ID: Final = 64
BACKOFF: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
GOODBYE: Final = 3.0
"""seconds that a broker may take at the end"""

Answer = Callable[[Request], Awaitable[object]]
"""Does what a request asks; returns what goes into `result`, raises errors of the tree."""

log = structlog.get_logger(__name__)
_quiet = logging.getLogger("headend.aiomqtt")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False

_SENT = SINK_MESSAGES.labels("mqtt", "sent")
_FAILED = SINK_MESSAGES.labels("mqtt", "failed")


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


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool = False
    properties: Properties | None = None


class _EndError(Exception):
    """The sink is to end: leaves the task group of a connection."""


class MqttSink:
    """Publishes what passes over the bus, until cancelled."""

    def __init__(
        self, broker: Broker, topics: Topics, bus: Bus, answer: Answer, clock: Callable[[], int], *, version: str
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._answer = answer
        self._clock = clock
        self._version = version
        self._batches = bus.subscribe("mqtt", ReadingBatch, maxsize=QUEUE_BATCHES)
        self._events = bus.subscribe("mqtt-events", Event, maxsize=QUEUE_EVENTS)
        self._unsent: list[_Message] = []
        self._unsent_events: list[_Message] = []
        self._statuses: dict[str, _Message] = {}
        """the last status of each meter: a broker that comes back may have forgotten what it retained"""
        self._ending = asyncio.Event()
        self.connected = asyncio.Event()
        """set while the broker is there"""

    async def run(self) -> None:
        """Connect, publish, come back after a lost connection, until cancelled; then say goodbye to the broker.

        Says on the log once that the broker went, and came.
        """
        # The client library can lose a cancellation that meets it while it connects: the stop is an event of ours.
        connections = asyncio.create_task(self._connections(), name="mqtt-connections")
        try:
            await asyncio.shield(connections)
        except asyncio.CancelledError:
            self._ending.set()
            try:
                await asyncio.wait([connections], timeout=GOODBYE)
            finally:
                connections.cancel()
            raise

    async def _connections(self) -> None:
        failures = 0
        while not self._ending.is_set():
            try:
                async with self._client() as client:
                    failures = 0
                    await self._converse(client)
            except* (aiomqtt.MqttError, OSError, ssl.SSLError) as group:
                reason = _first(group)
                if failures == 0:
                    log.warning("broker away", host=self._broker.host, port=self._broker.port, reason=str(reason))
                failures += 1
            self.connected.clear()
            pause = BACKOFF[min(failures, len(BACKOFF)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - spreads reconnects
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    def close(self) -> None:
        """Follow the bus no longer."""
        self._batches.close()
        self._events.close()

    def _client(self) -> aiomqtt.Client:
        broker = self._broker
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username or None,
            password=broker.password.reveal().decode() if broker.password else None,
            identifier=broker.client_id or None,
            protocol=aiomqtt.ProtocolVersion.V5 if broker.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(self._topics.gateway_status, status_payload(self._clock(), online=False), 1, retain=True),
            tls_context=ssl.create_default_context(cafile=broker.ca_file or None) if broker.tls else None,
            logger=_quiet,
            timeout=10,
        )

    async def _converse(self, client: aiomqtt.Client) -> None:
        hello = status_payload(self._clock(), online=True, version=self._version)
        await client.publish(self._topics.gateway_status, hello, qos=1, retain=True)
        await client.subscribe([(self._topics.requests, 1), (f"{self._topics.requests}/+", 1)])
        statuses = list(self._statuses.values())
        for start in range(0, len(statuses), WINDOW):
            await self._publish(client, statuses[start : start + WINDOW])
        log.info("broker connected", host=self._broker.host, port=self._broker.port)
        self.connected.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump_batches(client), name="mqtt-readings")
                group.create_task(self._pump_events(client), name="mqtt-events")
                group.create_task(self._take_requests(client), name="mqtt-requests")
                group.create_task(self._until_the_end(), name="mqtt-end")
        except* _EndError:
            pass
        goodbye = status_payload(self._clock(), online=False)
        await client.publish(self._topics.gateway_status, goodbye, qos=1, retain=True)

    async def _until_the_end(self) -> None:
        await self._ending.wait()
        raise _EndError

    async def _pump_batches(self, client: aiomqtt.Client) -> None:
        await self._publish(client, self._unsent)
        self._unsent = []
        while batches := await self._batches.take(WINDOW, 0.02):
            self._unsent = [
                _Message(self._topics.meter(batch.meter_id, "telemetry"), telemetry_payload(batch))
                for batch in batches
                if len(batch)
            ]
            await self._publish(client, self._unsent)
            self._unsent = []

    async def _pump_events(self, client: aiomqtt.Client) -> None:
        await self._publish(client, self._unsent_events)
        self._unsent_events = []
        while events := await self._events.take(WINDOW, 0.02):
            self._unsent_events = [message for event in events for message in self._of_event(event)]
            await self._publish(client, self._unsent_events)
            self._unsent_events = []

    def _of_event(self, event: Event) -> list[_Message]:
        if not event.meter_id:
            return [_Message(f"{self._topics.prefix}/gateway/events", event_payload(event))]
        messages = [_Message(self._topics.meter(event.meter_id, "events"), event_payload(event))]
        status = self._topics.meter(event.meter_id, "status")
        if event.type in (EventType.METER_ONLINE, EventType.METER_OFFLINE):
            online = event.type is EventType.METER_ONLINE
            said = _Message(status, status_payload(event.occurred_at, online=online), retain=True)
            self._statuses[status] = said
            messages.append(said)
        elif event.type is EventType.METER_REMOVED:
            self._statuses.pop(status, None)
            messages.append(_Message(status, b"", retain=True))
        return messages

    async def _publish(self, client: aiomqtt.Client, messages: list[_Message]) -> None:
        try:
            await asyncio.gather(
                *(
                    client.publish(each.topic, each.payload, qos=1, retain=each.retain, properties=each.properties)
                    for each in messages
                )
            )
        except aiomqtt.MqttError:
            _FAILED.inc(len(messages))
            raise
        _SENT.inc(len(messages))

    async def _take_requests(self, client: aiomqtt.Client) -> None:
        room = asyncio.Semaphore(REQUESTS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for message in client.messages:
                await room.acquire()
                task = group.create_task(self._respond(client, message), name="mqtt-request")
                task.add_done_callback(lambda _task: room.release())

    async def _respond(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        """Answer a request. Whoever may ask can neither end the sink nor have answers sent where none can go."""
        meter_id, user = self._topics.requested(message.topic.value)
        if len(meter_id) > MAX_METER_ID or message.retain:
            # A retained request would be carried out anew at every start.
            log.info("MQTT request is not taken", octets=len(message.topic.value), retained=message.retain)
            return
        request_id = ""
        try:
            request = parse_request(meter_id, message.payload, user)
            request_id = request.id
            body = response_payload(request_id, self._clock(), result=await self._answer(request))
        except HeadendError as error:
            body = response_payload(request_id, self._clock(), error=error.code, detail=str(error))
        except Exception:
            log.exception("MQTT request failed", meter=meter_id)
            body = response_payload(
                request_id, self._clock(), error=HeadendError.code, detail="an internal error; the log says more"
            )
        usual = self._topics.meter(meter_id, "command/response")
        topic, properties = _where_to(getattr(message, "properties", None), usual, self._topics.prefix)
        await self._publish(client, [_Message(topic, body, properties=properties)])


def _where_to(asked: Properties | None, usual: str, prefix: str) -> tuple[str, Properties | None]:
    """The topic of an answer: MQTT 5's response topic where the request has one, with its correlation data.

    `asked` are the properties of the request; MQTT 3.1.1 has none. Below our own prefix only the usual topic is taken:
    whoever may ask must not be able to make us say something in the name of a meter.
    """
    if asked is None:
        return usual, None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's own signature
    data = getattr(asked, "CorrelationData", None)
    if data is not None:
        properties.CorrelationData = data
    topic = getattr(asked, "ResponseTopic", usual)
    ours = topic == prefix or topic.startswith((f"{prefix}/", "$"))
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
