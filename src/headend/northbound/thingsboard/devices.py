"""The device API: a connection for each meter that has an access token of its own.

Only so many connections are open at once: when one more is needed, the one that was used least recently is closed. What one
device is refused (a token that was withdrawn, a limit of its own) does not hold up the others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from headend.errors import ConfigError, SinkError, SinkRefused
from headend.model.journal import Entry
from headend.model.jsontext import dumps
from headend.model.meter import Secret
from headend.northbound.brokered import broker_of
from headend.northbound.client import Broker
from headend.northbound.message import Message
from headend.northbound.sink import Channel, Refusal, Surroundings
from headend.northbound.thingsboard.attributes import Names, Told
from headend.northbound.thingsboard.limits import Limiter
from headend.northbound.thingsboard.news import News, news_of, pieces_of
from headend.northbound.thingsboard.options import DeviceOptions, check, fallback_of, keys_of
from headend.northbound.thingsboard.platform import (
    ANSWERS,
    ATTRIBUTES,
    CALLS,
    OWN_FILTERS,
    TELEMETRY,
    Platform,
    Saying,
    is_denied,
    platform,
)
from headend.northbound.thingsboard.provisioning import Provisioning
from headend.northbound.thingsboard.rpc import Calls, bounded, parse_device_call, parse_object
from headend.northbound.thingsboard.telemetry import Room
from headend.northbound.thingsboard.tokens import Tokens

OPENED_AT_ONCE: Final = 20
AGAIN_SECONDS: Final = 10.0
"""after which a connection that was lost is opened again for the sake of calls"""

log = structlog.get_logger(__name__)


class DeviceSink:
    """ThingsBoard by its device API."""

    def __init__(self, options: DeviceOptions, surroundings: Surroundings) -> None:
        check(options, surroundings.name)
        where = f"sinks.{surroundings.name}"
        if not 0 < options.connections <= 10_000:
            raise ConfigError(f"{where}.connections: expected 1 to 10000")
        if bool(options.provision_key) is not bool(options.provision_secret):
            raise ConfigError(f"{where}: provision_key and provision_secret belong together: one of them is missing")
        if options.provision_key and not options.token_folder:
            raise ConfigError(f"{where}.token_folder: expected a folder for the tokens that provisioning gives")
        self.options = options
        self.surroundings = surroundings
        self.keys = keys_of(options)
        self.tokens = Tokens(options.tokens, options.token_folder, surroundings.secret)
        self.calls = Calls(
            surroundings.name, surroundings.answer, surroundings.clock, options.call_seconds, options.shared
        )
        self.broker = broker_of(options, surroundings)
        self.fallback = fallback_of(options, self.broker.host)
        self.limiters: dict[str, Limiter] = {}
        self.provisioning: Provisioning | None = None
        if options.provision_key:
            key, secret = (surroundings.secret(each) for each in (options.provision_key, options.provision_secret))
            self.provisioning = Provisioning(key, secret)

    @property
    def host(self) -> str:
        """Of the platform."""
        return self.broker.host

    @property
    def port(self) -> int:
        """Of the platform."""
        return self.broker.port

    def key(self, quantity: str) -> str:
        """Under which a quantity is written."""
        return self.keys.name(quantity)

    def keep_token(self, meter_id: str, token: Secret) -> None:
        """From now on this is the token of a meter; blocks. Raises ConfigError where it cannot be kept."""
        self.tokens.keep(meter_id, token)

    def drop_token(self, meter_id: str) -> None:
        """The meter is gone; blocks."""
        self.tokens.drop(meter_id)

    def session(self) -> AbstractAsyncContextManager[Channel]:
        """Nothing is opened yet: each meter has its own connection, when there is something to say."""
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Channel]:
        channel = _Channel(self)
        try:
            yield channel
        finally:
            await channel.aclose()
            await self.calls.aclose()


class _Line:
    """The connection of one meter, opened when it is first needed."""

    def __init__(self, peer: Platform, listening: asyncio.Task[None], stack: AsyncExitStack, token: Secret) -> None:
        self.peer = peer
        self.token = token
        self.listening = listening
        self.users = 0
        self._stack = stack

    async def aclose(self) -> None:
        """Close it, politely where the platform is still there."""
        with suppress(SinkError):
            await self._stack.aclose()


class _Channel:
    """The connections of all meters."""

    def __init__(self, sink: DeviceSink) -> None:
        self._sink = sink
        self._surroundings = sink.surroundings
        self._names = Names(sink.surroundings.roster, sink.options.device_name)
        self._told = Told(sink.surroundings.profile, sink.options.text_prefix)
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(OPENED_AT_ONCE)

    @property
    def progress(self) -> int:
        """Messages that the platform has taken over the connections that are open."""
        return sum(line.peer.acknowledged for line in self._lines.values())

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Each meter's entries over its own connection, side by side. Meters without a token are none of ours."""
        everybody = news_of(entries, self._sink.keys, events=self._sink.options.events)
        groups = [news for news in everybody if self._is_ours(news.meter_id)]
        refusals: list[Refusal] = []
        ends = await asyncio.gather(
            *(self._deliver(news, refusals, late=late) for news in groups), return_exceptions=True
        )
        errors = [each for each in ends if isinstance(each, BaseException)]
        if errors:
            raise errors[0]
        return refusals

    async def attend(self) -> None:
        """Keep connections open for calls, for as many meters as there may be connections."""
        while True:
            for state in list(self._surroundings.roster):
                meter_id = state.meter.id
                if not self._is_ours(meter_id) or not self._surroundings.meters(state.meter):
                    continue
                if len(self._lines) >= self._sink.options.connections:
                    break
                with suppress(SinkRefused):
                    await self._line(meter_id)
            await asyncio.sleep(AGAIN_SECONDS)

    async def aclose(self) -> None:
        """Close all connections."""
        lines = list(self._lines.values())
        self._lines.clear()
        await asyncio.gather(*(line.aclose() for line in lines))

    def _is_ours(self, meter_id: str) -> bool:
        return meter_id in self._sink.tokens or (
            self._sink.provisioning is not None and meter_id in self._surroundings.roster
        )

    async def _deliver(self, news: News, refusals: list[Refusal], *, late: bool) -> None:
        try:
            line = await self._line(news.meter_id)
            line.users += 1
            try:
                await line.peer.publish(self._sayings(line.peer, news, refusals, late=late), late=late)
            finally:
                line.users -= 1
        except SinkRefused as error:
            refusals += [Refusal(entry.number, str(error)) for entry in news.entries]

    def _sayings(self, peer: Platform, news: News, refusals: list[Refusal], *, late: bool) -> Iterator[Saying]:
        limiter = self._sink.limiters[news.meter_id]
        room = Room(octets=peer.max_payload, points=limiter.points_at_once)
        for piece in pieces_of(news, self._sink.keys, room, refusals):
            yield Saying(Message(TELEMETRY, piece.payload), piece.points)
        state = self._surroundings.roster.find(news.meter_id)
        if not late and state is not None and self._surroundings.meters(state.meter):
            yield from self._attributes(self._told.news(state))

    @staticmethod
    def _attributes(said: dict[str, Any]) -> Iterator[Saying]:
        if said:
            yield Saying(Message(ATTRIBUTES, dumps(said)), len(said), is_attributes=True)

    async def _line(self, meter_id: str) -> _Line:
        """The connection of a meter; raises SinkError when it cannot be had, SinkRefused when it never will be."""
        lock = self._opening.setdefault(meter_id, asyncio.Lock())
        async with lock:
            line = self._lines.get(meter_id)
            if line is not None and (line.listening.done() or self._sink.tokens.find(meter_id) is not line.token):
                del self._lines[meter_id]
                await line.aclose()
                line = None
            if line is None:
                await self._make_room()
                async with self._slots:
                    line = self._lines[meter_id] = await self._open(meter_id)
            self._lines.move_to_end(meter_id)
            return line

    async def _make_room(self) -> None:
        while len(self._lines) >= self._sink.options.connections:
            idle = next((meter_id for meter_id, line in self._lines.items() if not line.users), None)
            if idle is None:
                return
            await self._lines.pop(idle).aclose()

    async def _open(self, meter_id: str) -> _Line:
        token = self._sink.tokens.find(meter_id) or await self._provisioned(meter_id)
        limiter = self._sink.limiters.setdefault(meter_id, Limiter(self._sink.options.share))

        async def heard(peer: Platform, topic: str, payload: bytes) -> None:
            known = meter_id if meter_id in self._surroundings.roster else None
            if topic.startswith(CALLS):
                call = parse_device_call(topic, payload)
                result = await self._sink.calls.answer(call, known)
                await peer.publish([Saying(Message(f"{ANSWERS}{call.id}", dumps(bounded(result, peer.max_payload))))])
            elif topic == ATTRIBUTES:
                outcomes = await self._sink.calls.attributes(parse_object(payload), meter_id, known)
                await peer.publish(self._attributes(outcomes))

        async with AsyncExitStack() as stack:
            try:
                peer, listening = await stack.enter_async_context(
                    platform(self._broker(token), limiter, OWN_FILTERS, heard)
                )
            except SinkError as error:
                if is_denied(error):
                    raise SinkRefused(f"the platform does not take the access token of {meter_id!r}") from error
                raise
            await peer.agree(self._sink.fallback, is_gateway=False, max_payload=self._sink.options.max_payload)
            state = self._surroundings.roster.find(meter_id)
            if state is not None:
                await peer.publish(self._attributes(self._told.news(state)), late=True)
                if self._sink.options.catch_up:
                    catching = asyncio.create_task(self._catch_up(peer, meter_id), name="thingsboard-attributes")
                    stack.push_async_callback(_ended, catching)
            return _Line(peer, listening, stack.pop_all(), token)
        raise AssertionError("unreachable")

    async def _catch_up(self, peer: Platform, meter_id: str) -> None:
        """Do what was set while the device was not connected."""
        calls = self._sink.calls
        names = [f"{name}_{each}" for name in calls.shared for each in ("done", "outcome")]
        wanted = {"sharedKeys": ",".join(calls.shared), "clientKeys": ",".join(names)}
        with suppress(SinkError):
            said = await peer.attributes(wanted)

            async def told() -> Mapping[str, Any]:
                return said.get("client") or {}

            for name, value in (said.get("shared") or {}).items():
                if name in calls.shared:
                    outcomes = await calls.catch_up(name, value, meter_id, meter_id, told)
                    await peer.publish(self._attributes(outcomes))

    def _broker(self, token: Secret) -> Broker:
        return replace(self._sink.broker, username=token.reveal().decode(), password=None, client_id="")

    async def _provisioned(self, meter_id: str) -> Secret:
        provisioning = self._sink.provisioning
        if provisioning is None:
            raise SinkRefused(f"the meter {meter_id!r} has no access token")
        token = await provisioning.token(self._sink.broker, self._names.device(meter_id))
        try:
            await asyncio.to_thread(self._sink.tokens.keep, meter_id, token)
        except ConfigError as error:
            raise SinkError(str(error)) from error
        log.info("the platform provisioned a device", meter=meter_id)
        return token


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
