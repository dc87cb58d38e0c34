"""What people are told of the poller."""

from __future__ import annotations

import asyncio

import pytest

from headend.errors import NotFound
from headend.services.acquisition.overview import meter_figures, percentile, wire_figures

from .support import Site, World, meter, virtual


@virtual
async def test_wires_are_told_by_how_busy_and_late_they_are() -> None:
    world = World({"bus": Site({str(n): n for n in range(10)}), "one": Site()}, request_timeout=5.0)
    world.sites["bus"].delay = 1.0
    world.sites["bus"].moods["3"] = "silent"
    world.roster.load([*(meter(f"m{n}", "bus", unit=f"{n}") for n in range(10)), meter("one", "one")])
    poller = world.poller()
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(3600)
    bus, one = wire_figures(poller, world.lanes, poller.elapsed)
    assert (bus.wire, bus.meters, bus.failing, one.meters) == ("tcp://bus:7", 10, 1, 1)
    assert bus.busy_ratio == pytest.approx(0.15, abs=0.02)
    assert bus.lateness_p50 is not None
    assert bus.lateness_p99 is not None
    assert 1.0 <= bus.lateness_p50 <= bus.lateness_p99 < 12
    assert one.lateness_p50 is None
    (group,) = meter_figures(poller, "one").groups
    assert (group.every, group.quantities) == (60, ("voltage_l1",))
    with pytest.raises(NotFound):
        meter_figures(poller, "nobody")
    poller.stop()
    await running
    await world.lanes.aclose()


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0
