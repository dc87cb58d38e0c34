from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.drivers.base import Session
from headend.errors import (
    AccessDenied,
    AuthenticationFailed,
    Busy,
    Conflict,
    ConnectRefused,
    HeadendError,
    LinkClosed,
    LinkError,
    LinkTimeout,
    LocalProtocolError,
    NotFound,
    RemoteProtocolError,
)
from headend.model.event import EventType
from headend.model.meter import Secret
from headend.model.objects import ReadPlan
from headend.services.acquisition.circuit import CircuitState
from headend.services.acquisition.networks import Pace
from headend.services.acquisition.party import PartyLine
from headend.services.acquisition.turns import MAX_WAITING, Priority
from headend.transport.memory import memory_pair

from .support import PROFILE, Site, World, meter, virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def a_world(**options: Any) -> World:
    """Two meters on wires of their own, and a bus with three."""
    world = World({"one": Site(), "two": Site({"1": 231}), "bus": Site({"1": 11, "2": 12, "3": 13})}, **options)
    world.roster.load(
        [meter("one", "one"), meter("two", "two"), *(meter(f"bus-{n}", "bus", unit=f"{n}") for n in (1, 2, 3))]
    )
    return world


@virtual
async def test_a_session_is_kept_and_no_task_with_it() -> None:
    world = a_world()
    for _ in range(5):
        assert await world.read("one") == 230
    assert world.sites["one"].connects == 1
    assert len(world.driver.sessions) == 1
    assert len(asyncio.all_tasks()) == 1
    state = world.roster.state("one")
    assert state.octets_out == 5 * len("READ 1 u\n")
    assert state.octets_in == 5 * len("1 230\n")
    await world.lanes.aclose()
    assert world.sites["one"].open_links == 0
    assert world.driver.sessions[0].closed


@virtual
async def test_a_session_that_is_seldom_needed_is_closed_when_idle() -> None:
    world = World({"bus": Site({"1": 11, "2": 12})})
    world.roster.load(
        [meter("hourly", "bus", unit="1", poll_seconds=3600), meter("unpolled", "bus", unit="2", poll_seconds=0)]
    )
    site = world.sites["bus"]
    for _ in range(3):
        await world.read("hourly")
        await world.read("unpolled")
        await asyncio.sleep(20)
    assert site.connects == 1
    await asyncio.sleep(5)
    await world.read("unpolled")
    await asyncio.sleep(10)
    assert [session.closed for session in world.driver.sessions] == [True, False]
    assert site.open_links == 1
    await asyncio.sleep(30)
    assert site.open_links == 0
    assert await world.read("hourly") == 11
    await world.lanes.aclose()


@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        ("silent", LinkTimeout),
        ("closes", LinkClosed),
        ("garbage", RemoteProtocolError),
        ("wrong", RemoteProtocolError),
        ("flood", RemoteProtocolError),
        ("refuses", AccessDenied),
        ("busy", Busy),
        ("absent", ConnectRefused),
    ],
)
@pytest.mark.parametrize("proven", [False, True])
def test_each_misbehaviour_has_its_error_and_the_lane_recovers(
    mood: str, expected: type[HeadendError], *, proven: bool
) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world(request_timeout=2.0)
        site = world.sites["one"]
        if proven:
            assert await world.read("one") == 230
        if mood == "absent":
            site.absent = True
            for link in site.links:
                link.abort()
            await asyncio.sleep(0)
        site.moods["1"] = mood
        with pytest.raises(expected) as caught:
            await world.read("one")
        assert caught.type is expected
        assert world.roster.state("one").last_error_code == expected.code
        assert await world.read("two") == 231, "another meter does not notice"
        site.absent = False
        site.moods.clear()
        assert await world.read("one") == 230
        assert world.roster.state("one").online
        await world.lanes.aclose()
        assert site.open_links == 0

    scenario()


@virtual
async def test_a_silent_meter_does_not_hold_up_another() -> None:
    world = a_world(request_timeout=5.0)
    world.sites["one"].moods["1"] = "silent"
    async with asyncio.TaskGroup() as group:
        silent = group.create_task(_ending(world.read("one")))
        assert await world.read("two") == 231
        assert now() < 0.1
        assert not silent.done()
    assert 5.0 <= now() < 5.3, "one request, no repetition: the session had done nothing yet"
    await world.lanes.aclose()


