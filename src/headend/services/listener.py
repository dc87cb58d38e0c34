"""The listener: meters that push without being asked, over links that they open, in datagrams, or on a line that only talks.

Who speaks is told by system title, logical device name or serial number in the push; where it says nothing of them, by the
address that it comes from, if exactly one meter is entered with it. Everybody may send here, so everything is bounded, what is
not believed is an event (one a minute for each sender and reason, with a count), and only known meters give readings.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from headend import telemetry
from headend.drivers.base import Driver, Notification, Push, PushList, Secrets, Session
from headend.errors import HeadendError, LinkError, RemoteProtocolError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.services.bus import Bus
from headend.services.roster import Clock, MeterState, Roster
from headend.transport.deadline import NEVER, sweeper
from headend.transport.link import Link

QUEUE: Final = 1000
"""Pushes that wait to be understood; what comes beyond them is dropped and counted."""
REPEAT_MILLIS: Final = 60_000
SENDERS: Final = 1000
"""Senders and reasons that are told apart when complaints are counted."""
LEARN_SECONDS: Final = 30.0
LEARN_AGAIN_MILLIS: Final = 3_600_000
SHOWN_OCTETS: Final = 256

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the listener puts up with: links per address, octets of a push, seconds of silence on a link."""

    per_address: int = 16
    octets: int = 65536
    idle: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of one push, for those who watch: whose it is (None: unknown), what it says, or why it says nothing."""

    source: str
    push: Push | None
    state: MeterState | None = None
    notification: Notification | None = None
    error: HeadendError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Where the listener finds what it must know of meters."""

    roster: Roster
    profile: Callable[[Meter], MeterProfile | None]
    secrets: Callable[[Meter], Awaitable[Secrets]]
    ask_lists: Callable[[str, float], Awaitable[Sequence[PushList]]] | None = None
    """ask a meter for its push lists within a number of seconds"""


async def ask_lists(session: Session) -> Sequence[PushList]:
    """The job that asks a meter for its push lists."""
    return await session.push_lists()


