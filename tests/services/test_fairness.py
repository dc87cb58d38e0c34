"""What the dead cost the living on a shared wire, in virtual time: the real poller and lanes over a bus that takes its time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.reading import ReadingBatch
from headend.services.acquisition.turns import BACKFILL_EVERY, Priority
from headend.services.acquisition.wires import FAILING_SHARE, OWED_SECONDS, SAVED_SECONDS, Allowance

from .support import EPOCH, Site, World, meter, virtual

ANSWER = 0.3
"""seconds that a unit of the bus takes"""


def bus(units: int, period: float) -> World:
    world = World({"bus": Site({str(n): n for n in range(units)})}, request_timeout=5.0)
    world.sites["bus"].delay = ANSWER
    world.roster.load(meter(f"m{n}", "bus", unit=f"{n}", poll_seconds=period) for n in range(units))
    return world


async def gaps(units: int, period: float, dead: int, hours: float = 1.0) -> list[float]:
    """Seconds between reads of the living, beyond the period, ascending; the dead die after five minutes.

    That many are gone is known after ten more minutes: what it took to find out is not counted then.
    """
    world = bus(units, period)
    poller = world.poller()
    began = asyncio.get_running_loop().time()
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(300)
    for n in range(dead):
        world.sites["bus"].moods[str(n)] = "silent"
    await asyncio.sleep(hours * 3600)
    poller.stop()
    await running
    await world.lanes.aclose()
    seen: dict[str, list[float]] = {}
    for item in world.published():
        if isinstance(item, ReadingBatch):
            seen.setdefault(item.meter_id, []).append(item.received_at / 1000 - EPOCH - began)
    living = [f"m{n}" for n in range(dead, units)]
    ends = 300 + hours * 3600
    assert all(seen[each][-1] > ends - 2 * period for each in living)
    return sorted(
        abs(later - earlier - period)
        for each in living
        for earlier, later in pairwise(seen[each])
        if earlier > (300 if dead <= 2 else 900)
    )


@pytest.mark.parametrize(
    ("units", "period", "dead"),
    [(10, 60, 1), (10, 60, 2), (10, 60, 5), (30, 15, 1), (30, 15, 15), (30, 60, 25), (2, 10, 1)],
)
@virtual
async def test_the_dead_delay_the_living_by_less_than_a_tenth(units: int, period: float, dead: int) -> None:
    """Of the period, in 99 of 100 reads, when one, two, half or nearly all units of a bus die under way."""
    alone = await gaps(units, period, 0)
    beside = await gaps(units, period, dead)
    extra = beside[round(0.99 * len(beside)) - 1] - alone[round(0.99 * len(alone)) - 1]
    assert extra < 0.1 * period
    mean = sum(beside) / len(beside) - sum(alone) / len(alone)
    assert mean < 0.03 * period


@virtual
async def test_a_bus_that_is_full_gives_the_dead_their_share_and_no_more() -> None:
    """40 units of 0.3 s in 12.5 s: 96 % busy. The living are read on, and the dead are tried and come back."""
    world = bus(40, 12.5)
    poller = world.poller()
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(300)
    for n in range(4):
        world.sites["bus"].moods[str(n)] = "silent"
    await asyncio.sleep(3600)
    published = [item.meter_id for item in world.published() if isinstance(item, ReadingBatch)]
    assert len(published) >= 36 * 288 * 0.97
    assert all(world.roster.state(f"m{n}").reads_failed > 3 for n in range(4))
    world.sites["bus"].moods.clear()
    await asyncio.sleep(1800)
    world.published()
    await asyncio.sleep(600)
    counted = [item.meter_id for item in world.published() if isinstance(item, ReadingBatch)]
    assert all(counted.count(f"m{n}") >= 44 for n in range(40))
    poller.stop()
    await running
    await world.lanes.aclose()


@virtual
async def test_a_slow_unit_that_failed_once_gets_all_the_time_again() -> None:
    """It answers after four seconds: what a short time-out would never see is asked for with the full one now and then."""
    world = bus(3, 60)
    world.sites["bus"].delay = lambda: 4.0 if world.sites["bus"].log[-1].startswith("READ 0") else 0.1
    world.sites["bus"].moods["0"] = "silent"
    poller = world.poller()
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(600)
    world.sites["bus"].moods.clear()
    await asyncio.sleep(4 * 3600)
    world.published()
    await asyncio.sleep(600)
    counted = [item.meter_id for item in world.published() if isinstance(item, ReadingBatch)]
    assert counted.count("m0") == 10
    poller.stop()
    await running
    await world.lanes.aclose()


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 8)), min_size=1, max_size=200))
def test_an_allowance_is_never_more_than_its_share(tries: list[tuple[float, float]]) -> None:
    now, spent = 0.0, 0.0
    allowance = Allowance(now)
    for pause, costs in tries:
        now += pause
        if allowance.saved(now) <= 0:
            again = allowance.ready_at(now)
            assert now < again < now + 2 * OWED_SECONDS / FAILING_SHARE
            now = again
            assert allowance.saved(now) > 0
        now += costs
        allowance.spend(costs, now)
        spent += costs
    assert spent <= FAILING_SHARE * now + SAVED_SECONDS + 10 + 1e-3


@virtual
async def test_backfill_waits_for_everything_else_and_is_never_forgotten() -> None:
    """Whoever goes on from one poll to the next is ahead of it, and still it has one turn in so many."""
    world = bus(2, 0)
    world.sites["bus"].delay = 1.0
    order: list[str] = []

    async def polls() -> None:
        for _ in range(40):
            await world.read("m0", priority=Priority.POLL, timeout=1000)
            order.append("poll")

    async def pieces() -> None:
        for _ in range(6):
            await world.read("m1", priority=Priority.BACKFILL, timeout=1000)
            order.append("backfill")

    async with asyncio.TaskGroup() as group:
        group.create_task(polls())
        group.create_task(pieces())
    places = [at for at, each in enumerate(order) if each == "backfill"]
    assert places[0] == BACKFILL_EVERY
    assert {after - before for before, after in pairwise(places[:3])} <= {BACKFILL_EVERY, BACKFILL_EVERY + 1}
    assert len(places) == 6
    await world.lanes.aclose()
