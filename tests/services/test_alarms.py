"""The service on a real bus, roster and database, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headend.errors import ConfigError, Conflict, NotFound, StorageError
from headend.model.alarm import Cleared, Level
from headend.model.alarm_rules import Layer
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.alarms.service import Alarms
from headend.services.bus import Bus, Subscription
from headend.services.roster import Roster
from headend.storage.store import Store
from tests.new_database import laid

from .alarm_cases import only
from .support import EPOCH, clock, virtual

PROFILE = MeterProfile(
    id="p1",
    vendor="V",
    model="M",
    protocol="modbus",
    state=ProfileState.DRAFT,
    source="tests",
    alarm={"overvoltage": {"threshold": 240}},
)


class Place:
    """A head-end that only raises alarms."""

    def __init__(self, store: Store, layer: Layer) -> None:
        self.store = store
        self.bus = Bus()
        self.roster = Roster(self.bus, clock)
        self.alarms = Alarms(
            self.roster,
            self.bus,
            store,
            profile=lambda _profile_id: PROFILE,
            clock=clock,
            settings=layer,
        )
        self.events: Subscription[Event] = self.bus.subscribe("test", Event)

    def add(self, meter_id: str, profile_id: str = "", **fields: Any) -> Meter:
        where = Endpoint(kind=EndpointKind.TCP, host=meter_id)
        given: dict[str, Any] = {"protocol": "modbus", "framing": "tcp", "poll_seconds": 60.0, **fields}
        meter = Meter(id=meter_id, endpoint=where, profile_id=profile_id, **given)
        self.roster.add(meter)
        return meter

    def read(self, meter_id: str, **values: Value) -> None:
        now = clock()
        self.bus.publish(
            ReadingBatch(
                meter_id=meter_id,
                source=Source.POLL,
                received_at=now,
                quantities=tuple(values),
                values=list(values.values()),
                measured_at=(now,) * len(values),
                quality=(0,) * len(values),
            )
        )

    async def said(self, amount: int) -> list[tuple[str, str, str]]:
        """The next events of alarms."""
        found: list[tuple[str, str, str]] = []
        async for event in self.events:
            if event.type.name.startswith("ALARM_"):
                found.append((event.type.value, event.meter_id, str(event.data["kind"])))
            if len(found) == amount:
                break
        return found


@asynccontextmanager
async def place(folder: Path, layer: Layer, *meters: str) -> AsyncIterator[Place]:
    time = asyncio.get_running_loop().time  # the store asks from threads of its own
    with Store.open(
        laid(folder / "headend.db"), vault_key=None, millis=lambda: round((EPOCH + time()) * 1000)
    ) as store:
        made = Place(store, layer)
        for meter_id in meters:
            made.add(meter_id, "p1" if meter_id.startswith("p") else "")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.alarms.run())
            try:
                await made.alarms.ready.wait()
                yield made
            finally:
                made.alarms.close()
                await running


RAISED, CLEARED, SEEN = "ALARM_RAISED", "ALARM_CLEARED", "ALARM_ACKNOWLEDGED"
OVER: Layer = {"ratings": {"nominal_voltage": 230}, **only("overvoltage", hold_seconds=10)}


@virtual
async def test_an_alarm_is_kept_said_acknowledged_and_cleared(tmp_path: Path) -> None:
    async with place(tmp_path, OVER, "m1") as here:
        here.read("m1", voltage_l1=260.0)
        assert await here.said(1) == [(RAISED, "m1", "OVERVOLTAGE")]
        assert 10 <= asyncio.get_running_loop().time() <= 12
        (alarm,) = here.store.alarms.list()
        assert (alarm.value, alarm.threshold, alarm.unit, alarm.raised_at - alarm.since) == (260.0, 253.0, "V", 10_000)
        seen = await here.alarms.acknowledge(alarm.number, "user:ada", "looking")
        assert await here.said(1) == [(SEEN, "m1", "OVERVOLTAGE")]
        with pytest.raises(Conflict):
            await here.alarms.acknowledge(alarm.number, "user:bob")
        here.read("m1", voltage_l1=230.0)
        assert await here.said(1) == [(CLEARED, "m1", "OVERVOLTAGE")]
        (over,) = here.store.alarms.list()
        assert (over.cleared, over.note, over.acknowledged_at) == (Cleared.ENDED, "looking", seen.acknowledged_at)


@virtual
async def test_after_a_restart_nothing_is_raised_twice_and_what_waits_goes_on_waiting(tmp_path: Path) -> None:
    async with place(tmp_path, OVER, "m1", "m2") as here:
        here.read("m1", voltage_l1=260.0)
        await here.said(1)
        here.read("m2", voltage_l1=260.0)
        await asyncio.sleep(4)
    async with place(tmp_path, OVER, "m1", "m2") as again:
        again.read("m1", voltage_l1=261.0)
        start = asyncio.get_running_loop().time()
        assert await again.said(1) == [(RAISED, "m2", "OVERVOLTAGE")]
        assert asyncio.get_running_loop().time() - start <= 8
        again.read("m1", voltage_l1=230.0)
        assert await again.said(1) == [(CLEARED, "m1", "OVERVOLTAGE")]
        assert len(again.store.alarms.list()) == 2


@virtual
async def test_thresholds_are_those_of_the_meter_its_file_or_all_field_by_field(tmp_path: Path) -> None:
    async with place(tmp_path, {**OVER, **only("overvoltage", hold_seconds=0)}, "m1", "p1", "p2") as here:
        for meter_id in ("m1", "p1", "p2"):
            here.read(meter_id, voltage_l1=245.0)
        assert await here.said(2) == [(RAISED, "p1", "OVERVOLTAGE"), (RAISED, "p2", "OVERVOLTAGE")]
        await here.alarms.put_rule(Level.METER, "p1", "overvoltage", {"threshold": 250}, "user:ada")
        await here.alarms.put_rule(Level.GLOBAL, "", "overvoltage", {"threshold": 244, "severity": "critical"}, "ada")
        for meter_id in ("m1", "p1", "p2"):
            here.read(meter_id, voltage_l1=245.0)
        assert await here.said(2) == [(RAISED, "m1", "OVERVOLTAGE"), (CLEARED, "p1", "OVERVOLTAGE")]
        assert here.store.alarms.list(meter_id="m1")[0].severity.value == "critical"
        await here.alarms.remove_rule(Level.METER, "p1", "overvoltage")
        here.read("p1", voltage_l1=245.0)
        assert await here.said(1) == [(RAISED, "p1", "OVERVOLTAGE")]
        assert here.store.alarms.list(meter_id="p1")[0].severity.value == "critical"
        await here.alarms.put_rule(Level.PROFILE, "p1", "overvoltage", {"enabled": False}, "user:ada")
        assert sorted(await here.said(2)) == [(CLEARED, "p1", "OVERVOLTAGE"), (CLEARED, "p2", "OVERVOLTAGE")]
        with pytest.raises(ConfigError, match=r"overvoltage\.colour"):
            await here.alarms.put_rule(Level.GLOBAL, "", "overvoltage", {"colour": 1}, "user:ada")
        with pytest.raises(NotFound):
            await here.alarms.remove_rule(Level.METER, "p1", "overvoltage")


@virtual
async def test_a_meter_that_is_removed_or_disabled_has_no_alarms(tmp_path: Path) -> None:
    async with place(tmp_path, {**OVER, **only("overvoltage", hold_seconds=0)}, "m1", "m2") as here:
        here.read("m1", voltage_l1=260.0)
        here.read("m2", voltage_l1=260.0)
        await here.said(2)
        here.roster.remove("m1")
        here.roster.update(Meter(**{**_fields(here, "m2"), "enabled": False}))
        assert await here.said(2) == [(CLEARED, "m1", "OVERVOLTAGE"), (CLEARED, "m2", "OVERVOLTAGE")]


def _fields(here: Place, meter_id: str) -> dict[str, Any]:
    meter = here.roster.state(meter_id).meter
    return {name: getattr(meter, name) for name in meter.__slots__}


@virtual
async def test_silence_and_events_of_the_head_end_raise_alarms(tmp_path: Path) -> None:
    layer: Layer = {
        **only("communication_lost"),
        "disk": {"label": "Disk full", "event": "STORAGE_FULL", "until": "STORAGE_RECOVERED"},
    }
    async with place(tmp_path, layer, "m1") as here:
        assert await here.said(1) == [(RAISED, "m1", "COMMUNICATION_LOST")]
        assert 300 <= asyncio.get_running_loop().time() <= 302
        for kind in (EventType.STORAGE_FULL, EventType.STORAGE_RECOVERED):
            here.bus.publish(Event(type=kind, severity=Severity.CRITICAL, occurred_at=clock()))
        assert await here.said(2) == [(RAISED, "", "CUSTOM"), (CLEARED, "", "CUSTOM")]


@virtual
async def test_while_the_database_is_away_alarms_wait_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, {**OVER, **only("overvoltage", hold_seconds=0)}, "m1", "m2") as here:
        keep, refusals = here.store.alarms.keep, 3

        def full(*changes: Any) -> None:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise StorageError("the disk is full", reason="full")
            keep(*changes)

        monkeypatch.setattr(here.store.alarms, "keep", full)
        here.read("m1", voltage_l1=260.0)
        await asyncio.sleep(1)
        here.read("m2", voltage_l1=260.0)
        assert await here.said(2) == [(RAISED, "m1", "OVERVOLTAGE"), (RAISED, "m2", "OVERVOLTAGE")]
        assert not refusals
        assert len(here.store.alarms.list(active=True)) == 2


@virtual
async def test_a_rule_is_tried_on_what_is_stored(tmp_path: Path) -> None:
    async with place(tmp_path, OVER, "m1") as here:
        start = clock()
        values = [230.0, 260.0, 259.0, 230.0, 260.0, 230.0]
        here.store.readings.write(
            [
                ReadingBatch(
                    meter_id="m1",
                    source=Source.HISTORY,
                    received_at=start,
                    quantities=("voltage_l1",) * len(values),
                    values=values,
                    measured_at=[start + 60_000 * index for index in range(len(values))],
                    quality=(0,) * len(values),
                )
            ]
        )
        found = await here.alarms.try_rule("m1", "overvoltage", {"hold_seconds": 61}, start, start + 10**6)
        assert [
            (each.since - start, each.raised_at - start, each.cleared_at and each.cleared_at - start) for each in found
        ] == [(60_000, 121_000, 180_000)]
        own = {"quantity": "voltage", "comparison": "<", "threshold": 231}
        assert len(await here.alarms.try_rule("m1", "own", own, start, start + 10**6)) == 3
        assert await here.alarms.try_rule("m1", "own", own, start + 10**6, start + 10**7) == []
        with pytest.raises(ConfigError, match="cannot be tried"):
            await here.alarms.try_rule("m1", "communication_lost", {}, start, start + 1)
        with pytest.raises(NotFound):
            await here.alarms.try_rule("m9", "overvoltage", {}, start, start + 1)
        assert here.store.alarms.list() == []


@virtual
async def test_what_cannot_be_kept_at_the_end_is_not_said_but_raised_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer: Layer = {**OVER, **only("overvoltage", hold_seconds=0)}
    async with place(tmp_path, layer, "m1") as here:

        def full(*_changes: Any) -> None:
            raise StorageError("the disk is full", reason="full")

        monkeypatch.setattr(here.store.alarms, "keep", full)
        here.read("m1", voltage_l1=260.0)
        await asyncio.sleep(3)
    here.events.close()
    assert [event.type async for event in here.events] == [EventType.METER_ADDED]
    async with place(tmp_path, layer, "m1") as again:
        again.read("m1", voltage_l1=260.0)
        assert await again.said(1) == [(RAISED, "m1", "OVERVOLTAGE")]


@virtual
async def test_a_meter_that_is_removed_takes_its_rules_along(tmp_path: Path) -> None:
    async with place(tmp_path, {**OVER, **only("overvoltage", hold_seconds=0)}, "m1") as here:
        here.store.meters.put(here.roster.state("m1").meter)
        await here.alarms.put_rule(Level.METER, "m1", "overvoltage", {"threshold": 300}, "user:ada")
        here.read("m1", voltage_l1=260.0)
        here.store.meters.delete("m1", keep_history=True)
        here.roster.remove("m1")
        assert here.store.alarms.rules() == []
        here.add("m1")
        await asyncio.sleep(2)
        here.read("m1", voltage_l1=260.0)
        assert await here.said(1) == [(RAISED, "m1", "OVERVOLTAGE")]


@virtual
async def test_a_rule_about_events_is_tried_on_those_that_are_kept(tmp_path: Path) -> None:
    async with place(tmp_path, OVER, "m1") as here:
        start = clock()
        here.store.events.append(
            Event(type=kind, severity=Severity.INFO, occurred_at=start + at, meter_id="m1")
            for at, kind in (
                (1000, EventType.METER_OFFLINE),
                (90_000, EventType.METER_ONLINE),
                (95_000, EventType.METER_OFFLINE),
                (96_000, EventType.METER_ONLINE),
            )
        )
        found = await here.alarms.try_rule("m1", "meter_offline", {"hold_seconds": 10}, start, start + 10**6)
        assert [(alarm.kind.value, alarm.raised_at - start) for alarm in found] == [
            ("METER_OFFLINE", 11_000),
            ("METER_ONLINE", 90_000),
        ]
        for load, amount in ((100.0, 0), (5000.0, 1)):
            values: dict[str, Value] = {"power_factor_l2": 0.3, "active_power_import_l2": load}
            at = start + round(load)
            here.store.readings.write(
                [
                    ReadingBatch(
                        meter_id="m1",
                        source=Source.POLL,
                        received_at=at,
                        quantities=tuple(values),
                        values=list(values.values()),
                        measured_at=(at, at),
                        quality=(0, 0),
                    )
                ]
            )
            fields: dict[str, Value] = {"enabled": True, "hold_seconds": 0}
            assert len(await here.alarms.try_rule("m1", "low_power_factor", fields, at, at + 1)) == amount
