"""A trial: is a meter reached the way somebody says, before it is entered? It is asked who it is, and read once.

Nothing is stored or published. Where other meters are read over the same wire, the trial waits for its turn there and they wait
for its end; it speaks over a link of its own. A secret that the meter has refused before is not tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from headend.drivers.base import Driver, Secrets, Session
from headend.drivers.mapping import to_batch
from headend.errors import CapabilityError, ConfigError
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch, Source
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.plan import poll_plan
from headend.services.bus import Bus
from headend.services.lockout import Lockout
from headend.services.roster import Clock, Roster
from headend.transport.link import Link

SECONDS: Final = 60.0
AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial found: who the meter says it is, and what its profile's plan brought; None where it has no profile."""

    identity: MeterIdentity
    batch: ReadingBatch | None
    seconds: float


class Trials:
    """Tries meters, a few at a time."""

    def __init__(
        self,
        lanes: Lanes,
        *,
        open_link: Callable[[Endpoint, float], Awaitable[Link]],
        driver: Callable[[str], Driver],
        profile: Callable[[Meter], MeterProfile | None],
        clock: Clock,
        timeout: float = 5.0,
        lockout: Lockout | None = None,
    ) -> None:
        """`timeout` is that of one answer, in seconds."""
        self._lanes = lanes
        self._open_link = open_link
        self._driver = driver
        self._profile = profile
        self._clock = clock
        self._timeout = timeout
        self._lockout = lockout
        self._room = asyncio.Semaphore(AT_ONCE)

    async def attempt(self, meter: Meter, secrets: Secrets) -> Tried:
        """Reach a meter with these secrets; raises what that raises, and ConfigError for one that dials in."""
        if meter.endpoint.kind is EndpointKind.INBOUND:
            raise ConfigError("a meter that dials in cannot be tried", hint="enter it; it is read when it calls")
        roster = Roster(Bus(), self._clock)
        roster.load([meter])

        async def given(_meter: Meter) -> Secrets:
            return secrets

        async with self._room, self._lanes.aside(meter.endpoint, SECONDS):
            lanes = Lanes(
                roster,
                open_link=self._open_link,
                driver=self._driver,
                profile=self._profile,
                secrets=given,
                connect_timeout=self._timeout,
                request_timeout=self._timeout,
                lockout=self._lockout,
            )
            try:
                return await lanes.run_job(meter.id, partial(self._look, meter), timeout=SECONDS, repeat=False)
            finally:
                await lanes.aclose()

    async def _look(self, meter: Meter, session: Session) -> Tried:
        time = asyncio.get_running_loop().time
        since = time()
        try:
            identity = await session.identify()
        except CapabilityError:
            identity = MeterIdentity()
        profile = self._profile(meter)
        plan = poll_plan(profile) if profile is not None else None
        batch = None
        if plan is not None and plan.entries:
            batch = to_batch(meter.id, plan, await session.read(plan), self._clock(), Source.POLL)
        return Tried(identity=identity, batch=batch, seconds=time() - since)
