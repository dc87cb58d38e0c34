"""Reading a fleet in which everything is broken once: nothing hangs, and the healthy meters are read."""

from __future__ import annotations

import asyncio

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.faults import FaultKind
from headend.emulator.fleet import FleetMeter
from headend.errors import HeadendError
from headend.model.objects import ReadPlan
from headend.model.url import parse_url
from headend.transport.tcp import connect_tcp

from .broken_fleet import KINDS, broken_fleet

LIBRARY = Library()


async def read(line: FleetMeter) -> bool:
    """True when a meter tells what it is asked."""
    url = parse_url(line.url)
    profile = LIBRARY.get(line.profile)
    try:
        link = await connect_tcp(url.endpoint.host, url.endpoint.port, 10)
        session = await driver(profile.protocol).attach(link, url.meter(line.name), profile, line.secrets, timeout=2)
        try:
            return not (await session.read(ReadPlan(entries=profile.objects[-5:]))).errors
        finally:
            await session.aclose()
    except HeadendError:
        return False


async def test_whatever_is_broken_the_others_are_read_and_nothing_hangs() -> None:
    async with broken_fleet() as (fleet, meters), asyncio.timeout(100):
        assert {kind for kind, _ in meters} == {None, *FaultKind}
        assert len(meters) == 2 * (len(FaultKind) * len(KINDS) - 1)
        told = await asyncio.gather(*(read(line) for _, line in meters))
        assert all(answered for (kind, _), answered in zip(meters, told, strict=True) if kind is None)
        silent = [answered for (kind, _), answered in zip(meters, told, strict=True) if kind is FaultKind.SILENT]
        assert not any(silent)
        fleet.control.mend()
        async with asyncio.timeout(60):
            while not all(await asyncio.gather(*map(read, (line for _, line in meters)))):  # noqa: ASYNC110 - of the clock
                await asyncio.sleep(0.05)  # what reboots is back in a moment
