"""A head-end with many faulty wires: each meter fails with its own error and comes back, the others do not notice."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from headend.model.event import Event, EventType
from headend.model.reading import ReadingBatch, Source
from headend.model.url import parse_url
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running
from headend.services.bus import Bus

from .conftest import FRAMINGS
from .test_faults import TABLE
from .wire import Fault, Wire

PERIOD = 1.0
HEALTHY = 8
WITHIN = 40.0


def settings_for(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "data": str(folder),
            "web": {"enabled": False},
            "mqtt": {"enabled": False},
            "poll": {"timeout": 0.5},
        }
    )


class Observed:
    """What polls brought, and failures, as they pass over the bus, by meter.

    A load profile arrives in batches of its own, at times of its own, and how far a clock is off by itself: neither is a poll.
    """

    def __init__(self, bus: Bus) -> None:
        self._queue = bus.subscribe("test", ReadingBatch, Event, maxsize=1_000_000)
        self.codes: dict[str, set[str]] = {}
        self.back: set[str] = set()
        self.read_at: dict[str, list[int]] = {}

    async def until(self, condition: object) -> None:
        assert callable(condition)
        async with asyncio.timeout(WITHIN):
            while not condition():
                self._note(await anext(self._queue))

    def _note(self, item: ReadingBatch | Event) -> None:
        if isinstance(item, ReadingBatch):
            if item.source is not Source.POLL or tuple(item.quantities) == ("clock_offset",):
                return
            self.read_at.setdefault(item.meter_id, []).append(item.received_at)
            if item.meter_id in self.codes:
                self.back.add(item.meter_id)
        elif item.type is EventType.READ_FAILED:
            self.codes.setdefault(item.meter_id, set()).add(str(item.data["code"]))
            self.back.discard(item.meter_id)


@pytest.mark.slow
async def test_faulty_meters_come_back_and_healthy_ones_do_not_notice(
    tmp_path: Path, meter_ports: dict[str, int]
) -> None:
    wires: dict[str, Wire] = {}
    expected: dict[str, str] = {}
    faults: dict[str, Fault] = {}
    for fault, framing, code in TABLE:
        name = f"{fault.value}-{framing}"
        wires[name] = Wire(framing, "127.0.0.1", meter_ports[framing])
        expected[name], faults[name] = code, fault
    for number in range(HEALTHY):
        framing = list(FRAMINGS)[number % len(FRAMINGS)]
        wires[f"healthy-{number}-{framing}"] = Wire(framing, "127.0.0.1", meter_ports[framing])
    settings = settings_for(tmp_path)
    with open_store(settings) as store:
        for name, wire in wires.items():
            await wire.start()
            url = parse_url(FRAMINGS[wire.framing][1].format(wire.port))
            store.meters.put(url.meter(name, name=name, poll_seconds=PERIOD))
    try:
        async with running(settings) as head_end:
            observed = Observed(head_end.bus)
            await observed.until(lambda: set(wires) <= set(observed.read_at))

            observed.read_at.clear()
            await asyncio.gather(*(wires[name].turn(fault) for name, fault in faults.items()))
            await observed.until(lambda: set(faults) <= set(observed.codes))
            for name, code in expected.items():
                # A connection that is cut off while its question is under way is a closed link first.
                assert observed.codes[name] <= {*code.split(), "link-closed"}, name
                assert observed.codes[name] & {*code.split(), "link-closed"}, name

            await asyncio.gather(*(wires[name].turn(Fault.NONE) for name in faults))
            await observed.until(lambda: set(faults) <= observed.back)

            for name in set(wires) - set(faults):
                assert name not in observed.codes
                times = observed.read_at[name]
                gaps = [after - before for before, after in itertools.pairwise(times)]
                # What the time-outs of the others cost would show at each turn; a busy machine may cost one.
                late = [gap for gap in gaps if gap >= 2 * PERIOD * 1000]
                assert len(late) <= 1, (name, late)
                assert abs(len(gaps) - (times[-1] - times[0]) / 1000 / PERIOD) < 1.5 + sum(late) / 1000 / PERIOD, name
            assert all(state.online for state in head_end.roster)
    finally:
        for wire in wires.values():
            await wire.aclose()
