"""Limits of networks and cells: how many sessions work at once, how fast links are opened, how many are open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend import telemetry
from headend.errors import ConfigError, HeadendError, LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.reading import ReadingBatch
from headend.runtime.settings import load_settings
from headend.services.acquisition.networks import Network, Networks, Places
from headend.services.acquisition.turns import Priority
from headend.transport.deadline import sweeper

from .support import Site, World, meter, virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def a_network(name: str = "gprs", *, cidr: tuple[str, ...] = (), tags: tuple[str, ...] = (), **limits: Any) -> Network:
    return Network.named(name, cidr, tags, **limits)


def a_world(count: int, networks: list[Network], **fields: Any) -> World:
    """Meters on wires of their own, the first half in cell 1, the others in cell 2."""
    names = [f"m{n}" for n in range(count)]
    world = World({name: Site() for name in names}, networks=networks)
    cells = [f"cell={1 + (2 * n) // count}" for n in range(count)]
    world.roster.load(meter(name, name, tags=(cell,), **fields) for name, cell in zip(names, cells, strict=True))
    return world


class Crowd:
    """How many meters are at work at the same time."""

    def __init__(self, world: World, seconds: float = 1.0) -> None:
        self.now = self.most = 0
        for site in world.sites.values():
            site.delay = self.come
        self.seconds = seconds

    def come(self) -> float:
        self.now += 1
        self.most = max(self.most, self.now)
        asyncio.get_running_loop().call_later(self.seconds, self.go)
        return self.seconds

    def go(self) -> None:
        self.now -= 1


@virtual
async def test_no_more_sessions_work_at_once_than_a_network_bears() -> None:
    world = a_world(20, [a_network(tags=("cell=1", "cell=2"), at_once=4)])
    crowd = Crowd(world)
    await asyncio.gather(*(world.read(name) for name in world.sites))
    assert crowd.most == 4
    assert now() == pytest.approx(5.0, abs=0.1)
    assert telemetry.NETWORK_PLACES.labels("gprs", "sessions")._value.get() == 0
    await world.lanes.aclose()


@virtual
async def test_a_pattern_limits_each_cell_by_itself() -> None:
    world = a_world(20, [a_network(tags=("cell=*",), at_once=2)])
    crowd = Crowd(world)
    await asyncio.gather(*(world.read(name) for name in world.sites))
    assert crowd.most == 4
    await world.lanes.aclose()


@virtual
async def test_the_most_urgent_goes_first_then_who_came_first() -> None:
    world = a_world(6, [a_network(tags=("cell=*", "any"), at_once=1)])
    world.roster.load([])
    Crowd(world)
    order: list[str] = []

    async def read(name: str, priority: Priority) -> None:
        await world.read(name, priority=priority)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name, priority in (("m0", Priority.POLL), ("m1", Priority.POLL), ("m2", Priority.COMMAND)):
            group.create_task(read(name, priority))
    assert order == ["m0", "m2", "m1"]
    await world.lanes.aclose()


@virtual
async def test_who_waits_too_long_or_is_cancelled_leaves_no_place_taken() -> None:
    world = a_world(4, [a_network(tags=("cell=*",), at_once=1)])
    Crowd(world, 10.0)
    world.sites["m0"].moods["1"] = "silent"
    jobs = [
        asyncio.create_task(world.read("m0")),
        asyncio.create_task(world.read("m1", timeout=2.0)),
        asyncio.create_task(world.read("m1", timeout=60.0)),
    ]
    await asyncio.sleep(1)
    jobs[2].cancel()
    ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(ends[0], LinkTimeout)
    assert isinstance(ends[1], LinkTimeout)
    assert world.roster.state("m1").online is None, "it was never asked: nothing is known of it"
    for site in world.sites.values():
        site.delay = 0.0
    site = world.sites["m0"]
    site.moods.clear()
    assert await asyncio.gather(world.read("m0"), world.read("m1")) == [230, 230]
    assert telemetry.NETWORK_PLACES.labels("gprs", "sessions")._value.get() == 0
    await world.lanes.aclose()


@virtual
async def test_links_of_a_network_are_opened_at_its_own_pace() -> None:
    world = a_world(20, [a_network(tags=("cell=1",), connects_per_second=1.0)])
    done: dict[str, float] = {}

    async def read(name: str) -> None:
        await world.read(name)
        done[name] = now()

    await asyncio.gather(*map(read, world.sites))
    assert max(done[f"m{n}"] for n in range(10, 20)) < 0.1, "the other cell does not wait"
    assert 8.5 < max(done.values()) < 10.5
    await world.lanes.aclose()


@virtual
async def test_no_more_links_are_open_than_a_network_bears_and_everybody_has_a_turn() -> None:
    world = a_world(12, [a_network(tags=("cell=*", "cell=1", "cell=2"), links=2)])
    most = 0

    async def read(name: str) -> None:
        nonlocal most
        for _ in range(5):
            assert await world.read(name) == 230
            most = max(most, sum(site.open_links for site in world.sites.values()))
            await asyncio.sleep(1.0)

    await asyncio.gather(*map(read, world.sites))
    assert most <= 4, "two in each cell"
    await world.lanes.aclose()
    assert telemetry.NETWORK_PLACES.labels("gprs", "links")._value.get() == 0


@virtual
async def test_polls_of_a_crowded_cell_occupy_no_workers_and_all_are_read() -> None:
    world = a_world(40, [a_network(tags=("cell=1",), at_once=1)], poll_seconds=60.0)
    crowd = Crowd(world, 2.0)
    poller = world.poller(max_in_flight=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(poller.run())
        await asyncio.sleep(600)
        poller.stop()
    read: dict[str, int] = {}
    for item in world.published():
        if isinstance(item, ReadingBatch):
            read[item.meter_id] = read.get(item.meter_id, 0) + 1
    assert set(read) == set(world.sites)
    assert all(9 <= read[f"m{n}"] <= 11 for n in range(20, 40)), "the other cell is not held up"
    assert all(read[f"m{n}"] >= 8 for n in range(20)), "20 x 2 s fit into a minute, one by one"
    assert crowd.most <= 8
    assert all(state.reads_failed == 0 for state in world.roster)
    await world.lanes.aclose()


@virtual
async def test_a_network_changes_thresholds_for_its_meters() -> None:
    world = a_world(2, [a_network(tags=("cell=1",), recovery={"open_after": 1, "jitter": 0})])
    for name in ("m0", "m1"):
        world.sites[name].moods["1"] = "garbage"
        with pytest.raises(HeadendError):
            await world.read(name)
    assert [world.roster.state(name).circuit.state.value for name in ("m0", "m1")] == ["open", "closed"]
    await world.lanes.aclose()


def at(host: str, *tags: str) -> Meter:
    return Meter(
        id="m", protocol="text", framing="", endpoint=Endpoint(kind=EndpointKind.TCP, host=host, port=7), tags=tags
    )


@virtual
async def test_networks_are_found_by_address_and_tag() -> None:
    networks = Networks(
        [
            a_network("all", cidr=("10.0.0.0/8", "fd00::/16")),
            a_network("some", cidr=("10.1.0.0/16",), tags=("roof",)),
            a_network("cells", tags=("cell=*",)),
        ],
        sweeper(),
    )

    def names(found: Meter) -> list[str]:
        return [gate.name for gate in networks.of(found)]

    assert names(at("10.1.2.3")) == ["all", "some"]
    assert names(at("10.2.2.3", "roof")) == ["all", "some"]
    assert names(at("fd00::1", "cell=7")) == ["all", "cells"]
    assert names(at("meter.example", "hall")) == []
    one, same, other = (networks.of(at("x", tag))[0] for tag in ("cell=1", "cell=1", "cell=2"))
    assert one is same is not other


@virtual
async def test_places_never_go_lost_or_double() -> None:
    places = Places("n", "sessions", 3, sweeper())
    most = 0

    async def job(seconds: float) -> None:
        nonlocal most
        await places.take(Priority.POLL, now() + 3.0)
        try:
            most = max(most, places.taken)
            await asyncio.sleep(seconds)
        finally:
            places.give_back()

    jobs = [asyncio.create_task(job(n % 7 / 3)) for n in range(60)]
    await asyncio.sleep(1)
    for each in jobs[::5]:
        each.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert (most, places.taken, places.waiting) == (3, 0, 0)


def test_settings_name_networks(tmp_path: Any) -> None:
    path = tmp_path / "headend.toml"
    path.write_text(
        '[[networks]]\nname = "gprs"\ntags = ["cell=*"]\nat_once = 5\nlinks = 20\nconnects_per_second = 2.5\n'
        "recovery = { open_after = 5 }\n"
    )
    (entry,) = load_settings(path).networks
    network = entry.network()
    assert (network.at_once, network.links, network.connects_per_second) == (5, 20, 2.5)
    for said, message in (
        ({"name": "x"}, "no meter belongs to it"),
        ({"name": "x", "cidr": ["10.0.0.1/8"]}, "has host bits set"),
        ({"name": "x", "tags": ["a"], "recovery": {"patience": 1}}, "no threshold 'patience'"),
    ):
        with pytest.raises(ConfigError, match=message):
            type(entry)(**said).network()
