"""Readings over time, and the alarms that they must give."""

from __future__ import annotations

from typing import Any

import pytest

from headend.model.alarm import Cleared
from headend.model.alarm_rules import Layer
from headend.model.event import Event, EventType, Severity
from headend.model.reading import Quality, Source
from headend.services.alarms.engine import Engine
from headend.services.alarms.table import MAX_PLANS

from .alarm_cases import START, batch, engine, only, run, table, told

OVER = "voltage_l1"

# (rule, its fields, quantity, readings (seconds, value), swept until, what must be said)
TABLE: list[tuple[str, dict[str, Any], str, list[tuple[float, Any]], float, list[tuple[float, str, str]]]] = [
    ("overvoltage", {"hold_seconds": 0}, OVER, [(0, 230.0), (60, 253.0)], 0, []),
    ("overvoltage", {"hold_seconds": 0}, OVER, [(0, 253.1)], 0, [(0, "raised", "OVERVOLTAGE l1")]),
    # hysteresis: 1 % of 253 V; 251 V is neither over nor over with it
    (
        "overvoltage",
        {"hold_seconds": 0},
        OVER,
        [(0, 254), (60, 251), (120, 254), (180, 250.4)],
        0,
        [(0, "raised", "OVERVOLTAGE l1"), (180, "cleared", "OVERVOLTAGE l1")],
    ),
    ("overvoltage", {"hold_seconds": 30}, OVER, [(0, 254), (20, 252)], 100, []),
    ("overvoltage", {"hold_seconds": 30}, OVER, [(0, 254)], 29.9, []),
    ("overvoltage", {"hold_seconds": 30}, OVER, [(0, 254)], 30, [(30, "raised", "OVERVOLTAGE l1")]),
    ("overvoltage", {"hold_seconds": 30}, OVER, [(0, 254), (40, 255)], 0, [(30, "raised", "OVERVOLTAGE l1")]),
    ("overvoltage", {"threshold": 240, "hold_seconds": 0}, OVER, [(0, 241)], 0, [(0, "raised", "OVERVOLTAGE l1")]),
    (
        "overvoltage",
        {"threshold": 240, "clear": 200, "hold_seconds": 0},
        OVER,
        [(0, 241), (1, 201), (2, 200)],
        0,
        [(0, "raised", "OVERVOLTAGE l1"), (2, "cleared", "OVERVOLTAGE l1")],
    ),
    ("overvoltage", {"hold_seconds": 0}, OVER, [(0, float("nan")), (1, float("inf"))], 0, []),
    (
        "undervoltage",
        {"hold_seconds": 0},
        "voltage_total",
        [(0, 206.9), (1, 208), (2, 209.1)],
        0,
        [(0, "raised", "UNDERVOLTAGE"), (2, "cleared", "UNDERVOLTAGE")],
    ),
    (
        "phase_loss",
        {},
        "voltage_l2",
        [(0, 91), (1, 101.1), (2, 101.3)],
        0,
        [(0, "raised", "PHASE_LOSS l2"), (2, "cleared", "PHASE_LOSS l2")],
    ),
    ("overcurrent", {}, "current_l3", [(0, 61), (61, 62)], 0, [(60, "raised", "OVERCURRENT l3")]),
    ("overload", {}, "active_power_import_total", [(0, 10_001)], 60, [(60, "raised", "OVERLOAD")]),
    ("reverse_power", {"hold_seconds": 0}, "active_power_total", [(0, -99), (1, 500)], 0, []),
    (
        "reverse_power",
        {"hold_seconds": 0},
        "active_power_total",
        [(0, -101), (1, -90), (2, -79)],
        0,
        [(0, "raised", "REVERSE_POWER"), (2, "cleared", "REVERSE_POWER")],
    ),
    (
        "reverse_power",
        {"hold_seconds": 0},
        "active_power_export_total",
        [(0, 101)],
        0,
        [(0, "raised", "REVERSE_POWER")],
    ),
    ("low_power_factor", {}, "power_factor_total", [(0, -0.85), (900, 0.81)], 0, []),
    ("low_power_factor", {}, "power_factor_l1", [(0, -0.7)], 900, [(900, "raised", "LOW_POWER_FACTOR l1")]),
    ("low_balance", {}, "credit_balance", [(0, 10), (1, 9.99)], 0, [(1, "raised", "LOW_BALANCE")]),
    ("low_balance", {}, "credit_energy", [(0, 10_000), (1, 9_990)], 0, [(1, "raised", "LOW_BALANCE")]),
    (
        "relay_tripped",
        {},
        "relay_closed",
        [(0, True), (1, False), (2, False), (3, True)],
        0,
        [(1, "raised", "RELAY_TRIPPED"), (3, "cleared", "RELAY_TRIPPED"), (3, "raised", "RELAY_CLOSED")],
    ),
    ("relay_tripped", {}, "relay_closed", [(0, 1), (1, 0)], 0, [(1, "raised", "RELAY_TRIPPED")]),
    (
        "clock_drift",
        {},
        "meter_time",
        [(0, "2026-01-01 01:00:59+01:00"), (60, "2026-01-01 01:02:01+01:00"), (120, "2026-01-01 00:02:00+00:00")],
        0,
        [(60, "raised", "CLOCK_DRIFT"), (120, "cleared", "CLOCK_DRIFT")],
    ),
    (
        "clock_drift",
        {},
        "meter_time",
        [(0, "2026-01-01 00:01:01+00:00"), (60, "2026-01-01 00:01:50+00:00"), (120, "2026-01-01 00:02:40+00:00")],
        0,
        [(0, "raised", "CLOCK_DRIFT"), (120, "cleared", "CLOCK_DRIFT")],
    ),
    ("clock_drift", {}, "meter_time", [(0, "2026-01-01 05:00:00"), (1, "****"), (2, 7)], 0, []),
    (
        "own",
        {"quantity": "frequency", "comparison": "<", "threshold": 49.5},
        "frequency",
        [(0, 49.4), (1, 49.5)],
        0,
        [(0, "raised", "CUSTOM"), (1, "cleared", "CUSTOM")],
    ),
    (
        "own",
        {"quantity": "voltage", "comparison": ">=", "threshold": 240},
        "voltage_l3",
        [(0, 239.9), (1, 240)],
        0,
        [(1, "raised", "CUSTOM l3")],
    ),
    (
        "own",
        {"quantity": "tariff_active", "comparison": "!=", "threshold": "T1"},
        "tariff_active",
        [(0, "T1"), (1, "T2"), (2, "T1")],
        0,
        [(1, "raised", "CUSTOM"), (2, "cleared", "CUSTOM")],
    ),
    ("own", {"quantity": "frequency", "comparison": "<"}, "frequency", [(0, 1)], 0, []),
    ("own", {"threshold": 1}, "frequency", [(0, 100)], 0, []),
]


