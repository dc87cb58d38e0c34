"""Clocks of meters: how far they are off, and whether they are set. What decides is pure.

A clock is measured whenever the meter is read anyway, and once an hour is enough. It is set by a command like any other, on
behalf of `policy:clock`: authorised, verified, and in the audit trail. Its key is the day, so that no meter is set twice a day.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from headend.drivers.base import Capability, Session
from headend.errors import HeadendError, LinkError
from headend.model.access import Actor, Role
from headend.model.event import Event, EventType, Severity
from headend.model.job import Command, CommandKind, Job
from headend.model.reading import Quality, ReadingBatch, Source
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.turns import Priority
from headend.services.bus import Bus
from headend.services.roster import Clock

QUANTITY: Final = "clock_offset"
POLICY: Final = Actor("policy:clock", Role.OPERATOR)
MEASURE_SECONDS: Final = 60.0
DAY_MS: Final = 86_400_000


class Advice(enum.Enum):
    """What is to be done about a clock."""

    FINE = "fine"
    SET = "set"
    WAIT = "wait"
    """it would be set across the end of an interval"""
    TOO_FAR = "too-far"
    """somebody should look at the meter first"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRules:
    """What a site decides of clocks; times in seconds."""

    set_clocks: bool = False
    above_seconds: float = 20.0
    """what is off by less is left alone"""
    below_seconds: float = 1800.0
    """what is off by more is told and not set"""
    boundary_seconds: float = 120.0
    """no clock is set so near to the end of an interval, as it was or as it will be"""
    every_seconds: float = 3600.0
    """between two measurements of a clock"""


def offset(sent: int, received: int, shown: int) -> int:
    """Milliseconds that a clock is ahead, when it showed a time between a request and its answer."""
    return shown - (sent + received) // 2


def advice(rules: ClockRules, off: int, now: int, period: int) -> Advice:
    """What is to be done about a clock that is so many milliseconds ahead; `period` is that of its shortest load profile."""
    if abs(off) <= rules.above_seconds * 1000:
        return Advice.FINE
    if abs(off) > rules.below_seconds * 1000:
        return Advice.TOO_FAR
    early, late = min(now, now + off), max(now, now + off)
    margin = round(rules.boundary_seconds * 1000)
    crossed = (early - margin) // period != (late + margin) // period
    return Advice.WAIT if crossed and period > 2 * margin + abs(off) else Advice.SET


class Clocks:
    """Measures clocks and has them set."""

    def __init__(
        self,
        lanes: Lanes,
        bus: Bus,
        clock: Clock,
        rules: ClockRules,
        submit: Callable[[str, Command, Actor, str], Awaitable[Job]] | None = None,
    ) -> None:
        """`submit` asks for a command: meter, command, actor, idempotency key."""
        self.rules = rules
        self._lanes = lanes
        self._bus = bus
        self._clock = clock
        self._submit = submit
        self._measured: dict[str, tuple[int, int | None, Advice]] = {}

    def waits(self, meter_id: str) -> bool:
        """Is a clock to be set as soon as no end of an interval is near?"""
        return self.rules.set_clocks and self._measured.get(meter_id, (0, None, Advice.FINE))[2] is Advice.WAIT

    def behind(self, meter_id: str) -> int:
        """How many milliseconds a clock was behind when it was measured; 0 where it is not known."""
        off = self._measured.get(meter_id, (0, None, Advice.FINE))[1]
        return max(0, -off) if off is not None else 0

    async def look(self, meter_id: str, period: int) -> int | None:
        """Measure the clock of a meter, if it is time; returns the milliseconds that it is ahead, None where nobody looked."""
        at, before, told = self._measured.get(meter_id, (-DAY_MS, None, Advice.FINE))
        if self._clock() - at < self.rules.every_seconds * 1000 and not self.waits(meter_id):
            return None
        self._measured[meter_id] = (self._clock(), before, told)
        try:
            off = await self._lanes.run_job(meter_id, self._read, Priority.BACKFILL, timeout=MEASURE_SECONDS)
        except LinkError:
            raise
        except HeadendError:
            return None  # it has no clock that can be read
        if off is None:
            return None
        self._publish(meter_id, off)
        if before is not None and abs(off - before) > max(period // 2, 60_000):
            self._tell(EventType.CLOCK_JUMPED, meter_id, {"before": before / 1000, "offset": off / 1000})
        now = self._clock()
        found = advice(self.rules, off, now, period)
        self._measured[meter_id] = (now, off, found)
        if found is Advice.TOO_FAR and told is not Advice.TOO_FAR:
            self._tell(EventType.CLOCK_OFF, meter_id, {"offset": off / 1000, "limit": self.rules.below_seconds})
        elif found is Advice.SET and self.rules.set_clocks and self._submit is not None:
            await self._submit(meter_id, Command(kind=CommandKind.SET_CLOCK), POLICY, f"{meter_id}/{now // DAY_MS}")
            self._measured[meter_id] = (now, None, found)
        return off

    async def _read(self, session: Session) -> int | None:
        if Capability.CLOCK not in session.capabilities:
            return None
        sent = self._clock()
        shown = await session.clock()
        return offset(sent, self._clock(), shown)

    def _publish(self, meter_id: str, off: int) -> None:
        now = self._clock()
        self._bus.publish(
            ReadingBatch(
                meter_id=meter_id,
                source=Source.POLL,
                received_at=now,
                quantities=(QUANTITY,),
                values=(off / 1000,),
                measured_at=(now,),
                quality=(int(Quality.GOOD),),
            )
        )

    def _tell(self, kind: EventType, meter_id: str, data: dict[str, float]) -> None:
        self._bus.publish(
            Event(type=kind, severity=Severity.WARNING, occurred_at=self._clock(), meter_id=meter_id, data=dict(data))
        )
