"""The three levels of recovery on lanes: what each mends, what is said about it, and that nothing is repeated blindly."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from headend import telemetry
from headend.drivers.library import load_profile
from headend.errors import AuthenticationFailed, Busy, ConfigError, HeadendError, LinkClosed, LinkTimeout
from headend.model.event import EventType
from headend.model.job import Command, CommandKind
from headend.model.meter import Secret
from headend.model.recovery import DEFAULT, Recovery
from headend.runtime.settings import load_settings
from headend.services.acquisition.circuit import CircuitState
from headend.services.acquisition.turns import Priority

from .support import Site, World, meter, virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def a_world(hosts: int = 1, rules: Recovery | None = None, **options: Any) -> World:
    names = [f"m{n}" for n in range(hosts)]
    world = World(
        {name: Site() for name in names}, recovery=rules or Recovery(jitter=0), request_timeout=1.0, **options
    )
    world.roster.load(meter(name, name) for name in names)
    return world


def events(world: World) -> list[str]:
    """What was said, without readings."""
    return [item.type.value for item in world.published() if hasattr(item, "type")]


def recoveries(level: str, result: str) -> float:
    return telemetry.RECOVERIES.labels(level, result)._value.get()


def circuits(scope: str, state: str) -> float:
    return telemetry.CIRCUITS.labels(scope, state)._value.get()


@virtual
async def test_level_1_asks_again_as_often_as_it_may_on_the_same_session() -> None:
    world = a_world(rules=Recovery(retries=3, retry_seconds=2.0))
    site = world.sites["m0"]
    ok, failed = recoveries("retry", "ok"), recoveries("retry", "failed")
    site.moods["1"] = "busy"
    asyncio.get_running_loop().call_later(5.0, site.moods.clear)
    assert await world.read("m0") == 230
    assert now() == pytest.approx(6.0, abs=0.1)
    assert (len(site.log), site.connects) == (4, 1)
    site.moods["1"] = "busy"
    with pytest.raises(Busy):
        await world.read("m0")
    assert len(site.log) == 8
    assert (recoveries("retry", "ok") - ok, recoveries("retry", "failed") - failed) == (1, 1)
    assert events(world) == ["METER_ONLINE"]
    await world.lanes.aclose()


@virtual
async def test_level_2_opens_a_session_anew_that_only_errs() -> None:
    world = a_world(rules=Recovery(retries=0, reopen_after=3))
    site = world.sites["m0"]
    site.moods["1"] = "busy"
    for _ in range(3):
        with pytest.raises(Busy):
            await world.read("m0")
    site.moods.clear()
    assert await world.read("m0") == 230
    assert site.connects == 2, "the first session was given up after three errors"
    assert world.driver.sessions[0].closed, "politely"
    assert events(world) == ["METER_ONLINE", "SESSION_REOPENED"]
    await world.lanes.aclose()


@virtual
async def test_level_2_is_tried_as_often_as_it_may_be_with_a_rest_before_each() -> None:
    world = a_world(rules=Recovery(reopenings=3, reopen_seconds=5.0, open_after=9))
    site = world.sites["m0"]
    assert await world.read("m0") == 230
    site.moods["1"] = "closes"
    with pytest.raises(LinkClosed):
        await world.read("m0")
    assert (site.connects, now()) == (4, pytest.approx(15.0, abs=0.1))
    await world.lanes.aclose()


@virtual
async def test_reopenings_are_said_once_in_a_while_and_counted() -> None:
    world = a_world(rules=Recovery(reopenings_an_hour=0))
    site = world.sites["m0"]
    ok = recoveries("reopen", "ok")
    await world.read("m0")
    for _ in range(10):
        site.moods["1"] = "closes-once"
        assert await world.read("m0") == 230
        await asyncio.sleep(100)
    told = [item.data["count"] for item in world.published() if item.type is EventType.SESSION_REOPENED]
    assert told == [1, 6]
    assert recoveries("reopen", "ok") - ok == 10
    await world.lanes.aclose()


@virtual
async def test_level_3_leaves_a_meter_alone_whose_session_breaks_too_often() -> None:
    world = a_world(rules=Recovery(reopenings_an_hour=5, pause_seconds=30, jitter=0))
    site = world.sites["m0"]
    await world.read("m0")
    for _ in range(5):
        site.moods["1"] = "closes-once"
        assert await world.read("m0") == 230
    with pytest.raises(LinkClosed, match="not tried again for 30 s"):
        await world.read("m0", priority=Priority.POLL)
    await asyncio.sleep(30)
    assert await world.read("m0", priority=Priority.POLL) == 230
    assert events(world) == [
        "METER_ONLINE",
        "SESSION_REOPENED",
        "CIRCUIT_OPENED",
        "CIRCUIT_HALF_OPEN",
        "CIRCUIT_CLOSED",
    ]
    await world.lanes.aclose()


@virtual
async def test_half_open_lets_one_try_and_all_others_are_refused_when_it_fails() -> None:
    world = World({"bus": Site({"1": 11, "2": 12, "3": 13})}, recovery=Recovery(jitter=0))
    world.roster.load(meter(f"bus-{n}", "bus", unit=f"{n}") for n in (1, 2, 3))
    site = world.sites["bus"]
    site.absent = True
    for unit in (1, 2, 3):
        with pytest.raises(HeadendError):
            await world.read(f"bus-{unit}", priority=Priority.POLL)
    assert site.connects == 3
    assert circuits("wire", "open") == 1
    await asyncio.sleep(20)
    jobs = [world.read(f"bus-{unit}", priority=Priority.POLL) for unit in (1, 2, 3) * 5]
    ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(end, HeadendError) for end in ends)
    assert site.connects == 4, "one try for fifteen polls of three meters"
    site.absent = False
    await asyncio.sleep(40)
    assert [await world.read(f"bus-{unit}", priority=Priority.POLL) for unit in (1, 2, 3)] == [11, 12, 13]
    said = [
        (item.type.value, item.data["scope"]) for item in world.published() if item.type.value.startswith("CIRCUIT")
    ]
    assert said == [
        ("CIRCUIT_OPENED", "wire"),
        ("CIRCUIT_HALF_OPEN", "wire"),
        ("CIRCUIT_REOPENED", "wire"),
        ("CIRCUIT_HALF_OPEN", "wire"),
        ("CIRCUIT_CLOSED", "wire"),
    ]
    assert circuits("wire", "open") == 0
    await world.lanes.aclose()


@virtual
async def test_circuits_that_are_open_at_once_are_counted_until_their_meters_are_gone() -> None:
    world = a_world(3)
    for site in world.sites.values():
        site.moods["1"] = "silent"
    for host in ("m0", "m1", "m2") * 3:
        with pytest.raises(LinkTimeout):
            await world.read(host, priority=Priority.POLL)
    assert circuits("meter", "open") == 3
    world.sites["m0"].moods.clear()
    await asyncio.sleep(30)
    assert await world.read("m0", priority=Priority.POLL) == 230
    assert circuits("meter", "open") == 2
    world.roster.remove("m1")
    await asyncio.sleep(1)
    assert circuits("meter", "open") == 1
    await world.lanes.aclose()
    assert circuits("meter", "open") == 0


@virtual
async def test_a_meter_whose_connection_was_lost_comes_back_by_itself() -> None:
    """A lost TCP connection is forgotten with all that belonged to it: the next poll opens another (mbmd issue 180)."""
    world = a_world()
    site = world.sites["m0"]
    poller = world.poller()
    async with asyncio.TaskGroup() as group:
        group.create_task(poller.run())
        await asyncio.sleep(300)
        for _ in range(3):
            site.absent = True
            for link in site.links:
                link.abort()
            await asyncio.sleep(7200)
            assert world.roster.state("m0").online is False
            site.absent = False
            await asyncio.sleep(1200)
            assert world.roster.state("m0").online
            read = world.roster.state("m0").reads_ok
            await asyncio.sleep(600)
            assert world.roster.state("m0").reads_ok == read + 10
        poller.stop()
    await world.lanes.aclose()


@virtual
async def test_a_refused_secret_locks_at_once_and_its_circuit_says_so() -> None:
    world = a_world(rules=Recovery(retries=5, reopenings=5, trials=2))
    world.secrets["m0"] = {"secret": Secret(b"guess")}
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await world.read("m0")
        await asyncio.sleep(100_000)
    assert world.sites["m0"].log == ["LOGIN 1 guess"]
    assert circuits("meter", "locked") == 1
    assert events(world) == ["CIRCUIT_LOCKED"]
    with pytest.raises(AuthenticationFailed):
        await world.read("m0", secrets={"secret": Secret(b"other")})
    assert world.roster.state("m0").circuit.state is CircuitState.LOCKED
    await world.lanes.aclose()


@virtual
async def test_a_command_is_sent_once_whatever_the_rules_allow() -> None:
    world = a_world(rules=Recovery(retries=9, reopenings=9))
    site = world.sites["m0"]
    command = Command(kind=CommandKind.DISCONNECT)
    await world.read("m0")
    for mood in ("busy-once", "silent-once", "closes-once"):
        site.moods["1"] = mood
        with pytest.raises(HeadendError):
            await world.lanes.run_job("m0", lambda session: session.execute(command), Priority.COMMAND, repeat=False)
    assert sum(line.startswith("SWITCH ") for line in site.log) == 3
    await world.lanes.aclose()


@pytest.mark.parametrize(("rules", "seconds"), [({"renew_reads": 4}, 1.0), ({"renew_seconds": 240.0}, 60.0)])
def test_a_session_is_renewed_before_it_fails(rules: dict[str, Any], seconds: float) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world(rules=Recovery(**rules))
        site = world.sites["m0"]
        renewed = recoveries("renew", "ok")
        for _ in range(12):
            assert await world.read("m0") == 230
            await asyncio.sleep(seconds)
        assert site.connects == 3
        assert [session.closed for session in world.driver.sessions] == [True, True, False]
        assert recoveries("renew", "ok") - renewed == 2
        assert len(site.log) == 12, "no read was lost or repeated"
        assert events(world) == ["METER_ONLINE"]
        await world.lanes.aclose()

    scenario()


@virtual
async def test_the_standing_of_wires_and_meters_is_told_page_by_page() -> None:
    world = a_world(4)
    for name in world.sites:
        await world.read(name)
    world.sites["m1"].moods["1"] = "silent"
    for _ in range(3):
        with pytest.raises(LinkTimeout):
            await world.read("m1", priority=Priority.POLL)
    world.sites["m2"].moods["1"] = "closes-once"
    await world.read("m2")
    first, second = world.lanes.states(limit=2), world.lanes.states(after="tcp://m1:7", limit=9)
    assert [each.wire.name for each in (*first, *second)] == [f"tcp://m{n}:7" for n in range(4)]
    assert [each.wire.name for each in world.lanes.states(troubled=True)] == ["tcp://m1:7", "tcp://m2:7"]
    (bad,) = first[1].troubled
    assert (bad.name, bad.state, bad.failures, bad.code) == ("m1", "open", 3, "link-timeout")
    assert bad.retry_in is not None
    assert 19 < bad.retry_in <= 20
    (shaken,) = second[0].troubled
    assert (shaken.name, shaken.state, shaken.reopenings, shaken.retry_in) == ("m2", "closed", 1, None)
    assert (first[0].linked, first[0].busy, first[0].meters, first[0].troubled) == (True, False, 1, [])
    await world.lanes.aclose()


@virtual
async def test_a_cancelled_job_leaves_no_trace_in_the_circuit() -> None:
    world = a_world()
    await world.read("m0")
    world.sites["m0"].moods["1"] = "silent"
    for _ in range(5):
        job = asyncio.create_task(world.read("m0"))
        await asyncio.sleep(0.5)
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job
    assert world.roster.state("m0").circuit.state is CircuitState.CLOSED
    world.sites["m0"].moods.clear()
    assert await world.read("m0", priority=Priority.POLL) == 230
    await world.lanes.aclose()


def test_a_meter_file_changes_thresholds_for_its_model() -> None:
    text = """
[meter]
vendor = "V"
model = "M"
protocol = "modbus"
source = "tests"

[link]
max_registers = 80
renew_reads = 500
"""
    profile = load_profile(text, "v-m")
    assert (dict(profile.link), dict(profile.recovery)) == ({"max_registers": 80}, {"renew_reads": 500})
    assert load_settings(None).recovery.rules == DEFAULT
    with pytest.raises(ConfigError, match="renew_reads: expected a whole number"):
        load_profile(text.replace("500", '"often"'), "v-m")
