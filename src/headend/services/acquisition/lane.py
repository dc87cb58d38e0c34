"""The lane: the only way over one wire. It passes the turn from job to job and recovers what breaks.

A lane is no task. Whoever has the turn works in its own task, commands ahead of reads for people ahead of polls, so that an
idle lane costs an object and its open link. The lane keeps a session per meter on the wire and recovers in three steps: a
meter that is busy is asked once more; a session that had worked before and fails is opened anew, once; who fails again
and again is left alone for a while (see `circuit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias, TypeVar

import structlog

from headend.drivers.base import Driver, Secrets, Session
from headend.errors import (
    Busy,
    Conflict,
    HeadendError,
    LinkClosed,
    LinkTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    SecurityError,
)
from headend.model.meter import Endpoint, Meter
from headend.model.profile import MeterProfile
from headend.services.acquisition.circuit import Circuit
from headend.services.acquisition.party import PartyLine, Port
from headend.services.roster import MeterState, Roster
from headend.transport.deadline import NEVER, Sweeper
from headend.transport.link import Link

T = TypeVar("T")
Work: TypeAlias = Callable[[Session], Awaitable[T]]

MAX_WAITING: Final = 64
"""jobs that may wait for one wire"""
BUSY_PAUSE_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 3.0
"""for a session to close; it has promised two"""

log = structlog.get_logger(__name__)


class Priority(enum.IntEnum):
    """Who goes first when several wait for one wire."""

    COMMAND = 0
    REQUEST = 1
    """somebody waits for the answer"""
    POLL = 2


class Pace:
    """Lets `rate` things a second happen, a tenth of a second's worth of them at once. Pure."""

    __slots__ = ("_interval", "_next")

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._next = 0.0

    def reserve(self, now: float) -> float:
        """Take the next place; returns how many seconds to wait for it."""
        self._next = max(self._next + self._interval, now - 0.1)
        return max(0.0, self._next - now)


@dataclass(slots=True)
class Octets:
    """What went over all lanes since somebody asked."""

    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that a lane needs to reach meters."""

    open_link: Callable[[Endpoint, float], Awaitable[Link]]
    """open a link within a number of seconds; raises LinkError"""
    driver: Callable[[str], Driver]
    profile: Callable[[Meter], MeterProfile | None]
    """raises NotFound or ConfigError where the meter names a profile that is not there"""
    secrets: Callable[[Meter], Awaitable[Secrets]]
    roster: Roster
    sweeper: Sweeper
    time: Callable[[], float]
    """the event loop's"""
    pace: Pace
    """of opening links"""
    connect_timeout: float
    request_timeout: float
    octets: Octets = field(default_factory=Octets)


class Unit:
    """One meter on a lane, and its session while there is one."""

    __slots__ = ("lane", "port", "proven", "removed", "session", "state", "timed_out_on")

    def __init__(self, lane: Lane, state: MeterState) -> None:
        self.lane = lane
        self.state = state
        self.session: Session | None = None
        self.port: Port | None = None
        self.proven = False
        """the session has done something already"""
        self.timed_out_on: PartyLine | None = None
        """where an answer to this meter may still be under way: it is not asked there again"""
        self.removed = False


def _changed(meter: Meter) -> Conflict:
    return Conflict(f"meter {meter.id!r} was changed or removed meanwhile", hint="ask again")


class _Turn:
    """A job that waits for the lane; the sweeper expires it."""

    __slots__ = ("deadline", "granted", "wire")

    def __init__(self, wire: str, deadline: float) -> None:
        self.wire = wire
        self.deadline = deadline
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        self.refuse(LinkTimeout(f"{self.wire} was busy with other work until the deadline"))

    def refuse(self, error: HeadendError) -> None:
        if not self.granted.done():
            self.granted.set_exception(error)


