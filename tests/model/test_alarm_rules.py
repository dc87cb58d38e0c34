"""Layers of changes over the built-in rules, and what may be changed."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.library import load_profile
from headend.errors import ConfigError
from headend.model.alarm import AlarmRule, Comparison
from headend.model.alarm_rules import BUILT_IN, check_change, fields_of, resolve, watched_of
from headend.model.event import EventType, Severity
from headend.model.quantity import find_quantity
from headend.runtime.alarms import layer_of
from headend.runtime.settings import AlarmSettings

FLEET: Any = {"ratings": {"nominal_voltage": 230, "rated_current": 60}}


def rule(name: str, *layers: Any) -> AlarmRule:
    return next(each for each in resolve((FLEET, *layers)) if each.id == name)


def test_every_quantity_of_a_built_in_rule_is_in_the_catalogue() -> None:
    for each in BUILT_IN.values():
        assert all(find_quantity(watched.quantity) for watched in each.watched), each.id


def test_percents_are_of_the_ratings() -> None:
    assert rule("overvoltage").threshold == 253
    assert rule("undervoltage", {"ratings": {"nominal_voltage": 120}}).threshold == 108
    assert rule("overcurrent").threshold == 60
    assert rule("overload").threshold is None
    assert not rule("overload").complete


def test_the_most_particular_layer_counts_field_by_field() -> None:
    changed = rule(
        "overvoltage",
        {"overvoltage": {"threshold": 250, "clear": 240, "severity": "critical"}},
        {"overvoltage": {"hold_seconds": 5}},
        {"overvoltage": {"severity": "info"}},
    )
    assert (changed.threshold, changed.clear, changed.severity, changed.hold_seconds) == (250, 240, Severity.INFO, 5)


def test_a_threshold_and_a_percent_take_the_place_of_each_other() -> None:
    high = {"overvoltage": {"threshold": 300, "clear": 290}}
    again = rule("overvoltage", high, {"overvoltage": {"percent": 105}})
    assert (again.threshold, again.clear) == (241.5, None)
    assert rule("overvoltage", {"overvoltage": {"percent": 105}}, high).threshold == 300


def test_rules_of_the_users_own() -> None:
    own = {"too-warm": {"label": "Too warm", "quantity": "temperature_ambient", "threshold": 60}}
    assert not rule("half", {"half": {"threshold": 60}}).complete
    warm = rule("too-warm", own, {"too-warm": {"threshold": 70, "comparison": ">="}})
    assert (warm.label, warm.threshold, warm.comparison) == ("Too warm", 70, Comparison.AT_LEAST)
    assert rule("lost", {"lost": {"event": "READ_FAILED"}}).event is EventType.READ_FAILED
    assert not rule("texts", {"texts": {"quantity": "frequency", "comparison": "<", "threshold": "x"}}).complete


def test_a_quantity_without_its_phase_is_that_of_any_phase() -> None:
    assert [each.quantity for each in watched_of("current")] == [
        "current_total",
        "current_l1",
        "current_l2",
        "current_l3",
    ]
    assert [each.quantity for each in watched_of("frequency")] == ["frequency"]
    assert watched_of("colour") == ()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("overvoltage", {"colour": 1}),
        ("overvoltage", {"quantity": "frequency"}),
        ("overvoltage", {"event": "READ_FAILED"}),
        ("overvoltage", {"threshold": "high"}),
        ("overvoltage", {"threshold": float("nan")}),
        ("overvoltage", {"threshold": 10**400}),
        ("overvoltage", {"hold_seconds": -1}),
        ("overvoltage", {"hold_seconds": True}),
        ("overvoltage", {"severity": "loud"}),
        ("overvoltage", {"enabled": 1}),
        ("overvoltage", {"label": ""}),
        ("relay_tripped", {"percent": 5}),
        ("own", {"quantity": "colour"}),
        ("own", {"event": "ALARM_RAISED"}),
        ("own", {"percent": 5}),
        ("own", {"comparison": "~"}),
        ("ratings", {"rated_current": 0}),
        ("ratings", {"rated_weight": 5}),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(name: str, fields: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{name}\.{next(iter(fields))}: expected "):
        check_change(name, fields)


FILE = """
[meter]
vendor = "V"
model = "M"
protocol = "modbus"
source = "tests"

[alarm]
rated_current = 60

[alarm.overvoltage]
threshold = 260
"""


def test_a_meter_file_tells_what_the_meter_is_made_for() -> None:
    profile = load_profile(FILE, "m")
    assert profile.alarm == {"ratings": {"rated_current": 60}, "overvoltage": {"threshold": 260}}
    assert rule("overcurrent", profile.alarm).threshold == 60
    with pytest.raises(ConfigError, match=r"m:9: \[alarm\] rated_current: ratings.rated_current: expected a number"):
        load_profile(FILE.replace("60\n", "-60\n", 1), "m")
    with pytest.raises(ConfigError, match=r"overvoltage.colour: expected one of"):
        load_profile(FILE.replace("threshold =", "colour ="), "m")
    with pytest.raises(ConfigError, match="alarm"):
        load_profile("alarm = 5\n" + FILE.partition("[alarm]")[0], "m")


def test_settings_are_the_most_general_layer() -> None:
    assert layer_of(AlarmSettings()) == {"ratings": {"nominal_voltage": 230.0}}
    given = AlarmSettings(rated_current=80, rules={"overvoltage": {"percent": 115}})
    assert rule("overcurrent", layer_of(given)).threshold == 80
    assert rule("overvoltage", layer_of(given)).threshold == 264.5
    with pytest.raises(ConfigError, match=r"alarms\.rules\.overvoltage\.percent: expected a number"):
        layer_of(AlarmSettings(rules={"overvoltage": {"percent": "high"}}))


def test_only_what_means_something_may_be_changed_of_a_rule() -> None:
    assert fields_of("ratings") == ("nominal_voltage", "rated_current", "rated_power", "utc_offset")
    assert "percent" in fields_of("overload")
    assert "load" not in fields_of("overload")
    assert not {"threshold", "clear", "hysteresis"} & set(fields_of("meter_offline"))
    assert "threshold" in fields_of("communication_lost")
    assert {"quantity", "event"} <= set(fields_of("own"))
    assert rule("clock_drift", {"ratings": {"utc_offset": 480}}).utc_offset == 480
