"""A virtual day in which every meter is away for a third of the time, and the head-end is killed in the middle."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from headend.model.event import EventType
from headend.model.intervals import Reason
from headend.services.history.completeness import Completeness
from headend.services.history.kept import Rules
from services.support import clock, virtual

from .support import DAY, ENERGY, QUARTER, START, Plant, a_profile, quarters, recorded, running, stored

METERS = int(os.environ.get("HEADEND_OUTAGE_METERS", "12"))
"""1,000 in a soak"""


def outages(random_: random.Random, until: int) -> list[tuple[int, int]]:
    """About 30 % of a span of time, in pieces of five minutes to three hours."""
    found, at = [], START + random_.randrange(3_600_000)
    while at < until:
        away = random_.randrange(300_000, 3 * 3_600_000)
        found.append((at, min(at + away, until)))
        at += round(away / 0.3 * random_.uniform(0.7, 1.3))
    return found


@pytest.mark.slow
@pytest.mark.timeout(120 + 8 * METERS)
@virtual
async def test_whatever_fails_every_interval_arrives_once_under_its_own_time(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    plant = Plant(METERS, a_profile())
    chance = random.Random(5)
    plant.outages = {number: outages(chance, START + DAY) for number in range(1, METERS + 1)}
    away = sum(end - start for spans in plant.outages.values() for start, end in spans) / (METERS * DAY)
    assert 0.2 < away < 0.45, away
    await plant.cut()
    once: Counter[tuple[str, str, int]] = Counter()
    rules = Rules(rows=24, at_once=50)
    async with running(plant, tmp_path, rules=rules, published=once, killed=True):
        await asyncio.sleep(11 * 3600 + 37)
    async with running(plant, tmp_path, rules=rules, published=once) as here:
        await asyncio.sleep((START + DAY + 3 * QUARTER - clock()) / 1000)
        end = clock() - QUARTER // 2  # what a meter was asked for after its retry delay, at the latest
        expected = list(quarters(START + QUARTER, end))
        assert len(expected) in (97, 98)
        for number, meter in enumerate(plant.meters, 1):
            have = stored(here.store, f"m{number}")
            rows = recorded(meter, clock())
            missing = set(expected) - set(have)
            assert not missing, (number, sorted(missing))
            assert {at: (round(rows[at][0]), at % QUARTER) for at in have} == {
                at: (value, 0) for at, value in have.items()
            }
        lines = here.store.ledger.fleet(START // DAY, START // DAY + 2)
        assert sum(line.void for line in lines) == 0
        assert not here.events(EventType.INTERVALS_LOST, EventType.COUNTER_FELL, EventType.INTERVALS_REPEATED)
    again = {key: count for key, count in once.items() if count > 1}
    assert not again, f"{len(again)} readings were stored twice"
    assert sum(once.values()) == len(once)
    record_property("meters", METERS)
    record_property("share of the day that a meter was away", round(away, 3))
    record_property("intervals restored, percent", 100)
    record_property("values stored", len(once))
    record_property("values stored twice", len(again))


@virtual
async def test_what_a_meter_has_written_over_is_given_up_with_its_reason_and_the_rest_is_kept(tmp_path: Path) -> None:
    """A buffer of four hours and an outage of ten."""
    plant = Plant(1, a_profile(capacity=16))
    plant.outages = {1: [(START + 2 * 3_600_000, START + 12 * 3_600_000)]}
    await plant.cut()
    async with running(plant, tmp_path) as here:
        await asyncio.sleep(14 * 3600)
        now = clock()
        (book,) = here.store.ledger.books("m1")
        have = stored(here.store, "m1")
        lost = here.store.ledger.reasons(START // DAY, now // DAY)
        expected = set(quarters(book.since, now - 60_000))
        assert lost == {Reason.WRAPPED: len(expected - set(have))}
        # The buffer of 16 rows is read within minutes after the meter is back.
        assert 22 <= lost[Reason.WRAPPED] <= 26
        assert all(START + 2 * 3_600_000 - QUARTER < at < START + 9 * 3_600_000 for at in expected - set(have))
        events = here.events(EventType.INTERVALS_LOST)
        assert sum(int(event.data["count"]) for event in events) == lost[Reason.WRAPPED]
        assert {event.data["reason"] for event in events} == {"wrapped"}
        octets = here.roster.state("m1").octets_out
        await asyncio.sleep(3 * 3600)
        assert here.roster.state("m1").octets_out - octets < 12 * 500, "what is given up is not asked for again"


@virtual
async def test_the_day_on_which_the_clocks_go_back_has_a_hundred_quarters(tmp_path: Path) -> None:
    """Meters in Berlin that remember the end of October 2023, when the hour from two to three came twice."""
    plant = Plant(1, a_profile(), history_days=20, params={"zone": "Europe/Berlin"})
    async with running(plant, tmp_path, rules=Rules(backfill_days=19)) as here:
        await asyncio.sleep(3600)
        completeness = Completeness(here.store.ledger, clock)
        (book,) = here.store.ledger.books("m1")
        assert book.grid.zone == "Europe/Berlin"
        days = {each.day: each.tally for each in completeness.days(book, 18)}
        counts = {day: (found.expected, found.have) for day, found in days.items() if day < date(2023, 11, 14)}
        assert counts.pop(date(2023, 10, 29)) == (100, 100)
        assert set(counts.values()) == {(96, 96)}
        rows = recorded(plant.meters[0], clock())
        assert {at: round(rows[at][0]) for at in stored(here.store, "m1")} == stored(here.store, "m1")


@pytest.mark.parametrize("quantity", [ENERGY])
@virtual
async def test_a_head_end_that_is_new_reads_what_the_meter_has_already(tmp_path: Path, quantity: str) -> None:
    plant = Plant(1, a_profile(capacity=500), history_days=3)
    async with running(plant, tmp_path, rules=Rules(backfill_days=2, rows=30)) as here:
        await asyncio.sleep(1800)
        have = stored(here.store, "m1", quantity)
        (book,) = here.store.ledger.books("m1")
        assert START - 2 * DAY <= book.since <= START - 2 * DAY + 200_000
        assert sorted(have) == list(quarters(book.since, clock() - 200_000))