async def _ending(work: Any) -> HeadendError | None:
    try:
        await work
    except HeadendError as error:
        return error
    return None


@virtual
async def test_what_worked_before_is_opened_anew_once() -> None:
    world = a_world(request_timeout=2.0)
    site = world.sites["one"]
    for mood in ("silent-once", "closes-once"):
        assert await world.read("one") == 230
        site.moods["1"] = mood
        assert await world.read("one") == 230
    assert site.connects == 3
    assert world.roster.state("one").last_error_code == ""
    await world.lanes.aclose()


@virtual
async def test_a_busy_meter_is_asked_once_more_on_the_same_session() -> None:
    world = a_world()
    world.sites["one"].moods["1"] = "busy-once"
    assert await world.read("one") == 230
    assert world.sites["one"].connects == 1
    world.sites["one"].moods["1"] = "busy-once"
    with pytest.raises(Busy):
        await world.read("one", repeat=False)
    await world.lanes.aclose()


@virtual
async def test_a_link_lost_while_idle_is_noticed_before_the_next_job() -> None:
    world = a_world()
    await world.read("one")
    world.sites["one"].links[0].abort()
    await asyncio.sleep(1)
    assert await world.read("one", repeat=False) == 230
    assert world.sites["one"].connects == 2
    await world.lanes.aclose()


@virtual
async def test_meters_on_one_wire_share_a_link_and_take_turns() -> None:
    world = a_world()
    site = world.sites["bus"]
    site.delay = 1.0
    ids = ["bus-1", "bus-2", "bus-3"] * 2
    assert await asyncio.gather(*(world.read(meter_id) for meter_id in ids)) == [11, 12, 13, 11, 12, 13]
    assert now() == pytest.approx(6.0, abs=0.01)
    assert site.connects == 1
    assert world.roster.state("bus-2").octets_in == 2 * len("2 12\n")
    await world.lanes.aclose()
    assert site.open_links == 0


@virtual
async def test_a_dead_unit_costs_its_neighbours_no_session() -> None:
    world = a_world(request_timeout=2.0)
    site = world.sites["bus"]
    for unit in (1, 2, 3):
        await world.read(f"bus-{unit}")
    site.moods["2"] = "silent"
    with pytest.raises(LinkTimeout):
        await world.read("bus-2", repeat=False)
    assert await world.read("bus-1") == 11
    assert await world.read("bus-3") == 13
    assert site.connects == 1
    assert len(world.driver.sessions) == 3
    # its own late answer must not meet its next question: it is asked on a new link
    site.moods.clear()
    assert await world.read("bus-2") == 12
    assert await world.read("bus-1") == 11
    assert site.connects == 2
    await world.lanes.aclose()
    assert site.open_links == 0


@virtual
async def test_noise_on_a_shared_wire_gives_all_a_new_link() -> None:
    world = a_world()
    site = world.sites["bus"]
    assert await world.read("bus-1") == 11
    site.moods["2"] = "garbage"
    with pytest.raises(RemoteProtocolError):
        await world.read("bus-2")
    await asyncio.sleep(0)
    assert site.open_links == 0
    assert await world.read("bus-1", repeat=False) == 11
    await world.lanes.aclose()


@virtual
async def test_commands_go_ahead_of_reads_ahead_of_polls() -> None:
    world = a_world()
    world.sites["bus"].delay = 1.0
    order: list[str] = []

    async def job(name: str, priority: Priority) -> None:
        await world.read("bus-1", priority=priority)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name, priority in (
            ("first", Priority.POLL),
            ("poll", Priority.POLL),
            ("poll 2", Priority.POLL),
            ("request", Priority.REQUEST),
            ("command", Priority.COMMAND),
        ):
            group.create_task(job(name, priority))
    assert order == ["first", "command", "request", "poll", "poll 2"]
    await world.lanes.aclose()