class Complaints:
    """How often something was said: once at first, then at most once a minute, with the number of times since."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, ...], tuple[int, int]] = OrderedDict()

    def count(self, key: tuple[str, ...], now: int) -> int:
        """How many times it is to be said for; 0: not now."""
        due, count = self._said.pop(key, (0, 0))
        while len(self._said) >= SENDERS:
            self._said.popitem(last=False)
        if now < due:
            self._said[key] = due, count + 1
            return 0
        self._said[key] = now + REPEAT_MILLIS, 0
        return count + 1


class Listener:
    """Takes links from whoever opens them and works on what comes over them in `run`."""

    def __init__(
        self,
        driver: Driver,
        known: Known,
        bus: Bus,
        heard: Callable[[MeterState, Sequence[Notification]], None],
        clock: Clock,
        *,
        limits: Limits | None = None,
        watch: Callable[[Heard], None] = lambda _heard: None,
    ) -> None:
        """`heard` publishes what known meters say; `watch` is told of everything."""
        self.driver = driver
        self.limits = limits or Limits()
        self.addresses: Counter[str] = Counter()
        """open links by address"""
        self._known = known
        self._bus = bus
        self._heard = heard
        self._clock = clock
        self._watch = watch
        self._queue: asyncio.Queue[tuple[str, Push | HeadendError] | None] = asyncio.Queue(QUEUE)
        self._complaints = Complaints()
        self._secrets: dict[str, Secrets] = {}
        self._lists: dict[str, Sequence[PushList]] = {}
        self._asked: dict[str, int] = {}
        known.roster.follow(self._changed)

    # links

    def take(self, link: Link) -> None:
        """A link that somebody opened; turned away when its address has too many."""
        self._take(link, datagrams=False)

    def take_datagrams(self, link: Link) -> None:
        """A peer that sends datagrams."""
        self._take(link, datagrams=True)

    def take_line(self, link: Link, lost: Callable[[], None]) -> None:
        """A line that is ours, such as a serial port: it may be silent for as long as it likes."""
        link.set_receiver(Hearing(self, link, link.peer, idle=NEVER, lost=lost))

    def _take(self, link: Link, *, datagrams: bool) -> None:
        host = host_of(link.peer)
        if self.addresses[host] >= self.limits.per_address:
            self.say(host, RemoteProtocolError("too many links at a time", expected=str(self.limits.per_address)))
            link.abort()
            return
        self.addresses[host] += 1
        link.set_receiver(
            Hearing(self, link, host, idle=self.limits.idle, lost=lambda: self._release(host), datagrams=datagrams)
        )

    def _release(self, host: str) -> None:
        self.addresses[host] -= 1
        if not self.addresses[host]:
            del self.addresses[host]

    def say(self, source: str, said: Push | HeadendError) -> None:
        """Queue what came from an address; never waits."""
        try:
            self._queue.put_nowait((source, said))
        except asyncio.QueueFull:
            telemetry.PUSHES.labels("dropped").inc()

    # what they say

    async def run(self) -> None:
        """Work until `close`, and then on what is queued."""
        async with asyncio.TaskGroup() as group:
            while (item := await self._queue.get()) is not None:
                source, said = item
                if isinstance(said, HeadendError):
                    self._refuse(source, None, None, said)
                else:
                    await self._deal(group, source, said)

    async def close(self) -> None:
        """Take nothing more."""
        await self._queue.put(None)

    async def _deal(self, group: asyncio.TaskGroup, source: str, push: Push) -> None:
        state = self._sender(source, push)
        if state is None:
            self._unknown(source, push)
            return
        meter = state.meter
        try:
            profile = self._known.profile(meter)
            secrets = await self._secrets_of(meter)
            plain = await asyncio.to_thread(self.driver.unseal, push, meter, profile, secrets)
            notification = self.driver.understand(plain, meter, profile, self._lists.get(meter.id, ()))
        except HeadendError as error:
            self._refuse(source, state, push, error)
            return
        if notification.values or not self._may_learn(meter, notification):
            self._publish(source, push, state, notification)
        else:
            group.create_task(self._learn(source, plain, state, notification), name=f"push lists {meter.id}")

    def _sender(self, source: str, push: Push) -> MeterState | None:
        """The one meter that this can be from."""
        roster = self._known.roster
        meter = roster.resolve(push.identity) or roster.resolve_source(source, push.identity)
        return roster.state(meter.id) if meter is not None else None

    async def _secrets_of(self, meter: Meter) -> Secrets:
        found = self._secrets.get(meter.id)
        if found is None:
            found = await self._known.secrets(meter)
            self._secrets[meter.id] = found
        return found

    def _publish(self, source: str, push: Push, state: MeterState, notification: Notification) -> None:
        telemetry.PUSHES.labels("ok").inc()
        self._known.roster.heard(state)
        self._heard(state, (notification,))
        self._watch(Heard(source=source, push=push, state=state, notification=notification))

    # push lists

    def _may_learn(self, meter: Meter, notification: Notification) -> bool:
        """Values without names, of a meter that can be asked, and was not lately."""
        ask, now = self._known.ask_lists, self._clock()
        dials_in = meter.endpoint.kind is EndpointKind.INBOUND
        lately = now < self._asked.get(meter.id, 0)
        if ask is None or dials_in or lately or not isinstance(notification.body, list):
            return False
        self._asked[meter.id] = now + LEARN_AGAIN_MILLIS
        return True

    async def _learn(self, source: str, plain: Push, state: MeterState, notification: Notification) -> None:
        """Ask the meter what it pushes; the push that raised the question is published in any case."""
        meter, ask = state.meter, self._known.ask_lists
        try:
            if ask is not None:
                self._lists[meter.id] = await ask(meter.id, LEARN_SECONDS)
            profile = self._known.profile(meter)
            notification = self.driver.understand(plain, meter, profile, self._lists.get(meter.id, ()))
        except HeadendError as error:
            log.info("meter did not say what it pushes", meter=meter.id, code=error.code)
        self._publish(source, plain, state, notification)

    def _changed(self, meter_id: str, _state: MeterState | None) -> None:
        for kept in (self._secrets, self._lists, self._asked):
            kept.pop(meter_id, None)

    # what gives no readings

    def _unknown(self, source: str, push: Push) -> None:
        telemetry.PUSHES.labels("unknown").inc()
        notification, error = None, None
        try:
            notification = self.driver.understand(push, None, None)
        except HeadendError as failure:
            error = failure
        identity = push.identity
        who = identity.system_title or identity.logical_device_name or identity.serial
        data: dict[str, Value] = {
            "source": source,
            "address": push.address,
            "system_title": identity.system_title,
            "logical_device_name": identity.logical_device_name,
            "serial": identity.serial,
            "octets": push.octets[:SHOWN_OCTETS].hex(),
        }
        self._tell(EventType.PUSH_UNKNOWN, (source, who), "", Severity.INFO, data)
        self._watch(Heard(source=source, push=push, notification=notification, error=error))

    def _refuse(self, source: str, state: MeterState | None, push: Push | None, error: HeadendError) -> None:
        telemetry.PUSHES.labels(error.code).inc()
        meter_id = state.meter.id if state is not None else ""
        data: dict[str, Value] = {"source": source, "code": error.code, "reason": str(error)}
        self._tell(EventType.PUSH_REFUSED, (source, meter_id, error.code), meter_id, Severity.WARNING, data)
        self._watch(Heard(source=source, push=push, state=state, error=error))

    def _tell(
        self, kind: EventType, who: tuple[str, ...], meter_id: str, severity: Severity, data: Mapping[str, Value]
    ) -> None:
        now = self._clock()
        count = self._complaints.count((kind.value, *who), now)
        if count:
            said = {**data, "count": count}
            self._bus.publish(Event(type=kind, severity=severity, occurred_at=now, meter_id=meter_id, data=said))


class Hearing:
    """The owner of a link that somebody pushes over."""

    __slots__ = ("_datagrams", "_ear", "_idle", "_link", "_listener", "_lost", "_source", "_time", "deadline")

    def __init__(
        self,
        listener: Listener,
        link: Link,
        source: str,
        *,
        idle: float,
        lost: Callable[[], None],
        datagrams: bool = False,
    ) -> None:
        self._listener = listener
        self._link = link
        self._source = source
        self._idle = idle
        self._lost = lost
        self._datagrams = datagrams
        self._ear = listener.driver.listen(listener.limits.octets)
        self._time = asyncio.get_running_loop().time
        self.deadline = self._time() + idle
        if idle != NEVER:
            sweeper().add(self)

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        self.deadline = self._time() + self._idle
        for said in self._ear.receive(data):
            self._listener.say(self._source, said)
        if self._datagrams:
            self._ear.boundary()

    def expire(self) -> None:
        """Nothing came for too long."""
        self._link.abort()

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - shape of Receiver
        """The link is gone."""
        sweeper().discard(self)
        self._lost()


def host_of(peer: str) -> str:
    """The address in `192.0.2.7:4059` or `[2001:db8::7]:4059`; other names are their own."""
    host, colon, port = peer.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else peer
