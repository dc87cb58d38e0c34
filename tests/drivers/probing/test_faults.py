"""Meters with every fault of the virtual fleet: discovery ends in time, and what it says is right."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.drivers.registry import driver as driver_of
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.faults.wire import FaultyLink
from headend.errors import LinkError, ProbeEnded
from headend.model.discovery import Examination
from tests.services.support import virtual

from .support import Site, meter

WHO = {
    "tcp": ("modbus", "schneider-iem3000"),
    "rtu": ("modbus", "schneider-iem3000"),
    "rtu without identification": ("modbus", "eastron-sdm630"),
    "2007": ("dlt645", "generic-dlt645-3p"),
    "1997": ("dlt645", "generic-dlt645-1997"),
}
_OUTSIDE = {FaultKind.ONE_SESSION, FaultKind.ZOMBIE, FaultKind.REBOOT, FaultKind.REJECT}
"""what concerns several links, or secrets"""
_UNSEEN = {("tcp", FaultKind.CHECKSUM), ("1997", FaultKind.WRONG_ADDRESS)}
"""MBAP has no check: an inverted bit is another value. In 1997 an address is what stands in the answer to everybody."""


def site_of(who: str, fault: Fault | None, seed: int) -> Site:
    name, profile_id = WHO[who]
    driver = driver_of(name)

    def accept(far: Any) -> None:
        driver.serve(FaultyLink(far, fault, seed, driver.spoil) if fault else far, meter(profile_id))

    return Site(accept)


async def examined(who: str, site: Site) -> Examination | None:
    driver = driver_of(WHO[who][0])
    ground = site.ground(seconds=60.0)
    wanted = who.split(" ", maxsplit=1)[0]
    for probe in driver.probes():
        if not probe.exhaustive and wanted in (probe.framing, probe.name.removeprefix("dlt645-")):
            try:
                for sighting in await probe.run(ground):
                    assert (
                        sighting.params in ({"unit": "1"}, {"unit": "255"})
                        or sighting.params["address"] == "000000000042"
                    )
                    return await driver.examine(ground, sighting)
            except (LinkError, ProbeEnded):
                return None
    return None


def facts(examination: Examination) -> dict[str, str]:
    return {fact.name: fact.value for fact in examination.facts if fact.value}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind not in _OUTSIDE])
@pytest.mark.parametrize("chance", [1.0, 0.3])
def test_no_fault_makes_a_wrong_fact(who: str, kind: FaultKind, chance: float) -> None:
    if (who, kind) in _UNSEEN:
        return

    @virtual
    async def troubled() -> None:
        sound = await examined(who, site_of(who, None, 0))
        assert sound is not None
        right = facts(sound)
        for seconds in (0.3, 2.5):
            began = asyncio.get_running_loop().time()
            site = site_of(who, Fault(kind=kind, chance=chance, seconds=seconds), round(seconds * 10))
            found = await examined(who, site)
            seen = facts(found) if found is not None else {}
            plausible = set(seen.pop("plausible", "").split(",")) - {""}
            assert plausible <= {*right.get("plausible", "").split(","), *_IEM3000}
            assert not {name: value for name, value in seen.items() if right.get(name) != value}
            assert asyncio.get_running_loop().time() - began < 66.0
            assert not site.left_open

    troubled()


_IEM3000 = {
    f"{name}=holding/0x{address:04X}/f32"
    for name, address in (("voltage_l1", 0xBD3), ("voltage_l2", 0xBD5), ("frequency", 0xC25))
}
"""where its identification registers were not heard of"""
