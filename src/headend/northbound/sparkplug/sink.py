"""The sink for Sparkplug B 3.0: the head-end is an edge node, each meter a device of it.

Births, deaths and data go with QoS 0, as the specification wants it. That the broker has them is known all the same: it answers
a subscription, that was sent after them on the same connection, only when it has taken what came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import aiomqtt
import orjson
import structlog

from headend.errors import ConfigError, DecodeError, SinkError
from headend.model.event import Event, EventType
from headend.model.journal import Entry
from headend.model.meter import Meter
from headend.model.reading import ReadingBatch
from headend.northbound.brokered import BrokerOptions, broker_of, connection, incoming
from headend.northbound.client import Broker, Client, publish_all
from headend.northbound.message import Message
from headend.northbound.sink import Refusal, Sink, SinkKind, Surroundings
from headend.northbound.sparkplug.device import RELAY, Device, metrics_of
from headend.northbound.sparkplug.node import NAMESPACE, REBIRTH, Node, Topics, death
from headend.northbound.sparkplug.payload import Metric, decode_payload
from headend.northbound.switching import may_switch, switch

GOODBYE: Final = 3.0
"""seconds that the broker may take at the end"""
COMMANDS_AT_ONCE: Final = 20
_OF_METERS: Final = (
    EventType.METER_ONLINE,
    EventType.METER_OFFLINE,
    EventType.METER_ADDED,
    EventType.METER_CHANGED,
    EventType.METER_REMOVED,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkplugOptions(BrokerOptions):
    """Options of a sink of the kind `sparkplug`."""

    version: str = field(default="3.1.1", metadata={"description": "of MQTT: Sparkplug is spoken over 3.1.1 here"})
    group: str = field(default="headend", metadata={"description": "Group ID"})
    edge_node: str = field(default="headend", metadata={"description": "Edge Node ID, unique in its group"})
    primary_host: str = field(
        default="", metadata={"description": "Host ID without which nothing is sent: readings wait until it is online"}
    )


def make(options: SparkplugOptions, surroundings: Surroundings) -> Sink:
    """A sink; raises ConfigError."""
    if options.version != "3.1.1":
        raise ConfigError(f"sinks.{surroundings.name}.version: Sparkplug is spoken over MQTT 3.1.1 only")
    if set("+/#\0") & set(options.primary_host):
        raise ConfigError(f"sinks.{surroundings.name}.primary_host: expected a Host ID without +, / and #")
    return SparkplugSink(options, surroundings, broker_of(options, surroundings))


class SparkplugSink:
    """An edge node and its broker."""

    def __init__(self, options: SparkplugOptions, surroundings: Surroundings, broker: Broker) -> None:
        self.around = surroundings
        self.topics = Topics(options.group, options.edge_node)
        self.host = options.primary_host and f"{NAMESPACE}/STATE/{options.primary_host}"
        self.seen: dict[str, set[str]] = {}
        """quantities that came of each meter, though its profile does not tell of them"""
        self._broker = broker
        self._connects = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[SparkplugChannel]:
        """Connect, wait for the primary host, be born; die at the end."""
        bd_seq = self._connects % 256
        self._connects += 1
        will = death(self.topics, bd_seq, self.around.clock())
        filters = [*self.topics.commands, *([self.host] if self.host else [])]
        async with connection(self._broker, will, filters) as client:
            channel = SparkplugChannel(self, client, bd_seq)
            try:
                await channel.wait_for_host()
                await channel.rebirth()
                yield channel
            finally:
                with suppress(SinkError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await publish_all(client, [death(self.topics, bd_seq, self.around.clock())])

    def meters(self) -> list[Meter]:
        """The meters that become devices."""
        return [state.meter for state in self.around.roster if self.around.meters(state.meter)]

    def find(self, meter_id: str) -> Meter | None:
        """A meter that is a device."""
        state = self.around.roster.find(meter_id)
        return state.meter if state is not None and self.around.meters(state.meter) else None

    def keys(self, meter: Meter) -> list[str]:
        """The metrics of a meter."""
        return metrics_of(self.around.profile(meter), self.seen.get(meter.id, ()), self.around.quantities)

    def live_seconds(self, meter_id: str, quantity: str) -> float:
        """For how long a value is of the present."""
        meter = self.find(meter_id)
        return 0.0 if meter is None else self.around.live_seconds(meter, quantity)

    def is_dead(self, meter_id: str) -> bool:
        """Whether a meter is known not to answer."""
        state = self.around.roster.find(meter_id)
        return state is None or state.online is False


class SparkplugChannel:
    """A session of the edge node. What is said is numbered: one at a time has the word."""

    def __init__(self, sink: SparkplugSink, client: Client, bd_seq: int) -> None:
        self._sink = sink
        self._client = client
        self._node = Node(sink.topics, bd_seq, sink.around.version, sink.around.clock, sink.live_seconds)
        self._word = asyncio.Lock()
        self._host_since = -1
        """time of the last STATE message that said that the host is online"""

    async def wait_for_host(self) -> None:
        """Until the primary host says that it is online; raises SinkError when the connection is lost."""
        if not self._sink.host:
            return
        async with aclosing(incoming(self._client)) as messages:
            async for message in messages:
                if message.topic.value == self._sink.host and self._host_online(message.payload):
                    return

    async def rebirth(self) -> None:
        """The whole sequence of births, with the deaths of those that cannot be reached."""
        async with self._word:
            sink, node = self._sink, self._node
            node.devices = {meter.id: node.enter(meter.id, sink.keys(meter)) for meter in sink.meters()}
            said = [node.birth(*self._counts())]
            said += [node.device_birth(device) for device in node.devices.values()]
            said += self._deaths(node.devices)
            await self._say(said)

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Bring data; what is late is marked as historical."""
        async with self._word:
            said: list[Message] = []
            told: set[str] = set()
            for entry in entries:
                if isinstance(entry.item, Event):
                    said += self._of_event(entry.item)
                elif len(entry.item) or entry.item.missing:
                    told.add(entry.item.meter_id)
                    said += self._of_batch(entry.item, late=late)
            said += self._deaths(told)
            await self._say(said)
        return ()

    async def attend(self) -> None:
        """Hear commands, and that the primary host has gone."""
        room = asyncio.Semaphore(COMMANDS_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                async for message in incoming(self._client):
                    if message.topic.value == self._sink.host:
                        self._host_online(message.payload)
                    elif not message.retain:
                        await room.acquire()
                        task = group.create_task(self._command(message), name="sparkplug-command")
                        task.add_done_callback(lambda _task: room.release())
        except* SinkError as lost:
            raise SinkError(str(lost.exceptions[0])) from lost

    # --- what is said ---

    async def _say(self, messages: Sequence[Message]) -> None:
        """Publish in order, and wait until the broker has taken all of it."""
        if not messages:
            return
        await publish_all(self._client, messages)
        try:
            await self._client.subscribe([(self._sink.topics.of_node("NCMD"), 1)])
        except (aiomqtt.MqttError, OSError) as error:
            raise SinkError(f"the broker is away: {error}") from error

    def _of_batch(self, batch: ReadingBatch, *, late: bool) -> list[Message]:
        sink, node = self._sink, self._node
        meter = sink.find(batch.meter_id)
        if meter is None:
            return []
        device = node.devices.get(meter.id)
        unknown = set(batch.quantities) - device.aliases.keys() if device else set(batch.quantities)
        if unknown:
            sink.seen.setdefault(meter.id, set()).update(unknown)
        keys = sink.keys(meter) if unknown or device is None else list(device.aliases)
        said: list[Message] = []
        if device is None or keys != list(device.aliases) or not device.alive:
            device = node.enter(meter.id, keys)
            said.append(node.device_birth(device))
        return said + node.data(device, batch, late=late)

    def _of_event(self, event: Event) -> list[Message]:
        """Events say that something has changed; what, the roster knows."""
        if event.type not in _OF_METERS:
            return []
        sink, node = self._sink, self._node
        meter, device = sink.find(event.meter_id), node.devices.get(event.meter_id)
        said: list[Message] = []
        if meter is None:
            sink.seen.pop(event.meter_id, None)
            if device is not None:
                said += node.device_death(device)
                del node.devices[event.meter_id]
        else:
            if device is None or event.type is EventType.METER_CHANGED:
                device = node.enter(meter.id, sink.keys(meter))
                said.append(node.device_birth(device))
            elif not device.alive and not sink.is_dead(meter.id):
                said.append(node.device_birth(device))
            said += self._deaths([meter.id])
        return said + node.counted(*self._counts())

    def _deaths(self, meter_ids: Iterable[str]) -> list[Message]:
        """The deaths of devices that live here though their meters do not answer."""
        devices = [self._node.devices[each] for each in meter_ids if each in self._node.devices]
        return [said for each in devices if self._sink.is_dead(each.meter_id) for said in self._node.device_death(each)]

    def _counts(self) -> tuple[int, int]:
        meters = self._sink.meters()
        online = sum(1 for each in meters if (state := self._sink.around.roster.find(each.id)) and state.online)
        return len(meters), online

    # --- what is heard ---

    def _host_online(self, payload: bytes) -> bool:
        """Whether a STATE message says that the host is online; raises SinkError when it says that it is no more."""
        try:
            said = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return False
        match said:
            case {"online": bool(online), "timestamp": int(at)} if at >= self._host_since:
                if online:
                    self._host_since = at
                elif self._host_since >= 0:
                    raise SinkError("the primary host is away")
                return online
            case _:
                return False

    async def _command(self, message: aiomqtt.Message) -> None:
        topic = message.topic.value
        try:
            metrics = decode_payload(message.payload).metrics
        except DecodeError as error:
            log.info("a Sparkplug command is not understood", topic=topic, reason=str(error))
            return
        if topic == self._sink.topics.of_node("NCMD"):
            if any(each.name == REBIRTH and each.value is True for each in metrics):
                await self.rebirth()
            return
        devices = list(self._node.devices.values())
        device = next((each for each in devices if self._sink.topics.of_device("DCMD", each.meter_id) == topic), None)
        if device is not None:
            await self._switch(device, metrics)

    async def _switch(self, device: Device, metrics: Iterable[Metric]) -> None:
        """Do what is written to the relay, then read it: the host sees what the meter says."""
        alias = device.aliases.get(RELAY)
        asked = [each for each in metrics if each.name == RELAY or (alias is not None and each.alias == alias)]
        if not asked or not isinstance(asked[-1].value, bool) or not may_switch(self._sink.around):
            log.info("a Sparkplug command is not taken", meter=device.meter_id, metrics=len(asked))
            return
        await switch(self._sink.around, device.meter_id, closed=asked[-1].value)


kind: Final = SinkKind(name="sparkplug", options=SparkplugOptions, make=make)
