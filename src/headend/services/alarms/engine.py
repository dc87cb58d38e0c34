"""The engine: judges readings and events by rules, and says which alarms are raised and cleared. Pure: no clock, no I/O.

What is decided here:

- Time is the time of measurement, never ahead of the receipt. `sweep(now)` does what falls due when no further reading comes.
- Readings of the past raise nothing and clear nothing: those read from a load profile, those that are more than `late_ms` old
  when they come, and those that are older than another one of the same quantity that was judged before.
- A reading that is not GOOD is not judged at all: it neither raises nor clears.
- An alarm is raised when its condition has held for the rule's minimum; a value that is back within the threshold by then
  ends the wait. Once raised, it is cleared when the value is beyond the clear limit; in between nothing happens.
- `flap_changes` alarms within `flap_seconds` become one that flaps: said once, and over (or steady) when the condition has not
  changed for `flap_seconds`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from headend.model.alarm import Alarm, Cleared, Standing
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.alarms.table import LOAD, Check, Key, Place, Table

LATE_MS: Final = 900_000
SILENT_POLLS: Final = 5
LEAST_SILENCE_MS: Final = 300_000
_SILENCE: Final[Key] = ("", "")
"""in the place of a state: look whether the meter is silent"""
_LABELS: Final = {"RELAY_CLOSED": "Relay closed", "METER_ONLINE": "Meter online"}


class _State:
    """Where a rule stands with a quantity of a meter."""

    __slots__ = ("alarm", "changed_at", "due", "holds", "last_at", "raises", "since", "value")

    def __init__(self) -> None:
        self.alarm: Alarm | None = None
        self.holds = False
        self.since = 0
        self.last_at = 0
        self.changed_at = 0
        self.due = 0
        """when the sweep has to look; 0: never"""
        self.raises: tuple[int, ...] = ()
        self.value: Value | None = None


class _Watch:
    """One meter: its rules, and what stands."""

    __slots__ = ("columns", "heard_at", "id", "newest", "plan", "silence_due", "silence_ms", "states", "table")

    def __init__(self, meter_id: str, table: Table, heard_at: int) -> None:
        self.id = meter_id
        self.heard_at = heard_at
        self.silence_ms = 0
        self.silence_due = 0
        self.states: dict[Key, _State] = {}
        self.give(table)

    def give(self, table: Table) -> None:
        """Put other rules in force."""
        self.table = table
        self.newest = [0] * len(table.columns)
        self.columns: Sequence[str] = ()
        self.plan: tuple[Place, ...] = ()


@dataclass(slots=True)
class Changes:
    """What has to be kept and said: alarms by number, standings (None: quiet again), and what to tell in its order."""

    alarms: dict[int, Alarm] = field(default_factory=dict)
    standings: dict[tuple[str, str, str], Standing | None] = field(default_factory=dict)
    said: list[tuple[EventType, Alarm]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.alarms or self.standings)


class Engine:
    """Watches meters. `changes` grows until somebody takes it."""

    def __init__(self, *, next_number: int = 1, late_ms: int = LATE_MS) -> None:
        self.changes = Changes()
        self._next = next_number
        self._late_ms = late_ms
        self._watches: dict[str, _Watch] = {}
        self._due: list[tuple[int, str, Key]] = []
        """what the sweep looks at; an entry that is outdated by then is passed over"""

    # who is watched

    def watch(self, meter_id: str, table: Table, now: int, poll_seconds: float = 0.0) -> None:
        """Judge a meter by these rules from now on; alarms of rules that it no longer has are over."""
        watch = self._watches.get(meter_id)
        if watch is None:
            watch = self._watches[meter_id] = _Watch(meter_id, table, now)
        elif watch.table is not table:
            watch.give(table)
            for key in [key for key in watch.states if key not in table.by_key]:
                self._drop(watch, key, now, Cleared.RULE)
        silence = 0
        if table.silence is not None:
            limit = table.silence.limit
            usual = max(LEAST_SILENCE_MS, round(SILENT_POLLS * poll_seconds * 1000)) if poll_seconds > 0 else 0
            silence = round(float(limit) * 1000) if isinstance(limit, int | float) and limit > 0 else usual
        if silence != watch.silence_ms:
            watch.silence_ms = silence
            self._plan_silence(watch)
            if not silence and table.silence is not None and table.silence.key in watch.states:
                self._drop(watch, table.silence.key, now, Cleared.RULE)

    def forget(self, meter_id: str, now: int) -> None:
        """Watch a meter no longer; its alarms are over."""
        watch = self._watches.pop(meter_id, None)
        if watch is not None:
            for key in list(watch.states):
                self._drop(watch, key, now, Cleared.METER)

    def restore(self, standings: Iterable[Standing], alarms: Iterable[Alarm], now: int) -> None:
        """Go on where an earlier engine stopped; for meters that are watched already. What is of none is over."""
        active = {alarm.number: alarm for alarm in alarms}
        for known in standings:
            watch = self._watches.get(known.meter_id)
            key = (known.rule, known.quantity)
            alarm = None if known.alarm is None else active.pop(known.alarm, None)
            if watch is None or key not in watch.table.by_key or (alarm is None and known.alarm is not None):
                self.changes.standings[known.meter_id, *key] = None
                if alarm is not None:
                    self._over(alarm, now, Cleared.METER if watch is None else Cleared.RULE)
                continue
            state = watch.states[key] = _State()
            state.alarm, state.holds, state.since, state.value = alarm, known.holds, known.since, known.value
            state.last_at, state.changed_at, state.raises = known.last_at, known.changed_at, known.raises
            self._plan_sweep(watch, watch.table.by_key[key], state)
        for alarm in active.values():
            self._over(alarm, now, Cleared.RULE)

    def take(self) -> Changes:
        """What came of everything since the last time."""
        taken, self.changes = self.changes, Changes()
        return taken

    def active(self) -> list[Alarm]:
        """The alarms that stand."""
        states = (state for watch in self._watches.values() for state in watch.states.values())
        return [state.alarm for state in states if state.alarm is not None]

    # judging

    def evaluate(self, batch: ReadingBatch) -> None:
        """Judge the readings of a batch."""
        received = batch.received_at
        if self._due and self._due[0][0] <= received:
            self.sweep(received)
        watch = self._watches.get(batch.meter_id)
        if watch is None:
            return
        self._heard(watch, received)
        if batch.source is Source.HISTORY:
            return
        quantities = batch.quantities
        if quantities is not watch.columns:
            watch.columns, watch.plan = quantities, watch.table.plan(quantities)
        plan, newest, states = watch.plan, watch.newest, watch.states
        values, times, quality, oldest = batch.values, batch.measured_at, batch.quality, received - self._late_ms
        if batch.source is Source.SUBMITTED:
            plan = tuple(sorted(plan, key=lambda place: times[place[0]]))
        for index, slot, low, high, checks in plan:
            at = times[index]
            if at > received:  # noqa: PLR1730 # min() costs as much as all the rest
                at = received
            if quality[index] or at < newest[slot] or at < oldest:
                continue
            newest[slot] = at
            value = values[index]
            try:
                if low <= value <= high and not states:  # type: ignore[operator] # a text has no order: TypeError
                    continue
            except TypeError:
                pass
            for check in checks:
                self._check(watch, check, value, at, batch)

    def happened(self, event: Event) -> None:
        """Judge an event."""
        watch = self._watches.get(event.meter_id)
        if watch is None:
            return
        at = event.occurred_at
        if self._due and self._due[0][0] <= at:
            self.sweep(at)
        for check in watch.table.begins.get(event.type, ()):
            reason = event.data.get("reason") or event.data.get("detail")
            self._judge(watch, check, reason if isinstance(reason, str) else None, at, holds=True)
            if check.rule.until is None:
                self._judge(watch, check, None, at, holds=False)
        for check in watch.table.ends.get(event.type, ()):
            self._judge(watch, check, None, at, holds=False)

    def sweep(self, now: int) -> None:
        """Do what fell due by now."""
        while self._due and self._due[0][0] <= now:
            due, meter_id, key = heapq.heappop(self._due)
            watch = self._watches.get(meter_id)
            if watch is None:
                continue
            if key == _SILENCE:
                self._look_for_silence(watch, due, now)
                continue
            state, check = watch.states.get(key), watch.table.by_key.get(key)
            if state is None or check is None or state.due != due:
                continue
            state.due = 0
            if state.alarm is not None and state.alarm.flapping:
                self._settle(state, state.alarm, due)
            elif state.alarm is None and state.holds:
                self._raise(watch, check, state, due)
            else:
                state.raises = ()
            self._keep(watch, check, state)

    # one state

    def _check(self, watch: _Watch, check: Check, value: Value, at: int, batch: ReadingBatch) -> None:
        state = watch.states.get(check.key)
        taken = check.taken(value, batch.received_at)
        if taken is None or (state is not None and at < state.last_at):
            return
        raised = state is not None and state.alarm is not None
        holds = check.kept(taken) if raised and state is not None and state.holds else check.violated(taken)
        if holds and check.rule.load and _load(batch, check.phase) < check.rule.load:
            holds = False
        if holds or state is not None:
            self._judge(watch, check, taken, at, holds=holds)

    def _judge(self, watch: _Watch, check: Check, value: Value | None, at: int, *, holds: bool) -> None:
        """The condition of a rule holds, or does not hold, at a time."""
        state = watch.states.get(check.key)
        if state is None:
            if not holds:
                return
            state = watch.states[check.key] = _State()
        state.last_at = max(state.last_at, at)
        if holds is state.holds:
            if holds and state.alarm is None:
                state.value = value
            return
        state.holds = holds
        if state.alarm is not None and state.alarm.flapping:
            state.changed_at = at
        elif holds:
            state.since, state.value = at, value
            if not check.hold:
                self._raise(watch, check, state, at)
        elif state.alarm is not None:
            self._clear(check, state.alarm, at)
            state.alarm = None
        self._keep(watch, check, state)

    def _raise(self, watch: _Watch, check: Check, state: _State, at: int) -> None:
        rule = check.rule
        state.raises = (*(each for each in state.raises if each > at - check.window), at)
        flapping = len(state.raises) >= rule.flap_changes
        if flapping:
            state.changed_at = at
        alarm = state.alarm = Alarm(
            number=self._next,
            meter_id=watch.id,
            rule=rule.id,
            kind=rule.kind,
            label=rule.label,
            severity=rule.severity,
            quantity=check.key[1],
            phase=check.phase,
            unit=check.unit,
            value=state.value,
            threshold=watch.silence_ms / 1000 if rule.silence else check.limit,
            since=state.since,
            raised_at=at,
            flapping=flapping,
        )
        self._next += 1
        self._say(EventType.ALARM_RAISED, alarm)

    def _clear(self, check: Check, alarm: Alarm, at: int) -> None:
        """The condition ended; the notice that goes with it is an alarm that is raised and cleared in one."""
        notice = check.rule.notice
        self._over(alarm, at, Cleared.ENDED)
        if notice is not None:
            told = replace(
                alarm,
                number=self._next,
                kind=notice,
                label=_LABELS[notice.value],
                severity=Severity.INFO,
                value=None if check.limit is None else not check.limit,
                threshold=None,
                since=at,
                raised_at=at,
                flapping=False,
            )
            self._next += 1
            self._say(EventType.ALARM_RAISED, told.over(at, Cleared.ENDED))

    def _settle(self, state: _State, alarm: Alarm, at: int) -> None:
        """A condition that flapped has not changed for a while."""
        state.raises = ()
        if state.holds:
            state.alarm = self.changes.alarms[alarm.number] = replace(alarm, flapping=False)
        else:
            state.alarm = None
            self._over(alarm, at, Cleared.SETTLED)

    def _keep(self, watch: _Watch, check: Check, state: _State) -> None:
        """Plan the next look at a state and note what a restart needs; a quiet one is forgotten."""
        key = check.key
        if state.raises and state.alarm is None and state.raises[-1] + check.window <= state.last_at:
            state.raises = ()
        self._plan_sweep(watch, check, state)
        if not state.holds and state.alarm is None and not state.raises:
            del watch.states[key]
            self.changes.standings[watch.id, *key] = None
            return
        self.changes.standings[watch.id, *key] = Standing(
            meter_id=watch.id,
            rule=key[0],
            quantity=key[1],
            holds=state.holds,
            since=state.since,
            last_at=state.last_at,
            changed_at=state.changed_at,
            value=state.value,
            raises=state.raises,
            alarm=None if state.alarm is None else state.alarm.number,
        )

    def _plan_sweep(self, watch: _Watch, check: Check, state: _State) -> None:
        due = 0
        if state.alarm is not None and state.alarm.flapping:
            due = state.changed_at + check.window
        elif state.alarm is None and state.holds:
            due = state.since + check.hold
        elif state.alarm is None and state.raises:
            due = state.raises[-1] + check.window
        if due != state.due:
            state.due = due
            if due:
                heapq.heappush(self._due, (due, watch.id, check.key))

    def _drop(self, watch: _Watch, key: Key, now: int, why: Cleared) -> None:
        state = watch.states.pop(key)
        self.changes.standings[watch.id, *key] = None
        if state.alarm is not None:
            self._over(state.alarm, now, why)

    def _over(self, alarm: Alarm, at: int, why: Cleared) -> None:
        self._say(EventType.ALARM_CLEARED, alarm.over(at, why))

    def _say(self, what: EventType, alarm: Alarm) -> None:
        self.changes.alarms[alarm.number] = alarm
        self.changes.said.append((what, alarm))

    # silence

    def _heard(self, watch: _Watch, at: int) -> None:
        watch.heard_at = max(watch.heard_at, at)
        silence = watch.table.silence
        if silence is not None and watch.states and silence.key in watch.states:
            self._judge(watch, silence, None, at, holds=False)
            self._plan_silence(watch)

    def _plan_silence(self, watch: _Watch) -> None:
        """Look again when the meter may be silent for too long; until then nothing is done when it is heard."""
        watch.silence_due = watch.heard_at + watch.silence_ms if watch.silence_ms else 0
        if watch.silence_due:
            heapq.heappush(self._due, (watch.silence_due, watch.id, _SILENCE))

    def _look_for_silence(self, watch: _Watch, due: int, now: int) -> None:
        silence = watch.table.silence
        if silence is None or due != watch.silence_due:
            return
        watch.silence_due = 0
        since = watch.heard_at + watch.silence_ms
        if since > now:
            self._plan_silence(watch)
        else:
            self._judge(watch, silence, None, since, holds=True)


def _load(batch: ReadingBatch, phase: str) -> float:
    """The power that flows, in W; without end where the batch does not tell."""
    phased = (f"active_power_{phase}", f"active_power_import_{phase}") if phase else ()
    for name in (*phased, *LOAD):
        if name in batch.quantities:
            value = batch.values[batch.quantities.index(name)]
            if isinstance(value, int | float):
                return abs(value)
    return float("inf")