@virtual
async def test_the_queue_of_a_wire_is_bounded() -> None:
    world = a_world()
    world.sites["one"].delay = 1.0
    jobs = [asyncio.create_task(_ending(world.read("one", timeout=1000))) for _ in range(MAX_WAITING + 3)]
    ends = await asyncio.gather(*jobs)
    assert [type(end) for end in ends] == [type(None)] * (MAX_WAITING + 1) + [Busy] * 2
    assert world.roster.state("one").last_error_code == "", "the meter is not to blame"
    await world.lanes.aclose()


@virtual
async def test_a_job_ends_at_its_deadline_at_work_or_waiting() -> None:
    world = a_world(request_timeout=100.0)
    site = world.sites["one"]
    site.moods["1"] = "silent"
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_ending(world.read("one", timeout=3)))
        waiting = group.create_task(_ending(world.read("one", timeout=1)))
        await asyncio.sleep(1.2)
        assert isinstance(waiting.result(), LinkTimeout)
        assert not working.done()
    assert isinstance(working.result(), LinkTimeout)
    assert now() == pytest.approx(3.0, abs=0.2)
    site.moods.clear()
    assert await world.read("one") == 230
    await world.lanes.aclose()


@virtual
async def test_a_cancelled_job_costs_the_session_and_frees_the_wire() -> None:
    world = a_world()
    site = world.sites["bus"]
    await world.read("bus-1")
    await world.read("bus-2")
    site.delay = 1.0
    working = asyncio.create_task(world.read("bus-2"))
    waiting = asyncio.create_task(world.read("bus-1"))
    third = asyncio.create_task(world.read("bus-3"))
    await asyncio.sleep(0.5)
    working.cancel()
    waiting.cancel()
    assert await third == 13
    for task in (working, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await world.read("bus-2") == 12
    await world.lanes.aclose()
    assert site.open_links == 0


@virtual
async def test_a_turn_granted_to_a_job_that_is_cancelled_in_the_same_moment_passes_on() -> None:
    world = a_world()
    world.sites["one"].delay = 1.0

    async def first() -> None:
        await world.read("one")
        second.cancel()  # it has the turn by now, and does not know

    working = asyncio.create_task(first())
    second = asyncio.create_task(world.read("one"))
    third = asyncio.create_task(world.read("one"))
    await working
    assert await third == 230
    with pytest.raises(asyncio.CancelledError):
        await second
    await world.lanes.aclose()


@virtual
async def test_an_open_circuit_refuses_polls_lets_people_insist_and_closes_after_a_success() -> None:
    world = a_world(request_timeout=1.0)
    site = world.sites["one"]
    site.moods["1"] = "silent"
    circuit = world.roster.state("one").circuit
    for _ in range(3):
        with pytest.raises(LinkTimeout):
            await world.read("one", priority=Priority.POLL)
    assert circuit.state is CircuitState.OPEN
    asked = len(site.log)
    with pytest.raises(LinkTimeout, match="not tried again for"):
        await world.read("one", priority=Priority.POLL)
    assert len(site.log) == asked
    with pytest.raises(LinkTimeout):
        await world.read("one", priority=Priority.REQUEST)
    assert len(site.log) == asked + 1
    await asyncio.sleep(circuit.retry_at - now())
    site.moods.clear()
    assert await world.read("one", priority=Priority.POLL) == 230
    assert circuit.state is CircuitState.CLOSED
    told = [event.type for event in world.published() if event.type.value.startswith("CIRCUIT")]
    assert told == [EventType.CIRCUIT_OPENED, EventType.CIRCUIT_HALF_OPEN, EventType.CIRCUIT_CLOSED]
    await world.lanes.aclose()


@virtual
async def test_a_wire_that_nobody_answers_on_is_tried_for_all_its_meters_together() -> None:
    world = a_world()
    site = world.sites["bus"]
    site.absent = True
    for unit in (1, 2, 3, 1, 2, 3):
        with pytest.raises(ConnectRefused):
            await world.read(f"bus-{unit}", priority=Priority.POLL)
    assert site.connects == 3
    assert world.roster.state("bus-1").circuit.state is CircuitState.CLOSED
    await world.lanes.aclose()


@virtual
async def test_a_wrong_password_is_tried_once_until_somebody_changes_the_meter() -> None:
    world = a_world()
    site = world.sites["one"]
    world.secrets["one"] = {"secret": Secret(b"guess")}
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await world.read("one")
        await asyncio.sleep(10_000)
    assert site.log == ["LOGIN 1 guess"]
    assert world.roster.state("one").circuit.state is CircuitState.LOCKED
    world.secrets["one"] = {"secret": Secret(b"open-sesame")}
    world.roster.update(world.roster.state("one").meter)
    assert await world.read("one") == 230
    await world.lanes.aclose()


@virtual
async def test_a_changed_meter_ends_its_session_and_its_work() -> None:
    world = a_world()
    site = world.sites["one"]
    await world.read("one")
    world.roster.update(meter("one", "two"))
    await asyncio.sleep(1)
    assert site.open_links == 0
    assert await world.read("one") == 231
    world.sites["two"].moods["1"] = "silent"
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_ending(world.read("one")))
        waiting = group.create_task(_ending(world.read("one")))
        await asyncio.sleep(0.1)
        world.roster.remove("one")
    assert isinstance(working.result(), LinkClosed | Conflict)
    assert isinstance(waiting.result(), Conflict)
    with pytest.raises(NotFound):
        await world.read("one")
    await world.lanes.aclose()
    assert world.sites["two"].open_links == 0


