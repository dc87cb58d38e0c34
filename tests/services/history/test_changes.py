"""Days on which clocks change, with meters whose clocks jump, whose counters roll over, and that are exchanged: end to end."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from headend.emulator.meter import VirtualMeter
from headend.model.event import Event, EventType
from headend.model.intervals import Reason
from headend.services.history.clocks import ClockRules, Clocks
from headend.services.history.completeness import Completeness
from services import support as services
from services.support import clock, virtual

from .support import QUARTER, HeadEnd, Plant, Rows, a_profile, quarters, running, stored

EACH = int(os.environ.get("HEADEND_CHANGE_METERS", "1"))
"""of each kind"""
ENERGY_AT = 2
"""where the profile has its energy"""
HOUR = 3_600_000
CHANGES = {"forward": (date(2024, 3, 31), 92), "back": (date(2024, 10, 27), 100)}
"""when the clocks of Berlin change, and how many quarters the day has"""


class Changing(Rows):
    """A meter whose counter rolls over at a time, if it is told to."""

    rolls_at = 0

    def row(self, load_profile: Any, entry: int, at: int) -> tuple[int, Sequence[Any]]:
        time, values = super().row(load_profile, entry, at)
        if self.rolls_at:
            whole = round(float(self.plain.value(ENERGY_AT, self.rolls_at)))
            values = [(int(values[0]) - whole) % 10**8, *values[1:]]
        return time, values


def of(plant: Plant, kind: int) -> list[int]:
    """The numbers of the meters of a kind: nothing, clock ahead, clock behind, roll-over, exchange."""
    return [number for number in range(1, len(plant.meters) + 1) if number % 5 == kind]


async def _submit(*_asked: object) -> Any:
    raise AssertionError("no clock is to be set")


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * EACH)
@pytest.mark.parametrize("change", CHANGES)
@virtual
async def test_all_that_changes_on_the_day_on_which_clocks_change(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    day, expected = CHANGES[change]
    eve = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - 6 * 3600
    monkeypatch.setattr(services, "EPOCH", eve)
    start = clock()
    plant = Plant(5 * EACH, a_profile(status=True), make=Changing, params={"zone": "Europe/Berlin"})
    for number in of(plant, 3):
        meter = plant.meters[number - 1]
        assert isinstance(meter, Changing)
        meter.rolls_at = start + 8 * HOUR + 60_000
    # Where a meter is exchanged nobody answers for an hour.
    plant.outages = {number: [(start + 10 * HOUR, start + 11 * HOUR)] for number in of(plant, 4)}
    await plant.cut()
    once: Counter[tuple[str, str, int]] = Counter()
    async with running(plant, tmp_path, published=once) as here:
        here.collector._clocks = Clocks(here.lanes, here.bus, clock, ClockRules(), _submit)
        await asyncio.sleep(9 * 3600)
        for number in (*of(plant, 1), *of(plant, 2)):
            plant.meters[number - 1].set_clock(clock() + (2 * HOUR if number % 5 == 1 else -2 * HOUR))
        await asyncio.sleep(3600 + 1800)
        for number in of(plant, 4):
            plant.meters[number - 1] = _another(plant.meters[number - 1], start + 11 * HOUR)
        await asyncio.sleep(4 * 3600)
        for number in (*of(plant, 1), *of(plant, 2)):
            plant.meters[number - 1].set_clock(clock())
        await asyncio.sleep(16 * 3600)
        told = here.events(*EventType)
        days = _days(here, plant, day, expected)
        _said(plant, told)
        for number in (*of(plant, 0), *of(plant, 3)):
            (book,) = here.store.ledger.books(f"m{number}")
            assert sorted(stored(here.store, f"m{number}")) == list(quarters(book.since, clock() - 200_000))
    record_property(f"clocks go {change}: meters", len(plant.meters))
    record_property(f"clocks go {change}: quarters of the day", expected)
    record_property(f"clocks go {change}: intervals of the day that came", sum(have for have, _ in days))
    record_property(f"clocks go {change}: void, as meters were exchanged", sum(void for _, void in days))
    record_property(f"clocks go {change}: values stored", len(once))


def _another(meter: VirtualMeter, since: int) -> Changing:
    other = Changing(meter.kind, meter.number + 5000, 0, {"zone": "Europe/Berlin"})
    other.held = lambda at: at >= since
    return other


def _days(here: HeadEnd, plant: Plant, day: date, expected: int) -> list[tuple[int, int]]:
    """What came of the day that has more or fewer hours: all of it, but what an exchanged meter took with it."""
    completeness, found = Completeness(here.store.ledger, clock), []
    for number in range(1, len(plant.meters) + 1):
        (book,) = here.store.ledger.books(f"m{number}")
        (tally,) = [each.tally for each in completeness.days(book, 3) if each.day == day]
        assert (tally.expected, tally.missing) == (expected, 0), number
        assert set(tally.void) <= ({Reason.METER_EXCHANGED} if number % 5 == 4 else set()), (number, tally.void)
        assert sum(tally.void.values()) <= HOUR // QUARTER + 1
        found.append((tally.have, sum(tally.void.values())))
    return found


def _said(plant: Plant, told: Sequence[Event]) -> None:
    """Each of what happened is an event of the meter that it happened to, and of no other."""
    for kind, happened, times in (
        (EventType.CLOCK_JUMPED, (1, 2), 2),
        (EventType.COUNTER_FELL, (3,), 1),
        (EventType.METER_EXCHANGED, (4,), 1),
    ):
        found = Counter(event.meter_id for event in told if event.type is kind)
        assert found == {f"m{number}": times for each in happened for number in of(plant, each)}, kind
    assert all(event.data["rolled_over"] for event in told if event.type is EventType.COUNTER_FELL)
