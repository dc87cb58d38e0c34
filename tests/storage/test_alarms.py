from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headend.errors import Conflict, NotFound
from headend.model.alarm import Alarm, AlarmKind, Cleared, Level, Standing
from headend.model.event import Severity
from headend.storage.store import Store

from .conftest import again


def alarm(number: int, **fields: Any) -> Alarm:
    given: dict[str, Any] = {
        "meter_id": "m1",
        "rule": "overvoltage",
        "kind": AlarmKind.OVERVOLTAGE,
        "label": "Over-voltage",
        "severity": Severity.WARNING,
        "quantity": "voltage_l1",
        "phase": "l1",
        "unit": "V",
        "value": 254.5,
        "threshold": 253,
        "since": number * 1000,
        "raised_at": number * 1000 + 30,
    }
    return Alarm(number=number, **{**given, **fields})


def standing(number: int | None = None, **fields: Any) -> Standing:
    given: dict[str, Any] = {"meter_id": "m1", "rule": "overvoltage", "quantity": "voltage_l1"}
    times: dict[str, Any] = {"holds": True, "since": 1, "last_at": 2, "changed_at": 3, "value": False, "raises": (4, 5)}
    return Standing(**{**given, **times, "alarm": number, **fields})


KEY_OF = ("m1", "overvoltage", "voltage_l1")


def test_what_stands_comes_back_as_it_was(store: Store) -> None:
    assert store.alarms.standing() == ([], [], 1)
    over = alarm(2).over(9000, Cleared.ENDED)
    relay = alarm(3, value=False, threshold=None, kind=AlarmKind.RELAY_TRIPPED)
    store.alarms.keep([alarm(1), over, relay], {KEY_OF: standing(1)})
    assert store.alarms.standing() == ([standing(1)], [alarm(1), relay], 4)
    store.alarms.keep([], {KEY_OF: standing(None, raises=())})
    assert store.alarms.standing()[0] == [standing(None, raises=())]
    store.alarms.keep([], {KEY_OF: None})
    assert store.alarms.standing()[0] == []


def test_what_is_cleared_keeps_who_has_seen_it(store: Store) -> None:
    store.alarms.keep([alarm(1)], {})
    seen = store.alarms.acknowledge(1, "user:ada", "on my way")
    assert (seen.acknowledged_by, seen.note) == ("user:ada", "on my way")
    assert seen.acknowledged_at
    store.alarms.keep([alarm(1).over(5000, Cleared.SETTLED)], {})
    assert store.alarms.get(1) == replace(seen, cleared_at=5000, cleared=Cleared.SETTLED)
    with pytest.raises(Conflict, match="user:ada"):
        store.alarms.acknowledge(1, "user:bob", "")
    with pytest.raises(NotFound):
        store.alarms.acknowledge(2, "user:bob", "")


def test_alarms_are_chosen_and_counted(store: Store) -> None:
    store.alarms.keep(
        [
            alarm(1),
            alarm(2, meter_id="m2", severity=Severity.CRITICAL),
            alarm(3).over(4000, Cleared.ENDED),
            alarm(4, kind=AlarmKind.METER_OFFLINE),
        ],
        {},
    )
    store.alarms.acknowledge(4, "user:ada", "")

    def numbers(**choice: Any) -> list[int]:
        return [each.number for each in store.alarms.list(**choice)]

    assert numbers() == [4, 3, 2, 1]
    assert numbers(limit=2) == [4, 3]
    assert numbers(before=3) == [2, 1]
    assert numbers(active=True) == [4, 2, 1]
    assert numbers(active=False) == [3]
    assert numbers(acknowledged=True) == [4]
    assert numbers(acknowledged=False, active=True) == [2, 1]
    assert numbers(meter_id="m2") == [2]
    assert numbers(kinds=[AlarmKind.METER_OFFLINE]) == [4]
    assert numbers(severities=[Severity.CRITICAL]) == [2]
    assert store.alarms.counts() == ({Severity.CRITICAL: 1, Severity.WARNING: 2}, 2)
    assert store.alarms.counts("m2") == ({Severity.CRITICAL: 1}, 1)


def test_old_alarms_are_purged_but_never_active_ones_and_numbers_are_not_used_again(store: Store) -> None:
    store.alarms.keep([alarm(1), alarm(2).over(3000, Cleared.ENDED), alarm(3).over(9000, Cleared.ENDED)], {})
    assert store.alarms.purge(5000) == 1
    assert [each.number for each in store.alarms.list()] == [3, 1]
    assert store.alarms.purge(10**12) == 1
    assert store.alarms.standing()[2] == 4


def test_changes_of_rules_are_kept_by_level(store: Store) -> None:
    put = store.alarms.put_rule
    put(Level.METER, "m1", "overvoltage", {"threshold": 250}, "user:ada")
    put(Level.GLOBAL, "", "own", {"quantity": "voltage", "threshold": 1.5, "enabled": False}, "user:ada")
    put(Level.PROFILE, "abb-b23", "overvoltage", {"threshold": 251}, "user:ada")
    put(Level.METER, "m1", "overvoltage", {"severity": "critical"}, "user:bob")
    assert [(each.level.value, each.subject, each.rule, each.fields) for each in store.alarms.rules()] == [
        ("global", "", "own", {"quantity": "voltage", "threshold": 1.5, "enabled": False}),
        ("profile", "abb-b23", "overvoltage", {"threshold": 251}),
        ("meter", "m1", "overvoltage", {"severity": "critical"}),
    ]
    store.alarms.delete_rule(Level.METER, "m1", "overvoltage")
    with pytest.raises(NotFound, match="overvoltage"):
        store.alarms.delete_rule(Level.METER, "m1", "overvoltage")
    store.close()
    with again(store) as other:
        assert len(other.alarms.rules()) == 2
