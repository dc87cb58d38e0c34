"""The alarm service: follows the bus, lets the engine judge, keeps what came of it and says it on the bus.

First an alarm is kept, then it is said: after a crash in between nobody has heard of it, but nothing is said twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from headend import telemetry
from headend.errors import ConfigError, HeadendError
from headend.model.alarm import Alarm, Level, RuleChange
from headend.model.alarm_rules import BUILT_IN, Layer, check_change, resolve
from headend.model.event import Event, EventType, Severity
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch, Value
from headend.services.alarms.engine import LATE_MS, Changes, Engine
from headend.services.alarms.replay import replay
from headend.services.alarms.rulebook import Rulebook
from headend.services.bus import Bus, Item, Subscription
from headend.services.roster import Clock, MeterState, Roster

if TYPE_CHECKING:
    from headend.storage.store import Store

QUEUE_ITEMS: Final = 50_000
AT_ONCE: Final = 500
"""items judged before others may do something"""
SWEEP_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0
MOST_WAITING: Final = 20_000
"""alarms that wait for the database; beyond, nothing more is judged until it takes them"""
_ALARMS: Final = frozenset(kind for kind in EventType if kind.name.startswith("ALARM_"))

log = structlog.get_logger(__name__)


class Alarms:
    """Raises and clears alarms of all meters of the roster that are enabled, and of the head-end itself."""

    def __init__(
        self,
        roster: Roster,
        bus: Bus,
        store: Store,
        *,
        profile: Callable[[str], MeterProfile],
        clock: Clock,
        settings: Layer,
        late_ms: int = LATE_MS,
    ) -> None:
        self.rulebook = Rulebook(settings, profile)
        self.ready = asyncio.Event()
        """set when all meters are watched and what stood before stands again"""
        self._roster = roster
        self._bus = bus
        self._store = store
        self._clock = clock
        self._engine = Engine(late_ms=late_ms)
        self._late_ms = late_ms
        self._queue: Subscription[Item] = bus.subscribe("alarms", ReadingBatch, Event, maxsize=QUEUE_ITEMS)
        self._changed = asyncio.Event()
        self._kept = asyncio.Event()
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Judge until `close`; returns when all that was on the bus before is judged and kept. Raises StorageError."""
        store = self._store.alarms
        self.rulebook.load(await asyncio.to_thread(store.rules))
        standings, active, number = await asyncio.to_thread(store.standing)
        now = self._clock()
        self._engine = Engine(next_number=number, late_ms=self._late_ms)
        self._engine.watch("", self.rulebook.table(None), now)
        self._roster.follow(self._follow)
        self._engine.restore(standings, active, now)
        for alarm in active:
            telemetry.ALARMS_ACTIVE.labels(alarm.severity.value).inc()
        self.ready.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep(), name="alarm-keeper")
                sweeping = tasks.create_task(self._sweep(), name="alarm-sweep")
                self._notice()
                await self._judge()
                sweeping.cancel()
                self._closing.set()
                self._changed.set()
                await keeping
        finally:
            self._queue.close()

    def close(self) -> None:
        """Take nothing more off the bus."""
        self._queue.close()

    async def acknowledge(self, number: int, actor: str, note: str = "") -> Alarm:
        """Somebody has seen an alarm. Raises NotFound, Conflict, StorageError."""
        alarm = await asyncio.to_thread(self._store.alarms.acknowledge, number, actor, note)
        data = {**alarm.data, "actor": actor, "note": note}
        self._publish(EventType.ALARM_ACKNOWLEDGED, Severity.INFO, alarm.acknowledged_at or 0, alarm.meter_id, data)
        return alarm

    async def put_rule(
        self, level: Level, subject: str, rule: str, fields: Mapping[str, Value], actor: str
    ) -> RuleChange:
        """Change a rule at a level. Raises ConfigError, StorageError."""
        self._check_rule(level, subject, rule, fields)
        change = await asyncio.to_thread(self._store.alarms.put_rule, level, subject, rule, fields, actor)
        self.rulebook.put(level, subject, rule, change.fields)
        self._rules_changed(level, subject)
        return change

    async def remove_rule(self, level: Level, subject: str, rule: str) -> None:
        """Take a change of a rule back. Raises NotFound, StorageError."""
        await asyncio.to_thread(self._store.alarms.delete_rule, level, subject, rule)
        self.rulebook.remove(level, subject, rule)
        self._rules_changed(level, subject)

    async def try_rule(
        self, meter_id: str, rule: str, fields: Mapping[str, Value], start: int, end: int
    ) -> list[Alarm]:
        """The alarms that a rule would have raised on the stored readings and events of a meter.

        Raises NotFound, ConfigError, StorageError.
        """
        meter = self._roster.state(meter_id).meter
        check_change(rule, fields)
        wanted = next(
            each for each in self.rulebook.rules(meter.profile_id, meter.id, {rule: fields}) if each.id == rule
        )
        return await asyncio.to_thread(replay, self._store, meter_id, wanted, start, end)

    def _check_rule(self, level: Level, subject: str, rule: str, fields: Mapping[str, Value]) -> None:
        """Whether a change makes sense where it stands. Raises ConfigError."""
        check_change(rule, fields)
        meter = self._roster.state(subject).meter if level is Level.METER else None
        profile_id = meter.profile_id if meter is not None else subject
        layers = self.rulebook.layers(profile_id, meter.id if meter is not None else "")
        others = [layer for name, layer in layers if name != level.value]
        found = next((each for each in resolve((*others, {rule: fields})) if each.id == rule), None)
        if found is not None and rule not in BUILT_IN and not found.complete:
            raise ConfigError(
                f"the rule {rule!r} has nothing to look for",
                hint='a rule of your own needs a "quantity" and a "threshold" to compare it with, or an "event"',
            )

    # the loops

    async def _judge(self) -> None:
        while items := await self._queue.take(1, 0.0, AT_ONCE):
            for item in items:
                if isinstance(item, ReadingBatch):
                    self._engine.evaluate(item)
                elif item.type not in _ALARMS:
                    self._engine.happened(item)
            self._notice()
            while len(self._engine.changes.said) > MOST_WAITING and not self._closing.is_set():
                self._kept.clear()
                await self._kept.wait()
            await asyncio.sleep(0)

    async def _sweep(self) -> None:
        """What falls due without a reading; not while readings wait that were there before."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if not self._queue.size:
                self._engine.sweep(self._clock())
                self._notice()

    def _notice(self) -> None:
        if self._engine.changes:
            self._changed.set()

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes = self._engine.take()
            if changes:
                kept = await self._store_changes(changes)
                for what, alarm in changes.said if kept else ():
                    self._say(what, alarm)
            self._kept.set()
            if self._closing.is_set() and not self._engine.changes:
                return

    async def _store_changes(self, changes: Changes) -> bool:
        """Write changes, again and again until the database takes them, but for the last time when it is time to stop.

        What is not kept is not said: it is raised anew after the restart.
        """
        troubled = False
        while True:
            last = self._closing.is_set()
            try:
                await asyncio.to_thread(self._store.alarms.keep, changes.alarms.values(), changes.standings)
            except HeadendError as error:
                if not troubled:
                    log.warning("alarms cannot be kept", code=error.code, reason=str(error), alarms=len(changes.alarms))
                troubled = True
                if last:
                    return False
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), RETRY_SECONDS)
            else:
                return True

    def _say(self, what: EventType, alarm: Alarm) -> None:
        active = telemetry.ALARMS_ACTIVE.labels(alarm.severity.value)
        if what is EventType.ALARM_CLEARED:
            active.dec()
            data = {**alarm.data, "cleared": alarm.cleared.value if alarm.cleared else ""}
            self._publish(what, Severity.INFO, alarm.cleared_at or 0, alarm.meter_id, data)
            return
        if alarm.cleared_at is None:  # a notice is over as it is raised
            active.inc()
        self._publish(what, alarm.severity, alarm.raised_at, alarm.meter_id, alarm.data)

    def _publish(self, what: EventType, severity: Severity, at: int, meter_id: str, data: Mapping[str, Value]) -> None:
        self._bus.publish(Event(type=what, severity=severity, occurred_at=at, meter_id=meter_id, data=data))

    # keeping in step with the roster and the rules

    def _follow(self, meter_id: str, state: MeterState | None) -> None:
        now = self._clock()
        if state is None:
            self.rulebook.forget(meter_id)
        if state is None or not state.meter.enabled:
            self._engine.forget(meter_id, now)
        else:
            self._engine.watch(meter_id, self.rulebook.table(state.meter), now, state.meter.poll_seconds)
        self._notice()

    def _rules_changed(self, level: Level, subject: str) -> None:
        if level is Level.GLOBAL:
            self._engine.watch("", self.rulebook.table(None), self._clock())
        for state in self._roster:
            meter = state.meter
            if level is Level.GLOBAL or subject == (meter.id if level is Level.METER else meter.profile_id):
                self._follow(meter.id, state)
