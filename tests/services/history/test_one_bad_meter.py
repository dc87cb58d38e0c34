"""One meter that answers everything wrongly, in every way there is, beside twenty good ones: they do not notice, it is named."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from headend.drivers.dlms import driver as dlms
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.faults.wire import FaultyLink
from headend.errors import ConnectRefused
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Endpoint
from headend.model.reading import ReadingBatch
from headend.services.history.kept import Rules
from headend.transport.link import Link
from headend.transport.memory import memory_pair
from services.support import clock, virtual

from .support import QUARTER, Plant, a_profile, quarters, recorded, running, stored

HOURS = int(os.environ.get("HEADEND_BAD_HOURS", "3"))
GOOD = 20
WRONG: Sequence[FaultKind] = (
    FaultKind.GARBAGE,
    FaultKind.STALE,
    FaultKind.TRUNCATE,
    FaultKind.FLOOD,
    FaultKind.WRONG_ADDRESS,
    FaultKind.HALF,
    FaultKind.CUT,
    FaultKind.REFUSE_ASSOCIATION,
    FaultKind.SILENT,
)


class BadAmongGood(Plant):
    """The first meter, if it is to be bad, has another fault on each connection."""

    def __init__(self, *, bad: bool) -> None:
        super().__init__(GOOD + 1, a_profile())
        self.bad = bad
        self.opened: Counter[int] = Counter()
        self._kinds = itertools.cycle(WRONG)

    async def open_link(self, endpoint: Endpoint, timeout: float) -> Link:
        number = int(endpoint.host)
        self.opened[number] += 1
        if number != 1 or not self.bad:
            return await super().open_link(endpoint, timeout)
        kind = next(self._kinds)
        if kind is FaultKind.REFUSE_ASSOCIATION:
            raise ConnectRefused(f"nobody listens at {endpoint.wire}")
        near, far = memory_pair()
        dlms.serve(FaultyLink(far, Fault(kind=kind), self.opened[1], dlms.spoil), self.meters[0])
        return near


async def lived(folder: Path, *, bad: bool) -> tuple[list[Event], dict[str, int], int]:
    """What was said, how late each good meter was read at worst (virtual milliseconds), and how many values."""
    plant, begin = BadAmongGood(bad=bad), clock()
    once: Counter[tuple[str, str, int]] = Counter()
    async with running(plant, folder, rules=Rules(rows=24), published=once) as here:
        tape = here.bus.subscribe("read", ReadingBatch, maxsize=10_000_000)
        await asyncio.sleep(HOURS * 3600)
        events = here.events(*EventType)
        batches = [item for item in tape._items if item.measured_at[0] > begin + QUARTER and item.meter_id != "m1"]
        expected = set(quarters(begin + QUARTER, clock() - QUARTER // 2))
        for number, meter in enumerate(plant.meters, 1):
            have, rows = stored(here.store, f"m{number}"), recorded(meter, clock())
            assert {at: round(rows[at][0]) for at in have} == have, "a wrong value was stored"
            if number > 1:
                assert not expected - have.keys(), f"m{number} is not complete"
    assert all(count == 1 for count in once.values())
    late: dict[str, int] = {}
    for read in batches:
        late[read.meter_id] = max(late.get(read.meter_id, 0), read.received_at - read.measured_at[0])
    return events, late, len(once)


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * HOURS)
@virtual
async def test_one_meter_that_answers_everything_wrongly(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    _, usual, _ = await lived(tmp_path / "without", bad=False)
    events, late, values = await lived(tmp_path / "with", bad=True)
    assert late.keys() == usual.keys() == {f"m{number}" for number in range(2, GOOD + 2)}
    blamed = Counter(event.meter_id for event in events if event.severity is not Severity.INFO)
    assert set(blamed) == {"m1"}, "the bad one is named, and nobody else"
    most, before = max(late.values()), max(usual.values())
    assert most <= before * 1.1, "a good meter was read later because of the bad one"
    record_property("good meters", GOOD)
    record_property("hours", HOURS)
    record_property("values stored", values)
    record_property("good meters' worst lateness without the bad one, s", before / 1000)
    record_property("good meters' worst lateness with it, s", most / 1000)
    record_property("events that name the bad one", blamed["m1"])
