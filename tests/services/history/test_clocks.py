from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headend.model.access import Actor, Role
from headend.model.event import EventType
from headend.model.job import Command, CommandKind, Job
from headend.services.history.clocks import QUANTITY, Advice, ClockRules, Clocks, advice, offset
from services.support import clock, virtual

from .support import DAY, START, HeadEnd, Plant, a_profile, quarters, running, stored

QUARTER = 900_000
RULES = ClockRules(set_clocks=True)


def test_half_of_the_round_trip_is_allowed_for() -> None:
    assert offset(1000, 3000, 2000) == 0
    assert offset(1000, 3000, 2500) == 500


def test_little_is_left_alone_and_much_is_told() -> None:
    noon = 43_200_000
    middle = noon + QUARTER // 2
    assert advice(RULES, 20_000, middle, QUARTER) is Advice.FINE
    assert advice(RULES, -20_001, middle, QUARTER) is Advice.SET
    assert advice(RULES, 1_800_001, middle, QUARTER) is Advice.TOO_FAR
    assert advice(RULES, 30_000, noon + 60_000, QUARTER) is Advice.WAIT
    assert advice(RULES, 30_000, noon - 140_000, QUARTER) is Advice.WAIT


@given(
    st.integers(-1_800_000, 1_800_000),
    st.integers(0, 10**12),
    st.sampled_from([300_000, QUARTER, 3_600_000, 86_400_000]),
)
def test_no_clock_is_set_across_the_end_of_an_interval_where_that_can_be_helped(
    off: int, now: int, period: int
) -> None:
    if advice(RULES, off, now, period) is not Advice.SET:
        return
    ends = {(at // period) for at in (now, now + off, now - 120_000, now + 120_000)}
    assert len(ends) == 1 or period <= 240_000 + abs(off)


def watched(here: HeadEnd, asked: list[tuple[str, str]], rules: ClockRules, plant: Plant) -> None:
    async def submit(meter_id: str, command: Command, actor: Actor, key: str) -> Job:
        assert (command.kind, actor.name, actor.role) == (CommandKind.SET_CLOCK, "policy:clock", Role.OPERATOR)
        asked.append((meter_id, key))
        plant.meters[0].set_clock(clock())
        return Job(id="j", meter_id=meter_id, command=command, actor=actor.name, created_at=clock(), deadline=clock())

    here.collector._clocks = Clocks(here.lanes, here.bus, clock, rules, submit)


@virtual
async def test_a_clock_that_is_off_is_measured_and_set_once_a_day(tmp_path: Path) -> None:
    plant = Plant(1, a_profile())
    plant.meters[0].set_clock(clock() - 40_000)
    asked: list[tuple[str, str]] = []
    async with running(plant, tmp_path) as here:
        watched(here, asked, RULES, plant)
        await asyncio.sleep(5 * 3600)
        assert len({key for _, key in asked}) == len(asked) == 1
        measured = list(stored(here.store, "m1", QUANTITY).values())
        assert abs(measured[0] + 40) <= 1
        assert abs(measured[-1]) <= 1
        assert len(measured) <= 7
        assert not here.events(EventType.CLOCK_JUMPED, EventType.CLOCK_OFF)


@virtual
async def test_a_clock_that_is_far_off_or_jumps_is_told_and_not_set(tmp_path: Path) -> None:
    plant = Plant(1, a_profile())
    asked: list[tuple[str, str]] = []
    async with running(plant, tmp_path) as here:
        watched(here, asked, RULES, plant)
        await asyncio.sleep(2 * 3600)
        plant.meters[0].set_clock(clock() + 7200_000)
        await asyncio.sleep(4 * 3600)
        found = here.events(EventType.CLOCK_JUMPED, EventType.CLOCK_OFF)
        assert [event.type for event in found] == [EventType.CLOCK_JUMPED, EventType.CLOCK_OFF]
        assert all(abs(float(event.data["offset"]) - 7200) <= 1 for event in found)
        assert asked == []


@virtual
async def test_a_meter_whose_clock_is_behind_is_not_asked_for_what_it_has_not_recorded_yet(tmp_path: Path) -> None:
    plant = Plant(1, a_profile())
    asked: list[tuple[str, str]] = []
    async with running(plant, tmp_path) as here:
        watched(here, asked, ClockRules(), plant)
        await asyncio.sleep(3600)
        plant.meters[0].set_clock(clock() - 4000_000)
        await asyncio.sleep(6 * 3600)
        lines = here.store.ledger.fleet(START // DAY, clock() // DAY)
        assert sum(line.void for line in lines) == 0
        (book,) = here.store.ledger.books("m1")
        have = stored(here.store, "m1")
        assert set(quarters(book.since, clock() - 4000_000 - QUARTER)) <= set(have)


@virtual
async def test_clocks_are_only_measured_unless_they_are_to_be_set(tmp_path: Path) -> None:
    plant = Plant(1, a_profile())
    plant.meters[0].set_clock(clock() + 60_000)
    asked: list[tuple[str, str]] = []
    async with running(plant, tmp_path) as here:
        watched(here, asked, ClockRules(), plant)
        await asyncio.sleep(3 * 3600)
        assert asked == []
        assert abs(stored(here.store, "m1", QUANTITY).popitem()[1] - 60) <= 1
