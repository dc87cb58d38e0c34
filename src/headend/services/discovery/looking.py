"""Looking into places: grounds within their budgets, credentials where they are wanted, and the wires of our own meters.

A wire that a meter of ours is read over has one owner, its lane: it is looked into in a turn of that lane, between two reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from headend.drivers.base import Driver, Session
from headend.drivers.ground import Budget, Ground
from headend.errors import AuthenticationFailed, HeadendError
from headend.model.discovery import Examination, Sighting, TrialOutcome
from headend.model.meter import Endpoint, Meter
from headend.model.profile import MeterProfile
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.turns import Priority
from headend.services.discovery.credentials import NO_KEY, Key
from headend.services.discovery.identifying import GRACE_SECONDS, Identified, identify
from headend.services.lockout import Lockout
from headend.services.roster import Clock, MeterState
from headend.transport.link import Link

Opener: TypeAlias = Callable[[Endpoint, float], Awaitable[Link]]
_REMEMBERED: Final = 100_000
"""places whose last visit is remembered"""


class Looker:
    """Finds out who is at a place. Belongs to the event loop."""

    def __init__(
        self,
        drivers: Sequence[Driver],
        *,
        open_link: Opener,
        lanes: Lanes | None,
        lockout: Lockout,
        clock: Clock,
        timeout: float,
        budget: Budget,
        profiles: Iterable[MeterProfile] = (),
    ) -> None:
        self._drivers = drivers
        self._open_link = open_link
        self._lanes = lanes
        self._lockout = lockout
        self._clock = clock
        self._timeout = timeout
        self._budget = budget
        self._profiles = profiles
        self._time = asyncio.get_running_loop().time
        self._looked: dict[str, int] = {}
        self._places: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """held while a place is looked into: two who ask for it take turns"""
        self._wires: dict[str, dict[str, Meter]] = {}
        self._where: dict[str, str] = {}

    def follow(self, meter_id: str, state: MeterState | None) -> None:
        """A meter of ours was added, changed or removed."""
        before = self._where.pop(meter_id, None)
        if before is not None:
            self._wires[before].pop(meter_id)
            if not self._wires[before]:
                del self._wires[before]
        if state is not None:
            wire = state.meter.endpoint.wire
            self._where[meter_id] = wire
            self._wires.setdefault(wire, {})[meter_id] = state.meter

    def meters_at(self, wire: str) -> Sequence[Meter]:
        """Those of ours that are reached over a wire."""
        return tuple(self._wires.get(wire, {}).values())

    def ours(self, examination: Examination) -> str:
        """The meter of ours that was examined; empty where it is none."""
        there = [
            meter
            for meter in self.meters_at(examination.endpoint.wire)
            if meter.protocol == examination.protocol and meter.framing == examination.framing
        ]
        same = [meter for meter in there if dict(meter.params) == dict(examination.params)]
        found = same or [meter for meter in there if _alike(meter, examination)]
        return found[0].id if len(found) == 1 else ""

    def looked_at(self, wire: str) -> int:
        """When a place was looked into last, in milliseconds; 0 for never."""
        return self._looked.get(wire, 0)

    async def look(
        self,
        endpoint: Endpoint,
        *,
        banner: bytes = b"",
        listen: float = 0.0,
        exhaustive: bool = False,
        key: Key = NO_KEY,
        wanted: Sequence[Sighting] = (),
        units: str = "",
        protocol: str = "",
        timeout: float | None = None,
    ) -> Identified:
        """Never raises, but for cancellation. With a key, who is found is examined with it.

        `units` are stations to look for on a shared line, `protocol` the only one that may be spoken.
        """
        self._looked[endpoint.wire] = self._clock()
        while len(self._looked) > _REMEMBERED:
            del self._looked[next(iter(self._looked))]

        drivers = [each for each in self._drivers if protocol in ("", each.name)]

        async def work() -> Identified:
            ground = Ground(
                endpoint,
                open_link=self._open_link,
                time=self._time,
                sleep=asyncio.sleep,
                clock=self._clock,
                budget=self._budget,
                timeout=timeout or self._timeout,
                units=units,
                profiles=tuple(self._profiles),
            )

            async def examine(driver: Driver, ground: Ground, sighting: Sighting) -> Examination:
                return await self._examine(driver, ground, sighting, key)

            return await identify(
                ground,
                drivers,
                banner=banner,
                listen=listen,
                exhaustive=exhaustive,
                examine=examine,
                wanted=wanted,
            )

        async with self._places.setdefault(endpoint.wire, asyncio.Lock()):
            return await self._in_turn(endpoint, work)

    async def _in_turn(self, endpoint: Endpoint, work: Callable[[], Awaitable[Identified]]) -> Identified:
        """Where a meter of ours is there, its lane waits meanwhile, with no session open."""
        there = self.meters_at(endpoint.wire)
        if self._lanes is None or not there:
            return await work()
        found: list[Identified] = []

        async def turn(session: Session) -> None:
            await session.aclose()
            found.append(await work())

        try:
            limit = self._budget.seconds + 3 * GRACE_SECONDS
            await self._lanes.run_job(there[0].id, turn, Priority.COMMAND, timeout=limit, repeat=False)
        except HeadendError:
            if not found:  # no session can be opened: nobody is in the way
                return await work()
        return found[0]

    async def _examine(self, driver: Driver, ground: Ground, sighting: Sighting, key: Key) -> Examination:
        """Examine who was sighted, with a key unless it was refused there before."""
        if not key:
            return await driver.examine(ground, sighting)
        deeper = replace(sighting, params={**sighting.params, **key.params})
        meter = Meter(
            id="",
            protocol=sighting.protocol,
            framing=sighting.framing,
            endpoint=sighting.endpoint or ground.endpoint,
            params=deeper.params,
        )
        examination: Examination | None = None
        try:
            async with self._lockout.trying(meter, key.secrets):
                examination = await driver.examine(ground, deeper, key.secrets)
                _check_refusal(examination, deeper)
        except AuthenticationFailed as error:
            if examination is None:
                examination = await driver.examine(ground, sighting)
            examination = replace(examination, stopped=examination.stopped or str(error))
        return examination


def _alike(meter: Meter, examination: Examination) -> bool:
    """Does a meter say the same of itself as who was examined?"""
    mine, theirs = meter.identity, examination.identity
    pairs = (
        (mine.system_title, theirs.system_title),
        (mine.logical_device_name, theirs.logical_device_name),
        (mine.serial, theirs.serial),
        (mine.meter_address, theirs.meter_address),
    )
    return any(one and one == other for one, other in pairs)


def _check_refusal(examination: Examination, asked: Sighting) -> None:
    """Raise AuthenticationFailed when the secrets that went with a sighting were refused."""
    client, mechanism = asked.params.get("client", ""), asked.params.get("auth", "")
    for trial in examination.trials:
        tried = str(trial.client) == client and trial.mechanism == mechanism and trial.mechanism != "none"
        if tried and trial.outcome is TrialOutcome.REJECTED:
            raise AuthenticationFailed(f"client {client} with {mechanism}: {trial.result} {trial.diagnostic}".strip())
