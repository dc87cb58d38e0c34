"""All lanes: from a meter to the lane of its wire, and `run_job`, the one door to every meter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from headend import telemetry, tracing
from headend.drivers.base import Driver, Notification, Secrets
from headend.errors import HeadendError
from headend.model.meter import Endpoint, Meter
from headend.model.profile import MeterProfile
from headend.model.recovery import DEFAULT, Recovery
from headend.services.acquisition.access import Access
from headend.services.acquisition.lane import Lane, T, Work
from headend.services.acquisition.mending import Teller
from headend.services.acquisition.networks import Network, Networks, Pace
from headend.services.acquisition.party import Keeper
from headend.services.acquisition.states import LaneState, lane_states
from headend.services.acquisition.turns import Priority
from headend.services.acquisition.unit import Unit
from headend.services.lockout import Lockout
from headend.services.roster import MeterState, Roster
from headend.transport.deadline import sweeper
from headend.transport.link import Link

JOB_SECONDS: Final = 60.0


@asynccontextmanager
async def _trying(_meter: Meter, _secrets: Secrets) -> AsyncIterator[None]:
    yield


async def _refused(_meter: Meter, _error: HeadendError) -> None:
    pass


class Lanes:
    """The lanes of all wires, by name of the wire, and the meters on them. Made inside the event loop."""

    def __init__(
        self,
        roster: Roster,
        *,
        open_link: Callable[[Endpoint, float], Awaitable[Link]],
        driver: Callable[[str], Driver],
        profile: Callable[[Meter], MeterProfile | None],
        secrets: Callable[[Meter], Awaitable[Secrets]],
        connects_per_second: float = 1000.0,
        connect_timeout: float = 5.0,
        request_timeout: float = 5.0,
        heard: Callable[[MeterState, Sequence[Notification]], None] = lambda _state, _said: None,
        lockout: Lockout | None = None,
        recovery: Recovery = DEFAULT,
        networks: Iterable[Network] = (),
    ) -> None:
        """Without a lockout, what a meter refuses is remembered until the end of the process."""
        self.request_timeout = request_timeout
        self._recovery = recovery
        self._networks = Networks(networks, sweeper())
        self._profile = profile
        teller = Teller(roster)
        self._lockout = lockout
        self._roster = roster
        self._access = Access(
            open_link=open_link,
            driver=driver,
            profile=profile,
            secrets=secrets,
            roster=roster,
            sweeper=sweeper(),
            time=asyncio.get_running_loop().time,
            reserve=Pace(connects_per_second).reserve,
            trying=lockout.trying if lockout is not None else _trying,
            refused=lockout.refused if lockout is not None else _refused,
            connect_timeout=connect_timeout,
            request_timeout=request_timeout,
            heard=heard,
            spawn=self._spawn,
            recovery=recovery,
            teller=teller,
        )
        self._lanes: dict[str, Lane] = {}
        self._units: dict[str, Unit] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        roster.follow(self._follow)

    def of(self, endpoint: Endpoint) -> Lane:
        """The lane of a wire; made when it is first asked for."""
        wire = endpoint.wire
        lane = self._lanes.get(wire)
        if lane is None:
            lane = self._lanes[wire] = Lane(self._access, endpoint)
            lane.closed = self._closed
        return lane

    def forget(self, meter_id: str) -> None:
        """Learn anew how a meter is read; raises NotFound."""
        unit = self.unit(meter_id)
        unit.state.knowledge.forget()
        if unit.session is not None:
            unit.session.forget()

    def find(self, wire: str) -> Lane | None:
        """The lane of a wire, if it was asked for already."""
        return self._lanes.get(wire)

    def unit(self, meter_id: str) -> Unit:
        """A meter on its lane; raises NotFound."""
        unit = self._units.get(meter_id)
        if unit is None:
            state = self._roster.state(meter_id)
            unit = self._units[meter_id] = self._unit(state)
            unit.lane.units.add(unit)
        return unit

    async def run_job(
        self,
        meter_id: str,
        work: Work[T],
        priority: Priority = Priority.REQUEST,
        *,
        timeout: float = JOB_SECONDS,
        repeat: bool = True,
        secrets: Secrets | None = None,
    ) -> T:
        """Do something with the session of a meter and return what it returns; the one door to every meter.

        The job waits for the wire, behind more urgent ones. It ends, with what `work` returned or an error of the tree,
        `timeout` seconds from now at the latest. `work` may be called again, perhaps on a session that was opened anew,
        unless `repeat` is false. A job that is cancelled costs the session. With `secrets` of its own it always opens one.
        """
        unit = self.unit(meter_id)
        deadline = self._access.time() + timeout
        with tracing.span("meter job", meter=meter_id, priority=priority.name, protocol=unit.state.meter.protocol):
            return await unit.lane.run(unit, work, priority, deadline, repeat=repeat, secrets=secrets)

    @asynccontextmanager
    async def aside(self, endpoint: Endpoint, timeout: float) -> AsyncIterator[None]:
        """Nobody speaks over a wire while the block lasts, but whoever is in it, over a link of his own.

        Raises LinkTimeout when the wire is not free within so many seconds.
        """
        lane = self._lanes.get(endpoint.wire)
        if lane is None:
            yield
            return
        async with lane.held(self._access.time() + timeout):
            yield

    def adopt(self, meter_id: str, link: Link, keeper: Keeper, *, delay: float = 0.0) -> Lane:
        """This meter has opened a link: its lane, which is returned, owns it from now on; raises NotFound.

        It is left alone for `delay` seconds.
        """
        lane = self.unit(meter_id).lane
        lane.linkage.take(link, keeper, self._access.time() + delay)
        return lane

    async def release(self, meter: Meter) -> None:
        """Somebody has set a secret of a meter: even what it has refused before may be tried again."""
        if self._lockout is not None:
            await self._lockout.release(meter)

    async def aclose(self, timeout: float = 5.0) -> None:
        """End all work and close all sessions, politely within `timeout` seconds, then anyhow."""
        self._closed = True
        for lane in self._lanes.values():
            self._spawn(lane.aclose(), f"close {lane.wire}")
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for lane in self._lanes.values():
            lane.linkage.drop()
            self._access.teller.gone(lane.circuit, "wire")
        for unit in self._units.values():
            self._access.teller.gone(unit.state.circuit, "meter")

    def states(self, *, after: str = "", limit: int = 100, troubled: bool = False) -> list[LaneState]:
        """How the wires are recovering, page by page; see `lane_states`."""
        return lane_states(self._lanes.values(), self._access.time(), after=after, limit=limit, troubled=troubled)

    def thaw(self, meter_id: str) -> None:
        """A meter says the same again and again: forget what is known of it, and open its session anew for the next job."""
        unit = self._units.get(meter_id)
        if unit is not None and unit.session is not None:
            unit.state.knowledge.forget()
            unit.session.forget()
            self._spawn(unit.lane.release(unit), f"thaw {meter_id}")

    def tell_opened(self, tell: Callable[[str, Link], None]) -> None:
        """From now on, call with the name of the wire and each link that is opened to it."""
        self._access.opened.append(tell)

    def link(self, wire: str) -> Link | None:
        """The link that a wire has now."""
        lane = self._lanes.get(wire)
        line = None if lane is None else lane.linkage.line
        return line.link if line is not None and line.is_open else None

    def report(self) -> None:
        """Count the octets since the last report; the poller calls it every second."""
        self._networks.unpark()
        octets = self._access.octets
        telemetry.LINK_OCTETS.labels("in").inc(octets.received)
        telemetry.LINK_OCTETS.labels("out").inc(octets.sent)
        octets.received = octets.sent = 0

    def _unit(self, state: MeterState) -> Unit:
        """A meter on its lane, with the rules of its profile and its networks; without a profile it fails soon enough."""
        meter, rules = state.meter, self._recovery
        with contextlib.suppress(HeadendError):
            profile = self._profile(meter)
            rules = rules if profile is None else rules.changed(profile.recovery)
        gates = self._networks.of(meter)
        for gate in gates:
            rules = rules.changed(gate.recovery)
        return Unit(self.of(meter.endpoint), state, rules, gates)

    def _follow(self, meter_id: str, _state: MeterState | None) -> None:
        """A meter was added, changed or removed: what was known of it is closed, the next job begins anew."""
        unit = self._units.pop(meter_id, None)
        if unit is not None:
            unit.lane.interrupt(unit)
            self._access.teller.gone(unit.state.circuit, "meter")
            self._spawn(self._retire(unit), f"close {meter_id}")

    async def _retire(self, unit: Unit) -> None:
        await unit.lane.release(unit)
        unit.lane.units.discard(unit)
        if not unit.lane.units and self._lanes.get(unit.lane.wire) is unit.lane:
            del self._lanes[unit.lane.wire]
            self._access.teller.gone(unit.lane.circuit, "wire")

    def _spawn(self, closing: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(closing, name=name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