@pytest.mark.parametrize(("rule", "fields", "quantity", "readings", "until", "expected"), TABLE)
def test_readings_over_time_give_these_alarms(
    rule: str, fields: dict[str, Any], quantity: str, readings: Any, until: float, expected: Any
) -> None:
    assert run(engine(only(rule, **fields)), quantity, readings, until) == expected


def test_a_clock_that_does_not_tell_its_zone_is_of_the_zone_that_is_set() -> None:
    made = engine({"ratings": {"utc_offset": 480}, **only("clock_drift")})
    shown = [
        (0, "2026-01-01 08:00:59"),
        (60, "2026-01-01 08:02:01"),
        (120, "9999-12-31 23:59:59.9"),
        (121, "0001-01-01"),
    ]
    assert run(made, "meter_time", shown) == [(60, "raised", "CLOCK_DRIFT")]
    assert run(made, "meter_time", [(180, "2026-01-01 08:03:00")]) == [(180, "cleared", "CLOCK_DRIFT")]


def test_a_lost_phase_is_not_low_as_well() -> None:
    made = engine({"undervoltage": {"hold_seconds": 0}})
    made.evaluate(batch(0, {"voltage_l1": 230, "voltage_l2": 200, "voltage_l3": 3}))
    assert told(made) == [(0, "raised", "UNDERVOLTAGE l2"), (0, "raised", "PHASE_LOSS l3")]
    made.evaluate(batch(1, {"voltage_l1": 230, "voltage_l2": 0, "voltage_l3": 200}))
    assert sorted(told(made)) == [
        (1, "cleared", "PHASE_LOSS l3"),
        (1, "cleared", "UNDERVOLTAGE l2"),
        (1, "raised", "PHASE_LOSS l2"),
        (1, "raised", "UNDERVOLTAGE l3"),
    ]


def test_a_power_factor_without_load_means_nothing() -> None:
    made = engine(only("low_power_factor", hold_seconds=0))
    made.evaluate(batch(0, {"power_factor_total": 0.1, "active_power_total": 20}))
    assert told(made) == []
    made.evaluate(batch(1, {"power_factor_total": 0.1, "active_power_total": -2000}))
    made.evaluate(batch(2, {"power_factor_total": 0.1, "active_power_total": 20}))
    assert told(made) == [(1, "raised", "LOW_POWER_FACTOR"), (2, "cleared", "LOW_POWER_FACTOR")]


