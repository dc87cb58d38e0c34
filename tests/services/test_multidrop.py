"""Meters of a real protocol on one bus: the real driver on both sides, nothing but the wire between them is of the tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.errors import LinkError, LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.plan import poll_plan
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.transport.link import Link
from headend.transport.memory import MemoryLink, memory_pair

from .support import clock, virtual

PROFILE = Library().get("eastron-sdm120")


class Bench:
    """The value of an object is its place in the profile plus a hundred times the unit id."""

    profile = PROFILE
    secrets: Any = {}  # noqa: RUF012 - nobody changes it

    def __init__(self, unit: int) -> None:
        self.params = {"unit": str(unit)}
        self._unit = unit

    def now(self) -> int:
        return clock()

    def value(self, index: int, _at: int) -> float:
        return 100.0 * self._unit + index


class BusWire:
    """The far end of a link, heard by all meters on it."""

    def __init__(self, far: MemoryLink) -> None:
        self.far = far
        self.drops: list[MemoryLink] = []
        far.set_receiver(self)

    def join(self, unit: int) -> None:
        ours, theirs = memory_pair()
        self.drops.append(ours)
        ours.set_receiver(_Upward(self.far))
        driver("modbus").serve(theirs, Bench(unit))  # type: ignore[arg-type] # what is not asked for is not there

    def data_received(self, data: bytes) -> None:
        for drop in self.drops:
            drop.write(data)

    def link_lost(self, _error: LinkError) -> None:
        for drop in self.drops:
            drop.abort()


class _Upward:
    def __init__(self, far: MemoryLink) -> None:
        self._far = far

    def data_received(self, data: bytes) -> None:
        self._far.write(data)

    def link_lost(self, _error: LinkError) -> None: ...


@virtual
async def test_modbus_units_share_a_serial_line_and_the_absent_one_harms_nobody() -> None:
    roster = Roster(Bus(), clock)
    connects = 0

    async def open_link(_endpoint: Endpoint, _timeout: float) -> Link:
        nonlocal connects
        connects += 1
        near, far = memory_pair(latency=0.01)
        wire = BusWire(far)
        wire.join(1)
        wire.join(2)
        return near

    async def no_secrets(_meter: Meter) -> dict[str, Any]:
        return {}

    lanes = Lanes(
        roster,
        open_link=open_link,
        driver=driver,
        profile=lambda _meter: PROFILE,
        secrets=no_secrets,
        request_timeout=1.0,
    )
    endpoint = Endpoint(kind=EndpointKind.SERIAL, path="/dev/ttyS9")
    for unit in (1, 2, 3):
        roster.add(
            Meter(id=f"m{unit}", protocol="modbus", framing="rtu", endpoint=endpoint, params={"unit": f"{unit}"})
        )
    plan = poll_plan(PROFILE)
    # registers hold floats in the unit of the entry, the meter answers in base units
    expected = {
        unit: [(100 * unit + PROFILE.objects.index(entry)) / 10**entry.exponent for entry in plan.entries]
        for unit in (1, 2)
    }

    async def read(unit: int) -> list[Any]:
        result = await lanes.run_job(f"m{unit}", lambda session: session.read(plan))
        assert not result.errors
        return list(result.values)

    for _ in range(2):
        both = await asyncio.gather(read(1), read(2))
        assert both == [pytest.approx(expected[unit], rel=1e-5) for unit in (1, 2)]
        with pytest.raises(LinkTimeout):
            await read(3)
    assert connects == 2, "only the absent unit's second attempt needs a new link"
    await lanes.aclose()
