"""Whatever is wrong with a meter or its wire: an examination ends within its budget, says why, and says nothing that is wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from headend.drivers.dlms import driver
from headend.drivers.ground import Budget
from headend.emulator.faults.kinds import Fault, FaultKind, Layer
from headend.emulator.faults.wire import FaultyLink
from headend.errors import LinkError
from headend.model.discovery import Examination, Sighting
from headend.transport.around import LinkAround
from headend.transport.link import Link, Receiver
from headend.transport.memory import memory_pair
from tests.services.support import virtual

from .discovered import DRIVER, Place, assert_harmless, served, virtual_meter
from .test_sighting import NOT_ALLOWED, REJECTED, wrapped

PARAMS = {"client": "1", "auth": "sha256"}
SECRETS = {"secret": b"12345678"}
LISTS = {"contexts", "clients", "servers", "authentication", "hdlc_address_octets", "referencing"}
"""Facts that hold several things, of which some may stay unseen."""
SIGHTED = {framing: Sighting(protocol="dlms", framing=framing) for framing in ("wrapper", "hdlc")}
KINDS = [
    (framing, kind)
    for framing in SIGHTED
    for kind in FaultKind
    if kind.layer in {Layer.OCTETS, Layer.FRAME}
    or (
        kind is FaultKind.REFUSE and not (framing == "wrapper" and kind is FaultKind.CHECKSUM)
    )  # no check octets: what is changed so is not to be seen
]
LETHAL = {
    FaultKind.SILENT,
    FaultKind.CLOSE,
    FaultKind.CUT,
    FaultKind.GARBAGE,
    FaultKind.HALF,
    FaultKind.REFUSE,
    FaultKind.TRICKLE,
}
BUDGET = Budget()


_TRUTH: dict[str, dict[str, str]] = {}


async def truth(framing: str) -> dict[str, str]:
    """What an examination of the same meter tells when nothing is wrong."""
    if framing in _TRUTH:
        return _TRUTH[framing]
    place = Place(served(virtual_meter(PARAMS, SECRETS)))
    examination = await place.examine(SIGHTED[framing])
    assert not examination.stopped
    told = {fact.name: fact.value for fact in examination.facts}
    return _TRUTH.setdefault(framing, told | {"authentication": "1:sha256,2:lls,16:none"})  # 2 is not searched for


def assert_nothing_wrong(examination: Examination, told: dict[str, str]) -> None:
    for fact in examination.facts:
        if fact.name in LISTS:
            assert set(filter(None, fact.value.split(","))) <= set(told[fact.name].split(",")), fact
        else:
            assert fact.value in {"", told.get(fact.name, "")}, fact
        assert fact.value or fact.note


@pytest.mark.parametrize("chance", [1.0, 0.3])
@pytest.mark.parametrize(("framing", "kind"), KINDS, ids=lambda value: getattr(value, "value", value))
@virtual
async def test_nothing_wrong_is_said(framing: str, kind: FaultKind, chance: float) -> None:
    loop = asyncio.get_running_loop()
    told = await truth(framing)
    for seed in range(1 if chance == 1.0 else 2):
        fault = Fault(kind=kind, chance=chance, seconds=0.5 if kind in {FaultKind.LATENCY, FaultKind.JITTER} else 3.0)
        meter = virtual_meter(PARAMS, SECRETS)
        place = Place(served(meter, lambda link, f=fault, s=seed: FaultyLink(link, f, s, DRIVER.spoil)))  # type: ignore[misc]
        began = loop.time()
        examination = await place.examine(SIGHTED[framing])
        assert loop.time() - began <= BUDGET.seconds + 3
        assert place.ground.links <= BUDGET.links
        assert examination.associations <= BUDGET.associations
        assert_nothing_wrong(examination, told)
        assert_harmless(place.apdus())
        if kind in LETHAL and chance == 1.0:
            assert examination.stopped
            assert not examination.objects


class Changing(LinkAround[Link]):
    """The meter's end of a link, whose answers to requests to associate are replaced by `say(number, octets)`."""

    __slots__ = ("say",)

    def __init__(self, link: Link, say: Callable[[bytes], bytes]) -> None:
        super().__init__(link)
        self.say = say

    def set_receiver(self, receiver: Receiver, buffered: bytes = b"") -> None:
        self.link.set_receiver(receiver, buffered)

    def write(self, data: bytes) -> None:
        self.link.write(self.say(data) if data[8:9] == b"\x61" else data)


@pytest.mark.parametrize("limit", [2, 3, 5, 9])
@virtual
async def test_a_meter_that_has_had_enough(limit: int) -> None:
    """From some association on it refuses everybody: what it refuses then tells nothing, and nobody goes on."""
    told = await truth("wrapper")
    asked: list[bytes] = []

    def say(octets: bytes) -> bytes:
        asked.append(octets)
        return octets if len(asked) < limit else octets[:6] + len(REJECTED).to_bytes(2, "big") + REJECTED

    place = Place(served(virtual_meter(PARAMS, SECRETS), lambda link: Changing(link, say)))
    examination = await place.examine(SIGHTED["wrapper"])
    assert_nothing_wrong(examination, told)
    assert examination.stopped == "client 16 was accepted before, and is rejected authentication-failure now"
    assert examination.objects