@virtual
async def test_a_bug_in_a_driver_is_an_error_of_one_meter() -> None:
    world = a_world()

    async def work(_session: Session) -> None:
        raise IndexError("off by one")

    with pytest.raises(LocalProtocolError, match="IndexError"):
        await world.lanes.run_job("one", work)
    assert await world.read("one") == 230
    assert world.sites["one"].connects == 2
    await world.lanes.aclose()


@virtual
async def test_closing_ends_work_refuses_more_and_leaves_nothing_open() -> None:
    world = a_world()
    await asyncio.gather(*(world.read(state.meter.id) for state in world.roster))
    world.sites["one"].moods["1"] = "silent"
    working = asyncio.create_task(_ending(world.read("one")))
    waiting = asyncio.create_task(_ending(world.read("one")))
    await asyncio.sleep(0.1)
    world.published()
    await world.lanes.aclose(timeout=5)
    assert isinstance(await working, LinkClosed)
    assert isinstance(await waiting, LinkClosed)
    assert isinstance(await _ending(world.read("two")), LinkClosed)
    assert all(site.open_links == 0 for site in world.sites.values())
    assert all(session.closed for session in world.driver.sessions)
    assert world.published() == [], "shutting down says nothing about the meters"


@pytest.mark.parametrize("ended_by", ["closing", "removing", "deadline", "cancelling"])
def test_a_link_that_comes_too_late_is_not_kept(ended_by: str) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world()
        site = world.sites["one"]
        site.connect_delay = 4.0
        job = asyncio.create_task(_ending(world.read("one", timeout=2.0 if ended_by == "deadline" else 60.0)))
        await asyncio.sleep(1)
        if ended_by == "closing":
            await world.lanes.aclose(timeout=1.0)
        elif ended_by == "removing":
            world.roster.remove("one")
        elif ended_by == "cancelling":
            job.cancel()
        await asyncio.sleep(10)
        assert job.done()
        assert site.open_links == 0
        assert site.log == []
        if ended_by in ("deadline", "cancelling"):
            assert await world.read("one") == 230
        await world.lanes.aclose()

    scenario()


@virtual
async def test_online_and_offline_are_said_once() -> None:
    world = a_world(request_timeout=1.0)
    site = world.sites["one"]
    for mood in ("", "", "silent", "silent", "closes", "", ""):
        site.moods["1"] = mood
        with contextlib.suppress(HeadendError):
            await world.read("one")
    said = [(event.type, event.data.get("code")) for event in world.published()]
    assert [each for each in said if each[0].value.startswith("METER_")] == [
        (EventType.METER_ONLINE, None),
        (EventType.METER_OFFLINE, "link-timeout"),
        (EventType.METER_ONLINE, None),
    ]
    await world.lanes.aclose()


def test_the_pace_spreads_connections() -> None:
    pace = Pace(10.0)
    assert [round(pace.reserve(100.0), 3) for _ in range(5)] == [0.0, 0.0, 0.1, 0.2, 0.3]
    assert pace.reserve(200.0) == 0.0


