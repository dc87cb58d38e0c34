from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from headend.errors import CapabilityError, ConfigError, LinkTimeout
from headend.model.event import PASSING_BY, Event, EventType
from headend.model.meter import Meter, Secret
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch, Source
from headend.services.acquisition.poller import Poller
from headend.services.bus import BLOCK

from .support import PROFILE, Site, World, clock, meter, virtual


@asynccontextmanager
async def polling(world: World, **options: Any) -> AsyncIterator[Poller]:
    poller = world.poller(**options)
    running = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        poller.stop()
        await running
        await world.lanes.aclose()


def batches(world: World) -> Counter[str]:
    return Counter(item.meter_id for item in world.published() if isinstance(item, ReadingBatch))


@virtual
async def test_every_meter_is_read_once_a_period() -> None:
    hosts = [f"h{n}" for n in range(50)]
    world = World({host: Site({"1": 230}) for host in hosts})
    world.roster.load(meter(host, host) for host in hosts)
    async with polling(world) as poller:
        for _ in range(3):
            await asyncio.sleep(60)
            assert batches(world) == Counter(hosts)
        assert poller.in_flight == 0
        assert len(asyncio.all_tasks()) == 2, "between polls there are the test, the poller and nobody else"
    assert all(site.connects == 1 for site in world.sites.values())


@virtual
async def test_a_batch_holds_what_was_read_when_and_by_whom() -> None:
    world = World({"one": Site({"1": 231})})
    world.roster.load([meter("one", "one")])
    async with polling(world):
        await asyncio.sleep(60)
    (batch,) = (item for item in world.published() if isinstance(item, ReadingBatch))
    assert (batch.meter_id, batch.source, batch.quantities, list(batch.values)) == (
        "one",
        Source.POLL,
        ("voltage_l1",),
        [231],
    )
    assert clock() - 60_000 < batch.received_at <= clock()
    state = world.roster.state("one")
    assert (state.reads_ok, state.reads_failed, state.last_seen) == (1, 0, batch.received_at)


@virtual
async def test_failing_meters_back_off_say_so_once_and_come_back_while_others_are_read() -> None:
    world = World({"good": Site(), "bad": Site()}, request_timeout=1.0)
    world.roster.load([meter("good", "good"), meter("bad", "bad")])
    world.sites["bad"].moods["1"] = "silent"
    async with polling(world):
        await asyncio.sleep(3600)
        published = world.published()
        assert sum(isinstance(item, ReadingBatch) for item in published) == 60
        events = [(item.type, item.meter_id) for item in published if isinstance(item, Event)]
        assert sorted((each for each in events if each[0] not in PASSING_BY), key=str) == [
            (EventType.CIRCUIT_OPENED, "bad"),
            (EventType.METER_OFFLINE, "bad"),
            (EventType.METER_ONLINE, "good"),
            (EventType.READ_FAILED, "bad"),
        ]
        state = world.roster.state("bad")
        # 10, 20, 40 … 640, 900, 900 seconds with a quarter of jitter: nine to twelve attempts in an hour
        assert 8 <= state.reads_failed <= 12
        assert len(world.sites["bad"].log) == state.reads_failed, "no poll met an open circuit"
        world.sites["bad"].moods.clear()
        await asyncio.sleep(1200)
        world.published()
        await asyncio.sleep(600)
        assert batches(world) == {"good": 10, "bad": 10}


@virtual
async def test_a_slow_bus_occupies_one_worker_and_leaves_the_rest_to_others() -> None:
    world = World({"bus": Site({str(n): n for n in range(30)}), "one": Site()})
    world.sites["bus"].delay = 1.5
    world.roster.load(
        [*(meter(f"bus-{n}", "bus", unit=f"{n}") for n in range(30)), meter("one", "one", poll_seconds=1)]
    )
    async with polling(world, max_in_flight=2) as poller:
        busy = []
        for _ in range(120):
            await asyncio.sleep(1)
            busy.append(poller.in_flight)
        counted = batches(world)
        assert counted["one"] >= 118
        assert all(counted[f"bus-{n}"] >= 1 for n in range(30))
        assert max(busy) <= 2
    assert world.sites["bus"].connects == 1


@virtual
async def test_no_more_reads_are_in_flight_than_allowed_and_all_meters_get_their_turn() -> None:
    hosts = [f"h{n}" for n in range(20)]
    world = World({host: Site() for host in hosts}, request_timeout=20.0)
    world.roster.load(meter(host, host, poll_seconds=10) for host in hosts)
    for site in world.sites.values():
        site.delay = 5.0
    async with polling(world, max_in_flight=3) as poller:
        for _ in range(100):
            await asyncio.sleep(1)
            assert poller.in_flight <= 3
        counted = batches(world)
        assert set(counted) == set(hosts)
        assert 55 <= counted.total() <= 60, "three at a time, five seconds each"


@virtual
async def test_a_full_queue_holds_the_polls_back_and_nothing_is_lost() -> None:
    hosts = [f"h{n}" for n in range(20)]
    world = World({host: Site() for host in hosts})
    world.roster.load(meter(host, host, poll_seconds=1) for host in hosts)
    queue = world.bus.subscribe("writer", ReadingBatch, maxsize=30, overflow=BLOCK)
    async with polling(world):
        await asyncio.sleep(60)
        assert queue.size == 30
        assert batches(world).total() == 30
        taken = await queue.take(20, 0)
        assert len(taken) == 20
        await asyncio.sleep(60)
        assert queue.size == 30
        assert batches(world).total() == 20