def test_what_is_of_the_past_raises_and_clears_nothing() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    made.evaluate(batch(0, {OVER: 260}, source=Source.HISTORY))
    made.evaluate(batch(0, {OVER: 260}, received=901))
    made.evaluate(batch(1000, {OVER: 230}))
    made.evaluate(batch(999, {OVER: 260}, received=1001, source=Source.PUSH))
    assert told(made) == []
    made.evaluate(batch(1002, {OVER: 260}))
    made.evaluate(batch(1001, {OVER: 230}, received=1003, source=Source.PUSH))
    assert told(made) == [(1002, "raised", "OVERVOLTAGE l1")]


def test_a_time_ahead_of_the_receipt_counts_as_the_receipt() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    made.evaluate(batch(10_000, {OVER: 260}, received=1))
    made.evaluate(batch(2, {OVER: 230}))
    assert told(made) == [(1, "raised", "OVERVOLTAGE l1"), (2, "cleared", "OVERVOLTAGE l1")]


@pytest.mark.parametrize("quality", [quality for quality in Quality if quality])
def test_a_quality_that_is_not_good_is_not_judged(quality: Quality) -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    made.evaluate(batch(0, {OVER: 260}, quality=quality))
    assert told(made) == []
    made.evaluate(batch(1, {OVER: 260}))
    made.evaluate(batch(2, {OVER: 230}, quality=quality))
    assert told(made) == [(1, "raised", "OVERVOLTAGE l1")]


def test_readings_handed_in_together_are_judged_in_the_order_of_their_times() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    handed = batch(60, {OVER: 0}, source=Source.SUBMITTED)
    handed.quantities, handed.values = (OVER, OVER, OVER), [230, 260, 230]
    handed.measured_at, handed.quality = (START + 50_000, START + 20_000, START + 10_000), (0, 0, 0)
    made.evaluate(handed)
    assert told(made) == [(20, "raised", "OVERVOLTAGE l1"), (50, "cleared", "OVERVOLTAGE l1")]


FLAPS: Layer = only("overvoltage", hold_seconds=0, flap_changes=3, flap_seconds=100)


def test_what_flaps_is_said_once_and_is_over_when_it_rests() -> None:
    made = engine(FLAPS)
    readings = [(float(at), 260 if at % 2 == 0 else 230) for at in range(20)]
    assert run(made, OVER, readings) == [
        (0, "raised", "OVERVOLTAGE l1"),
        (1, "cleared", "OVERVOLTAGE l1"),
        (2, "raised", "OVERVOLTAGE l1"),
        (3, "cleared", "OVERVOLTAGE l1"),
        (4, "raised flapping", "OVERVOLTAGE l1"),
    ]
    assert run(made, OVER, [], 118.9) == []
    assert run(made, OVER, [], 119) == [(119, "cleared", "OVERVOLTAGE l1")]
    assert run(made, OVER, [(120, 260)]) == [(120, "raised", "OVERVOLTAGE l1")]


def test_what_flapped_and_then_holds_is_an_alarm_like_others() -> None:
    made = engine(FLAPS)
    run(made, OVER, [(float(at), 260 if at % 2 == 0 else 230) for at in range(7)], 107)
    assert [(alarm.flapping, alarm.cleared_at) for alarm in made.active()] == [(False, None)]
    assert run(made, OVER, [(108, 230)]) == [(108, "cleared", "OVERVOLTAGE l1")]


def test_alarms_far_between_do_not_flap() -> None:
    readings = [(float(at), 260 if at % 120 == 0 else 230) for at in range(0, 1200, 60)]
    assert not any("flapping" in what for _, what, _ in run(engine(FLAPS), OVER, readings))


def test_silence_is_told_once_and_ends_with_any_reading() -> None:
    made = engine(only("communication_lost"), poll_seconds=60)
    assert run(made, OVER, [(0, 230)], 299) == []
    assert run(made, OVER, [(299, 230)], 598) == []
    assert run(made, OVER, [], 1000) == [(599, "raised", "COMMUNICATION_LOST")]
    made.evaluate(batch(0, {OVER: 230}, received=1001, source=Source.HISTORY))
    assert told(made) == [(1001, "cleared", "COMMUNICATION_LOST")]
    assert run(made, OVER, [], 1302) == [(1301, "raised", "COMMUNICATION_LOST")]


def test_a_meter_that_is_not_polled_is_silent_only_where_a_time_is_set() -> None:
    assert run(engine(only("communication_lost")), OVER, [], 1e6) == []
    made = engine(only("communication_lost", threshold=3600))
    assert run(made, OVER, [], 3600) == [(3600, "raised", "COMMUNICATION_LOST")]


def event(seconds: float, kind: EventType, meter: str = "m") -> Event:
    data = {"reason": "no answer"} if kind is EventType.METER_OFFLINE else {}
    at = START + round(seconds * 1000)
    return Event(type=kind, severity=Severity.INFO, occurred_at=at, meter_id=meter, data=data)


