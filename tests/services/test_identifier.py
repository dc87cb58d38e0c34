from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from headend.errors import Conflict
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.services.identifier import Identifier

from .support import Site, World, meter, virtual


@asynccontextmanager
async def following(world: World, save: Callable[[str, MeterIdentity], object]) -> AsyncIterator[None]:
    identifier = Identifier(world.roster, world.lanes, world.bus, save)
    running = asyncio.create_task(identifier.run())
    try:
        yield
    finally:
        identifier.close()
        await running
        await world.lanes.aclose()


@virtual
async def test_a_meter_is_asked_once_and_its_session_goes_on() -> None:
    world = World({"h": Site({"7": 230})})
    world.roster.load([meter("m", "h", "7")])
    kept: list[tuple[str, MeterIdentity]] = []
    async with following(world, lambda meter_id, identity: kept.append((meter_id, identity))):
        await world.read("m")
        await asyncio.sleep(1)
        await world.read("m")
        await asyncio.sleep(1)
    assert kept == [("m", MeterIdentity(serial="7"))]
    assert world.roster.state("m").meter.identity == MeterIdentity(serial="7")
    assert world.roster.resolve(MeterIdentity(serial="7")) == world.roster.state("m").meter
    assert world.sites["h"].connects == 1


@virtual
async def test_a_known_meter_is_not_asked() -> None:
    world = World({"h": Site({"7": 230})})
    world.roster.load([meter("m", "h", "7", identity=MeterIdentity(serial="known"))])
    kept: list[str] = []
    async with following(world, lambda meter_id, _identity: kept.append(meter_id)):
        await world.read("m")
        await asyncio.sleep(1)
    assert kept == []


@virtual
async def test_an_identity_that_cannot_be_kept_is_tried_again_after_a_change() -> None:
    world = World({"h": Site({"7": 230})})
    world.roster.load([meter("m", "h", "7")])
    tries: list[str] = []

    def save(meter_id: str, _identity: MeterIdentity) -> None:
        tries.append(meter_id)
        raise Conflict("somebody else was faster")

    async with following(world, save):
        await world.read("m")
        await asyncio.sleep(1)
        assert world.roster.state("m").meter.identity == MeterIdentity()
        world.roster.update(meter("m", "h", "7", name="new"))
        await world.read("m")
        await asyncio.sleep(1)
    assert tries == ["m", "m"]


@virtual
async def test_a_meter_that_only_pushes_is_not_asked() -> None:
    world = World({})
    where = Endpoint(kind=EndpointKind.INBOUND, host="7")
    world.roster.load([replace(meter("m", "h", "7"), endpoint=where)])
    async with following(world, lambda _meter_id, _identity: None):
        world.roster.heard(world.roster.state("m"))
        await asyncio.sleep(1)
    state = world.roster.state("m")
    assert state.online
    assert state.last_error_code == ""
