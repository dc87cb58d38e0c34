"""What is read less often than its meter: in multiples of the period, together where it falls due together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.library import load_profile
from headend.drivers.meter_text import object_table
from headend.errors import ConfigError
from headend.model.duration import parse_seconds
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch
from headend.services.acquisition.plan import Intervals, Rounds, Slower, grouped, poll_plan
from headend.services.acquisition.poller import Poller

from .support import PROFILE, Site, World, clock, meter, virtual

QUANTITIES = ("voltage_l1", "frequency", "active_energy_import_total", "active_power_total")


def profile(*every: float) -> MeterProfile:
    entries = tuple(
        ObjectEntry(ref=ObjectRef("text", "u"), quantity=quantity, every=seconds)
        for quantity, seconds in zip(QUANTITIES, every, strict=False)
    )
    return replace(PROFILE, objects=entries)


@given(
    st.lists(st.sampled_from([0, 30, 60, 90, 600, 900, 86400]), min_size=1, max_size=4),
    st.sampled_from([10.0, 60.0, 61.3, 900.0]),
    st.text(max_size=5),
    st.floats(0, 1e7),
)
def test_each_group_is_read_once_in_its_span(every: list[float], period: float, meter_id: str, start: float) -> None:
    plan = grouped(profile(*every), period)
    rounds = Rounds(meter_id, plan)
    reads: dict[str, list[int]] = {}
    for slot in range(200):
        due = rounds.due(start + slot * plan.period)
        if due is not None:
            rounds.done()
            for entry in due.entries:
                reads.setdefault(entry.quantity, []).append(slot)
    for quantity, seconds in zip(QUANTITIES, every, strict=False):
        multiple = max(1, -(-seconds // period)) * period / plan.period
        found = reads[quantity]
        assert found[0] == 0
        assert {after - before for before, after in pairwise(found[1:])} <= {multiple}


def test_plans_are_shared_and_no_slot_is_empty_for_nothing() -> None:
    model = profile(900, 900)
    assert grouped(model, 60) is grouped(model, 60)
    assert (grouped(model, 60).period, grouped(model, 60).multiples) == (900, (1,))
    assert grouped(model, 60).whole is poll_plan(model)
    mixed = grouped(profile(0, 900), 60)
    assert (mixed.period, mixed.multiples) == (60, (1, 15))
    assert mixed.of((1,)) is mixed.of((1,))
    assert [entry.quantity for entry in mixed.of((1,)).entries] == ["voltage_l1"]


def test_what_is_read_less_often_than_its_meter_is_known() -> None:
    """By meter, so that its values are live for as long; a change of the meter counts at once."""
    model = profile(0, 900, 90, 60)
    slower = Slower(Intervals({"m/voltage_*": "1h"}), lambda meter: model if meter.profile_id else None)
    one = meter("m", "m", poll_seconds=60.0, profile_id="x")
    found = {quantity: slower.every(one, quantity) for quantity in QUANTITIES}
    assert list(found.values()) == [3600.0, 900.0, 120.0, 0.0]
    assert slower.every(one, "of_no_profile") == 0
    assert slower.every(replace(one, poll_seconds=3600.0), "frequency") == 0
    assert slower.every(replace(one, poll_seconds=0.0), "frequency") == 0
    assert slower.every(replace(one, profile_id=""), "frequency") == 0
    alike = Slower(Intervals(), lambda _meter: profile(900, 900))
    assert alike.every(one, "frequency") == 900


def test_settings_go_before_the_meter_file_and_the_last_name_that_fits_counts() -> None:
    model = profile(0, 900)
    said = Intervals({"*": "1h", "voltage_*": "5m", "m-7/frequency": 0})
    one, seventh = meter("m-1", "m-1"), meter("m-7", "m-7")
    assert said.changes(one, model) == ((0, 300), (1, 3600))
    assert said.changes(seventh, model) == ((0, 300), (1, 0))
    assert grouped(model, 60, said.changes(seventh, model)).multiples == (1, 5)
    assert Intervals().changes(one, model) == ()


def test_the_tags_of_a_meter_go_before_all_that_is_said_of_many() -> None:
    model = profile(0, 900)
    one = meter("m-1", "m-1", tags=("hall-2", "every:voltage_*=15m", "every:frequency=30"))
    said = Intervals({"*": "1h"})
    assert said.changes(one, model) == ((0, 900), (1, 30))
    assert Intervals().changes(one, model) == ((0, 900), (1, 30))
    assert grouped(model, 30, said.changes(one, model)).multiples == (1, 30)


@pytest.mark.parametrize(
    ("tag", "error"), [("every:15m", "names no quantity"), ("every:frequency=often", "no span of time")]
)
def test_tags_that_say_nothing_a_meter_could_be_read_by(tag: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Intervals().changes(meter("m-1", "m-1", tags=(tag,)), profile(0))
    slower = Slower(Intervals(), lambda _meter: profile(0, 900))
    assert slower.every(meter("m", "m", tags=(tag,)), "frequency") == 0


@virtual
async def test_a_meter_is_asked_for_what_is_due_and_what_failed_is_due_again() -> None:
    world = World({"one": Site()}, request_timeout=1.0)
    world.roster.load([meter("one", "one", poll_seconds=60)])
    model = profile(0, 900)
    poller = Poller(world.roster, world.lanes, world.bus, profile=lambda _meter: model, clock=clock)
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(3600)
    batches = [item.quantities for item in world.published() if isinstance(item, ReadingBatch)]
    whole, live = ("voltage_l1", "frequency"), ("voltage_l1",)
    assert batches[0] == whole
    assert (batches.count(whole), batches.count(live)) in ((4, 56), (5, 55))
    world.sites["one"].moods["1"] = "silent"
    await asyncio.sleep(1800)
    world.sites["one"].moods.clear()
    await asyncio.sleep(1000)
    batches = [item.quantities for item in world.published() if isinstance(item, ReadingBatch)]
    assert batches[0] == whole
    assert (await poller.poll_now("one")).quantities == whole
    poller.stop()
    await running
    await world.lanes.aclose()


@pytest.mark.parametrize(
    ("written", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("15m", 900), ("1.5 h", 5400), ("1d", 86400)]
)
def test_spans_as_people_write_them(written: object, seconds: float) -> None:
    assert parse_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "m", "15 min", -1, "1y", True, None, "400d", "1e9"])
def test_what_is_no_span(written: object) -> None:
    with pytest.raises(ConfigError):
        parse_seconds(written)


def test_a_meter_file_says_it_and_is_written_as_it_was() -> None:
    text = """
        [meter]
        vendor = "Acme"
        model = "M1"
        protocol = "modbus"
        source = "test"
        [[object]]
        ref = "input/0x0000/f32"
        quantity = "voltage_l1"
        every = "15m"
        """
    (entry,) = load_profile(text, "acme").objects
    assert entry.every == 900
    assert object_table(entry)["every"] == 900
    with pytest.raises(ConfigError, match="every"):
        load_profile(text.replace("15m", "soon"), "acme")
