"""The listener with a protocol of lines: who is speaking, what becomes of it, and what nobody may do to it.

`NAME VALUE` is a push of the voltage by the meter with that title; `NAME` alone one without names for its values; `!` noise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headend.drivers.base import Notification, Push, PushList, Secrets
from headend.errors import DecipherFailed, HeadendError, KeyMissing, LinkTimeout, RemoteProtocolError
from headend.model.event import Event, EventType
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.objects import ObjectRef
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch, Source
from headend.services import intake as module
from headend.services.bus import Bus
from headend.services.intake import Complaints, Heard, Intake, Known, ask_lists
from headend.services.listener import Limits, Listener, host_of
from headend.services.pushes import Pushes
from headend.services.roster import Roster
from headend.transport.memory import MemoryLink, memory_pair

from .support import PROFILE, clock, virtual

VOLTAGE = ObjectRef("text", "u")
KEY = Secret(b"key")


class LineEar:
    def __init__(self) -> None:
        self.named = False
        self.left = b""
        self.boundaries = 0

    def receive(self, data: bytes) -> Sequence[Push | RemoteProtocolError]:
        *lines, self.left = (self.left + data).split(b"\n")
        return [
            RemoteProtocolError("noise")
            if line == b"!"
            else Push(
                octets=line,
                identity=MeterIdentity(system_title=line.decode().partition(" ")[0].removeprefix("-")),
                address="line",
            )
            for line in lines
        ]

    def boundary(self) -> None:
        self.left = b""


class LineDriver:
    def __init__(self) -> None:
        self.ears: list[LineEar] = []

    def listen(self, _max_octets: int) -> LineEar:
        self.ears.append(LineEar())
        return self.ears[-1]

    def unseal(self, push: Push, meter: Meter, _profile: MeterProfile | None, secrets: Secrets) -> Push:
        if secrets != {"ek": KEY}:
            raise DecipherFailed(f"{meter.id} has no key")
        return push

    def understand(
        self, push: Push, meter: Meter | None, _profile: MeterProfile | None, lists: Sequence[PushList] = ()
    ) -> Notification:
        _, _, value = push.octets.decode().partition(" ")
        if meter is None and push.octets.startswith(b"c"):
            raise KeyMissing("ciphered")
        if not value:
            return Notification(kind="push", body=[1], values={ref: 7 for each in lists for ref in each if ref})
        return Notification(kind="push", body=None, measured_at=5, values={VOLTAGE: int(value)})


def known_meter(meter_id: str, title: str = "", *, kind: EndpointKind = EndpointKind.INBOUND, host: str = "") -> Meter:
    return Meter(
        id=meter_id,
        protocol="text",
        framing="",
        endpoint=Endpoint(kind=kind, host=host or meter_id, port=1),
        identity=MeterIdentity(system_title=title),
    )


class World:
    """A listener at work, and everything that comes of it."""

    def __init__(self, *meters: Meter, ask: Any = None, limits: Limits | None = None) -> None:
        self.bus = Bus()
        self.tape = self.bus.subscribe("tape", ReadingBatch, Event)
        self.roster = Roster(self.bus, clock)
        self.roster.load(meters)
        self.asked_secrets: list[str] = []
        self.heard: list[Heard] = []
        self.driver: Any = LineDriver()

        def profile(_meter: Meter) -> MeterProfile | None:
            return PROFILE

        self.intake = Intake(
            Known(roster=self.roster, profile=profile, secrets=self._secrets, ask_lists=ask),
            self.bus,
            Pushes(self.bus, profile, clock).heard,
            clock,
            watch=self.heard.append,
        )
        self.listener = Listener(self.driver, self.intake, limits)

    async def _secrets(self, meter: Meter) -> Mapping[str, Secret]:
        self.asked_secrets.append(meter.id)
        return {"ek": KEY} if meter.id != "keyless" else {}

    def link(self, peer: str = "192.0.2.7:50000", *, datagrams: bool = False) -> MemoryLink:
        """A link that somebody opened from there."""
        near, far = memory_pair()
        near.peer = peer
        (self.listener.take_datagrams if datagrams else self.listener.take)(near)
        return far

    async def say(self, octets: bytes, peer: str = "192.0.2.7:50000") -> None:
        self.link(peer).write(octets)
        await asyncio.sleep(0.01)

    async def work(self) -> list[Any]:
        """Work on everything that was said; what came on the bus."""
        self.intake.close()
        await self.intake.run()
        self.tape.put(Event(type=EventType.METER_ADDED, severity=module.Severity.INFO, occurred_at=0))
        return (await self.tape.take(1000, 0))[:-1]


def kinds(items: list[Any]) -> list[object]:
    return [item.type if isinstance(item, Event) else item.source for item in items]


@virtual
async def test_known_meters_give_readings_with_their_own_time_and_come_online() -> None:
    world = World(known_meter("m1", "ab01"), known_meter("m2", "ab02"))
    await world.say(b"ab01 230\nab01 231\nAB02 229\n")
    items = await world.work()
    assert kinds(items) == [EventType.METER_ONLINE, Source.PUSH, Source.PUSH, EventType.METER_ONLINE, Source.PUSH]
    assert [
        (item.meter_id, list(item.values), list(item.measured_at)) for item in items if kinds([item]) == [Source.PUSH]
    ] == [
        ("m1", [230], [5]),
        ("m1", [231], [5]),
        ("m2", [229], [5]),
    ]
    assert world.asked_secrets == ["m1", "m2"], "once each"
    assert world.roster.state("m1").last_seen == clock()
    assert [heard.state.meter.id for heard in world.heard if heard.state] == ["m1", "m1", "m2"]


@virtual
async def test_a_decoder_that_breaks_does_not_take_the_others_with_it() -> None:
    world = World(known_meter("m1", "ab01"))
    await world.say(b"ab01 no-number\nab01 231\n")
    items = await world.work()
    assert kinds(items) == [EventType.PUSH_REFUSED, EventType.METER_ONLINE, Source.PUSH]
    assert items[0].data["code"] == "local-protocol"
    assert list(items[2].values) == [231]


@virtual
async def test_a_meter_is_found_by_the_address_that_it_is_entered_with() -> None:
    world = World(
        known_meter("m1", host="192.0.2.7", kind=EndpointKind.TCP),
        known_meter("m2", "ab02", host="192.0.2.8"),
        known_meter("m3", host="192.0.2.9"),
        known_meter("m4", host="192.0.2.9"),
    )
    await world.say(b"other 1\n")
    await world.say(b"other 2\n", "192.0.2.8:1")  # known by another title
    await world.say(b"other 3\n", "192.0.2.9:1")  # there are two
    items = await world.work()
    assert kinds(items) == [EventType.METER_ONLINE, Source.PUSH, EventType.PUSH_UNKNOWN, EventType.PUSH_UNKNOWN]
    assert items[1].meter_id == "m1"


@virtual
async def test_who_is_unknown_is_an_event_a_minute_and_gives_no_reading() -> None:
    world = World()
    working = asyncio.create_task(world.intake.run())
    for _ in range(5):
        await world.say(b"ab09 230\ncipher 1\n")
    await asyncio.sleep(61)
    await world.say(b"ab09 230\n")
    world.intake.close()
    await working
    items = await world.tape.take(100, 0)
    assert kinds(items) == [EventType.PUSH_UNKNOWN] * 3
    told = [(item.data["system_title"], item.data["count"]) for item in items]
    assert told == [("ab09", 1), ("cipher", 1), ("ab09", 5)]
    assert [type(heard.error) for heard in world.heard].count(KeyMissing) == 5
    assert not any(heard.state for heard in world.heard)


def test_complaints_are_counted_and_bounded() -> None:
    complaints = Complaints()
    assert [complaints.count(("a",), now) for now in (0, 1, 59_999, 60_000, 60_001)] == [1, 0, 0, 3, 0]
    for number in range(module.SENDERS):
        assert complaints.count((str(number),), 0) == 1
    assert complaints.count(("a",), 60_002) == 1, "forgotten"


@virtual
async def test_what_is_not_believed_is_an_event_of_the_meter() -> None:
    world = World(known_meter("keyless", "ab01"))
    await world.say(b"ab01 230\nab01 230\n!\n")
    items = await world.work()
    assert kinds(items) == [EventType.PUSH_REFUSED] * 2
    assert [(item.meter_id, item.data["code"], item.data["source"]) for item in items] == [
        ("keyless", "decipher-failed", "192.0.2.7"),
        ("", "remote-protocol", "192.0.2.7"),
    ]


@virtual
async def test_secrets_are_asked_for_anew_when_a_meter_is_changed() -> None:
    world = World(known_meter("m1", "ab01"))
    working = asyncio.create_task(world.intake.run())
    await world.say(b"ab01 230\n")
    world.roster.update(known_meter("m1", "ab01"))
    await world.say(b"ab01 230\n")
    world.intake.close()
    await working
    assert world.asked_secrets == ["m1", "m1"]


# Push lists -------------------------------------------------------------------------------------------------------


@virtual
async def test_a_meter_is_asked_once_what_it_pushes() -> None:
    asked: list[str] = []

    async def ask(meter_id: str, _timeout: float) -> Sequence[PushList]:
        asked.append(meter_id)
        await asyncio.sleep(1)
        return ((VOLTAGE, None),)

    world = World(known_meter("m1", "ab01", kind=EndpointKind.TCP), known_meter("m2", "ab02"), ask=ask)
    working = asyncio.create_task(world.intake.run())
    await world.say(b"ab01\nab02\nab01\n")
    await asyncio.sleep(2)
    await world.say(b"ab01\n")
    world.intake.close()
    await working
    items = await world.tape.take(100, 0)
    batches = [item for item in items if isinstance(item, ReadingBatch)]
    assert [(item.meter_id, list(item.values)) for item in batches] == [("m1", [7]), ("m1", [7])]
    notified = [item.meter_id for item in items if kinds([item]) == [EventType.NOTIFIED]]
    assert notified == ["m2", "m1"], "a meter that dials in cannot be asked, nor the same one twice at a time"
    assert asked == ["m1"]


@virtual
async def test_a_meter_that_does_not_say_is_not_asked_at_once_again() -> None:
    asked: list[str] = []

    async def ask(meter_id: str, _timeout: float) -> Sequence[PushList]:
        asked.append(meter_id)
        raise LinkTimeout("silence")

    world = World(known_meter("m1", "ab01", kind=EndpointKind.TCP), ask=ask)
    working = asyncio.create_task(world.intake.run())
    await world.say(b"ab01\n")
    await world.say(b"ab01\n")
    await asyncio.sleep(3601)
    await world.say(b"ab01\n")
    world.intake.close()
    await working
    items = await world.tape.take(100, 0)
    assert kinds(items) == [EventType.METER_ONLINE, *[EventType.NOTIFIED] * 3]
    assert asked == ["m1", "m1"]


async def test_the_job_asks_the_session() -> None:
    class Session:
        async def push_lists(self) -> Sequence[PushList]:
            return ((VOLTAGE,),)

    session: Any = Session()
    assert await ask_lists(session) == ((VOLTAGE,),)


# Bounds -----------------------------------------------------------------------------------------------------------


@virtual
async def test_links_of_one_address_are_bounded_and_places_come_back() -> None:
    world = World(limits=Limits(per_address=2))
    first, second, third = (world.link() for _ in range(3))
    other = world.link("192.0.2.8:1")
    await asyncio.sleep(0.01)
    assert [link.is_open for link in (first, second, third, other)] == [True, True, False, True]
    first.abort()
    await asyncio.sleep(0.01)
    assert world.listener.addresses == {"192.0.2.7": 1, "192.0.2.8": 1}
    assert world.link().is_open
    items = await world.work()
    assert [item.data["code"] for item in items] == ["remote-protocol"]


@virtual
async def test_a_silent_link_is_dropped_and_a_line_of_ours_is_not() -> None:
    world = World(limits=Limits(idle=30))
    silent, talking = world.link(), world.link()
    near, line = memory_pair()
    lost: list[bool] = []
    world.listener.take_line(near, lambda: lost.append(True))
    for _ in range(4):
        await asyncio.sleep(20)
        talking.write(b"!\n")
    assert [silent.is_open, talking.is_open, line.is_open] == [False, True, True]
    line.abort()
    await asyncio.sleep(0.01)
    assert lost == [True]
    talking.abort()
    await asyncio.sleep(0.01)
    await world.work()
    assert not world.listener.addresses


@virtual
async def test_datagrams_are_told_apart() -> None:
    world = World()
    far = world.link(datagrams=True)
    for datagram in (b"ab01 2", b"ab02 3\n", b"rest\n"):
        far.write(datagram)
        await asyncio.sleep(0.01)
    items = await world.work()
    assert [item.data["system_title"] for item in items] == ["ab02", "rest"]
    far.abort()
    await asyncio.sleep(0.01)


@virtual
async def test_more_than_can_be_worked_on_is_dropped() -> None:
    world = World()
    for _ in range(module.QUEUE + 5):
        world.listener.say("192.0.2.7", HeadendError("x"))
    working = asyncio.create_task(world.intake.run())
    world.intake.close()
    await working
    assert len(world.heard) == module.QUEUE


@pytest.mark.parametrize(
    ("peer", "host"),
    [("192.0.2.7:4059", "192.0.2.7"), ("[2001:db8::7]:4059", "2001:db8::7"), ("/dev/ttyUSB0", "/dev/ttyUSB0")],
)
def test_addresses_without_ports(peer: str, host: str) -> None:
    assert host_of(peer) == host