@virtual
async def test_links_are_opened_no_faster_than_the_pace() -> None:
    sites = {f"h{n}": Site() for n in range(50)}
    world = World(sites, connects_per_second=10.0)
    world.roster.load(meter(host, host) for host in sites)
    await asyncio.gather(*(world.read(host) for host in sites))
    assert 4.5 < now() < 5.0
    await world.lanes.aclose()


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_late_answer_never_meets_another_question(seed: int) -> None:
    """Three meters on one wire answer now and then too late, and are asked for one object or the other."""
    chance = random.Random(seed)

    @virtual
    async def scenario() -> None:
        world = a_world(request_timeout=1.0)
        world.sites["bus"].delay = lambda: chance.choice((0.01, 0.5, 0.9, 1.1, 1.5, 2.5, 6.0))
        right = 0

        async def ask(unit: int) -> None:
            nonlocal right
            for _ in range(30):
                index = chance.choice((0, 2))
                plan = ReadPlan(entries=(PROFILE.objects[index],))
                with contextlib.suppress(LinkTimeout):
                    result = await world.lanes.run_job(f"bus-{unit}", lambda session, plan=plan: session.read(plan))
                    assert result.values == [10 + unit + (1000 if index else 0)]
                    right += 1
                await asyncio.sleep(chance.random())

        async with asyncio.TaskGroup() as group:
            for unit in (1, 2, 3):
                group.create_task(ask(unit))
        assert right > 10
        await world.lanes.aclose()
        await asyncio.sleep(10)
        assert world.sites["bus"].open_links == 0

    scenario()


@virtual
async def test_a_port_is_a_link_that_its_neighbours_do_not_notice() -> None:
    near, far = memory_pair()
    line = PartyLine(near)
    first, second = Heard(), Heard()
    one, two = line.open_port(), line.open_port()
    one.set_receiver(first)
    two.set_receiver(second, b"early")
    taps: list[tuple[str, bytes]] = []
    one.tap = lambda direction, data: taps.append((direction, data))
    assert two.tap is near.tap is one.tap
    far.write(b"for two")
    await asyncio.sleep(0)
    line.turn(one)
    far.write(b"for one")
    await asyncio.sleep(0)
    assert (first.data, second.data) == ([b"for one"], [b"early", b"for two"])
    await one.aclose()
    await one.aclose()
    one.abort()
    one.write(b"nobody hears this")
    far.write(b"nor this")
    await asyncio.sleep(0)
    assert (len(first.lost), len(second.lost)) == (1, 0)
    assert (two.is_open, near.is_open) == (True, True)
    late = Heard()
    one.set_receiver(late)
    assert len(late.lost) == 1
    await two.aclose()
    assert (len(second.lost), near.is_open) == (1, False)
    assert taps == [("<<", b"for two"), ("<<", b"for one"), ("<<", b"nor this")]


class Heard:
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: list[LinkError] = []

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)


@virtual
async def test_requests_answers_and_sessions_are_counted_by_meter() -> None:
    """Against the log of the wire: what was asked is there, line by line."""
    world = a_world()
    site = world.sites["bus"]
    one, two = world.roster.state("bus-1"), world.roster.state("bus-2")

    def asked(unit: str) -> int:
        return sum(line.split()[1] == unit for line in site.log)

    for meter_id in ("bus-1", "bus-2", "bus-1"):
        await world.read(meter_id)
    assert (one.requests, two.requests) == (asked("1"), asked("2")) == (2, 1)
    assert (one.responses, two.responses) == (2, 1)
    assert (one.sessions, two.sessions) == (1, 1)

    site.moods["1"] = "refuses"
    with pytest.raises(AccessDenied):
        await world.read("bus-1")
    assert (one.requests, one.responses) == (asked("1"), 3)

    site.moods["1"] = "silent"
    with pytest.raises(LinkTimeout):
        await world.read("bus-1")
    assert one.requests == asked("1") > 3
    assert one.responses == 3
    assert one.sessions == len([each for each in world.driver.sessions if each.unit == "1"])
    assert (two.requests, two.responses, two.sessions) == (1, 1, 1)
    await world.lanes.aclose()
