"""The MQTT sink: readings and events to a broker under topics of our own, requests from it. MQTT 3.1.1 and 5."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NoReturn

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headend.errors import Busy, ConfigError, HeadendError, SinkRefused
from headend.model.event import Event, EventType
from headend.model.journal import SEGMENT_SHIFT, Entry
from headend.model.meter import EndpointKind
from headend.northbound.brokered import BrokerOptions, broker_of, connection, incoming
from headend.northbound.client import Client, Reachable, publish_all
from headend.northbound.ivy import IvyLayout
from headend.northbound.layouts import HeadendLayout, Layout, Stats
from headend.northbound.message import Message
from headend.northbound.sink import Channel, Refusal, SinkKind, Surroundings
from headend.northbound.topics import Request, Topics, parse_request
from headend.northbound.voice import MAX_PAYLOAD, Voice
from headend.services.bus import Bus
from headend.services.roster import Clock, Roster

REQUESTS_AT_ONCE: Final = 200
REQUESTS_OF_ONE: Final = 100
"""requests of one user that may be under way at once; a meter that is away keeps one waiting for a minute"""
MAX_METER_ID: Final = 64
AT_ONCE: Final = frozenset({EventType.STORAGE_FULL, EventType.STORAGE_RECOVERED})
"""Events that cannot wait until they are stored."""

Answer = Callable[[Request], Awaitable[object]]
"""Does what a request asks; returns what goes into `result`, raises errors of the tree."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """How often, and how, the sink says how the head-end is doing."""

    seconds: float
    make: Callable[[MqttSink], Stats]


class MqttSink:
    """Publishes under the topics of its layouts, and answers what is asked below them."""

    def __init__(
        self,
        broker: Reachable,
        voice: Voice,
        clock: Clock,
        answer: Answer | None = None,
        *,
        report: Report | None = None,
        bus: Bus | None = None,
    ) -> None:
        """Without `answer` nothing can be asked; with a bus what happens to the storage is said at once, stored or not."""
        self.voice = voice
        self.clock = clock
        self.answer = answer
        self.report = report
        self.bus = bus
        self.requests = 0
        """how many were answered"""
        self._broker = broker
        self._since = clock()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        """Connect, say hello and how all meters are; say goodbye at the end."""
        will = self.voice.gateway(self.clock(), online=False)[0]
        filters = [each.topics.requests for each in self.voice.layouts] if self.answer is not None else []
        async with connection(self._broker, will, [each for one in filters for each in (one, f"{one}/+")]) as client:
            channel = _Channel(self, client)
            await channel.say(self.hello())
            await channel.say(self.voice.statuses())
            yield channel
            await channel.say(self.voice.gateway(self.clock(), online=False))

    def hello(self) -> list[Message]:
        """The state of the head-end."""
        now = self.clock()
        return self.voice.gateway(now, online=True, uptime=(now - self._since) // 1000)


class _Channel:
    """A connection to the broker."""

    def __init__(self, sink: MqttSink, client: Client) -> None:
        self._sink = sink
        self._client = client
        self._asking: Counter[str] = Counter()

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Publish, and wait until the broker has everything."""
        now = self._sink.clock()
        messages: list[Message] = []
        refusals: list[Refusal] = []
        for entry in entries:
            if self._sink.bus is not None and not late and isinstance(entry.item, Event) and entry.item.type in AT_ONCE:
                continue  # said when it came to pass
            said = self._sink.voice.messages(entry, now, late=late)
            longest = max((len(message.payload) for message in said), default=0)
            if longest > MAX_PAYLOAD:
                refusals.append(Refusal(entry.number, f"{longest} octets are too long for MQTT"))
            else:
                messages += said
        await publish_all(self._client, messages)
        return refusals

    async def attend(self) -> None:
        """Answer requests, and say from time to time how the head-end is doing."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_requests(), name="mqtt-requests")
            if self._sink.report is not None:
                group.create_task(self._tell(self._sink.report), name="mqtt-stats")
            if self._sink.bus is not None:
                group.create_task(self._warn(self._sink.bus), name="mqtt-warnings")

    async def _warn(self, bus: Bus) -> None:
        """Say what happens to the storage: what waits for it to be stored would come too late."""
        events = bus.subscribe("mqtt", Event)
        try:
            async for event in events:
                if event.type in AT_ONCE:
                    entry = Entry(event.occurred_at << SEGMENT_SHIFT, event)
                    await self.say(self._sink.voice.messages(entry, self._sink.clock(), late=False))
        finally:
            events.close()

    async def say(self, messages: Sequence[Message]) -> None:
        """Publish what is of the moment; a broker that does not take it has it its way."""
        try:
            await publish_all(self._client, messages)
        except SinkRefused as error:
            log.error("may this user publish there?", topic=messages[0].topic, reason=str(error))  # noqa: TRY400 - a fact, not a trace

    async def _tell(self, report: Report) -> NoReturn:
        while True:
            await asyncio.sleep(report.seconds)
            await self.say(self._sink.hello())
            await self.say(self._sink.voice.stats(report.make(self._sink)))

    async def _take_requests(self) -> None:
        room = asyncio.Semaphore(REQUESTS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for message in incoming(self._client):
                await room.acquire()
                task = group.create_task(self._respond(message), name="mqtt-request")
                task.add_done_callback(lambda _task: room.release())

    async def _answer_one_of_many(self, request: Request) -> object:
        if self._sink.answer is None:
            raise ConfigError("requests are off")
        if self._asking[request.user] > REQUESTS_OF_ONE:
            raise Busy(f"more than {REQUESTS_OF_ONE} requests at once")
        return await self._sink.answer(request)

    async def _respond(self, message: aiomqtt.Message) -> None:
        """Answer a request. Whoever may ask can neither end the sink nor have answers sent where none can go."""
        asked, layouts = message.topic.value, self._sink.voice.layouts
        layout = next(each for each in layouts if each.topics.is_request(asked))
        meter_id, user = layout.topics.requested(asked)
        if len(meter_id) > MAX_METER_ID or message.retain:
            # A retained request would be carried out anew at every start.
            log.info("MQTT request is not taken", octets=len(message.topic.value), retained=message.retain)
            return
        self._sink.requests += 1
        self._asking[user] += 1
        clock, request_id = self._sink.clock, ""
        try:
            request = parse_request(meter_id, message.payload, user)
            request_id = request.id
            body = layout.response(request, clock(), await self._answer_one_of_many(request))
        except HeadendError as error:
            body = layout.refusal(request_id, clock(), error)
        except Exception:
            log.exception("MQTT request failed", meter=meter_id)
            body = layout.refusal(request_id, clock(), HeadendError("an internal error; the log says more"))
        finally:
            self._asking[user] -= 1
            if not self._asking[user]:
                del self._asking[user]
        usual = layout.topics.meter(meter_id, "command/response")
        prefixes = [each.topics.prefix for each in layouts]
        topic, properties = _where_to(getattr(message, "properties", None), usual, prefixes)
        await self.say([Message(topic, body, properties=properties)])


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


# --- as a kind of sink ---


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions(BrokerOptions):
    """Options of a sink of the kind `mqtt`."""

    layouts: tuple[str, ...] = field(
        default=("headend",), metadata={"description": "what is published: headend, ivy or both"}
    )
    prefix: str = field(
        default="headend/v1", metadata={"description": "first levels of every topic of the layout headend"}
    )
    ivy_prefix: str = field(default="ivy/v1", metadata={"description": "first levels of every topic of the layout ivy"})
    qos: int = field(default=1, metadata={"description": "1: at least once; 0: what is on its way may be lost"})
    retain: bool = field(default=False, metadata={"description": "the broker keeps the newest readings of each meter"})


def layouts_of(names: Sequence[str], prefix: str, ivy_prefix: str, place: str) -> list[Layout]:
    """Layouts in the order of the settings at a place; raises ConfigError."""
    if len(set(names)) < len(names) or (len(names) > 1 and prefix == ivy_prefix):
        raise ConfigError(f"{place}.layouts: expected each layout once, and each with a prefix of its own")
    made: dict[str, Layout] = {"headend": HeadendLayout(Topics(prefix)), "ivy": IvyLayout(Topics(ivy_prefix))}
    if not names or not set(names) <= set(made):
        raise ConfigError(f"{place}.layouts: expected some of {', '.join(made)}")
    return [made[name] for name in names]


def make(options: MqttOptions, surroundings: Surroundings) -> MqttSink:
    """The sink that options describe; raises ConfigError."""
    place = f"sinks.{surroundings.name}"
    if options.qos not in (0, 1):
        raise ConfigError(f"{place}.qos: expected 0 or 1")
    voice = Voice(
        layouts_of(options.layouts, options.prefix, options.ivy_prefix, place),
        version=surroundings.version,
        roster=surroundings.roster,
        address=partial(address_of, surroundings.roster),
        qos=options.qos,
        retain=options.retain,
    )
    answer = surroundings.answer if surroundings.role is not None else None
    return MqttSink(broker_of(options, surroundings), voice, surroundings.clock, answer)


def address_of(roster: Roster, meter_id: str) -> str:
    """Where a meter is; empty where it dials in or is no more."""
    state = roster.find(meter_id)
    if state is None or state.meter.endpoint.kind not in (EndpointKind.TCP, EndpointKind.UDP):
        return ""
    return state.meter.endpoint.host


kind = SinkKind(name="mqtt", options=MqttOptions, make=make)
