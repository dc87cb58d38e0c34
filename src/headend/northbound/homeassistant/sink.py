"""The sink for Home Assistant: devices are described by MQTT discovery, states follow, the relay can be switched.

What is retained at the broker is all that this sink remembers: at each connection it compares the descriptions that it finds
there with the meters that there are, and takes back what is no more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import structlog

from headend.errors import ConfigError, SinkError
from headend.model.event import Event, EventType
from headend.model.job import CommandKind
from headend.model.journal import Entry
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.model.quantity import find_quantity
from headend.model.reading import ReadingBatch, Source
from headend.northbound.brokered import BrokerOptions, broker_of, connection, incoming
from headend.northbound.client import Broker, Client, publish_all
from headend.northbound.homeassistant.classes import Units
from headend.northbound.homeassistant.discovery import (
    OFFLINE,
    ONLINE,
    RELAY,
    Discovery,
    Names,
    Told,
    gone_since,
    is_ours,
    quantities_of,
)
from headend.northbound.homeassistant.states import states
from headend.northbound.message import Message
from headend.northbound.sink import Refusal, Sink, SinkKind, Surroundings
from headend.northbound.switching import may_switch, switch

GOODBYE: Final = 3.0
"""seconds that the broker may take at the end"""
COMMANDS_AT_ONCE: Final = 20
SWITCH: Final = {b"ON": CommandKind.RECONNECT, b"OFF": CommandKind.DISCONNECT}
RETAINED: Final = ("status", RELAY, "last_read")
"""topics of a meter that outlive it at the broker, unless they are emptied"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAssistantOptions(BrokerOptions):
    """Options of a sink of the kind `homeassistant`."""

    discovery_prefix: str = field(
        default="homeassistant", metadata={"description": "where Home Assistant looks for descriptions"}
    )
    topic: str = field(
        default="headend/homeassistant", metadata={"description": "below which the states are published"}
    )
    node: str = field(
        default="headend",
        metadata={
            "description": "begins the names of all devices and entities: another one for each head-end at a broker"
        },
    )
    energy_unit: str = field(default="kWh", metadata={"description": "kWh or Wh (also for kvarh, kVAh)"})
    power_unit: str = field(default="W", metadata={"description": "W or kW (also for kvar, kVA)"})
    zone: str = field(
        default="",
        metadata={"description": "time zone of meter clocks that do not tell theirs, for example Europe/Berlin"},
    )
    birth_jitter: float = field(
        default=5.0,
        metadata={"description": "descriptions are repeated within so many seconds after Home Assistant has started"},
    )


def make(options: HomeAssistantOptions, surroundings: Surroundings) -> Sink:
    """A sink; raises ConfigError."""
    for name, value, allowed in (
        ("energy_unit", options.energy_unit, ("kWh", "Wh")),
        ("power_unit", options.power_unit, ("W", "kW")),
    ):
        if value not in allowed:
            raise ConfigError(f"sinks.{surroundings.name}.{name}: expected {' or '.join(allowed)}, got {value!r}")
    try:
        zone = ZoneInfo(options.zone) if options.zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"sinks.{surroundings.name}.zone: no time zone {options.zone!r}") from None
    return HomeAssistantSink(options, surroundings, broker_of(options, surroundings), zone)


