"""What meters do not say, say twice or say wrongly, and what becomes of it in the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.dlms import driver as dlms
from headend.errors import NotFound
from headend.model.event import EventType
from headend.model.intervals import Reason, missing_times
from headend.model.job import Command, CommandKind, Verdict
from headend.services.commanding.reads import Reads
from headend.services.history.collector import OFF
from services.support import clock, virtual

from .support import DAY, ENERGY, QUARTER, REF, START, HeadEnd, Plant, Rows, a_profile, quarters, running, stored

HOUR = 3_600_000
FIRST = START // HOUR * HOUR + 2 * HOUR


def plant_of(**options: Any) -> tuple[Plant, Rows]:
    plant = Plant(1, a_profile(status=True), make=Rows, **options)
    (meter,) = plant.meters
    assert isinstance(meter, Rows)
    return plant, meter


def reasons(here: HeadEnd) -> dict[Reason, int]:
    return dict(here.store.ledger.reasons(START // DAY - 40, START // DAY + 40))


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0x80, Reason.POWER_DOWN), (0x20, Reason.CLOCK_SHIFT), (0, Reason.NOT_RECORDED)],
    ids=str,
)
@virtual
async def test_what_was_not_recorded_is_void_for_the_reason_in_the_next_row(
    tmp_path: Path, status: int, reason: Reason
) -> None:
    plant, meter = plant_of()
    meter.held = lambda at: not FIRST <= at < FIRST + HOUR
    meter.status[FIRST + HOUR] = status
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(5 * 3600)
        assert reasons(here) == {reason: 4}
        have = stored(here.store, "m1")
        (book,) = here.store.ledger.books("m1")
        expected = quarters(book.since, clock() - 200_000)
        assert set(expected) - set(have) == set(range(FIRST, FIRST + HOUR, QUARTER))
        events = here.events(EventType.INTERVALS_LOST)
        assert sum(int(event.data["count"]) for event in events) == 4
        # What turns up after all is no longer void; it was not there before, so nothing is twice.
        meter.held = lambda _at: True
        assert await here.collector.refill("m1", FIRST, FIRST + HOUR) == 4
        await asyncio.sleep(60)
        assert reasons(here) == {}
        assert set(expected) <= set(stored(here.store, "m1"))
        with pytest.raises(NotFound):
            await here.collector.refill("m2", 0, 1)


@virtual
async def test_a_meter_that_shows_no_rows_for_a_while_loses_nothing(tmp_path: Path) -> None:
    plant, meter = plant_of()
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(3600)
        meter.held = lambda _at: False
        await asyncio.sleep(3 * 3600)
        assert reasons(here) == {}
        meter.held = lambda _at: True
        await asyncio.sleep(1800)
        (book,) = here.store.ledger.books("m1")
        assert set(quarters(book.since, clock() - 200_000)) <= set(stored(here.store, "m1"))
        assert reasons(here) == {}


@virtual
async def test_a_counter_that_falls_is_told_and_stored_as_it_is(tmp_path: Path) -> None:
    plant, meter = plant_of()
    meter.factor = lambda at: 1.0 if at < FIRST else 0.25
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(4 * 3600)
        (event,) = here.events(EventType.COUNTER_FELL)
        assert (event.data["quantity"], event.data["measured_at"], event.data["rolled_over"]) == (ENERGY, FIRST, False)
        have = stored(here.store, "m1")
        assert have[FIRST] < have[FIRST - QUARTER]


@virtual
async def test_another_meter_in_the_same_place_begins_anew_and_what_the_old_one_kept_is_void(tmp_path: Path) -> None:
    plant, _ = plant_of()
    plant.outages = {1: [(FIRST, FIRST + 2 * HOUR)]}
    await plant.cut()
    async with running(plant, tmp_path) as here:
        await asyncio.sleep((FIRST + HOUR - clock()) / 1000)
        other = Rows(plant.meters[0].kind, 77)
        other.held = lambda at: at >= FIRST + HOUR
        plant.meters[0] = other
        await asyncio.sleep(3 * 3600)
        (event,) = here.events(EventType.METER_EXCHANGED)
        assert (event.data["before"], event.data["after"]) == ("00000001", "00000077")
        assert reasons(here) == {Reason.METER_EXCHANGED: 4}
        have = stored(here.store, "m1")
        assert set(quarters(FIRST + HOUR, clock() - 200_000)) <= set(have)
        (book,) = here.store.ledger.books("m1")
        assert book.serial == "00000077"


@virtual
async def test_who_is_not_to_be_kept_complete_is_left_alone(tmp_path: Path) -> None:
    plant, _ = plant_of()
    async with running(plant, tmp_path) as here:
        meter = here.roster.state("m1").meter
        here.roster.update(replace(meter, tags=(OFF,)))
        await asyncio.sleep(3600)
        assert here.store.ledger.books() == []
        here.roster.update(replace(meter, enabled=False))
        await asyncio.sleep(3600)
        assert here.store.ledger.books() == []
        here.roster.update(replace(meter, tags=("zone:Asia/Shanghai",)))
        await asyncio.sleep(3600)
        (book,) = here.store.ledger.books()
        assert book.grid.zone == "Asia/Shanghai"
        here.roster.remove("m1")
        await asyncio.sleep(3600)


@virtual
async def test_days_of_a_zone_that_changes_its_clock_are_complete_at_midnight_there(tmp_path: Path) -> None:
    """A daily load profile in a place whose midnight is 16:00 UTC."""
    plant = Plant(1, a_profile(period=86_400), make=Rows, history_days=10, params={"zone": "UTC"})
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(3 * 86_400)
        (book,) = here.store.ledger.books()
        have = sorted(stored(here.store, "m1"))
        assert have == list(quarters(book.since, clock() - 200_000, DAY))
        assert len(have) in (12, 13)


@virtual
async def test_what_people_read_by_hand_counts_as_well(tmp_path: Path) -> None:
    plant, _ = plant_of()
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(3 * 3600)
        meter = here.roster.state("m1").meter
        (book,) = here.store.ledger.books()
        here.roster.update(replace(meter, tags=(OFF,)))
        assert here.store.ledger.reopen(book, book.since, clock(), arrived=True) > 10
        reads = Reads(here.bus, clock, driver=lambda _name: dlms, profile=lambda _meter: plant.profile)
        command = Command(kind=CommandKind.READ_HISTORY, params={"ref": REF, "start": book.since, "end": clock()})
        found = await here.lanes.run_job("m1", lambda session: reads.run(session, meter, command))
        assert found.outcome.verdict is Verdict.CONFIRMED
        await asyncio.sleep(5)
        days = here.store.ledger.open_days(book.number)
        assert list(missing_times(book.grid, days, clock() - 1000)) == []