class Lane:
    """One wire: its link, the meters on it, and whose turn it is."""

    __slots__ = (
        "_access",
        "_busy",
        "_expired",
        "_order",
        "_unit",
        "_waiting",
        "circuit",
        "closed",
        "deadline",
        "endpoint",
        "line",
        "units",
        "wire",
    )

    def __init__(self, access: Access, endpoint: Endpoint) -> None:
        self._access = access
        self.endpoint = endpoint
        self.wire = endpoint.wire
        self.circuit = Circuit(self.wire)
        self.line: PartyLine | None = None
        self.units: set[Unit] = set()
        self.closed = False
        self.deadline = NEVER
        """of the job at work"""
        self._busy = False
        self._expired = False
        self._unit: Unit | None = None
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._order = 0

    async def run(self, unit: Unit, work: Work[T], priority: Priority, deadline: float, *, repeat: bool) -> T:
        """Do `work` with the session of a meter when it is its turn; see `Lanes.run_job`."""
        if self._busy:
            await self._wait_for_turn(priority, deadline)
        self._busy = True
        self._unit = unit
        self._expired = False
        self.deadline = deadline
        state = unit.state
        access = self._access
        access.sweeper.add(self)
        try:
            self._admit(unit, priority)
            while True:
                proven = False
                try:
                    session = unit.session
                    if session is None or not session.sound:
                        session = await self._open(unit)
                    else:
                        proven = unit.proven
                        if self.line is not None and self.line.active is not unit.port:
                            self._take_turn(unit)
                    result = await work(session)
                except HeadendError as error:
                    if not await self._mend(unit, error, repeat=repeat, proven=proven):
                        raise
                    repeat = False
                else:
                    unit.proven = True
                    self._count(unit)
                    if state.circuit.error is not None:
                        state.circuit.succeeded()
                    access.roster.succeeded(state)
                    return result
        except HeadendError:
            raise
        except Exception as error:
            # A driver with a bug in it must not take the other meters with it.
            self._abandon(unit)
            log.exception("driver failed", meter=state.meter.id)
            failure = LocalProtocolError(f"the driver failed with {type(error).__name__}")
            self._record(unit, failure, sound=False)
            raise failure from error
        except BaseException:
            self._abandon(unit)
            raise
        finally:
            access.sweeper.discard(self)
            self.deadline = NEVER
            self._unit = None
            if self._waiting:
                self._pass_on()
            else:
                self._busy = False

    def expire(self) -> None:
        """The job at work has passed its deadline: take the link away from under it."""
        self._expired = True
        if self._unit is not None:
            self._abandon(self._unit)

    def retry_at(self, unit: Unit) -> float:
        """Before this time a poll of the meter would be refused."""
        return max(self.circuit.retry_at, unit.state.circuit.retry_at)

    def interrupt(self, unit: Unit) -> None:
        """End the work of a meter that is removed, at once."""
        unit.removed = True
        if self._unit is unit:
            self._abandon(unit)

    async def retire(self, unit: Unit) -> None:
        """Close the session of a meter, in turn with the others on the wire."""
        try:
            if self._busy:
                await self._wait_for_turn(Priority.COMMAND, self._access.time() + CLOSE_SECONDS)
        except HeadendError:
            self._abandon(unit)
            await self._close(unit)
            self.units.discard(unit)
            return
        self._busy = True
        try:
            self._take_turn(unit)
            await self._close(unit)
        finally:
            self.units.discard(unit)
            self._pass_on()

    async def aclose(self) -> None:
        """Refuse new jobs, end the one at work, close all sessions and the link."""
        self.closed = True
        for _, _, turn in self._waiting:
            turn.refuse(LinkClosed("the head-end is shutting down"))
        if self._unit is not None:
            self._abandon(self._unit)
        for unit in tuple(self.units):
            await self.retire(unit)

    # the turn

    async def _wait_for_turn(self, priority: Priority, deadline: float) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(f"{len(self._waiting)} jobs wait for {self.wire} already", hint="try again later")
        turn = _Turn(self.wire, deadline)
        self._order += 1
        heappush(self._waiting, (priority, self._order, turn))
        self._access.sweeper.add(turn)
        try:
            await turn.granted
        except BaseException:
            granted = turn.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._pass_on()
            else:
                self._waiting = [each for each in self._waiting if each[2] is not turn]
                heapify(self._waiting)
            raise
        finally:
            self._access.sweeper.discard(turn)

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.granted.done():
                turn.granted.set_result(None)
                return
        self._busy = False

    def _take_turn(self, unit: Unit) -> None:
        if unit.port is not None and self.line is not None and self.line.active is not unit.port:
            self.line.turn(unit.port)

    # work and recovery

    def _admit(self, unit: Unit, priority: Priority) -> None:
        """Raise what speaks against doing anything now."""
        if self.closed:
            raise LinkClosed("the head-end is shutting down")
        if unit.removed:
            raise _changed(unit.state.meter)
        if unit.state.circuit.error is not None or self.circuit.error is not None:
            now = self._access.time()
            insisting = priority is not Priority.POLL
            refusal = unit.state.circuit.refusal(now, insisting=insisting)
            refusal = refusal or self.circuit.refusal(now, insisting=insisting)
            if refusal is not None:
                raise refusal

    async def _mend(self, unit: Unit, error: HeadendError, *, repeat: bool, proven: bool) -> bool:
        """Deal with a failure: True when the job may be tried again, else the failure is recorded."""
        self._count(unit)
        sound = unit.session is not None and unit.session.sound
        if not sound:
            await self._discard(unit, error)
        if repeat and error.retryable and (proven or sound) and not self._expired and not unit.removed:
            if sound:
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
            return True
        if self._expired and not isinstance(error, LinkTimeout):
            late = LinkTimeout(f"{unit.state.meter.id} had not finished at the deadline")
            self._record(unit, late, sound=sound)
            raise late from error
        self._record(unit, error, sound=sound)
        return False

    async def _open(self, unit: Unit) -> Session:
        """Open a session, on the link that there is or on a new one."""
        access = self._access
        meter = unit.state.meter
        await self._close(unit)
        if unit.removed:
            raise _changed(meter)
        driver = access.driver(meter.protocol)
        profile = access.profile(meter)
        secrets = await access.secrets(meter)
        if self.line is not None and (not self.line.is_open or self.line is unit.timed_out_on):
            self.line.drop()
            self.line = None
        line = self.line if self.line is not None else await self._connect()
        if self._expired:
            raise LinkTimeout(f"no time was left to open a session with {meter.id}")
        unit.port = line.open_port()
        unit.timed_out_on = None
        unit.proven = False
        unit.session = await driver.attach(unit.port, meter, profile, secrets, timeout=access.request_timeout)
        return unit.session

    async def _connect(self) -> PartyLine:
        access = self._access
        wait = access.pace.reserve(access.time())
        if wait:
            self.deadline += wait
            await asyncio.sleep(wait)
        try:
            link = await access.open_link(self.endpoint, access.connect_timeout)
        except HeadendError as error:
            self.circuit.failed(error, access.time())
            raise
        self.circuit.succeeded()
        self.line = PartyLine(link)
        return self.line

    async def _discard(self, unit: Unit, error: HeadendError) -> None:
        """Get rid of a session that is not sound, and of the link with it when it is out of step."""
        if isinstance(error, LinkTimeout):
            self._abandon(unit)
        elif isinstance(error, RemoteProtocolError) and self.line is not None:
            self.line.drop()
        elif unit.port is not None:
            unit.port.abort()
        await self._close(unit)

    def _abandon(self, unit: Unit) -> None:
        """Close the port of a meter under whose session a request may be in flight."""
        if unit.port is not None:
            unit.timed_out_on = self.line
            unit.port.abort()

    async def _close(self, unit: Unit) -> None:
        """Close the session of a meter, if it has one."""
        session, unit.session = unit.session, None
        port, unit.port = unit.port, None
        if session is not None:
            with contextlib.suppress(HeadendError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await session.aclose()
        if port is not None:
            port.abort()

    def _record(self, unit: Unit, error: HeadendError, *, sound: bool) -> None:
        """Count a failure where it belongs: a link that cannot be opened is the wire's, all else the meter's."""
        if isinstance(error, SecurityError) or not (sound or self.circuit.error is error):
            unit.state.circuit.failed(error, self._access.time())
        if not (self.closed or unit.removed):
            self._access.roster.failed(unit.state, error)

    def _count(self, unit: Unit) -> None:
        """Put the octets since the last count down to this meter."""
        line = self.line
        if line is not None:
            link, state, octets = line.link, unit.state, self._access.octets
            received, sent = link.octets_in - line.seen_in, link.octets_out - line.seen_out
            line.seen_in += received
            line.seen_out += sent
            state.octets_in += received
            state.octets_out += sent
            octets.received += received
            octets.sent += sent
