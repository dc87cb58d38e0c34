"""Who is at one place: listen, ask the probes of all protocols in order, and examine whoever answers, within one budget.

The order: first those that expect to be answered at this port (most of all, at no other), then the less intrusive, then the
cheaper ones. The first protocol that is spoken ends the search; several meters behind one wire are several sightings of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import structlog

from headend.drivers.base import Driver, Sniffed
from headend.drivers.ground import Ground, Probe
from headend.errors import HeadendError, LinkError, ProbeEnded
from headend.model.discovery import Evidence, Examination, Fact, Intrusion, Sighting
from headend.model.meter import Endpoint

GRACE_SECONDS: Final = 5.0
"""beyond the budget, for what is under way to end by itself"""
BANNER_OCTETS: Final = 256
DROPPED: Final = "connections are dropped at once"
_LOST: Final = 2
"""probes in a row that cannot reach the place: it is gone"""
_STRANGERS: Final = (
    (b"SSH-", "SSH"),
    (b"HTTP/", "HTTP"),
    (b"RTSP/", "RTSP"),
    (b"220 ", "FTP or SMTP"),
    (b"220-", "FTP or SMTP"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
    (b"RFB ", "VNC"),
    (b"@RSYNCD:", "rsync"),
    (b"\x15\x03", "TLS"),
    (b"-ERR ", "Redis"),
    (b"AMQP", "AMQP"),
)
"""How answers of services begin that no meter has."""

log = structlog.get_logger(__name__)

Examine: TypeAlias = Callable[[Driver, Ground, Sighting], Awaitable[Examination]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Somebody who was sighted, and what the examination brought."""

    sighting: Sighting
    examination: Examination


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """What was learned at one place. `nothing` says why nobody was found; empty where somebody was."""

    endpoint: Endpoint
    found: Sequence[Found] = ()
    evidence: Sequence[Evidence] = ()
    nothing: str = ""
    stopped: str = ""
    """why it ended before its end; empty when it did not"""

    @property
    def examinations(self) -> Sequence[Examination]:
        """Of all who were found."""
        return [each.examination for each in self.found]


@dataclass(slots=True, kw_only=True)
class _Course:
    """What came of the place so far: kept outside of what may be cut short."""

    found: list[Found] = field(default_factory=list)
    nothing: str = "nobody speaks a known protocol"
    banner: bytes = b""


async def examined(driver: Driver, ground: Ground, sighting: Sighting) -> Examination:
    """Examine with no secret at all."""
    return await driver.examine(ground, sighting)


async def identify(
    ground: Ground,
    drivers: Sequence[Driver],
    *,
    banner: bytes = b"",
    listen: float = 0.0,
    exhaustive: bool = False,
    examine: Examine = examined,
    wanted: Sequence[Sighting] = (),
) -> Identified:
    """Find out who is there. Never raises, but for cancellation; takes no longer than the budget, and a little grace.

    `banner` is what was said there unasked before; `listen` seconds are waited for one otherwise. `wanted` are examined
    without a search: somebody knows that they are there.
    """
    course = _Course(banner=banner)
    try:
        async with asyncio.timeout(ground.budget.seconds + GRACE_SECONDS):
            try:
                await _search(ground, drivers, course, listen, examine, wanted, exhaustive=exhaustive)
            finally:
                await ground.close()
    except TimeoutError:
        course.nothing = ground.stopped = f"not ended within {ground.budget.seconds:g} s"
    except ProbeEnded as error:
        course.nothing = str(error)
    except HeadendError as error:
        course.nothing = f"{error.code}: {error}"
    except Exception as error:
        log.exception("discovery stumbled", place=ground.endpoint.wire)
        course.nothing = f"internal error: {type(error).__name__}"
    return Identified(
        endpoint=ground.endpoint,
        found=[_with_banner(each, course.banner) for each in course.found],
        evidence=tuple(ground.evidence),
        nothing="" if course.found else course.nothing,
        stopped=ground.stopped,
    )


async def _search(
    ground: Ground,
    drivers: Sequence[Driver],
    course: _Course,
    listen: float,
    examine: Examine,
    wanted: Sequence[Sighting],
    *,
    exhaustive: bool,
) -> None:
    if wanted:
        for sighting in wanted:
            driver = next(each for each in drivers if each.name == sighting.protocol)
            await _examine(ground, driver, sighting, course, examine)
        return
    if course.banner:
        ground.evidence.append(Evidence(probe="listen", at=0, sent=b"", received=course.banner, note="said unasked"))
    elif listen > 0:
        course.banner, dropped = await _listened(ground, listen)
        if dropped and not course.banner:
            course.nothing = DROPPED
            return
    if stranger := said_by(course.banner):
        course.nothing = f"{stranger} is spoken there"
        return
    lost, listened = 0, listen > 0
    for driver, probe in ordered(drivers, ground.endpoint.port, course.banner, exhaustive=exhaustive):
        before, began = len(ground.evidence), ground.time()
        try:
            sightings = await probe.run(ground)
            lost = 0
        except LinkError as error:
            lost += 1
            course.nothing = f"{error.code}: {error}"
            if lost >= _LOST:
                return
            continue
        if sightings:
            for sighting in sightings:
                await _examine(ground, driver, sighting, course, examine)
            return
        heard = (said_by(each.received) for each in ground.evidence[before:])
        if stranger := next(filter(None, heard), ""):
            course.nothing = f"{stranger} is spoken there"
            return
        if not listened and ground.time() - began < ground.timeout / 2 and not _heard(ground, before):
            listened = True
            if (await _listened(ground, ground.timeout / 4))[1]:
                course.nothing = DROPPED
                return


