from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from headend.errors import Busy, ConfigError, ConnectRefused, LinkTimeout, NotFound
from headend.model.event import Event, EventType
from headend.model.job import Command, CommandKind, Verdict
from headend.model.reading import Quality, Reading, ReadingBatch, Source
from headend.services.bus import BLOCK
from headend.services.commands import Commands
from headend.services.submit import submit

from .support import EPOCH, Site, World, clock, meter, virtual

DISCONNECT = Command(kind=CommandKind.DISCONNECT)


def a_world() -> tuple[World, Commands]:
    world = World({"one": Site()}, request_timeout=1.0)
    world.roster.load([meter("one", "one")])
    return world, Commands(world.lanes, world.bus, clock)


def outcomes(world: World) -> list[tuple[Any, Any, Any]]:
    return [
        (item.data["verdict"], item.data["code"], item.data["actor"])
        for item in world.published()
        if isinstance(item, Event) and item.type is EventType.COMMAND_FINISHED
    ]


@virtual
async def test_a_command_is_carried_out_once_and_its_outcome_published() -> None:
    world, commands = a_world()
    outcome = await commands.execute("one", DISCONNECT, "anna")
    assert outcome.verdict is Verdict.CONFIRMED
    assert world.sites["one"].log == ["SWITCH 1 disconnect"]
    assert outcomes(world) == [("confirmed", "", "anna")]
    await world.lanes.aclose()


@pytest.mark.parametrize(
    ("mood", "verdict", "code"),
    [
        ("silent", Verdict.UNKNOWN, "link-timeout"),
        ("closes", Verdict.UNKNOWN, "link-closed"),
        ("garbage", Verdict.UNKNOWN, "remote-protocol"),
        ("refuses", Verdict.REFUSED, "access-denied"),
        ("busy", Verdict.REFUSED, "busy"),
    ],
)
def test_a_command_is_never_repeated(mood: str, verdict: Verdict, code: str) -> None:
    @virtual
    async def scenario() -> None:
        world, commands = a_world()
        await world.read("one")
        world.sites["one"].moods["1"] = mood
        outcome = await commands.execute("one", DISCONNECT, "anna")
        assert outcome.verdict is verdict
        assert world.sites["one"].log == ["READ 1 u", "SWITCH 1 disconnect"]
        assert outcomes(world) == [(verdict.value, code, "anna")]
        await world.lanes.aclose()

    scenario()


@virtual
async def test_what_was_not_sent_is_an_error() -> None:
    world, commands = a_world()
    world.sites["one"].absent = True
    with pytest.raises(ConnectRefused):
        await commands.execute("one", DISCONNECT, "anna")
    assert outcomes(world) == [("not-sent", "connect-refused", "anna")]
    with pytest.raises(NotFound):
        await commands.execute("two", DISCONNECT, "anna")
    world.sites["one"].absent = False
    world.sites["one"].delay = 0.9
    reading = asyncio.create_task(world.read("one"))
    await asyncio.sleep(0)
    with pytest.raises(LinkTimeout):
        await commands.execute("one", DISCONNECT, "anna", timeout=0.5)
    await reading
    assert world.sites["one"].log == ["READ 1 u"]
    await world.lanes.aclose()


@virtual
async def test_a_command_that_nobody_waits_for_any_longer_is_unknown() -> None:
    world, commands = a_world()
    world.sites["one"].moods["1"] = "silent"
    executing = asyncio.create_task(commands.execute("one", DISCONNECT, "anna"))
    await asyncio.sleep(0.5)
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    assert outcomes(world) == [("unknown", "", "anna")]
    await world.lanes.aclose()


def reading(meter_id: str = "one", quantity: str = "voltage_l1", zone: Any = UTC) -> Reading:
    at = datetime.fromtimestamp(EPOCH, tz=zone)
    return Reading(meter_id=meter_id, quantity=quantity, value=231.5, measured_at=at, quality=Quality.MANUAL)


@virtual
async def test_readings_of_clients_take_the_way_of_all_readings() -> None:
    world, _ = a_world()
    assert submit(world.roster, world.bus, clock, "one", [reading(), reading(quantity="frequency")]) == 2
    assert submit(world.roster, world.bus, clock, "one", []) == 0
    (batch,) = world.published()
    assert isinstance(batch, ReadingBatch)
    assert batch.source is Source.SUBMITTED
    assert list(batch.readings()) == [reading(), reading(quantity="frequency")]


@virtual
async def test_what_cannot_be_submitted() -> None:
    world, _ = a_world()
    for readings, error in (
        ([reading("two")], ConfigError),
        ([reading(zone=None)], ConfigError),
        ([reading(quantity="moonlight")], NotFound),
    ):
        with pytest.raises(error):
            submit(world.roster, world.bus, clock, "one", readings)
    with pytest.raises(NotFound):
        submit(world.roster, world.bus, clock, "two", [reading("two")])
    world.bus.subscribe("full", ReadingBatch, maxsize=1, overflow=BLOCK)
    submit(world.roster, world.bus, clock, "one", [reading()])
    with pytest.raises(Busy):
        submit(world.roster, world.bus, clock, "one", [reading()])
    assert len(world.published()) == 1
