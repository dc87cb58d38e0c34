"""A small fleet of virtual meters, one of each framing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group

FRAMINGS = {
    "wrapper": ("generic-dlms-1p", "dlms://127.0.0.1:{}?profile=generic-dlms-1p"),
    "hdlc": ("generic-dlms-1p", "dlms+hdlc://127.0.0.1:{}?profile=generic-dlms-1p"),
    "tcp": ("eastron-sdm120", "modbus://127.0.0.1:{}/1?profile=eastron-sdm120"),
    "rtu": ("eastron-sdm120", "modbus+rtu://127.0.0.1:{}/1?profile=eastron-sdm120"),
}


@pytest.fixture(scope="session")
def library() -> Library:
    return Library()


@pytest.fixture
async def meter_ports(library: Library) -> AsyncIterator[dict[str, int]]:
    """The port of a virtual meter for every framing."""
    groups = [Group(profile=library.get(profile), framing=framing) for framing, (profile, _) in FRAMINGS.items()]
    fleet = Fleet(groups, seed=9)
    await fleet.start()
    yield {
        framing: int(line.url.partition("//127.0.0.1:")[2].partition("?")[0].partition("/")[0])
        for framing, line in zip(FRAMINGS, fleet.roster(), strict=True)
    }
    await fleet.aclose()
