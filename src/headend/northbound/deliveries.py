"""Deliveries: the couriers of all sinks, what they are offered, and how long the journal keeps it for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from headend.errors import Conflict, NotFound, StorageError
from headend.model.delivery import SinkState, TakesTokens
from headend.model.journal import DeadLetter, Segment
from headend.northbound.courier import Courier
from headend.northbound.resting import Resting
from headend.services.roster import Clock
from headend.storage.journal import Journal

PURGE_SECONDS: Final = 60.0
HOUR_MS: Final = 3_600_000

log = structlog.get_logger(__name__)


class Deliveries:
    """All sinks by name. Belongs to the event loop, but for `load`."""

    def __init__(self, journal: Journal, clock: Clock, *, keep_hours: float, keep_octets: int) -> None:
        self._journal = journal
        self._couriers: dict[str, Courier] = {}
        self._resting: dict[str, Resting] = {}
        self._clock = clock
        self._keep_ms = round(keep_hours * HOUR_MS)
        self._keep_octets = keep_octets

    def add(self, courier: Courier) -> None:
        """Deliver to one more sink; before `load`."""
        self._couriers[courier.name] = courier

    def rest(self, sink: Resting) -> None:
        """Keep the place of a sink that is switched off; before `load`."""
        self._resting[sink.name] = sink

    def load(self) -> None:
        """Find out where each sink is, before anything more is stored, and forget the places of all others; blocks."""
        self._journal.forget({*self._couriers, *self._resting})
        for courier in self._couriers.values():
            courier.load()
        self._resting = {name: sink for name, sink in self._resting.items() if sink.load()}

    def offer(self, segment: Segment) -> None:
        """Take what was stored just now."""
        for courier in self._couriers.values():
            courier.offer(segment)

    async def run(self, running: Callable[[Courier], Coroutine[Any, Any, None]] = Courier.run) -> None:
        """Deliver until cancelled; `running` runs one courier."""
        async with asyncio.TaskGroup() as group:
            for courier in self._couriers.values():
                group.create_task(running(courier), name=f"courier {courier.name}")
            group.create_task(self._purge(), name="retention of the journal")

    def courier(self, name: str) -> Courier:
        """The courier of a sink; raises NotFound, and Conflict for one that is switched off."""
        if name not in self._couriers:
            if name in self._resting:
                raise Conflict(f"the sink {name!r} is switched off", hint=f"set sinks.{name}.enabled")
            raise NotFound(f"no sink {name!r}", hint="sinks are: " + ", ".join(self._couriers))
        return self._couriers[name]

    def states(self) -> list[SinkState]:
        """How all sinks are doing, in the order of the settings, those that are switched off behind the others."""
        return [each.state for each in self._all]

    @property
    def _all(self) -> tuple[Courier | Resting, ...]:
        return (*self._couriers.values(), *self._resting.values())

    @property
    def tokens(self) -> TakesTokens | None:
        """The first sink that has an access token for each meter."""
        sinks = (courier.sink for courier in self._couriers.values())
        return next((sink for sink in sinks if isinstance(sink, TakesTokens)), None)

    def drop_tokens(self, meter_id: str) -> None:
        """A meter is gone: so are its access tokens; blocks."""
        for courier in self._couriers.values():
            if isinstance(courier.sink, TakesTokens):
                courier.sink.drop_token(meter_id)

    async def replay(self, name: str, since: int, until: int) -> int:
        """Deliver again what was stored at since <= time < until, under the same ids; returns how many entries. NotFound."""
        return await self.courier(name).replay(since, until)

    async def refused(self, name: str) -> Sequence[DeadLetter]:
        """What a sink will never take, the newest first; raises NotFound."""
        return await self.courier(name).refused()

    async def retry(self, name: str, entry_id: str) -> None:
        """Try an entry once more that a sink refused; raises NotFound."""
        await self.courier(name).retry(entry_id)

    async def _purge(self) -> None:
        while True:
            try:
                await self.purge()
            except StorageError as error:
                log.warning("the journal cannot be purged", reason=str(error))
            await asyncio.sleep(PURGE_SECONDS)

    async def purge(self) -> None:
        """Remove what is older, or more, than is kept; sinks that have not had it say so."""
        before = self._clock() - self._keep_ms
        below = await asyncio.to_thread(self._journal.surplus, before, self._keep_octets)
        if below > await asyncio.to_thread(self._journal.floor):
            for each in self._all:
                await each.purge(below)
            await asyncio.to_thread(self._journal.purge, below)
        for resting in self._resting.values():
            await resting.look()
