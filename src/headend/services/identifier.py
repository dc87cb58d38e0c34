"""The identifier: asks each meter who it is, once, when it is first read, and keeps the answer.

A meter whose identity is known is not asked, nor one that dials in and is not polled. One that cannot say is not asked again
before the next start, or before it is changed: asking costs a request, with some meters a time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from headend.drivers.base import Session
from headend.errors import HeadendError, NotConnected
from headend.model.event import Event, EventType
from headend.model.meter import EndpointKind, MeterIdentity
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.turns import Priority
from headend.services.bus import Bus
from headend.services.roster import Roster

AT_ONCE: Final = 16
ASK_SECONDS: Final = 30.0
QUEUE_EVENTS: Final = 20_000
UNKNOWN: Final = MeterIdentity()

log = structlog.get_logger(__name__)


async def _identify(session: Session) -> MeterIdentity:
    return await session.identify()


class Identifier:
    """Follows the bus for meters that come online; `save` is blocking, keeps an identity, and may raise errors of the tree."""

    def __init__(self, roster: Roster, lanes: Lanes, bus: Bus, save: Callable[[str, MeterIdentity], object]) -> None:
        self._roster = roster
        self._lanes = lanes
        self._save = save
        self._asked: set[str] = set()
        self._events = bus.subscribe("identifier", Event, maxsize=QUEUE_EVENTS)

    async def run(self) -> None:
        """Ask until `close`."""
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for event in self._events:
                if event.type is EventType.METER_CHANGED:
                    self._asked.discard(event.meter_id)
                elif event.type is EventType.METER_ONLINE and self._is_unknown(event.meter_id):
                    self._asked.add(event.meter_id)
                    await room.acquire()
                    task = group.create_task(self._ask(event.meter_id), name="identify")
                    task.add_done_callback(lambda _task: room.release())

    def close(self) -> None:
        """Ask no further meter."""
        self._events.close()

    def _is_unknown(self, meter_id: str) -> bool:
        if meter_id in self._asked or meter_id not in self._roster:
            return False
        meter = self._roster.state(meter_id).meter
        asked = meter.endpoint.kind is not EndpointKind.INBOUND or meter.poll_seconds > 0
        return meter.identity == UNKNOWN and asked

    async def _ask(self, meter_id: str) -> None:
        try:
            identity = await self._lanes.run_job(meter_id, _identify, Priority.POLL, timeout=ASK_SECONDS, repeat=False)
            if identity != UNKNOWN:
                await asyncio.to_thread(self._save, meter_id, identity)
                self._roster.identified(meter_id, identity)
        except NotConnected:
            self._asked.discard(meter_id)
        except HeadendError as error:
            log.info("meter did not say who it is", meter=meter_id, code=error.code)
