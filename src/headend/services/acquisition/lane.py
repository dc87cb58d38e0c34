"""The lane: the only way over one wire. It passes the turn from job to job and recovers what breaks.

A lane is no task. Whoever has the turn works in its own task, commands ahead of reads for people ahead of polls, so that an
idle lane costs an object and its open link. The lane keeps a session per meter on the wire and recovers at three levels, within
what `Recovery` allows: a meter that is busy is asked once more; a session that had worked before and fails is opened anew;
who fails again and again is left alone for a while (see `circuit`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

import structlog

from headend.drivers.base import Secrets, Session
from headend.errors import (
    Conflict,
    HeadendError,
    LinkClosed,
    LinkTimeout,
    LocalProtocolError,
    NotConnected,
    RemoteProtocolError,
    SecurityError,
)
from headend.model.meter import Endpoint
from headend.services.acquisition.access import Access
from headend.services.acquisition.circuit import CircuitState
from headend.services.acquisition.linkage import Linkage
from headend.services.acquisition.mending import Level, count
from headend.services.acquisition.networks import enter, leave
from headend.services.acquisition.party import PartyLine
from headend.services.acquisition.turns import Priority, Turns
from headend.services.acquisition.unit import Tries, Unit
from headend.transport.deadline import NEVER

T = TypeVar("T")
Work: TypeAlias = Callable[[Session], Awaitable[T]]

IDLE_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 3.0
"""for a session to close; it has promised two"""

_CLOSING: Final = "the head-end is shutting down"

log = structlog.get_logger(__name__)


class Lane:
    """One wire: its link, the meters on it, and whose turn it is."""

    __slots__ = (
        "_access",
        "_expired",
        "_unit",
        "circuit",
        "closed",
        "deadline",
        "linkage",
        "turns",
        "units",
        "wire",
    )

    def __init__(self, access: Access, endpoint: Endpoint) -> None:
        self._access = access
        self.wire = endpoint.wire
        self.linkage = Linkage(access, endpoint, self._hang_up)
        self.circuit = self.linkage.circuit
        self.units: set[Unit] = set()
        self.closed = False
        self.deadline = NEVER
        """of the job at work"""
        self._expired = False
        self.turns = Turns(self.wire, access.sweeper)
        self._unit: Unit | None = None
        """whose job is at work"""

    async def run(
        self,
        unit: Unit,
        work: Work[T],
        priority: Priority,
        deadline: float,
        *,
        repeat: bool,
        secrets: Secrets | None = None,
    ) -> T:
        """Do `work` with the session of a meter when it is its turn; see `Lanes.run_job`."""
        turns = self.turns
        if turns.busy:
            await turns.wait(priority, deadline)
        turns.busy = True
        self._unit = unit
        self._expired = False
        self.deadline = deadline
        state = unit.state
        access, linkage = self._access, self.linkage
        access.sweeper.add(self)
        try:
            if state.circuit.error or self.circuit.error or self.closed or unit.removed or unit.gates:
                await self._admit(unit, priority, secrets)
            unit.tries = None
            while True:
                proven = False
                try:
                    session = unit.session
                    if session is None or not session.sound or secrets is not None or unit.renews:
                        session = await self._ready(unit, secrets)
                    else:
                        linkage.listen(unit.port)
                    proven = unit.proven
                    result = await work(session)
                    said = session.notifications()
                except HeadendError as error:
                    if not await self._mend(unit, error, repeat=repeat, proven=proven):
                        raise
                else:
                    unit.proven = True
                    self._count(unit)
                    if unit.trouble is not None:
                        self._mended(unit)
                    access.roster.succeeded(state)
                    if said:
                        access.heard(state, said)
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
            turns.pass_on()
            if unit.entered or linkage.berth.gates or not unit.kept:
                self._leave(unit)

    def held(self, deadline: float) -> contextlib.AbstractAsyncContextManager[None]:
        """Have the turn without working on a meter of the lane; see `Turns.held`."""
        return self.turns.held(Priority.REQUEST, deadline)

    @property
    def busy(self) -> bool:
        """True while a job has the turn."""
        return self.turns.busy

    def overhear(self) -> None:
        """Something came that no job may have been waiting for: publish what the meters say."""
        if self.turns.busy:
            return
        for unit in self.units:
            if unit.session is None:
                continue
            if said := unit.session.notifications():
                self._access.roster.heard(unit.state)
                self._access.heard(unit.state, said)
            if not unit.session.sound:
                self.linkage.drop()

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

    async def release(self, unit: Unit) -> None:
        """Close the session of a meter, in turn with the others on the wire."""
        try:
            if self.turns.busy:
                await self.turns.wait(Priority.COMMAND, self._access.time() + CLOSE_SECONDS)
        except HeadendError:
            self._abandon(unit)
            await self._close(unit)
            return
        self.turns.busy = True
        try:
            self.linkage.listen(unit.port)
            await self._close(unit)
        finally:
            self.turns.pass_on()

    async def aclose(self) -> None:
        """Refuse new jobs, end the one at work, close all sessions and the link."""
        self.closed = True
        self.turns.refuse(LinkClosed(_CLOSING))
        if self._unit is not None:
            self._abandon(self._unit)
        await self._release_all()

    # work and recovery

    async def _admit(self, unit: Unit, priority: Priority, secrets: Secrets | None) -> None:
        """Raise what speaks against beginning now, and wait for a place in the networks of the meter.

        To other secrets than those of the meter its circuit does not apply.
        """
        self._go_on(unit)
        if secrets is None and (unit.state.circuit.error is not None or self.circuit.error is not None):
            now = self._access.time()
            insisting = priority < Priority.BILLING
            for circuit, meter_id in ((unit.state.circuit, unit.state.meter.id), (self.circuit, "")):
                before = circuit.state
                refusal = circuit.refusal(now, insisting=insisting)
                self._access.teller.moved(circuit, before, self.wire, meter_id, now)
                if refusal is not None:
                    raise refusal

        if unit.gates:
            self.linkage.berth.busy()
            await enter(unit.gates, unit.entered, priority, self.deadline)
            self._go_on(unit)

    def _leave(self, unit: Unit) -> None:
        """Give back the places in the networks of the meter, the link to who waits for one, and soon the session."""
        if unit.entered:
            leave(unit.entered)
        if not self.turns.busy:
            self.linkage.berth.idle()
        if not unit.kept and unit.session is not None:
            self._close_later(unit)

    def _hang_up(self) -> None:
        self._access.spawn(self._release_all(), f"hang up {self.wire}")

    async def _release_all(self) -> None:
        for unit in tuple(self.units):
            await self.release(unit)

    def _go_on(self, unit: Unit) -> None:
        """Raise what speaks against taking the next step of a job."""
        if self.closed:
            raise LinkClosed(_CLOSING)
        if unit.removed:
            raise Conflict(f"meter {unit.state.meter.id!r} was changed or removed meanwhile", hint="ask again")
        if self._expired:
            raise LinkTimeout(f"no time was left for {unit.state.meter.id}")

    async def _mend(self, unit: Unit, error: HeadendError, *, repeat: bool, proven: bool) -> bool:
        """Deal with a failure: True when the job may be tried again, else the failure is recorded."""
        self._count(unit)
        unit.trouble = error
        tries = unit.tries = unit.tries or Tries(unit.rules)
        if isinstance(error, SecurityError):
            await self._access.refused(unit.state.meter, error)
        sound = unit.session is not None and unit.session.sound
        if not sound:
            await self._discard(unit, error)
        if repeat and self.linkage.reachable and not self._expired and not unit.removed:
            wait = tries.next(error, sound=sound, proven=proven)
            if wait is not None:
                if wait:
                    await asyncio.sleep(wait)
                return True
        if tries.retried and sound:
            count(Level.RETRY, ok=False)
        if self._expired and not isinstance(error, LinkTimeout):
            late = LinkTimeout(f"{unit.state.meter.id} had not finished at the deadline")
            self._record(unit, late, sound=sound)
            raise late from error
        self._record(unit, error, sound=sound)
        if sound and error.retryable:
            unit.errors += 1
            if 0 < unit.rules.reopen_after <= unit.errors:
                unit.lost = error
                await self._close(unit)
        return False

    def _mended(self, unit: Unit) -> None:
        """A job went well after one that did not, or after it had to be tried again."""
        now = self._access.time()
        circuit, before = unit.state.circuit, unit.state.circuit.state
        circuit.succeeded(unit.rules)
        if unit.tries is not None and unit.tries.retried:
            count(Level.RETRY, ok=True)
        if unit.reopened is not None:
            circuit.reopened(unit.reopened, now, unit.rules)
            unit.reopened = None
        self._moved(unit, before)
        unit.trouble = circuit.error
        unit.errors = 0

    def _moved(self, unit: Unit, before: CircuitState) -> None:
        if not unit.removed:
            now = self._access.time()
            self._access.teller.moved(unit.state.circuit, before, self.wire, unit.state.meter.id, now)

    async def _ready(self, unit: Unit, secrets: Secrets | None) -> Session:
        """The session of a meter that has its turn: opened where there is none, anew where it has done its time."""
        session = unit.session
        if session is None or not session.sound or secrets is not None:
            return await self._open(unit, secrets)
        if not unit.worn(self._access.time()):
            self.linkage.listen(unit.port)
            return session
        try:
            session = await self._open(unit, None)
        except HeadendError:
            count(Level.RENEW, ok=False)
            raise
        count(Level.RENEW, ok=True)
        return session

    async def _open(self, unit: Unit, secrets: Secrets | None) -> Session:
        """Open a session, on the link that there is or on a new one; None: with the secrets that the meter has."""
        access = self._access
        meter = unit.state.meter
        await self._close(unit)
        driver = access.driver(meter.protocol)
        profile = access.profile(meter)
        if secrets is None:
            secrets = await access.secrets(meter)
        await self.linkage.settle(unit.timed_out_on)
        self._go_on(unit)
        async with access.trying(meter, secrets):
            line = self.linkage.line or await self._connect(unit)
            unit.port = line.open_port()
            unit.timed_out_on = None
            unit.proven = False
            knowledge = unit.state.knowledge.meet(meter.identity.firmware)
            try:
                timeout = unit.timeout(access.request_timeout)
                unit.session = await driver.attach(
                    unit.port, meter, profile, secrets, timeout=timeout, knowledge=knowledge
                )
            except HeadendError:
                if unit.lost is not None:
                    count(Level.REOPEN, ok=False)
                raise
        unit.state.sessions += 1
        unit.used = 0
        unit.renewed_by = access.time() + unit.rules.renew_seconds
        if unit.lost is not None:
            unit.reopened, unit.lost = unit.lost, None
            access.teller.reopened(unit, unit.reopened, access.time())
        return unit.session

    async def _connect(self, unit: Unit) -> PartyLine:
        async def pause(seconds: float) -> None:
            self.deadline += seconds
            await asyncio.sleep(seconds)

        return await self.linkage.connect(unit.gates, self.deadline, pause, partial(self._go_on, unit))

    async def _discard(self, unit: Unit, error: HeadendError) -> None:
        """Get rid of a session that is not sound, and of the link with it when it is out of step."""
        if unit.session is not None and unit.proven:
            unit.lost = error
        if isinstance(error, LinkTimeout):
            self._abandon(unit)
        elif isinstance(error, RemoteProtocolError) and self.linkage.line is not None:
            self.linkage.drop()
        elif unit.port is not None:
            unit.port.abort()
        await self._close(unit)

    def _abandon(self, unit: Unit) -> None:
        """Close the port of a meter under whose session a request may be in flight."""
        if unit.port is not None:
            line = unit.timed_out_on = self.linkage.line
            unit.port.abort()
            if line is not None and line.keeper is not None and len(self.units) == 1:
                line.drop()  # the meter dials in again, the sooner the better

    async def _close(self, unit: Unit) -> None:
        """Close the session of a meter, if it has one."""
        session, unit.session = unit.session, None
        port, unit.port = unit.port, None
        if session is not None:
            with contextlib.suppress(HeadendError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await session.aclose()
        if port is not None:
            unit.count(port)
            port.abort()

    def _close_later(self, unit: Unit) -> None:
        """Close the session of a meter unless another job comes soon: many meters talk to one client at a time."""
        unit.jobs += 1
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle, unit, unit.jobs)

    def _close_idle(self, unit: Unit, jobs: int) -> None:
        if unit.jobs == jobs and unit.session is not None and unit is not self._unit:
            self._access.spawn(self.release(unit), f"close {unit.state.meter.id}")

    def _record(self, unit: Unit, error: HeadendError, *, sound: bool) -> None:
        """Count a failure where it belongs: a link that cannot be opened is the wire's, all else the meter's.

        That a meter has not dialled in is nobody's failure.
        """
        if isinstance(error, NotConnected):
            return
        if isinstance(error, SecurityError) or not (sound or self.circuit.error is error):
            before = unit.state.circuit.state
            unit.state.circuit.failed(error, self._access.time(), unit.rules)
            self._moved(unit, before)
        if not (self.closed or unit.removed):
            self._access.roster.failed(unit.state, error)

    def _count(self, unit: Unit) -> None:
        """Put the octets and the requests since the last count down to this meter."""
        self.linkage.count(unit.state)
        if unit.port is not None:
            unit.count(unit.port)
