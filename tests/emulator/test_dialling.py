"""Meters that dial in: what they say and when, over real connections; what they are told; how they come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.calling import Dialogue
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.library import Library, load_profile
from headend.drivers.registrations import built_in
from headend.drivers.registry import driver
from headend.emulator.dialling import Dial, Dialler, Line
from headend.emulator.faults import Fault, FaultKind, FaultyLink
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_fleet
from headend.emulator.outside import Surroundings
from headend.errors import ConfigError, LinkError, LocalProtocolError, RemoteProtocolError
from headend.model.meter import Secret
from headend.model.objects import ReadPlan
from headend.model.url import parse_url
from headend.storage.store import wall_millis
from headend.transport.link import Link
from headend.transport.tcp import AcceptedLink, TcpListener, listen_tcp

LIBRARY = Library()
NOON = 1_763_726_400_000
LONGI = built_in().get("longi")
# Captures of a LONGi meter: what it logs in with, and what its head-end answers. The heartbeat is that of a concentrator there.
NUMBER = "210600402941"
LOGIN = bytes.fromhex("0001000100010012 0A020C323130363030343032393431 00 5A4C")
LOGIN_TAKEN = bytes.fromhex("0001000100010012 AA030C323130363030343032393431 00 7004")
HEARTBEAT = bytes.fromhex("0001000100010011 0C010C323131323030353034333737 4002")
HEARTBEAT_TAKEN = bytes.fromhex("0001000100010011 CC030C323131323030353034333737 94FF")
AARQ = bytes.fromhex("0001 0001 0001 001f 601da109060760857405080101be10040e01000000065f1f0400001e1dffff")
SECOND = 1000


def test_what_is_said_is_what_was_captured() -> None:
    assert Dialogue(LONGI).login(NUMBER) == LOGIN
    assert Dialogue(LONGI, {"device": "gateway"}).heartbeat("211200504377") == HEARTBEAT
    assert Dialogue(LONGI).period == 120
    with pytest.raises(LocalProtocolError):
        Dialogue(LONGI).login("not a number")


@pytest.mark.parametrize("name", [each.id for each in built_in()])
def test_every_registration_knows_what_its_meters_say(name: str) -> None:
    registration = built_in().get(name)
    dialogue = Dialogue(registration)
    for number in ("210600402941", "00000000000000000042", "869951031234567", "00112233AABB", "EXXXX001692675614"):
        try:
            said = [dialogue.login(number), dialogue.heartbeat(number)]
        except LocalProtocolError:
            continue
        for octets in said:
            found = registration.match(octets, silent=True) or registration.match_alone(octets)
            assert found is not None
            assert getattr(found, "octets", None) == octets
        return
    pytest.fail("none of these numbers can be said")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what makes it true is in other hands
            await asyncio.sleep(0)


class Clock:
    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        return self.at


class Ear:
    """One connection, as the head-end sees it."""

    def __init__(self, link: AcceptedLink) -> None:
        self.link = link
        self.heard = b""
        self.changed = asyncio.Event()
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.changed.set()

    def link_lost(self, _error: LinkError) -> None:
        self.changed.set()

    async def hear(self, octets: bytes) -> None:
        """Exactly these come next."""
        async with asyncio.timeout(20):
            while len(self.heard) < len(octets):
                self.changed.clear()
                await self.changed.wait()
        assert self.heard == octets
        self.heard = b""

    async def end(self) -> None:
        async with asyncio.timeout(20):
            while self.link.is_open:
                self.changed.clear()
                await self.changed.wait()


class World:
    """A head-end that listens, a clock that stands until it is set, and lines that call."""

    def __init__(self, listener: TcpListener, calls: asyncio.Queue[Ear]) -> None:
        self.port = listener.port
        self.listener = listener
        self.calls = calls
        self.clock = Clock()
        self.outside = Surroundings(self.clock)
        self.dialler = Dialler()
        self.served: list[Link] = []

    def line(self, number: int = 1, fault: Fault | None = None, says: str = NUMBER, **options: Any) -> Line:
        usual: dict[str, Any] = {"dialogue": Dialogue(LONGI), "jitter": 0.0, "spread": 0.0}
        dial = Dial(host="127.0.0.1", port=self.port, **{**usual, **options})
        around = self.dialler, self.outside, self.clock

        def spoil(link: Link) -> Link:
            return FaultyLink(link, fault, number)

        line = Line(dial, number, says, f"127.9.0.{number}", seed=number, spoil=spoil, serve=self.serve, around=around)
        self.dialler.lines.append(line)
        line.start(0.0)
        return line

    def serve(self, link: Link) -> None:
        self.served.append(link)
        link.set_receiver(Echo(link))

    def at(self, seconds: float) -> None:
        """Let it be so late."""
        self.clock.at = round(seconds * SECOND)
        self.outside.run_due()

    async def called(self) -> Ear:
        async with asyncio.timeout(20):
            return await self.calls.get()


class Echo:
    """A meter that says what it is told."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def data_received(self, data: bytes) -> None:
        self.link.write(data)

    def link_lost(self, error: LinkError) -> None:
        pass


