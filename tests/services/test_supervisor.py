"""The supervisor: what it restarts, when it gives up, what it says, and which meters it calls frozen."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend import telemetry
from headend.errors import ConfigError
from headend.model.event import EventType
from headend.model.reading import ReadingBatch, Source
from headend.services.frozen import Frozen
from headend.services.restarts import Rests
from headend.services.supervisor import Patience, Supervisor

from .support import Site, World, clock, meter, virtual

NOW = 1_700_000_000_000


def now() -> float:
    return asyncio.get_running_loop().time()


def a_supervisor(world: World, **patience: float) -> tuple[Supervisor, list[str]]:
    alive: list[str] = []
    supervisor = Supervisor(world.roster, world.bus, world.lanes.thaw, Patience(**patience), alive.append)  # type: ignore[arg-type] # numbers
    return supervisor, alive


def acts(world: World) -> list[tuple[str, str]]:
    return [
        (str(item.data["what"]), str(item.data["action"]))
        for item in world.published()
        if getattr(item, "type", None) is EventType.SUPERVISOR_ACTED
    ]


@given(st.floats(0.1, 10), st.integers(1, 10), st.lists(st.floats(0, 5000), max_size=60))
def test_rests_double_and_are_never_more_than_allowed_within_an_hour(
    first: float, most: int, gaps: list[float]
) -> None:
    rests, at, taken = Rests(first, most), 0.0, []
    for gap in gaps:
        at += gap
        rest = rests.next(at)
        recent = [each for each in taken if each > at - 3600]
        if rest is None:
            assert len(recent) == most
        else:
            assert rest == min(300.0, first * 2 ** len(recent))
            taken.append(at)
            assert len(recent) < most


@virtual
async def test_a_part_that_dies_is_started_again_after_rests_until_that_is_too_often() -> None:
    world = World({})
    supervisor, _ = a_supervisor(world, restarts_an_hour=3)
    started: list[float] = []

    async def work() -> None:
        started.append(now())
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await supervisor.keep("part", work).run()
    assert started == [pytest.approx(at, abs=0.1) for at in (0, 1, 3, 7)]
    said = acts(world)
    assert [action for _, action in said] == [
        "started again after 1 s",
        "started again after 2 s",
        "started again after 4 s",
        "ended the process",
    ]


@virtual
async def test_a_part_that_ends_is_not_started_again_and_a_wrong_setting_is_no_accident() -> None:
    world = World({})
    supervisor, _ = a_supervisor(world)
    await supervisor.keep("part", lambda: asyncio.sleep(1)).run()

    async def wrong() -> None:
        raise ConfigError("no such file")

    with pytest.raises(ConfigError):
        await supervisor.keep("part", wrong).run()
    task = asyncio.create_task(supervisor.keep("part", lambda: asyncio.sleep(10_000)).run())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert acts(world) == []


@virtual
async def test_what_makes_no_progress_is_restarted_and_systemd_hears_nothing_meanwhile() -> None:
    world = World({})
    supervisor, alive = a_supervisor(world, stuck_seconds=60.0)
    starts: list[float] = []

    async def work() -> None:
        starts.append(now())
        await asyncio.sleep(10_000)

    kept = supervisor.keep("part", work)
    waits = True
    supervisor.watch("part", lambda: (waits, 0.0), 60.0, kept.restart)
    tasks = [asyncio.create_task(kept.run()), asyncio.create_task(supervisor.run())]
    await asyncio.sleep(64)
    assert (len(starts), len(alive)) == (1, 12)
    await asyncio.sleep(10)
    assert (len(starts), len(alive)) == (2, 13), "one look without a word"
    ((what, action),) = acts(world)
    assert (what, action) == ("part", "started again after 1 s")
    waits = False
    await asyncio.sleep(600)
    assert len(starts) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_a_poller_that_lost_its_meters_reads_them_again_after_a_restart() -> None:
    world = World({"one": Site(), "two": Site()})
    world.roster.load([meter("one", "one"), meter("two", "two")])
    supervisor, _ = a_supervisor(world, stuck_seconds=120.0)
    poller = world.poller()
    kept = supervisor.keep("poller", poller.run)
    task = asyncio.create_task(kept.run())
    await asyncio.sleep(100)
    world.sites["one"].moods["1"] = "silent"
    await asyncio.sleep(60)
    kept.restart("a test says so")
    world.sites["one"].moods.clear()
    await asyncio.sleep(10)
    world.published()
    await asyncio.sleep(600)
    read: dict[str, int] = {}
    for item in world.published():
        if isinstance(item, ReadingBatch):
            read[item.meter_id] = read.get(item.meter_id, 0) + 1
    assert set(read) == {"one", "two"}
    assert all(9 <= count <= 11 for count in read.values()), read
    assert poller.standing()[0] is False
    poller.stop()
    await task
    await world.lanes.aclose()


async def test_a_late_event_loop_is_measured() -> None:
    world = World({})
    looked = asyncio.Event()
    patience = Patience(look_seconds=0.01)
    supervisor = Supervisor(world.roster, world.bus, world.lanes.thaw, patience, lambda _text: looked.set())
    task = asyncio.create_task(supervisor.run())
    await looked.wait()
    looked.clear()
    time.sleep(0.2)  # noqa: ASYNC251 - this is what is measured
    await looked.wait()
    assert supervisor.lag >= 0.1
    assert telemetry.LOOP_LAG._value.get() == supervisor.lag
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def batch(at: int, energy: int, power: float, voltage: float = 230.1, source: Source = Source.POLL) -> ReadingBatch:
    quantities = ("active_energy_import_total", "active_power_total", "voltage_l1")
    return ReadingBatch(
        meter_id="one",
        source=source,
        received_at=at,
        quantities=quantities,
        values=[energy, power, voltage],
        measured_at=[at] * 3,
        quality=[0] * 3,
    )


def findings(batches: list[ReadingBatch]) -> list[int]:
    frozen = Frozen(reads=10, seconds=600, watt_hours=100)
    return [index for index, each in enumerate(batches) if frozen.take(each) is not None]


def minutes(count: int, **values: float) -> list[ReadingBatch]:
    return [batch(NOW + n * 60_000, 5000, **{"power": 2000.0, **values}) for n in range(count)]


def test_a_meter_is_frozen_when_nothing_moves_although_energy_flows() -> None:
    assert findings(minutes(30)) == [10, 20], "said again after as many more reads"
    assert findings(minutes(200, power=0.0)) == [], "nothing flows: nothing must move"
    assert findings(minutes(200, power=0.5)) == [], "a standby lamp needs days for a count"
    moving = [batch(NOW + n * 60_000, 5000 + n, 2000.0) for n in range(200)]
    assert findings(moving) == []
    breathing = [batch(NOW + n * 60_000, 5000, 2000.0, 230.0 + n % 2) for n in range(200)]
    assert findings(breathing) == [], "its voltage is measured"
    assert findings([batch(NOW, 5000, 2000.0) for _ in range(200)]) == [], "its time stands still: it is another fault"
    assert findings([batch(NOW + n * 60_000, 5000, 2000.0, source=Source.HISTORY) for n in range(30)]) == []


@virtual
async def test_a_frozen_meter_is_named_and_its_session_opened_anew() -> None:
    world = World({"one": Site()})
    world.roster.load([meter("one", "one")])
    supervisor, _ = a_supervisor(world)
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    await world.read("one")
    for each in minutes(12):
        world.bus.publish(each)
    await asyncio.sleep(1)
    (event,) = [item for item in world.published() if getattr(item, "type", None) is EventType.METER_FROZEN]
    assert (event.meter_id, event.data["quantity"], event.data["reads"]) == ("one", "active_energy_import_total", 11)
    assert world.driver.sessions[0].closed
    assert await world.read("one") == 230
    assert world.sites["one"].connects == 2
    assert clock() > 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await world.lanes.aclose()
