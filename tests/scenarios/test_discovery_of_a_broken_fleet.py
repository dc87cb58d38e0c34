"""Discovery in a fleet in which everything is broken once: it ends in time, spends what it may, and gives nobody a wrong name."""

from __future__ import annotations

import asyncio
import time

import pytest

from headend.drivers.ground import Budget, Ground
from headend.drivers.library import Library
from headend.drivers.registry import driver, driver_names
from headend.emulator.faults import FaultKind
from headend.emulator.fleet import FleetMeter
from headend.model.url import parse_url
from headend.services.discovery.classification.model_file import shipped
from headend.services.discovery.classify import Classifier
from headend.services.discovery.fingerprint import build
from headend.services.discovery.identifying import GRACE_SECONDS, Identified, identify
from headend.transport.open import open_link

from .broken_fleet import broken_fleet

BUDGET = Budget(seconds=40)
TIMEOUT = 0.5
AT_ONCE = 40
VENDORS = {"generic-dlms-1p": {"", "Generic"}, "eastron-sdm120": {"", "Eastron"}}
HARMLESS = frozenset({FaultKind.LATENCY, FaultKind.JITTER, FaultKind.DUPLICATE, FaultKind.COUNTER_RESET})
"""what a meter may have and still be found"""


async def look(line: FleetMeter, room: asyncio.Semaphore) -> tuple[Identified, Ground]:
    """Find out who is there, without being told anything."""
    ground = Ground(
        parse_url(line.url).endpoint,
        open_link=open_link,
        time=asyncio.get_running_loop().time,
        sleep=asyncio.sleep,
        clock=lambda: time.time_ns() // 1_000_000,
        budget=BUDGET,
        timeout=TIMEOUT,
    )
    async with room, asyncio.timeout(BUDGET.seconds + GRACE_SECONDS + 20):
        return await identify(ground, [driver(name) for name in driver_names()]), ground


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nobody_hangs_it_and_nobody_is_given_a_wrong_name() -> None:
    classifier = Classifier(list(Library()), shipped())
    room = asyncio.Semaphore(AT_ONCE)
    async with broken_fleet() as (_, meters):
        looks = await asyncio.gather(*(look(line, room) for _, line in meters))
    for (kind, line), (seen, ground) in zip(meters, looks, strict=True):
        what = f"{line.name} {kind}"
        protocol = parse_url(line.url).protocol
        assert ground.associations <= BUDGET.associations, what
        assert ground.links <= BUDGET.links, what
        assert all(found.sighting.protocol == protocol for found in seen.found), what
        if not seen.found:
            assert seen.nothing, what  # it says why
        if kind is None or kind in HARMLESS:
            assert seen.found, (what, seen.nothing)
        for found in seen.found:
            classified = classifier.classify(build(found.examination))
            assert classified.vendor in VENDORS[line.profile], (what, classified)