def _heard(ground: Ground, since: int) -> bool:
    return any(each.received for each in ground.evidence[since:])


async def _examine(ground: Ground, driver: Driver, sighting: Sighting, course: _Course, examine: Examine) -> None:
    """Examine one; who was sighted stays found, whatever comes in between."""
    why = "it was not examined to the end"
    examination: Examination | None = None
    try:
        examination = await examine(driver, ground, sighting)
    except (LinkError, ProbeEnded) as error:
        why = str(error)
    finally:
        if examination is None:
            examination = Examination(
                endpoint=sighting.endpoint or ground.endpoint,
                protocol=sighting.protocol,
                framing=sighting.framing,
                params=sighting.params,
                evidence=tuple(ground.evidence),
                associations=ground.associations,
                stopped=ground.stopped or why,
            )
        course.found.append(Found(sighting=sighting, examination=examination))


async def _listened(ground: Ground, seconds: float) -> tuple[bytes, bool]:
    """What is said there unasked, and whether the link is dropped meanwhile."""
    try:
        link = await ground.link()
    except LinkError:
        return b"", False  # the probes will find out the same, or not
    heard = _Ear()
    link.set_receiver(heard)
    await ground.sleep(seconds)
    dropped = not link.is_open
    await ground.close()
    said = bytes(heard.said)
    if said:
        ground.step("listen", "said unasked")
    return said, dropped


class _Ear:
    """Keeps the first octets that come over a link."""

    def __init__(self) -> None:
        self.said = bytearray()

    def data_received(self, data: bytes) -> None:
        self.said += data[: BANNER_OCTETS - len(self.said)]

    def link_lost(self, error: LinkError) -> None:
        pass


def ordered(
    drivers: Sequence[Driver], port: int, banner: bytes = b"", *, exhaustive: bool = False
) -> Iterator[tuple[Driver, Probe]]:
    """The probes for a port, each with its driver, in the order in which they are asked. Pure.

    Where a port is the first of one protocol and no other expects to be answered there, only that one is asked, unless everything
    is to be tried: equipment in the field has been seen to hang on octets of the other protocols.
    """
    all_probes = [(driver, probe) for driver in drivers for probe in driver.probes()]
    if not exhaustive:
        all_probes = [(driver, probe) for driver, probe in all_probes if not probe.exhaustive]
        owner = _owner(drivers, port)
        if owner is not None:
            all_probes = [(driver, probe) for driver, probe in all_probes if driver is owner]
    heard = {driver.name for driver in drivers if banner and isinstance(driver.sniff(banner), Sniffed)}

    def rank(item: tuple[Driver, Probe]) -> tuple[bool, bool, int, Intrusion, int]:
        driver, probe = item
        ports = probe.ports or driver.ports
        expected = 0 if ports[:1] == (port,) else 1 if port in ports else 2
        return (driver.name not in heard, probe.exhaustive, expected, probe.intrusion, probe.cost)

    yield from sorted(all_probes, key=rank)


def _owner(drivers: Sequence[Driver], port: int) -> Driver | None:
    """The one protocol that has a port for its first, where no other names it."""
    naming = [
        driver
        for driver in drivers
        if port in driver.ports or any(port in probe.ports for probe in driver.probes() if not probe.exhaustive)
    ]
    return naming[0] if len(naming) == 1 and naming[0].ports[:1] == (port,) else None


def said_by(octets: bytes) -> str:
    """The service that begins to speak so; empty for one that may be a meter."""
    return next((name for begin, name in _STRANGERS if octets.startswith(begin)), "")


def _with_banner(found: Found, banner: bytes) -> Found:
    """What was said unasked is a fact of all who are there."""
    examination = found.examination
    if not banner or any(fact.name == "banner" for fact in examination.facts):
        return found
    index = next((number for number, each in enumerate(examination.evidence) if each.probe == "listen"), None)
    fact = Fact(name="banner", value=banner.hex(), evidence=() if index is None else (index,))
    return replace(found, examination=replace(examination, facts=(*examination.facts, fact)))
