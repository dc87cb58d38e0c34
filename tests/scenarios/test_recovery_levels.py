"""Virtual meters that break in every way over TCP: the lane reports it, says so in order, and is well again when they are.

The meters' faults are those of the emulator; that a read worked is told by the value that the virtual meter shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from headend.drivers.base import Secrets
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.control import Selection
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.errors import HeadendError
from headend.model.event import Event, EventType
from headend.model.meter import Meter
from headend.model.objects import ReadPlan
from headend.model.recovery import Recovery
from headend.model.url import parse_url
from headend.services.acquisition.circuit import CircuitState
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.storage.store import wall_millis
from headend.transport.open import open_link

FRAMINGS = {
    "wrapper": "generic-dlms-1p",
    "hdlc": "generic-dlms-1p",
    "tcp": "eastron-sdm120",
    "rtu": "eastron-sdm120",
}
BREAKING = ("silent", "close", "refuse", "half", "garbage", "truncate", "reboot", "loss")
TIMEOUT = 0.5
PATIENT = 5.0
"""where nothing is silent, on a machine that does much else"""
RULES = Recovery(open_after=3, pause_seconds=3600.0, jitter=0.0, reopenings_an_hour=0)


class Plant:
    """Virtual meters, and lanes to them."""

    def __init__(self, fleet: Fleet, rules: Recovery, timeout: float) -> None:
        self.fleet = fleet
        self.bus = Bus()
        self.roster = Roster(self.bus, wall_millis)
        self.told = self.bus.subscribe("told", Event, maxsize=10_000)
        library = Library()
        self.profiles = {name: library.get(name) for name in FRAMINGS.values()}
        self.lanes = Lanes(
            self.roster,
            open_link=open_link,
            driver=driver,
            profile=lambda meter: self.profiles[meter.profile_id],
            secrets=self._secrets,
            connect_timeout=PATIENT,
            request_timeout=timeout,
            recovery=rules,
        )
        self.roster.load(
            replace(parse_url(line.url).meter(f"m{number}"), poll_seconds=60.0)
            for number, line in enumerate(fleet.roster())
        )

    async def _secrets(self, _meter: Meter) -> Secrets:
        return {}

    async def read(self, meter_id: str = "m0", **options: Any) -> bool:
        """Read three registers of a meter; False when that fails."""
        profile = self.profiles[self.roster.state(meter_id).meter.profile_id]
        plan = ReadPlan(entries=tuple(entry for entry in profile.objects if entry.poll and entry.quantity)[:3])
        try:
            result = await self.lanes.run_job(meter_id, lambda session: session.read(plan), **options)
        except HeadendError:
            return False
        return len(result.values) == len(plan.entries) and not result.errors

    def break_(self, kind: str, **options: Any) -> None:
        self.fleet.control.break_(Fault(kind=FaultKind(kind), **options))

    def events(self) -> list[EventType]:
        items, self.told._items = list(self.told._items), type(self.told._items)()
        self.told.size = 0
        return [item.type for item in items]


@asynccontextmanager
async def a_plant(*framings: str, rules: Recovery = RULES, timeout: float = TIMEOUT) -> AsyncIterator[Plant]:
    library = Library()
    fleet = Fleet([Group(profile=library.get(FRAMINGS[name]), framing=name) for name in framings], seed=9)
    await fleet.start()
    plant = Plant(fleet, rules, timeout)
    try:
        yield plant
    finally:
        await plant.lanes.aclose()
        await fleet.aclose()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", BREAKING)
async def test_whatever_breaks_is_mended_by_the_next_job_once_the_meter_is_well(kind: str, framing: str) -> None:
    async with a_plant(framing) as plant:
        assert await plant.read()
        plant.break_(kind, seconds=0.0)
        if kind == "refuse":
            plant.fleet.control.reboot(seconds=0.0)
        for _ in range(4):
            await plant.read()
        state = plant.roster.state("m0")
        said = plant.events()
        if state.circuit.state is CircuitState.OPEN:
            assert said.index(EventType.METER_OFFLINE) < said.index(EventType.CIRCUIT_OPENED)
        plant.fleet.control.mend()
        assert await plant.read() or await plant.read(), state.last_error_text
        assert state.online
        assert state.circuit.state is CircuitState.CLOSED
        assert plant.lanes.of(state.meter.endpoint).circuit.state is CircuitState.CLOSED
        if EventType.CIRCUIT_OPENED in said:
            assert EventType.CIRCUIT_CLOSED in plant.events()


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_reboot_between_two_reads_costs_no_read(framing: str) -> None:
    async with a_plant(framing, timeout=PATIENT) as plant:
        for _ in range(3):
            assert await plant.read()
            plant.fleet.control.reboot(seconds=0.0)
        assert await plant.read()
        state = plant.roster.state("m0")
        assert (state.online, state.last_error_code) == (True, "")


async def test_a_silent_meter_is_opened_anew_then_left_alone_then_taken_back() -> None:
    async with a_plant("wrapper", rules=replace(RULES, pause_seconds=0.05)) as plant:
        assert await plant.read()
        plant.break_("silent")
        while plant.roster.state("m0").circuit.state is not CircuitState.OPEN:
            assert not await plant.read()
        plant.fleet.control.mend()
        circuit = plant.roster.state("m0").circuit
        loop = asyncio.get_running_loop()
        reached = loop.create_future()
        loop.call_at(circuit.retry_at, reached.set_result, None)
        await reached
        assert await plant.read()
        said = [each for each in plant.events() if each is not EventType.SESSION_REOPENED]
        tried = [EventType.CIRCUIT_HALF_OPEN] if EventType.CIRCUIT_HALF_OPEN in said else []
        assert said == [
            EventType.METER_ONLINE,
            EventType.METER_OFFLINE,
            EventType.CIRCUIT_OPENED,
            *tried,
            EventType.CIRCUIT_CLOSED,
            EventType.METER_ONLINE,
        ]


async def test_three_kinds_of_meters_fail_at_once_and_none_holds_up_the_fourth() -> None:
    async with a_plant(*FRAMINGS) as plant:
        names = [f"m{number}" for number in range(4)]
        assert all(await asyncio.gather(*map(plant.read, names)))
        plant.fleet.control.break_(Fault(kind=FaultKind.SILENT), Selection(numbers=(1, 2, 3)))
        for _ in range(3):
            ends = await asyncio.gather(*map(plant.read, names))
            assert ends == [False, False, False, True]
        assert [plant.roster.state(name).circuit.state for name in names] == [CircuitState.OPEN] * 3 + [
            CircuitState.CLOSED
        ]
        plant.fleet.control.mend()
        assert all(await asyncio.gather(*map(plant.read, names)))
        assert plant.events().count(EventType.CIRCUIT_CLOSED) == 3


async def test_sessions_are_renewed_over_the_wire_without_a_lost_read() -> None:
    async with a_plant("hdlc", rules=replace(RULES, renew_reads=3), timeout=PATIENT) as plant:
        for _ in range(10):
            assert await plant.read()
        assert plant.events() == [EventType.METER_ONLINE]
        assert plant.fleet.links == 1
