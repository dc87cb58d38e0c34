"""A connection to ThingsBoard: publishes within its limits, asks it, and hands on what it says."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiomqtt
import orjson
import structlog

from headend.errors import RemoteProtocolError, SinkError, SinkRefused
from headend.model.jsontext import dumps
from headend.northbound.brokered import connection, incoming
from headend.northbound.client import WINDOW, Broker, Client, MessageRefused
from headend.northbound.message import Message
from headend.northbound.thingsboard.limits import MAX_PAYLOAD, Limiter, Limits, parse_limits

ME: Final = "v1/devices/me"
TELEMETRY: Final = f"{ME}/telemetry"
ATTRIBUTES: Final = f"{ME}/attributes"
GATEWAY_ATTRIBUTES: Final = "v1/gateway/attributes"
CALLS: Final = f"{ME}/rpc/request/"
ANSWERS: Final = f"{ME}/rpc/response/"
TOLD: Final = f"{ATTRIBUTES}/response/"
TOLD_GATEWAY: Final = "v1/gateway/attributes/response"
OWN_FILTERS: Final = (f"{CALLS}+", f"{ANSWERS}+", ATTRIBUTES, f"{TOLD}+")
DENIED: Final = frozenset({0x04, 0x05, 0x86, 0x87})
"""Bad user name or password, not authorized: MQTT 3.1.1 and 5."""
ANSWER_SECONDS: Final = 5.0
"""that the platform may take to say its limits, or attributes"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Saying:
    """A message on its way: telemetry with so many data points, or something else (0 points), or attributes (both)."""

    message: Message
    points: int = 0
    is_attributes: bool = False
    device: str = ""
    """behind a gateway: it is introduced before"""
    is_farewell: bool = False
    """after this the device has to be introduced anew"""


Heard = Callable[["Platform", str, bytes], Awaitable[None]]
"""Takes what the platform says: connection, topic and payload. May raise RemoteProtocolError and SinkError."""
Introduce = Callable[[str], Message]
"""The message that introduces a device behind a gateway."""


