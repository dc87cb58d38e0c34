"""The supervisor: looks whether everything makes progress, starts again what is stuck, and says what it did and why.

It looks at the event loop itself (how late its own timer comes), at the poller (a meter is due and nobody tries it), at the
writer and the sinks (something waits and nothing is confirmed), and at what meters tell (measurements that should change and do
not). A part that was started again too often within an hour ends the process: whoever started the process starts it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headend import telemetry
from headend.model.event import EventType, Severity
from headend.model.reading import ReadingBatch, Value
from headend.services.bus import Bus
from headend.services.frozen import Frozen
from headend.services.restarts import Kept, Rests
from headend.services.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What the supervisor puts up with."""

    look_seconds: float = 5.0
    stuck_seconds: float = 120.0
    confirm_seconds: float = 900.0
    rest_seconds: float = 1.0
    restarts_an_hour: int = 6
    frozen_reads: int = 10
    frozen_seconds: float = 600.0
    frozen_watt_hours: float = 100.0


class Progress:
    """Something that works off what waits: how long nothing was done although something waited. Pure."""

    __slots__ = ("_done", "_since", "name", "patience", "probe", "restart")

    def __init__(
        self, name: str, probe: Callable[[], tuple[bool, float]], patience: float, restart: Callable[[str], None] | None
    ) -> None:
        """`probe` tells whether something waits, and a number that changes when something is done."""
        self.name = name
        self.probe = probe
        self.patience = patience
        self.restart = restart
        self._done: float | None = None
        self._since = 0.0

    def stalled(self, now: float) -> float:
        """Seconds without progress; 0 when nothing waits."""
        waits, done = self.probe()
        if not waits or done != self._done:
            self._done, self._since = done, now
        return now - self._since

    def rest(self, now: float) -> None:
        """Something was done about it: be patient anew."""
        self._since = now


class Supervisor:
    """Watches over the parts of a head-end. Belongs to the event loop."""

    def __init__(
        self, roster: Roster, bus: Bus, thaw: Callable[[str], None], patience: Patience, alive: Callable[[str], None]
    ) -> None:
        """`thaw` is called for a meter that is frozen; `alive` with a word on how it goes, while all make progress."""
        self._roster = roster
        self._bus = bus
        self._thaw = thaw
        self._alive = alive
        self.patience = patience
        self._frozen = Frozen(patience.frozen_reads, patience.frozen_seconds, patience.frozen_watt_hours)
        self._watched: list[Progress] = []
        self.lag = 0.0
        """how late the event loop was at the last look, in seconds"""
        roster.follow(lambda meter_id, _state: self._frozen.forget(meter_id))

    def keep(self, name: str, work: Callable[[], Awaitable[None]], restarts_an_hour: int | None = None) -> Kept:
        """A named task that is started again when it fails; run it."""
        most = self.patience.restarts_an_hour if restarts_an_hour is None else restarts_an_hour
        rests = Rests(self.patience.rest_seconds, most)
        return Kept(name, work, rests, self._acted)

    def watch(
        self,
        name: str,
        probe: Callable[[], tuple[bool, float]],
        seconds: float,
        restart: Callable[[str], None] | None = None,
    ) -> None:
        """Look after something that must make progress: restart it, if that is possible, and else only say so."""
        self._watched.append(Progress(name, probe, seconds, restart))

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(), name="supervisor")
            group.create_task(self._listen(), name="frozen meters")

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.patience.look_seconds
            await asyncio.sleep(self.patience.look_seconds)
            now = loop.time()
            self.lag = max(0.0, now - due)
            telemetry.LOOP_LAG.set(self.lag)
            stalled = [each.name for each in self._watched if not self._goes_on(each, now)]
            if not stalled:
                self._alive(f"{len(self._roster)} meters, all parts make progress")

    def _goes_on(self, watched: Progress, now: float) -> bool:
        stalled = watched.stalled(now)
        if stalled <= watched.patience:
            return True
        why = f"something waits, and nothing was done for {stalled:.0f} s"
        if watched.restart is not None:
            watched.restart(why)
        else:
            self._acted(watched.name, why, "nothing but saying so")
        watched.rest(now)
        return False

    async def _listen(self) -> None:
        subscription = self._bus.subscribe("supervisor", ReadingBatch, maxsize=10_000)
        try:
            async for batch in subscription:
                found = self._frozen.take(batch)
                if found is not None:
                    data: dict[str, Value] = {
                        "quantity": found.quantity,
                        "value": found.value,
                        "reads": found.reads,
                        "seconds": found.seconds,
                    }
                    self._roster.tell(EventType.METER_FROZEN, batch.meter_id, data, Severity.WARNING)
                    telemetry.SUPERVISED.labels("meter").inc()
                    self._thaw(batch.meter_id)
        finally:
            subscription.close()

    def _acted(self, what: str, why: str, action: str) -> None:
        telemetry.SUPERVISED.labels(what).inc()
        data: dict[str, Value] = {"what": what, "why": why[:300], "action": action}
        self._roster.tell(EventType.SUPERVISOR_ACTED, "", data, Severity.CRITICAL)