@pytest.fixture
async def world() -> AsyncIterator[World]:
    calls: asyncio.Queue[Ear] = asyncio.Queue()
    listener = await listen_tcp("127.0.0.1", 0, lambda link: calls.put_nowait(Ear(link)))
    made = World(listener, calls)
    yield made
    await made.dialler.aclose()
    assert made.dialler.connected == 0
    await made.outside.aclose()
    await listener.aclose()


async def test_it_logs_in_and_says_heartbeats(world: World) -> None:
    world.line()
    world.at(0)
    ear = await world.called()
    assert ear.link.peer.startswith("127.9.0.1:")
    await ear.hear(LOGIN)
    beat = Dialogue(LONGI).heartbeat(NUMBER)
    world.at(119)
    world.at(120)
    await ear.hear(beat)
    world.at(239)
    world.at(241)
    await ear.hear(beat)
    assert not world.served


@pytest.mark.parametrize(
    ("told", "counts", "echoed"),
    [
        (LOGIN_TAKEN, True, b""),
        (LOGIN_TAKEN[:-1] + b"\x05", False, b""),  # wrong check octets
        (AARQ, True, AARQ),
        (LOGIN_TAKEN + AARQ, True, AARQ),
        (AARQ + LOGIN_TAKEN, True, AARQ),
    ],
)
@pytest.mark.parametrize("cut", [0, 5, 12])
async def test_what_the_head_end_says_puts_the_heartbeat_off(
    world: World, told: bytes, counts: bool, echoed: bytes, cut: int
) -> None:
    line = world.line()
    world.at(0)
    ear = await world.called()
    await ear.hear(LOGIN)
    world.clock.at = 100 * SECOND
    call: Any = line._call
    for piece in (told[:cut], told[cut:]) if cut else (told,):
        call.data_received(piece)
    if echoed:
        await ear.hear(echoed)
    assert len(world.served) == bool(echoed)
    world.at(121)
    beat = Dialogue(LONGI).heartbeat(NUMBER)
    if counts:
        world.at(219)
        ear.link.write(b"\x00")  # nothing came in between: what this makes it say comes first
        await ear.hear(b"")
        world.at(221)
    await ear.hear(beat)


async def test_intervals_vary_as_they_are_told_to(world: World) -> None:
    line = world.line(jitter=0.5)
    intervals = []
    for _ in range(50):
        intervals.append(line._interval())
        line._intervals += 1
    assert 60 <= min(intervals) < 80
    assert 160 < max(intervals) <= 180


async def test_it_comes_back_later_and_later(world: World) -> None:
    line = world.line(retry=10.0, most=35.0)
    waits = []
    world.at(0)
    for _ in range(4):
        ear = await world.called()
        await ear.hear(LOGIN)
        before = world.clock.at
        ear.link.abort()
        await until(lambda: line._call is None)
        (due, _), *_ = world.outside._calls.values()
        waits.append((due - before) / SECOND)
        world.at(due / SECOND)
    assert all(least / 2 <= wait <= least * 1.5 for wait, least in zip(waits, (10, 20, 35, 35), strict=True))
    ear = await world.called()
    await ear.hear(LOGIN)
    ear.link.write(LOGIN_TAKEN)
    await until(lambda: line._call is not None and line._call._heard)
    ear.link.abort()
    await until(lambda: line._call is None)
    (due, _), *_ = world.outside._calls.values()
    assert 5 <= (due - world.clock.at) / SECOND <= 15  # the head-end had said something: it begins anew


async def test_nobody_listens(world: World) -> None:
    await world.listener.aclose()
    line = world.line()
    world.at(0)
    await until(lambda: line._failures)
    assert len(world.outside) == 1