@virtual
async def test_a_meter_that_is_busy() -> None:
    """A transient rejection ends it at once."""
    busy = REJECTED[:17] + b"\x02" + REJECTED[18:]
    place = Place(served(virtual_meter({}, {}), lambda link: Changing(link, lambda _: wrapped(busy))))
    examination = await place.examine(SIGHTED["wrapper"])
    assert examination.stopped == "it refuses for now: it is busy"
    assert examination.associations == 1


@virtual
async def test_a_meter_with_one_session() -> None:
    """One link at a time, and each is closed before the next."""
    links: list[Link] = []

    def opened() -> Link:
        near, far = memory_pair()
        assert not any(link.is_open for link in links)
        links.append(near)
        DRIVER.serve(far, meter)
        return near

    meter = virtual_meter(PARAMS, SECRETS)
    examination = await Place(opened).examine()
    assert not examination.stopped
    assert len(links) <= 3


@virtual
async def test_a_meter_that_answers_everything_by_exceptions() -> None:
    class Refusing:
        def __init__(self, link: Link) -> None:
            self.link = link
            link.set_receiver(self)

        def data_received(self, data: bytes) -> None:
            self.link.write(data[:2] + data[4:6] + data[2:4] + len(NOT_ALLOWED).to_bytes(2, "big") + NOT_ALLOWED)

        def link_lost(self, error: LinkError) -> None:
            pass

    def opened() -> Link:
        near, far = memory_pair()
        Refusing(far)
        return near

    place = Place(opened)
    examination = await place.examine()
    assert examination.stopped == "it answers requests to associate by nothing but exceptions"
    assert examination.associations <= 5
    facts = {fact.name: fact.value for fact in examination.facts if fact.value}
    assert facts == {"protocol": "dlms", "framing": "wrapper"}
    assert_harmless(place.apdus())


@virtual
async def test_somebody_who_is_gone_when_he_is_examined() -> None:
    """The one case in which nothing comes of it but an error."""

    def opened() -> Link:
        raise LinkError("no route to host")

    place = Place(opened)
    with pytest.raises(LinkError, match="no route"):
        await driver.examine(place.ground, SIGHTED["wrapper"])


@virtual
async def test_who_takes_no_connection_any_more() -> None:
    """A meter that closes after the first association and is not to be reached then."""
    meter = virtual_meter(PARAMS, SECRETS)
    opens = served(meter)
    calls: list[int] = []

    def opened() -> Link:
        calls.append(1)
        if len(calls) > 1:
            raise LinkError("connection refused")
        near = opens()
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_later(0.5, near.abort))
        return near

    place = Place(opened, timeout=1.0)
    place.ground.budget = Budget(spacing=0.3)
    examination = await place.examine(SIGHTED["wrapper"])
    assert examination.stopped == "it takes no connection any more: connection refused"
    assert examination.objects


@virtual
async def test_a_budget_that_is_too_small() -> None:
    place = Place(served(virtual_meter(PARAMS, SECRETS)), budget=Budget(associations=4))
    examination = await place.examine()
    assert examination.stopped == "4 associations are as many as a discovery may ask for here"
    assert examination.associations == 4
    assert examination.objects


@virtual
async def test_time_that_is_too_short() -> None:
    fault = Fault(kind=FaultKind.LATENCY, seconds=1.5)
    place = Place(
        served(virtual_meter(PARAMS, SECRETS), lambda link: FaultyLink(link, fault, 1)), budget=Budget(seconds=5.0)
    )
    examination = await place.examine(SIGHTED["wrapper"])
    assert examination.stopped == "5 s are as long as a discovery may take here"
    assert asyncio.get_running_loop().time() < 8


@pytest.mark.parametrize("chance", [0.1, 1.0])
@pytest.mark.parametrize("framing", SIGHTED)
@virtual
async def test_octets_that_are_changed_anywhere(framing: str, chance: float) -> None:
    """Bits flip in some answers, or all: nothing but an end comes of it, and nothing is sent that may not be."""
    for seed in range(12):
        chosen = random.Random(seed)

        def flip(octets: bytes, chosen: random.Random = chosen) -> bytes:
            if chosen.random() > chance:
                return octets
            changed = bytearray(octets)
            changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
            return bytes(changed)

        place = Place(served(virtual_meter(PARAMS, SECRETS), lambda link, flip=flip: Flipping(link, flip)))  # type: ignore[misc]
        examination = await place.examine(SIGHTED[framing])
        assert examination.associations <= BUDGET.associations
        assert_harmless(place.apdus())


class Flipping(Changing):
    """All answers are changed."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        self.link.write(self.say(data))