class HomeAssistantSink:
    """One broker with a Home Assistant behind it."""

    def __init__(
        self, options: HomeAssistantOptions, surroundings: Surroundings, broker: Broker, zone: ZoneInfo | None
    ) -> None:
        self.options = options
        self.around = surroundings
        self.zone = zone
        self.units = Units(kilo_energy=options.energy_unit == "kWh", kilo_power=options.power_unit == "kW")
        self.names = Names(options.discovery_prefix, options.topic, options.node)
        self.discovery = Discovery(self.names, self.units, surroundings.version)
        self.seen: dict[str, set[str]] = {}
        """quantities that came of each meter, polled or not"""
        self._broker = broker

    @asynccontextmanager
    async def session(self) -> AsyncIterator[HomeAssistantChannel]:
        """Connect, say what there is; say goodbye at the end."""
        names = self.names
        will = Message(names.status, OFFLINE, retain=True)
        filters = [names.configs, names.birth, *([names.commands] if may_switch(self.around) else [])]
        async with connection(self._broker, will, filters) as client:
            channel = HomeAssistantChannel(self, client)
            await channel.announce()
            try:
                yield channel
            finally:
                with suppress(SinkError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await publish_all(client, [will])

    def meters(self) -> list[Meter]:
        """What Home Assistant may know of."""
        return [state.meter for state in self.around.roster if self.around.meters(state.meter)]

    def find(self, meter_id: str) -> Meter | None:
        """A meter that Home Assistant may know of."""
        state = self.around.roster.find(meter_id)
        return state.meter if state is not None and self.around.meters(state.meter) else None

    def told(self, meter: Meter) -> Told:
        """What a device consists of now."""
        profile = self.around.profile(meter)
        seconds = partial(self.around.live_seconds, meter)
        quantities = quantities_of(profile, self.seen.get(meter.id, ()), seconds, wants=self.around.quantities)
        has_switch = may_switch(self.around) and _can_switch(profile, quantities)
        return Told(meter=meter, profile=profile, quantities=quantities, has_switch=has_switch)


def _can_switch(profile: MeterProfile | None, quantities: Iterable[str]) -> bool:
    """Whether there is a relay whose state is read. A profile that lists commands has no others."""
    if profile is None or RELAY not in quantities:
        return False
    kinds = {each.kind for each in profile.commands}
    return not kinds or kinds.issuperset(SWITCH.values())


class HomeAssistantChannel:
    """A connection to the broker."""

    def __init__(self, sink: HomeAssistantSink, client: Client) -> None:
        self._sink = sink
        self._client = client
        self._described: dict[str, Told] = {}
        self._announcing = False

    async def announce(self) -> None:
        """Say that we are here, what meters there are, and which of them can be reached."""
        sink = self._sink
        said = [Message(sink.names.status, ONLINE, retain=True), sink.discovery.gateway()]
        for meter in sink.meters():
            said += [self._describe(meter), self._status(meter)]
        await publish_all(self._client, said)

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Bring states; what is late is no state any more, and is taken for delivered."""
        said: list[Message] = []
        for entry in entries:
            if isinstance(entry.item, Event):
                said += self._of_event(entry.item)
            elif not late:
                said += self._of_batch(entry.item)
        await publish_all(self._client, said)
        return ()

    async def attend(self) -> None:
        """Hear commands, and that Home Assistant has started; take back at first what is described and no more."""
        room = asyncio.Semaphore(COMMANDS_AT_ONCE)
        names = self._sink.names
        try:
            async with asyncio.TaskGroup() as group:
                async for message in incoming(self._client):
                    topic, payload = message.topic.value, message.payload
                    if topic == names.birth:
                        if payload == ONLINE and not message.retain and not self._announcing:
                            self._announcing = True
                            group.create_task(self._announce_again(), name="homeassistant-announce")
                    elif topic.startswith(f"{names.prefix}/device/"):
                        if message.retain:
                            await self._compare(topic, payload)
                    elif not message.retain:  # a retained command would be carried out anew at every start
                        await room.acquire()
                        task = group.create_task(self._switch(topic, payload), name="homeassistant-switch")
                        task.add_done_callback(lambda _task: room.release())
        except* SinkError as lost:
            raise SinkError(f"the broker is away: {lost.exceptions[0]}") from lost

    async def _announce_again(self) -> None:
        await asyncio.sleep(random.uniform(0, self._sink.options.birth_jitter))  # noqa: S311 - spreads head-ends
        self._announcing = False
        await self.announce()

    # --- what is said ---

    def _describe(self, meter: Meter) -> Message:
        told = self._described[meter.id] = self._sink.told(meter)
        return self._sink.discovery.meter(told)

    def _status(self, meter: Meter) -> Message:
        state = self._sink.around.roster.find(meter.id)
        online = state is not None and state.online
        return Message(self._sink.names.of(meter.id, "status"), ONLINE if online else OFFLINE, retain=True)

    def _of_event(self, event: Event) -> list[Message]:
        """Events say that something is to be said anew; what, the roster knows."""
        meter = self._sink.find(event.meter_id) if event.meter_id else None
        match event.type:
            case EventType.METER_ONLINE | EventType.METER_OFFLINE if meter is not None:
                return [self._status(meter)]
            case EventType.METER_ADDED | EventType.METER_CHANGED if meter is not None:
                return [*self._described_anew(meter), self._status(meter)]
            case EventType.METER_REMOVED | EventType.METER_CHANGED if meter is None:
                return self._removed(event.meter_id)
            case _:
                return []

    def _described_anew(self, meter: Meter) -> list[Message]:
        """A description, after one that takes back what has gone since the last one."""
        before = self._described.get(meter.id)
        message = self._describe(meter)
        if before is None:
            return [message]
        gone = gone_since(orjson.loads(self._sink.discovery.meter(before).payload), _components(message))
        return [self._sink.discovery.meter(self._described[meter.id], gone), message] if gone else [message]

    def _removed(self, meter_id: str) -> list[Message]:
        names = self._sink.names
        self._described.pop(meter_id, None)
        self._sink.seen.pop(meter_id, None)
        topics = [names.of(meter_id, tail) for tail in RETAINED]
        return [
            self._sink.discovery.removed(names.device(meter_id)),
            *(Message(each, b"", retain=True) for each in topics),
        ]

    def _of_batch(self, batch: ReadingBatch) -> list[Message]:
        meter = self._sink.find(batch.meter_id)
        if meter is None or batch.source is Source.HISTORY:
            return []
        said: list[Message] = []
        told = self._described.get(meter.id)
        if told is None or not told.quantities.keys() >= set(batch.quantities):
            self._sink.seen.setdefault(meter.id, set()).update(batch.quantities)
            if told is None or self._sink.told(meter).quantities != told.quantities:
                said.append(self._describe(meter))
        sink = self._sink
        return said + list(states(batch, self._described[meter.id].quantities, sink.names, sink.units, sink.zone))

    # --- what is heard ---

    async def _compare(self, topic: str, payload: bytes) -> None:
        """Take back what an earlier description says and is no more: a whole device, or some of its entities."""
        sink = self._sink
        device = topic.split("/")[-2]
        described = _parsed(payload)
        if not is_ours(described) or not device.startswith(f"{sink.names.node}_"):
            return
        meter = next((each for each in sink.meters() if sink.names.device(each.id) == device), None)
        if meter is None:
            slug = device.removeprefix(f"{sink.names.node}_")
            topics = [f"{sink.names.topic}/{slug}/{tail}" for tail in RETAINED]
            said = [sink.discovery.removed(device), *(Message(each, b"", retain=True) for each in topics)]
        else:
            self._remember(meter, described)
            message = self._describe(meter)
            gone = gone_since(described, _components(message))
            said = [sink.discovery.meter(self._described[meter.id], gone)] if gone else []
            said.append(message)
        await publish_all(self._client, said)

    def _remember(self, meter: Meter, described: object) -> None:
        """What came of a meter before we were started, though it is not polled, is likely to come again."""
        profile = self._sink.around.profile(meter)
        possible = None if profile is None else {entry.quantity for entry in profile.objects}
        earlier = gone_since(described, ())
        self._sink.seen.setdefault(meter.id, set()).update(
            key for key in earlier if find_quantity(key) and (possible is None or key in possible)
        )

    async def _switch(self, topic: str, payload: bytes) -> None:
        """Do what the switch asks, then read: what Home Assistant shows is what the meter says."""
        names = self._sink.names
        meter = next((each for each in self._sink.meters() if names.of(each.id, "relay/set") == topic), None)
        if meter is None or payload not in SWITCH or not self._sink.told(meter).has_switch:
            log.info("a command from Home Assistant is not taken", topic=topic, octets=len(payload))
            return
        await switch(self._sink.around, meter.id, closed=payload == b"ON")


def _components(message: Message) -> Sequence[str]:
    return list(orjson.loads(message.payload)["components"])


def _parsed(payload: bytes) -> object:
    try:
        return orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        return None


kind: Final = SinkKind(name="homeassistant", options=HomeAssistantOptions, make=make)
