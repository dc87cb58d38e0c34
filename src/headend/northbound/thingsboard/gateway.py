"""The gateway API: one connection of a device that is marked as a gateway speaks for all meters.

A meter's device is connected before the first telemetry about it, and after each new connection; it is disconnected when the
meter is offline. Each message is about one device: the platform acknowledges a message about several as soon as it has stored
one of them, and delivery rests on its acknowledgement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from headend.errors import SinkError
from headend.model.journal import Entry
from headend.model.jsontext import dumps
from headend.northbound.brokered import broker_of
from headend.northbound.client import Broker
from headend.northbound.message import Message
from headend.northbound.sink import Channel, Refusal, Surroundings
from headend.northbound.thingsboard.attributes import Names, Told, device_type
from headend.northbound.thingsboard.limits import Limiter
from headend.northbound.thingsboard.news import News, news_of, pieces_of
from headend.northbound.thingsboard.options import GatewayOptions, check, fallback_of, keys_of
from headend.northbound.thingsboard.platform import (
    ANSWERS,
    CALLS,
    OWN_FILTERS,
    TOLD_GATEWAY,
    Platform,
    Saying,
    platform,
    until_lost,
)
from headend.northbound.thingsboard.rpc import (
    Call,
    Calls,
    bounded,
    parse_device_call,
    parse_gateway_attributes,
    parse_gateway_call,
    parse_object,
)
from headend.northbound.thingsboard.telemetry import Room
from headend.services.roster import MeterState

CONNECT: Final = "v1/gateway/connect"
DISCONNECT: Final = "v1/gateway/disconnect"
TELEMETRY: Final = "v1/gateway/telemetry"
ATTRIBUTES: Final = "v1/gateway/attributes"
RPC: Final = "v1/gateway/rpc"
FILTERS: Final = (*OWN_FILTERS, ATTRIBUTES, RPC, DISCONNECT, TOLD_GATEWAY)
CATCHING_UP: Final = 10
"""devices whose shared attributes are asked for at once"""
AT_ONCE: Final = 100
"""meters that are introduced in one go after a new connection"""
GOODBYE: Final = 3.0

log = structlog.get_logger(__name__)


class GatewaySink:
    """ThingsBoard by its gateway API."""

    def __init__(self, options: GatewayOptions, surroundings: Surroundings) -> None:
        check(options, surroundings.name)
        self.options = options
        self.surroundings = surroundings
        self.keys = keys_of(options)
        self.limiter = Limiter(options.share)
        self.calls = Calls(
            surroundings.name, surroundings.answer, surroundings.clock, options.call_seconds, options.shared
        )
        self.broker = _broker(options, surroundings)
        self.fallback = fallback_of(options, self.broker.host)

    def session(self) -> AbstractAsyncContextManager[Channel]:
        """Connect, ask for the limits; say goodbye for the meters at the end."""
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Channel]:
        channel = _Channel(self)
        async with platform(self.broker, self.limiter, FILTERS, channel.heard, channel.introduce) as (peer, listening):
            await peer.agree(self.fallback, is_gateway=True, max_payload=self.options.max_payload)
            channel.begin(peer, listening)
            try:
                yield channel
            finally:
                await channel.goodbye()
                await channel.aclose()
                await self.calls.aclose()


def _broker(options: GatewayOptions, surroundings: Surroundings) -> Broker:
    broker = broker_of(options, surroundings)
    if not options.token:
        return broker
    return replace(broker, username=surroundings.secret(options.token).reveal().decode())


class _Channel:
    """An open connection. What it knows of devices ends with it: the platform forgets them as well."""

    def __init__(self, sink: GatewaySink) -> None:
        self._sink = sink
        self._surroundings = sink.surroundings
        self._names = Names(sink.surroundings.roster, sink.options.device_name)
        self._told = Told(sink.surroundings.profile, sink.options.text_prefix)
        self._peer: Platform
        self._listening: asyncio.Task[None]
        self._catching = asyncio.Semaphore(CATCHING_UP)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, peer: Platform, listening: asyncio.Task[None]) -> None:
        """The connection stands, and its limits are known."""
        self._peer, self._listening = peer, listening
        if self._sink.options.catch_up:
            peer.welcome = self._welcome

    async def aclose(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _welcome(self, device: str) -> None:
        task = asyncio.create_task(self._catch_up(device), name="thingsboard-attributes")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _catch_up(self, device: str) -> None:
        """Do what was set while the device was not connected: one attribute a question, or an answer could be of any."""
        peer, calls, meter_id = self._peer, self._sink.calls, self._meter(device)
        with suppress(SinkError):
            for name in calls.shared if meter_id is not None else ():
                ours = {"client": True, "keys": [f"{name}_done", f"{name}_outcome"]}

                async def told(name: str = name, ours: Mapping[str, Any] = ours) -> Mapping[str, Any]:
                    said = await peer.attributes(ours, device)
                    return said.get("values") or ({f"{name}_outcome": said["value"]} if "value" in said else {})

                async with self._catching:
                    said = await peer.attributes({"client": False, "key": name}, device)
                value = said.get("value", (said.get("values") or {}).get(name))
                if value is None:
                    continue
                if outcomes := await calls.catch_up(name, value, device, meter_id, told):
                    await peer.publish([_outcome(device, outcomes)])

    @property
    def progress(self) -> int:
        """Messages that the platform has taken."""
        return self._peer.acknowledged

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Telemetry of each meter in one message or more; what events say of meters, while it is new."""
        refusals: list[Refusal] = []
        groups = news_of(entries, self._sink.keys, events=self._sink.options.events)
        sayings = self._sayings(groups, refusals, late=late)
        await self._peer.publish(sayings, late=late)
        return refusals

    async def attend(self) -> None:
        """Introduce all meters that are online, then serve the platform until the connection is lost."""
        helloes = asyncio.create_task(self._say_hello(), name="thingsboard-hello")
        try:
            await until_lost(self._listening)
        finally:
            helloes.cancel()
            await asyncio.gather(helloes, return_exceptions=True)

    async def goodbye(self) -> None:
        """Nobody reads the meters any more: their devices are disconnected, if the platform is still there."""
        if self._listening.done():
            return
        with suppress(SinkError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._peer.publish([_farewell(device) for device in sorted(self._peer.introduced)])

    async def heard(self, peer: Platform, topic: str, payload: bytes) -> None:
        """What the platform says: calls, attributes, devices that it threw out."""
        if topic == RPC:
            call = parse_gateway_call(payload)
            result = await self._sink.calls.answer(call, self._meter(call.device or ""))
            answer = dumps({"device": call.device, "id": call.id, "data": bounded(result, peer.max_payload)})
            await peer.publish([Saying(Message(RPC, answer), device=call.device or "")])
        elif topic.startswith(CALLS):
            own = parse_device_call(topic, payload)
            await peer.publish(
                [Saying(Message(f"{ANSWERS}{own.id}", dumps(bounded(self._own(own), peer.max_payload))))]
            )
        elif topic == DISCONNECT:
            said = parse_object(payload)
            device = said.get("device")
            if isinstance(device, str) and device in peer.introduced:
                peer.introduced.remove(device)
                log.info("the platform disconnects a device", device=device, reason=said.get("reason"))
        elif topic == ATTRIBUTES:
            device, data = parse_gateway_attributes(payload)
            if outcomes := await self._sink.calls.attributes(data, device, self._meter(device)):
                await peer.publish([_outcome(device, outcomes)])

    def introduce(self, device: str) -> Message:
        """The message that connects a device."""
        state = self._surroundings.roster.find(self._names.meter(device) or "")
        meter = state.meter if state is not None else None
        return Message(CONNECT, dumps({"device": device, "type": device_type(self._sink.options.device_type, meter)}))

    def _own(self, call: Call) -> object:
        """What is asked of the gateway itself, by the names that its dashboards use."""
        if call.method == "gateway_ping":
            return {"code": 200, "resp": "pong"}
        if call.method == "gateway_version":
            return {"code": 200, "resp": self._surroundings.version}
        if call.method == "gateway_devices":
            known = {self._names.device(state.meter.id): state.meter.id for state in self._states()}
            return {"code": 200, "resp": known}
        return {"error": f"no method {call.method!r} of the gateway", "code": 404}

    def _states(self) -> Iterator[MeterState]:
        return (state for state in self._surroundings.roster if self._surroundings.meters(state.meter))

    def _meter(self, device: str) -> str | None:
        """The meter of a device, where the settings let the platform know of it."""
        state = self._surroundings.roster.find(self._names.meter(device) or "")
        return state.meter.id if state is not None and self._surroundings.meters(state.meter) else None

    async def _say_hello(self) -> None:
        states = [state for state in self._states() if state.online]
        with suppress(SinkError):
            for first in range(0, len(states), AT_ONCE):
                chosen = [state for state in states[first : first + AT_ONCE] if state.online]
                await self._peer.publish([each for state in chosen for each in self._attributes(state)], late=True)

    def _sayings(self, groups: Sequence[News], refusals: list[Refusal], *, late: bool) -> Iterator[Saying]:
        for news in groups:
            state = self._surroundings.roster.find(news.meter_id)
            if state is not None and not self._surroundings.meters(state.meter):
                state = None  # it has lost the tag by which it was chosen
            if news.is_changed and not late:
                yield from self._renamed(news.meter_id)
            device = self._names.device(news.meter_id)
            yield from self._telemetry(news, device, refusals)
            if not late and state is not None and news.online is not False:
                yield from self._attributes(state)
            is_away = state is None or state.online is False
            if (news.online is False or (is_away and (late or news.is_changed))) and device in self._peer.introduced:
                if not late and state is not None:
                    yield from self._attributes(state)
                yield _farewell(device)

    def _telemetry(self, news: News, device: str, refusals: list[Refusal]) -> Iterator[Saying]:
        room = Room(octets=self._peer.max_payload, points=self._sink.limiter.points_at_once)
        metadata: dict[str, Any] | None = None
        if self._sink.options.metadata and news.received_at:
            now = self._surroundings.clock()
            metadata = {"connector": "headend", "receivedTs": news.received_at, "publishedTs": now}
        for piece in pieces_of(news, self._sink.keys, room, refusals, device=device, metadata=metadata):
            yield Saying(Message(TELEMETRY, piece.payload), piece.points, device=device)

    def _attributes(self, state: MeterState) -> Iterator[Saying]:
        said = self._told.news(state)
        if said:
            device = self._names.device(state.meter.id)
            payload = dumps({device: said})
            yield Saying(Message(ATTRIBUTES, payload), len(said), is_attributes=True, device=device)

    def _renamed(self, meter_id: str) -> Iterator[Saying]:
        before = self._names.forget(meter_id)
        if before is not None and before != self._names.device(meter_id):
            self._told.forget(meter_id)
            if before in self._peer.introduced:
                yield _farewell(before)


def _outcome(device: str, outcomes: dict[str, Any]) -> Saying:
    message = Message(ATTRIBUTES, dumps({device: outcomes}))
    return Saying(message, len(outcomes), is_attributes=True, device=device)


def _farewell(device: str) -> Saying:
    return Saying(Message(DISCONNECT, dumps({"device": device})), device=device, is_farewell=True)
