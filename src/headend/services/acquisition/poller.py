"""The poller: reads every meter when its schedule says so, and puts what it brought on the bus.

Workers are tasks that exist only while meters are due: one takes a due meter, reads it, and takes the next. No worker waits
for a wire that another one is serving: the meter joins the queue of that worker, so that a slow bus of 30 meters occupies
one worker and not 30.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from headend import telemetry
from headend.drivers.base import Session
from headend.drivers.mapping import to_batch
from headend.errors import CapabilityError, HeadendError, NotConnected, SecurityError
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Meter
from headend.model.objects import ReadPlan
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch, Source
from headend.services.acquisition.lane import Work
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.plan import Intervals, PollPlan, Rounds, grouped, poll_plan
from headend.services.acquisition.schedule import NEVER, Schedule
from headend.services.acquisition.turns import Priority
from headend.services.acquisition.unit import Unit
from headend.services.acquisition.wires import Wire
from headend.services.bus import Bus
from headend.services.roster import Clock, MeterState, Roster

TICK_SECONDS: Final = 0.01
"""Meters that fall due within a tick are dispatched together."""
REPORT_SECONDS: Final = 1.0
POLL_SECONDS: Final = 60.0
"""for one read of one meter, whatever number of requests it takes"""

log = structlog.get_logger(__name__)


class _Tally:
    """What is counted of one protocol; reported once a second, because a counter with a lock costs as much as a heap."""

    __slots__ = ("_late", "_seconds", "late", "protocol", "requests", "seconds", "values")

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.seconds: list[float] = []
        """that each read took which went well, since the last report"""
        self.late: list[float] = []
        """by how much each of them was late"""
        self.requests = 0
        self.values = 0
        """likewise"""
        self._seconds = telemetry.READ_SECONDS.labels(protocol)
        self._late = telemetry.READ_LATENESS.labels(protocol)

    def report(self) -> None:
        """Put it into the metric."""
        if self.seconds:
            telemetry.READS.labels(self.protocol, "ok").inc(len(self.seconds))
            telemetry.REQUESTS.labels(self.protocol).inc(self.requests)
            telemetry.VALUES.labels(self.protocol).inc(self.values)
            self._seconds.observe_all(self.seconds)
            self._late.observe_all(self.late)
            self.requests = self.values = 0


class Polled:
    """One meter that is polled, with all that a read needs at hand."""

    __slots__ = ("asked", "failed_with", "id", "missed", "plan", "rounds", "state", "tally", "unit", "wire", "work")

    def __init__(self, state: MeterState, plan: PollPlan, work: Work[ReadingBatch], wire: Wire, tally: _Tally) -> None:
        self.id = state.meter.id
        self.plan = plan
        self.rounds = Rounds(self.id, plan) if len(plan.multiples) > 1 else None
        """which groups are due, where not all are at once"""
        self.tally = tally
        self.state = state
        self.wire = wire
        self.work = work
        self.unit: Unit | None = None
        self.asked = 0
        """requests of the last read"""
        self.missed = False
        """it was due, and had not dialled in"""
        self.failed_with = ""
        """the error code of the last read, said already"""


async def _read_batch(meter_id: str, plan: ReadPlan, clock: Clock, session: Session) -> ReadingBatch:
    return to_batch(meter_id, plan, await session.read(plan), clock(), Source.POLL)


class Poller:
    """Polls all enabled meters of the roster that have a period and a profile with something to read."""

    def __init__(
        self,
        roster: Roster,
        lanes: Lanes,
        bus: Bus,
        *,
        profile: Callable[[Meter], MeterProfile | None],
        clock: Clock,
        max_in_flight: int = 2000,
        intervals: Intervals | None = None,
    ) -> None:
        """`intervals` say what is read less often than its meter."""
        self._intervals = intervals or Intervals()
        self._lanes = lanes
        self._bus = bus
        self._profile = profile
        self._clock = clock
        self.roster = roster
        self._max_in_flight = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._began = self._time()
        self._schedule = Schedule()
        self.polled: dict[str, Polled] = {}
        self._wires: dict[str, Wire] = {}
        self._tallies: dict[str, _Tally] = {}
        self._workers = 0
        self._stopping = False
        self._reporting: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None
        roster.follow(self._follow)

    @property
    def in_flight(self) -> int:
        """How many workers there are."""
        return self._workers

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._time() - self._began

    async def run(self) -> None:
        """Poll until `stop`; returns when the reads under way have ended. May be called again after it was cancelled."""
        self._schedule.resume(self._time())
        self._reporting = self._loop.call_later(REPORT_SECONDS, self._report)
        try:
            async with asyncio.TaskGroup() as workers:
                while not self._stopping:
                    now = self._time()
                    room = self._max_in_flight - self._workers if self._bus.has_room() else 0
                    for meter_id in self._schedule.pop_due(now, room):
                        self._workers += 1
                        workers.create_task(self._serve(meter_id), name="poll")
                    await self._pause(now)
        finally:
            self._reporting.cancel()
            self._count()

    def standing(self) -> tuple[bool, float]:
        """Whether a meter is due that could be read, and since when the one is that has been due longest."""
        due = self._schedule.next_due()
        waits = due <= self._time() and self._bus.has_room() and not self._stopping
        return waits, due

    def stop(self) -> None:
        """Begin no further read."""
        self._stopping = True
        self._rouse()

    async def poll_now(self, meter_id: str, *, timeout: float = POLL_SECONDS) -> ReadingBatch:
        """Read a meter at once, whether it is polled or not, publish the batch and return it.

        Raises NotFound, CapabilityError when its profile has nothing to read, and what reading raises.
        """
        meter = self.roster.state(meter_id).meter
        plan = self._plan(meter)
        if plan is None:
            raise CapabilityError(
                f"nothing is known that could be read on meter {meter_id!r}", hint="give it a profile"
            )
        work = partial(_read_batch, meter_id, plan, self._clock)
        batch = await self._lanes.run_job(meter_id, work, timeout=timeout)
        self._bus.publish(batch)
        self._schedule.recovered(meter_id, self._time())
        return batch

    def connected(self, meter_id: str, delay: float) -> None:
        """A meter has dialled in: one that was due meanwhile is read after `delay` seconds."""
        polled = self.polled.get(meter_id)
        if polled is not None and polled.missed:
            polled.missed = False
            self._schedule.hurry(meter_id, self._time() + delay)
            self._rouse()

    # the loop

    async def _pause(self, now: float) -> None:
        """Sleep until the next meter is due and there is room to read it, or something changed."""
        wake = self._wake = self._loop.create_future()
        due = self._schedule.next_due()
        if not self._bus.has_room():
            due = NEVER
            self._bus.tell_room(wake)
        elif self._workers >= self._max_in_flight:
            due = NEVER
        timer = None if due == NEVER else self._loop.call_at(max(due, now + TICK_SECONDS), self._rouse)
        try:
            if not self._stopping:
                await wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    def _report(self) -> None:
        self._count()
        self._reporting = self._loop.call_later(REPORT_SECONDS, self._report)

    def _count(self) -> None:
        """Put what was read since the last time into the metrics."""
        for tally in self._tallies.values():
            tally.report()
        self._lanes.report()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _serve(self, meter_id: str | None) -> None:
        """A worker: read meters as long as any are due."""
        schedule, time = self._schedule, self._time
        try:
            while meter_id is not None:
                polled = self.polled.get(meter_id)
                if polled is not None:
                    wire = polled.wire
                    if wire.served:
                        wire.wait(polled)
                    elif polled.failed_with and not wire.may(polled, time()):
                        schedule.hurry(meter_id, wire.again_at(time()))
                    else:
                        wire.served = True
                        try:
                            await self._read(polled)
                            if wire.waiting:
                                await self._read_waiting(wire)
                        finally:
                            wire.served = False
                if self._stopping or not self._bus.has_room():
                    return
                meter_id = schedule.pop(time())
        finally:
            self._workers -= 1
            if self._wake is not None:
                self._rouse()

    async def _read_waiting(self, wire: Wire) -> None:
        """Read all meters that fell due behind another one on the same wire, as far as they may be read now."""
        time = self._time
        while (polled := wire.next(time())) is not None:
            if self._stopping or not self._bus.has_room():
                self._schedule.hurry(polled.id, time())
            else:
                await self._read(polled)
        while (polled := wire.held_back()) is not None:
            self._schedule.hurry(polled.id, wire.again_at(time()))

    async def _read(self, polled: Polled) -> None:
        unit = polled.unit
        if unit is None or unit.removed:
            if self.polled.get(polled.id) is not polled:
                return
            unit = polled.unit = self._lanes.unit(polled.id)
        lane, wire = unit.lane, polled.wire
        if not lane.linkage.reachable:
            polled.missed = True
            return
        if unit.gates and (gate := unit.shut) is not None:
            gate.park(partial(self._resume, polled))
            return
        started = self._time()
        deadline, work = started + POLL_SECONDS, polled.work
        if polled.rounds is not None:
            plan = polled.rounds.due(started)
            if plan is None:
                self._schedule.done(polled.id, started)
                return
            work = partial(_read_batch, polled.id, plan, self._clock)
        if wire.meters > 1:
            deadline = started + unit.time_for_poll(POLL_SECONDS, self._lanes.request_timeout)
        state = polled.state
        knowledge = state.knowledge
        before = knowledge.requests
        try:
            batch = await lane.run(unit, work, Priority.POLL, deadline, repeat=True)
        except HeadendError as error:
            self._failed(polled, unit, error, self._time() - started)
            return
        now = self._time()
        took, late = now - started, self._schedule.done(polled.id, now)
        wire.busy_seconds += took
        if wire.meters > 1:
            wire.was_late(late)
            unit.slowest = max(unit.slowest, took)
        if polled.rounds is not None:
            polled.rounds.done()
        if polled.failed_with:
            polled.failed_with = ""
            wire.failing -= 1
        self._bus.publish(batch)
        values = len(batch.quantities)
        state.reads_ok += 1
        state.readings += values
        state.figures.took(took)
        polled.asked = asked = knowledge.requests - before
        tally = polled.tally
        tally.seconds.append(took)
        tally.late.append(late)
        tally.requests += asked
        tally.values += values

    def _resume(self, polled: Polled) -> bool:
        """There is room again in the network of a meter that was due; False when it is not polled any more."""
        if self.polled.get(polled.id) is not polled:
            return False
        self._schedule.hurry(polled.id, self._time())
        self._rouse()
        return True

    def _failed(self, polled: Polled, unit: Unit, error: HeadendError, seconds: float) -> None:
        """Try again later; a SecurityError is for somebody to mend first. Say so once."""
        telemetry.READS.labels(polled.tally.protocol, error.code).inc()
        if unit.removed:
            return
        if isinstance(error, NotConnected):
            polled.missed = True
            return
        polled.state.reads_failed += 1
        now = self._time()
        polled.wire.took(seconds, now, failed=True)
        polled.wire.failing += not polled.failed_with
        if isinstance(error, SecurityError):
            self._schedule.remove(polled.id)
        else:
            self._schedule.failed(polled.id, now, unit.lane.retry_at(unit))
        if error.code != polled.failed_with:
            polled.failed_with = error.code
            self._bus.publish(
                Event(
                    type=EventType.READ_FAILED,
                    severity=Severity.WARNING,
                    occurred_at=self._clock(),
                    meter_id=polled.id,
                    data={"code": error.code, "reason": str(error)},
                )
            )

    # keeping in step with the roster

    def _follow(self, meter_id: str, state: MeterState | None) -> None:
        old = self.polled.pop(meter_id, None)
        if old is not None:
            self._schedule.remove(meter_id)
            old.wire.meters -= 1
            old.wire.failing -= bool(old.failed_with)
            if not old.wire.meters:
                del self._wires[old.state.meter.endpoint.wire]
        if state is None or not state.meter.enabled or state.meter.poll_seconds <= 0:
            return
        try:
            plan = self._groups(state.meter)
        except HeadendError as error:
            log.warning("meter cannot be polled", meter=meter_id, code=error.code, reason=str(error))
            self.roster.failed(state, error)
            return
        if plan is not None:
            wire = self._wires.setdefault(state.meter.endpoint.wire, Wire())
            wire.meters += 1
            protocol = state.meter.protocol
            tally = self._tallies.setdefault(protocol, _Tally(protocol))
            work = partial(_read_batch, meter_id, plan.whole, self._clock)
            self.polled[meter_id] = Polled(state, plan, work, wire, tally)
            self._schedule.add(meter_id, plan.period, self._time())
            self._rouse()

    def _groups(self, meter: Meter) -> PollPlan | None:
        """How a meter is polled; None when its profile has nothing to read, or there is none."""
        profile = self._profile(meter)
        if profile is None or not poll_plan(profile).entries:
            return None
        return grouped(profile, meter.poll_seconds, self._intervals.changes(meter, profile))

    def _plan(self, meter: Meter) -> ReadPlan | None:
        """What to read on a meter; None when its profile has nothing, or there is none."""
        profile = self._profile(meter)
        plan = None if profile is None else poll_plan(profile)
        return plan if plan is not None and plan.entries else None