async def test_pushes_go_over_the_connection(world: World) -> None:
    line = world.line(dialogue=None)
    line.push(b"early")
    world.at(0)
    ear = await world.called()
    await ear.hear(b"early")
    line.push(b"late")
    await ear.hear(b"late")
    world.at(3600)
    assert len(world.outside) == 0  # without a registration there are no heartbeats
    ear.link.abort()
    await until(lambda: line._call is None)
    for push in (b"again ", b"and again"):
        line.push(push)  # it does not wait until it would have dialled again
    world.at(3600)
    await (await world.called()).hear(b"again and again")


@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.CLOSE])
async def test_a_faulty_line_is_cut_and_dials_again(world: World, kind: FaultKind) -> None:
    line = world.line(fault=Fault(kind=kind))
    world.at(0)
    for _ in range(2):
        ear = await world.called()
        await ear.end()
        await until(lambda: line._call is None)
        assert ear.heard == b""
        (due, _), *_ = world.outside._calls.values()
        world.at(due / SECOND)


async def test_other_faults_spoil_what_is_said(world: World) -> None:
    world.line(1, fault=Fault(kind=FaultKind.HALF))
    world.line(2, fault=Fault(kind=FaultKind.GARBAGE), says="1")
    world.line(3, fault=Fault(kind=FaultKind.SILENT))
    world.at(0)
    ears = [await world.called() for _ in range(3)]
    by_source = {ear.link.peer.split(":")[0][-1]: ear for ear in ears}
    await by_source["1"].hear(LOGIN[: len(LOGIN) // 2])
    await until(lambda: by_source["2"].heard)
    assert by_source["2"].heard != Dialogue(LONGI).login("1")
    assert by_source["3"].heard == b""


# --- whole fleets ---


@contextlib.asynccontextmanager
async def dialling(
    text: str, clock: Callable[[], int] = wall_millis
) -> AsyncIterator[tuple[Fleet, asyncio.Queue[Ear]]]:
    """A fleet file with `PORT`, and who calls."""
    calls: asyncio.Queue[Ear] = asyncio.Queue()
    listener = await listen_tcp("127.0.0.1", 0, lambda link: calls.put_nowait(Ear(link)))
    before = asyncio.all_tasks()
    fleet = load_fleet(
        text.replace("PORT", str(listener.port)), LIBRARY, lambda _place, _name: Secret(b"12345678"), clock=clock
    )
    await fleet.start()
    try:
        yield fleet, calls
    finally:
        await fleet.aclose()
        assert fleet.links == 0
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        await listener.aclose()


async def taken(calls: asyncio.Queue[Ear]) -> Ear:
    async with asyncio.timeout(20):
        return await calls.get()


MIXED = """
[[group]]
profile = "ivy-em114070"
count = 3
dial = "tcp://127.0.0.1:PORT"
first_address = "127.9.1.1"
spread = 0
[[group]]
profile = "generic-dlms-1p"
count = 2
dial = "tcp://127.0.0.1:PORT"
first_address = "127.9.2.1"
spread = 0
framing = "FRAMING"
registration = "longi"
number = "77{number:010}"
[[group]]
profile = "eastron-sdm630"
framing = "rtu"
count = 3
units = [1, 2, 3]
dial = "tcp://127.0.0.1:PORT"
first_address = "127.9.3.1"
spread = 0
registration = "longi"
number = "88{number:010}"
"""


@pytest.mark.parametrize("framing", ["wrapper", "apdu", "hdlc"])
async def test_every_meter_is_read_over_its_own_call(framing: str) -> None:
    """Our drivers attach to what was accepted, as the roster says, with the login between the frames."""
    async with dialling(MIXED.replace("FRAMING", framing)) as (fleet, calls):
        roster = {parse_url(one.url).endpoint.host: one for one in fleet.roster()}
        assert sorted(roster) == [
            "000000000001",
            "000000000002",
            "000000000003",
            "770000000004",
            "770000000005",
            "880000000006",
        ]
        assert next(one.url for one in fleet.roster()) == (
            "inbound://000000000001?protocol=dlms&framing=wrapper&profile=ivy-em114070"
        )
        assert sum("unit=" in one.url for one in fleet.roster()) == 3
        sources = set()
        for _ in range(6):
            ear = await taken(calls)
            async with asyncio.timeout(20):
                while len(ear.heard) < 26:
                    ear.changed.clear()
                    await ear.changed.wait()
            login: Any = LONGI.match(ear.heard)
            assert login.check_ok
            assert len(ear.heard) == len(login.octets)
            sources.add(ear.link.peer.split(":")[0])
            line = roster[login.number]
            url = parse_url(line.url)
            meter, profile = url.meter("m"), LIBRARY.get(line.profile)
            ear.link.write(login.acknowledgement)
            made = DlmsDriver() if url.protocol == "dlms" else driver(url.protocol)
            session = await made.attach(ear.link, meter, profile, {})
            found = await session.read(ReadPlan(entries=profile.objects))
            assert not found.errors
            await session.aclose()
        assert len(sources) == 6
        assert len([task for task in asyncio.all_tasks() if "virtual meter" in task.get_name()]) == 0


PUSHING = """
[[group]]
profile = "generic-dlms-push"
count = 2
dial = "tcp://127.0.0.1:PORT"
first_address = "127.9.1.1"
spread = 0
"""


async def test_a_meter_that_pushes_needs_no_login() -> None:
    """Its schedule says when; the push goes over the connection that it has, wherever its setup says that it should."""
    times = [NOON]
    async with dialling(PUSHING, lambda: times[0]) as (fleet, calls):
        assert [parse_url(one.url).endpoint.host for one in fleet.roster()] == ["hed8000000000001", "hed8000000000002"]
        ears = [await taken(calls) for _ in range(2)]
        assert [ear.heard for ear in ears] == [b"", b""]
        names = set()
        for minute in (1, 2, 3):
            times[0] = NOON + 60_000 * minute  # the script runs, and says when the push is to go
            outside: Any = fleet._outside
            outside.run_due()
            times[0] += 31_000
            outside.run_due()
            for ear in ears:
                await until(lambda heard=ear: heard.heard)
                (push,) = DlmsDriver().listen(10_000).receive(ear.heard)
                ear.heard = b""
                assert not isinstance(push, RemoteProtocolError)
                names.add(push.identity.logical_device_name)
        assert names == {"HED8000000000001", "HED8000000000002"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('dial = "tcp://192.0.2.1:8899"', "on this machine"),
        ('dial = "8899"', "tcp://HOST:PORT"),
        ('dial = "udp://127.0.0.1:8899"', "tcp://HOST:PORT"),
        ('dial = "tcp://127.0.0.1:99999"', "tcp://HOST:PORT"),
        ('dial = "tcp://127.0.0.1:8899"\nregistration = "nobody"', "there are"),
        ('dial = "tcp://127.0.0.1:8899"\nnumber = "meter {number}"', "no login of longi for 'meter 1'"),
        ('dial = "tcp://127.0.0.1:8899"\nheartbeat = -1', "positive"),
        ('dial = "tcp://127.0.0.1:8899"\nretry = "soon"', "a number"),
        ("heartbeat = 60", "only meters that dial in"),
        ('registration = "longi"', "only meters that dial in"),
    ],
)
def test_what_a_fleet_file_may_not_say(line: str, words: str) -> None:
    text = f'[[group]]\nprofile = "ivy-em114070"\n{line}\n'
    resolve: Callable[[str, str], Secret] = lambda _place, _name: Secret(b"")  # noqa: E731 - short
    with pytest.raises(ConfigError) as caught:
        load_fleet(text, LIBRARY, resolve)
    assert words in f"{caught.value} {caught.value.hint}"


def test_a_meter_without_a_name_is_known_by_its_number() -> None:
    nameless = load_profile(
        '[meter]\nvendor = "A"\nmodel = "B"\nprotocol = "modbus"\nsource = "test"\n[[object]]\nref = "input/0/u16"\nname = "x"\n',
        "nameless",
    )
    fleet = Fleet([Group(profile=nameless, dial=Dial(host="127.0.0.1", port=1))])
    assert [one.url for one in fleet.roster()] == [
        "inbound://000000000001?protocol=modbus&framing=tcp&profile=nameless"
    ]


def test_the_example_has_ten_thousand_meters_with_names_and_numbers_of_their_own() -> None:
    text = (Path(__file__).parents[2] / "examples" / "dialling-in.toml").read_text(encoding="utf-8")
    roster = list(load_fleet(text, LIBRARY, lambda _place, _name: Secret(b"")).roster())
    assert len(roster) == 10_000
    assert len({one.name for one in roster}) == 10_000
    assert len({parse_url(one.url).endpoint.host for one in roster}) == 10_000
