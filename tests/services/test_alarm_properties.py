"""What must hold for any readings, in any order, with a restart anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headend.model.alarm import Alarm, Standing
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch
from headend.services.alarms.engine import Engine

from .alarm_cases import START, batch, only, table

RULES: Any = {
    "overvoltage": {"threshold": 250, "clear": 245, "hold_seconds": 20, "flap_changes": 3, "flap_seconds": 100},
    "undervoltage": {"threshold": 210, "hysteresis": 1, "hold_seconds": 0},
    "communication_lost": {"threshold": 90},
    "meter_offline": {"hold_seconds": 15},
}
VOLTS = st.sampled_from([0.0, 100.0, 209.0, 211.0, 230.0, 245.0, 248.0, 251.0])
STEP = st.tuples(
    st.integers(0, 70),
    st.one_of(
        st.tuples(VOLTS, VOLTS, st.booleans(), st.integers(0, 1)),
        st.sampled_from([EventType.METER_OFFLINE, EventType.METER_ONLINE]),
        st.none(),
    ),
)


class Kept:
    """A database for alarms: what the store does with changes, in memory."""

    def __init__(self) -> None:
        self.alarms: dict[int, Alarm] = {}
        self.standings: dict[tuple[str, str, str], Standing] = {}
        self.said: list[tuple[EventType, Alarm]] = []

    def keep(self, made: Engine) -> None:
        changes = made.take()
        self.alarms.update(changes.alarms)
        self.said += changes.said
        for key, standing in changes.standings.items():
            if standing is None:
                self.standings.pop(key, None)
            else:
                self.standings[key] = standing

    def engine(self, now: int) -> Engine:
        made = Engine(next_number=max(self.alarms, default=0) + 1)
        made.watch("m", table(RULES), now)
        active = [alarm for alarm in self.alarms.values() if alarm.cleared_at is None]
        made.restore(self.standings.values(), active, now)
        return made


def step(made: Engine, seconds: int, what: Any) -> None:
    if what is None:
        made.sweep(START + seconds * 1000)
    elif isinstance(what, EventType):
        made.happened(Event(type=what, severity=Severity.INFO, occurred_at=START + seconds * 1000, meter_id="m"))
    else:
        made.evaluate(read(seconds, what))


def read(seconds: int, what: Any) -> ReadingBatch:
    one, two, relay, quality = what
    return batch(seconds, {"voltage_l1": one, "voltage_l2": two, "relay_closed": relay}, quality=quality)


def play(steps: Sequence[tuple[int, Any]], restart: int = -1) -> Kept:
    kept = Kept()
    made = kept.engine(START)
    seconds = 0
    for index, (pause, what) in enumerate(steps):
        if index == restart:
            made = kept.engine(START + seconds * 1000)
        seconds += pause
        step(made, seconds, what)
        kept.keep(made)
    made.sweep(START + (seconds + 50) * 1000)
    kept.keep(made)
    return kept


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_each_alarm_is_raised_once_and_cleared_at_most_once_after_it(steps: list[tuple[int, Any]]) -> None:
    open_alarms: dict[int, Alarm] = {}
    raised: set[int] = set()
    for what, alarm in play(steps).said:
        if what is EventType.ALARM_RAISED:
            assert alarm.number not in raised
            raised.add(alarm.number)
            if alarm.cleared_at is None:
                same = [
                    each for each in open_alarms.values() if (each.rule, each.quantity) == (alarm.rule, alarm.quantity)
                ]
                assert not same, "one rule stands once with one quantity"
                open_alarms[alarm.number] = alarm
        else:
            assert open_alarms.pop(alarm.number).raised_at <= (alarm.cleared_at or 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=30), st.data())
def test_a_restart_anywhere_changes_nothing(steps: list[tuple[int, Any]], data: st.DataObject) -> None:
    # silence is counted from the start of the head-end, so it is left out of the comparison
    heard = [(pause, what) for pause, what in steps]
    restart = data.draw(st.integers(0, max(len(heard) - 1, 0)))
    straight, again = play(heard), play(heard, restart)

    def seen(kept: Kept) -> list[tuple[Any, ...]]:
        return [
            (
                what,
                alarm.rule,
                alarm.quantity,
                alarm.kind,
                alarm.since,
                alarm.raised_at,
                alarm.cleared_at,
                alarm.flapping,
            )
            for what, alarm in kept.said
            if alarm.rule != "communication_lost"
        ]

    assert seen(straight) == seen(again)
    assert {key for key in straight.standings if key[1] != "communication_lost"} == {
        key for key in again.standings if key[1] != "communication_lost"
    }


@given(st.lists(st.floats(245.1, 249.9), max_size=50), st.sampled_from([230.0, 260.0]))
def test_within_the_band_nothing_is_raised_or_cleared(values: list[float], before: float) -> None:
    made = Engine()
    made.watch("m", table(only("overvoltage", threshold=250, clear=245, hold_seconds=0)), START)
    made.evaluate(batch(0, {"voltage_l1": before}))
    raised = len(made.take().said)
    assert raised == (before > 250)
    for second, value in enumerate(values, 1):
        made.evaluate(batch(second, {"voltage_l1": value}))
    assert not made.take().said
    assert len(made.active()) == raised