@virtual
async def test_meters_come_change_and_go_while_polling() -> None:
    world = World({"one": Site({"1": 1}), "two": Site({"1": 2})})
    async with polling(world):
        await asyncio.sleep(100)
        world.roster.add(meter("m", "one"))
        await asyncio.sleep(60)
        assert batches(world) == {"m": 1}
        world.roster.update(meter("m", "two", poll_seconds=6))
        await asyncio.sleep(60)
        values = [item.values[0] for item in world.published() if isinstance(item, ReadingBatch)]
        assert values == [2] * 10
        assert world.sites["one"].open_links == 0
        world.roster.update(meter("m", "two", enabled=False))
        await asyncio.sleep(60)
        assert batches(world) == {}
        world.roster.update(meter("m", "two", poll_seconds=0))
        await asyncio.sleep(60)
        assert batches(world) == {}
        world.roster.remove("m")
        await asyncio.sleep(60)
        assert world.sites["two"].open_links == 0


@virtual
async def test_a_meter_removed_while_it_is_read_is_not_read_again() -> None:
    world = World({"bus": Site({"1": 1, "2": 2})})
    world.sites["bus"].delay = 5.0
    world.roster.load([meter("a", "bus", unit="1"), meter("b", "bus", unit="2")])
    async with polling(world) as poller:
        await asyncio.sleep(poller._schedule.next_due() + 1)
        assert world.sites["bus"].log
        for meter_id in ("a", "b"):
            world.roster.remove(meter_id)
        await asyncio.sleep(120)
        assert len(world.sites["bus"].log) <= 2
        assert batches(world).total() == 0


@virtual
async def test_a_wrong_password_is_polled_once() -> None:
    world = World({"one": Site()})
    world.roster.load([meter("one", "one")])
    world.secrets["one"] = {"secret": Secret(b"guess")}
    async with polling(world):
        await asyncio.sleep(7200)
        assert world.sites["one"].log == ["LOGIN 1 guess"]
        world.secrets["one"] = {"secret": Secret(b"open-sesame")}
        world.roster.update(meter("one", "one"))
        await asyncio.sleep(60)
        assert batches(world) == {"one": 1}


@virtual
async def test_reading_now_publishes_and_ends_a_back_off() -> None:
    world = World({"one": Site()}, request_timeout=1.0)
    world.roster.load([meter("one", "one", poll_seconds=60)])
    world.sites["one"].moods["1"] = "silent"
    async with polling(world) as poller:
        await asyncio.sleep(1000)
        world.sites["one"].moods.clear()
        world.published()
        batch = await poller.poll_now("one")
        assert list(batch.values) == [230]
        assert batches(world) == {"one": 1}
        await asyncio.sleep(120)
        assert batches(world) == {"one": 2}


@virtual
async def test_a_profile_that_is_missing_or_empty() -> None:
    world = World({"one": Site()})
    world.roster.load([meter("one", "one"), meter("two", "one", unit="2"), meter("three", "one", unit="3")])

    def profile(wanted: Meter) -> MeterProfile | None:
        if wanted.id == "one":
            raise ConfigError("no such profile")
        return None if wanted.id == "two" else PROFILE

    poller = Poller(world.roster, world.lanes, world.bus, profile=profile, clock=clock)
    assert world.roster.state("one").last_error_code == "config"
    with pytest.raises(CapabilityError):
        await poller.poll_now("two")
    with pytest.raises(ConfigError):
        await poller.poll_now("one")
    assert "three" in poller.polled
    await world.lanes.aclose()


@virtual
async def test_stopping_waits_for_reads_under_way_and_starts_no_more() -> None:
    world = World({"bus": Site({str(n): n for n in range(9)})}, request_timeout=20.0)
    world.sites["bus"].delay = 10.0
    world.roster.load(meter(f"m{n}", "bus", unit=f"{n}", poll_seconds=9) for n in range(9))
    poller = world.poller()
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(15)
    poller.stop()
    asked = len(world.sites["bus"].log)
    await running
    assert len(world.sites["bus"].log) == asked
    assert batches(world).total() == asked
    await world.lanes.aclose()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@virtual
async def test_reads_their_times_and_octets_are_counted() -> None:
    names = {
        "ok": ("headend_reads_total", {"driver": "text", "result": "ok"}),
        "timeout": ("headend_reads_total", {"driver": "text", "result": "link-timeout"}),
        "count": ("headend_read_seconds_count", {"driver": "text"}),
        "sum": ("headend_read_seconds_sum", {"driver": "text"}),
        "0.1": ("headend_read_seconds_bucket", {"driver": "text", "le": "0.1"}),
        "0.5": ("headend_read_seconds_bucket", {"driver": "text", "le": "0.5"}),
        "out": ("headend_link_octets_total", {"direction": "out"}),
    }
    before = {key: sample(name, **labels) for key, (name, labels) in names.items()}
    world = World({"good": Site(), "bad": Site()}, request_timeout=1.0)
    world.roster.load([meter("good", "good"), meter("bad", "bad", poll_seconds=3600)])
    world.sites["good"].delay = 0.25
    world.sites["bad"].moods["1"] = "silent"
    async with polling(world) as poller:
        with pytest.raises(LinkTimeout):
            await poller.poll_now("bad")
        await asyncio.sleep(120)
    grown = {key: round(sample(name, **labels) - before[key], 3) for key, (name, labels) in names.items()}
    lines = sum(len(line) + 1 for site in world.sites.values() for line in site.log)
    assert grown == {"ok": 2, "timeout": 0, "count": 2, "sum": 0.5, "0.1": 0, "0.5": 2, "out": lines}