class Platform:
    """An open connection of one device; `limiter` keeps the count of what is said for others, or for itself."""

    max_payload = MAX_PAYLOAD
    """octets in one message"""

    def __init__(self, client: Client, limiter: Limiter, heard: Heard, introduce: Introduce | None = None) -> None:
        self.welcome: Callable[[str], object] = lambda _device: None
        """told of each device that the platform has just got to know in this connection"""
        self.limits = Limits()
        self.introduced: set[str] = set()
        """devices behind the gateway that the platform knows in this connection"""
        self.acknowledged = 0
        """messages that the platform has taken"""
        self._introduce = introduce
        self._client = client
        self._limiter = limiter
        self._heard = heard
        self._numbers = itertools.count(1)
        self._asked: dict[str, asyncio.Future[object]] = {}
        self._room = asyncio.Semaphore(WINDOW)

    async def agree(self, fallback: Limits, *, is_gateway: bool, max_payload: int = 0) -> None:
        """Ask for the limits, and keep to them; to those of `fallback` where there is no answer."""
        answer = await self.ask("getSessionLimits", ANSWER_SECONDS)
        self.limits = limits = parse_limits(answer, fallback)
        if answer is None:
            log.info("the platform does not say its limits", kept=fallback)
        self._limiter.keep(limits.gateway if is_gateway else limits.own)
        self._room = asyncio.Semaphore(min(WINDOW, limits.inflight))
        self.max_payload = min(limits.max_payload, max_payload or limits.max_payload)

    async def ask(self, method: str, seconds: float) -> object:
        """What the platform answers to a call of ours; None when it does not."""
        number = next(self._numbers)
        message = Message(f"{CALLS}{number}", dumps({"method": method, "params": {}}))
        return await self._answer(f"{ANSWERS}{number}", Saying(message), seconds)

    async def attributes(self, wanted: Mapping[str, Any], device: str = "") -> Mapping[str, Any]:
        """The attributes that are asked for, of a device behind the gateway or of the own one; empty without an answer."""
        number = next(self._numbers)
        if device:
            message = Message(f"{GATEWAY_ATTRIBUTES}/request", dumps({"id": number, "device": device, **wanted}))
        else:
            message = Message(f"{ATTRIBUTES}/request/{number}", dumps(wanted))
        answer = await self._answer(f"{TOLD}{number}", Saying(message, device=device), ANSWER_SECONDS)
        return answer if isinstance(answer, dict) else {}

    async def _answer(self, place: str, saying: Saying, seconds: float) -> object:
        answer = self._asked[place] = asyncio.get_running_loop().create_future()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.publish([saying], late=True)
                    return await answer
            return None
        finally:
            del self._asked[place]

    async def publish(self, sayings: Iterable[Saying], *, late: bool = False) -> None:
        """Publish in order, within the limits, and wait until the platform has all; raises SinkError, SinkRefused."""
        try:
            async with asyncio.TaskGroup() as group:
                for saying in sayings:
                    if self._is_new(saying):
                        await self._limiter.pass_message(late=late)
                    if saying.points:
                        await self._limiter.pass_telemetry(saying.points, late=late)
                    if not saying.points or saying.is_attributes:
                        await self._limiter.pass_message(late=late)
                    await self._room.acquire()
                    # From here to the tasks nothing waits: what is said of a device cannot overtake its introduction.
                    if self._introduce is not None and self._is_new(saying):
                        self.introduced.add(saying.device)
                        task = group.create_task(self._publish(self._introduce(saying.device), None))
                        task.add_done_callback(partial(self._introduced, saying.device))
                    if saying.is_farewell:
                        self.introduced.discard(saying.device)
                    group.create_task(self._publish(saying.message, self._room), name="thingsboard-publish")
        except* SinkError as failed:
            errors = list(_all(failed))
            raise next((each for each in errors if not isinstance(each, SinkRefused)), errors[0]) from None

    def _introduced(self, device: str, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self.introduced.discard(device)
        else:
            self.welcome(device)

    def _is_new(self, saying: Saying) -> bool:
        return bool(saying.device) and not saying.is_farewell and saying.device not in self.introduced

    async def _publish(self, message: Message, room: asyncio.Semaphore | None) -> None:
        try:
            await self._client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=False,
                properties=None,
                timeout=math.inf,
            )
            self.acknowledged += 1
        except MessageRefused as refused:
            if not refused.later:
                raise SinkRefused(str(refused)) from refused
            self._limiter.exhausted()
            raise SinkError(str(refused)) from refused
        except (aiomqtt.MqttError, OSError) as error:
            raise SinkError(f"the platform is away: {error}") from error
        finally:
            if room is not None:
                room.release()

    async def listen(self) -> None:
        """Hand on what the platform says, until the connection is lost: raises SinkError."""
        async with asyncio.TaskGroup() as group:
            async for message in incoming(self._client):
                topic, payload = message.topic.value, bytes(message.payload or b"")
                if topic.startswith((ANSWERS, TOLD, TOLD_GATEWAY)):
                    self._answered(topic, payload)
                elif not message.retain:
                    group.create_task(self._hear(topic, payload), name="thingsboard-hear")

    def _answered(self, topic: str, payload: bytes) -> None:
        try:
            said = orjson.loads(payload)
        except orjson.JSONDecodeError:
            log.warning("the platform's answer is no JSON", octets=len(payload))
            return
        if topic == TOLD_GATEWAY:
            topic = f"{TOLD}{said.get('id')}" if isinstance(said, dict) else ""
        asked = self._asked.get(topic)
        if asked is not None and not asked.done():
            asked.set_result(said)

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            await self._heard(self, topic, payload)
        except RemoteProtocolError as error:
            log.warning("the platform says what cannot be understood", topic=topic, reason=str(error))
        except SinkError as error:
            log.info("an answer did not reach the platform", topic=topic, reason=str(error))


@asynccontextmanager
async def platform(
    broker: Broker, limiter: Limiter, filters: Sequence[str], heard: Heard, introduce: Introduce | None = None
) -> AsyncIterator[tuple[Platform, asyncio.Task[None]]]:
    """A connection that listens, and the task that does: it ends with SinkError. Raises SinkError where there is nobody."""
    async with connection(broker, subscribe=filters) as client:
        peer = Platform(client, limiter, heard, introduce)
        listening = asyncio.create_task(peer.listen(), name="thingsboard-listen")
        try:
            yield peer, listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def is_denied(error: SinkError) -> bool:
    """Whether there is no connection because the platform does not know who wants it."""
    cause = error.__cause__
    return isinstance(cause, aiomqtt.MqttCodeError) and getattr(cause.rc, "value", cause.rc) in DENIED


async def until_lost(listening: asyncio.Task[Any]) -> None:
    """Wait for the end of a connection; raises SinkError."""
    try:
        await asyncio.shield(listening)
    except* SinkError as lost:
        raise next(_all(lost)) from None
    raise SinkError("the platform closed the connection")


def _all(group: BaseExceptionGroup[SinkError]) -> Iterator[SinkError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _all(each)
        else:
            yield each
