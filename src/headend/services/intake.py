"""The intake of pushes: what somebody sent unasked, to readings of the meter that it is from.

Who speaks is told by system title, logical device name or serial number in the push; where it says nothing of them, by the
address that it comes from, if exactly one meter is entered with it; over its own connection a meter is known already.
Everybody may send here, so everything is bounded, what is not believed is an event (one a minute for each sender and reason,
with a count), and only known meters give readings.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from headend import telemetry
from headend.drivers.base import Driver, Notification, Push, PushList, Secrets, Session
from headend.errors import HeadendError, LocalProtocolError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.services.bus import Bus
from headend.services.roster import Clock, MeterState, Roster

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
    reachable: Callable[[Meter], bool] = lambda meter: meter.endpoint.kind is not EndpointKind.INBOUND
    """False for a meter that only talks, or has not dialled in"""


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


class _Said(NamedTuple):
    """What came from an address: a push, or what was wrong; and the meter whose own connection it came over, if it is known."""

    source: str
    said: Push | HeadendError
    driver: Driver
    meter_id: str
    done: Callable[[], None] | None


class Intake:
    """Takes pushes, never waiting, and works on them in `run`."""

    def __init__(
        self,
        known: Known,
        bus: Bus,
        heard: Callable[[MeterState, Sequence[Notification]], None],
        clock: Clock,
        *,
        watch: Callable[[Heard], None] = lambda _heard: None,
    ) -> None:
        """`heard` publishes what known meters say; `watch` is told of everything."""
        self._known = known
        self._bus = bus
        self._heard = heard
        self._clock = clock
        self._watch = watch
        self._queue: asyncio.Queue[_Said | None] = asyncio.Queue()
        self._complaints = Complaints()
        self._secrets: dict[str, Secrets] = {}
        self._lists: dict[str, Sequence[PushList]] = {}
        self._asked: dict[str, int] = {}
        known.roster.follow(self._changed)

    def say(
        self,
        source: str,
        said: Push | HeadendError,
        driver: Driver,
        *,
        meter_id: str = "",
        done: Callable[[], None] | None = None,
    ) -> None:
        """Queue what came from an address; never waits. `meter_id` is whose connection it came over, where that is known.

        It is dropped when too much waits already, unless `done` is given: that is called when it was worked on, and whoever
        gives it lets little of its own wait at a time.
        """
        if done is None and self._queue.qsize() >= QUEUE:
            telemetry.PUSHES.labels("dropped").inc()
        else:
            self._queue.put_nowait(_Said(source, said, driver, meter_id, done))

    # what they say

    async def run(self) -> None:
        """Work until `close`, and then on what is queued."""
        async with asyncio.TaskGroup() as group:
            while (item := await self._queue.get()) is not None:
                try:
                    await self._deal(group, item)
                except Exception as error:
                    # A decoder with a bug in it must not take the others with it.
                    log.exception("push not understood", source=item.source)
                    failure = LocalProtocolError(f"the driver failed with {type(error).__name__}")
                    self._refuse(item.source, self._known.roster.find(item.meter_id), None, failure)
                finally:
                    if item.done is not None:
                        item.done()

    def close(self) -> None:
        """Take nothing more."""
        self._queue.put_nowait(None)

    async def _deal(self, group: asyncio.TaskGroup, item: _Said) -> None:
        source, push, driver, meter_id, _ = item
        if isinstance(push, HeadendError):
            self._refuse(source, self._known.roster.find(meter_id), None, push)
            return
        state = self._known.roster.find(meter_id) or self._sender(source, push)
        if state is None:
            self._unknown(driver, source, push)
            return
        meter = state.meter
        try:
            profile = self._known.profile(meter)
            secrets = await self._secrets_of(meter)
            plain = (
                await asyncio.to_thread(driver.unseal, push, meter, profile, secrets)
                if push.sealed
                else driver.unseal(push, meter, profile, secrets)
            )
            notification = driver.understand(plain, meter, profile, self._lists.get(meter.id, ()))
        except HeadendError as error:
            self._refuse(source, state, push, error)
            return
        if notification.values or not self._may_learn(meter, notification):
            self._publish(source, push, state, notification)
        else:
            learning = self._learn(driver, source, plain, state, notification)
            group.create_task(learning, name=f"push lists {meter.id}")

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
        now = self._clock()
        can_ask = self._known.ask_lists is not None and self._known.reachable(meter)
        lately = now < self._asked.get(meter.id, 0)
        if not can_ask or lately or not isinstance(notification.body, list):
            return False
        self._asked[meter.id] = now + LEARN_AGAIN_MILLIS
        return True

    async def _learn(
        self, driver: Driver, source: str, plain: Push, state: MeterState, notification: Notification
    ) -> None:
        """Ask the meter what it pushes; the push that raised the question is published in any case."""
        meter, ask = state.meter, self._known.ask_lists
        try:
            if ask is not None:
                self._lists[meter.id] = await ask(meter.id, LEARN_SECONDS)
            profile = self._known.profile(meter)
            notification = driver.understand(plain, meter, profile, self._lists.get(meter.id, ()))
        except HeadendError as error:
            log.info("meter did not say what it pushes", meter=meter.id, code=error.code)
        self._publish(source, plain, state, notification)

    def _changed(self, meter_id: str, _state: MeterState | None) -> None:
        for kept in (self._secrets, self._lists, self._asked):
            kept.pop(meter_id, None)

    # what gives no readings

    def _unknown(self, driver: Driver, source: str, push: Push) -> None:
        telemetry.PUSHES.labels("unknown").inc()
        notification, error = None, None
        try:
            notification = driver.understand(push, None, None)
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
