from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headend.model.caller import UnknownCaller
from headend.model.meter import MeterIdentity
from headend.storage.store import Store


def caller(name: str, last_seen: int) -> UnknownCaller:
    return UnknownCaller(
        id=name,
        key=f"name {name}",
        address="192.0.2.7",
        first_seen=1,
        last_seen=last_seen,
        label="longi",
        identity=MeterIdentity(serial=name),
        octets="0001",
        reason="no meter is known by what it says",
    )


def test_the_quarantine_is_kept_changed_and_forgotten(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db", vault_key=None) as store:
        store.callers.keep([], [])
        store.callers.keep([caller("a", 3), caller("b", 2)], ["nobody"])
        assert store.callers.list() == [caller("b", 2), caller("a", 3)]
        store.callers.keep([replace(caller("b", 4), blocked=True)], ["a"])
    with Store.open(tmp_path / "a.db", vault_key=None) as store:
        assert store.callers.list() == [replace(caller("b", 4), blocked=True)]