def test_a_meter_goes_offline_and_comes_back() -> None:
    made = engine(only("meter_offline", hold_seconds=60))
    made.happened(event(0, EventType.METER_ONLINE))
    made.happened(event(10, EventType.METER_OFFLINE))
    made.happened(event(20, EventType.METER_ONLINE))
    made.happened(event(30, EventType.METER_OFFLINE))
    assert told(made) == []
    made.happened(event(95, EventType.METER_ONLINE))
    assert told(made) == [
        (90, "raised", "METER_OFFLINE"),
        (95, "cleared", "METER_OFFLINE"),
        (95, "raised", "METER_ONLINE"),
    ]


def test_a_rule_about_an_event_without_an_end_is_a_notice() -> None:
    made = engine(only("refused", event="PUSH_REFUSED", label="Push refused", severity="critical"))
    made.happened(event(5, EventType.PUSH_REFUSED))
    (raised, alarm), (cleared, _) = made.take().said
    assert (raised, cleared) == (EventType.ALARM_RAISED, EventType.ALARM_CLEARED)
    assert (alarm.label, alarm.severity, alarm.raised_at) == ("Push refused", Severity.CRITICAL, START + 5000)
    assert made.active() == []


def test_rules_that_change_let_go_of_their_alarms_and_judge_by_the_new_limits() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    assert run(made, OVER, [(0, 260)])
    made.watch("m", table(only("overvoltage", hold_seconds=0, threshold=270)), START + 1000)
    assert run(made, OVER, [(2, 260)]) == [(2, "cleared", "OVERVOLTAGE l1")]
    assert run(made, OVER, [(3, 271)]) == [(3, "raised", "OVERVOLTAGE l1")]
    made.watch("m", table(only("overvoltage", enabled=False)), START + 4000)
    (said,) = made.take().said
    assert (said[1].cleared_at, said[1].cleared and said[1].cleared.value) == (START + 4000, "rule")


def test_the_alarms_of_a_meter_that_is_watched_no_longer_are_over() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    run(made, OVER, [(0, 260)])
    made.forget("m", START + 9000)
    (said,) = made.take().said
    assert (said[0], said[1].cleared and said[1].cleared.value) == (EventType.ALARM_CLEARED, "meter")
    assert run(made, OVER, [(10, 260)], 1e5) == []


def test_what_stood_is_over_where_the_meter_or_the_rule_is_gone() -> None:
    made = engine(only("overvoltage", hold_seconds=0), meter="a")
    made.watch("b", table(only("overvoltage", hold_seconds=0)), START)
    for meter in ("a", "b"):
        made.evaluate(batch(0, {"voltage_l1": 260, "voltage_l2": 260}, meter=meter))
    kept = made.take()
    standings = [each for each in kept.standings.values() if each is not None]
    again = Engine(next_number=5)
    again.watch("a", table(only("undervoltage")), START)
    again.restore(standings, list(kept.alarms.values())[1:], START + 9)
    changes = again.take()
    assert [(alarm.meter_id, alarm.cleared) for _, alarm in changes.said] == [
        ("a", Cleared.RULE),
        ("b", Cleared.METER),
        ("b", Cleared.METER),
    ]
    assert set(changes.standings.values()) == {None}
    again.restore([], list(kept.alarms.values())[:1], START + 9)
    assert [alarm.cleared for _, alarm in again.take().said] == [Cleared.RULE]


def test_silence_that_is_watched_no_longer_is_over() -> None:
    made = engine(only("communication_lost"), poll_seconds=60)
    assert run(made, OVER, [], 300) == [(300, "raised", "COMMUNICATION_LOST")]
    made.watch("m", made._watches["m"].table, START + 301_000, 0.0)
    assert told(made) == [(301, "cleared", "COMMUNICATION_LOST")]
    assert run(made, OVER, [], 10_000) == []


def test_columns_that_come_in_ever_other_orders_do_not_fill_the_memory() -> None:
    made = engine(only("overvoltage", hold_seconds=0))
    for number in range(1000):
        made.evaluate(batch(number, {f"x{number}": 1, OVER: 260 if number == 999 else 230}))
    assert told(made) == [(999, "raised", "OVERVOLTAGE l1")]
    assert len(made._watches["m"].table._plans) <= MAX_PLANS


def test_a_load_that_is_no_number_tells_nothing() -> None:
    made = engine(only("low_power_factor", hold_seconds=0))
    made.evaluate(batch(0, {"power_factor_total": 0.1, "active_power_total": "much", "active_power_import_total": 300}))
    assert told(made) == [(0, "raised", "LOW_POWER_FACTOR")]
