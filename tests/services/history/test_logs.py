"""Event logs and billing values of virtual DLMS meters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library, load_profile
from headend.drivers.meter_text import document_of, write
from headend.emulator.meter import VirtualMeter
from headend.errors import ConfigError
from headend.model.event import EventType
from headend.model.job import Command, CommandKind
from headend.model.objects import HistoryBlock, HistoryColumn, ObjectRef
from headend.model.profile import MeterProfile
from headend.services.acquisition.turns import Priority
from headend.services.history.kept import Rules
from headend.services.history.logs import Logs, entries_of
from headend.services.recorder import Recorder
from services.support import clock, virtual

from .support import DAY, ENERGY, START, HeadEnd, Plant, running, stored

PROFILE = load_profile(
    f"""
[meter]
vendor = "Acme"
model = "L2"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "{ENERGY}"
unit = "Wh"
type = "uint32"
[[object]]
ref = "1/0-0:96.11.0.255/2"
name = "event code"
type = "uint8"
emulate = {{ value = 0 }}
[[load_profile]]
ref = "7/0-0:99.98.0.255/2"
name = "standard events"
period_seconds = 0
capacity = 100
columns = ["8/0-0:1.0.0.255/2", "1/0-0:96.11.0.255/2"]
event_table = "idis"
events = {{ 4 = "the clock was adjusted by somebody" }}
[[load_profile]]
ref = "7/0-0:98.1.0.255/2"
name = "billing"
period_seconds = 0
capacity = 12
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2"]
""",
    "acme-l2",
    "this test",
)


class Logging(VirtualMeter):
    """A meter with rows that the test writes."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows: dict[str, list[tuple[int, list[Any]]]] = {"standard events": [], "billing": []}

    def _until(self, table: Any, at: int) -> list[tuple[int, list[Any]]]:
        return [row for row in self.rows[table.name] if row[0] <= at]

    def entries_in_use(self, load_profile: Any, at: int) -> int:
        return len(self._until(load_profile, at))

    def row(self, load_profile: Any, entry: int, at: int) -> tuple[int, Sequence[Any]]:
        return self._until(load_profile, at)[entry - 1]

    def entry_range(self, load_profile: Any, start: int, end: int, at: int) -> tuple[int, int]:
        chosen = [n for n, (time, _) in enumerate(self._until(load_profile, at), 1) if start <= time <= end]
        return (chosen[0], chosen[-1]) if chosen else (1, 0)


def logs_of(here: HeadEnd, profile: MeterProfile) -> Logs:
    return Logs(
        here.roster,
        here.lanes,
        here.bus,
        events=here.store.events,
        readings=here.store.readings,
        profile=lambda _meter: profile,
        clock=clock,
        rules=Rules(),
    )


async def read_for(here: HeadEnd, seconds: float, profile: MeterProfile = PROFILE) -> None:
    logs, recorder = logs_of(here, profile), Recorder(here.bus, here.store.events.append)
    tasks = [asyncio.create_task(logs.run()), asyncio.create_task(recorder.run())]
    await asyncio.sleep(seconds)
    logs.stop()
    await tasks[0]
    recorder.close()
    await tasks[1]


@virtual
async def test_entries_become_events_and_billing_values_readings_each_once(tmp_path: Path) -> None:
    plant = Plant(1, PROFILE, make=Logging)
    (meter,) = plant.meters
    assert isinstance(meter, Logging)
    meter.rows["standard events"] = [(START - DAY, [3]), (START - DAY, [4]), (START + 7200_000, [1])]
    meter.rows["billing"] = [(START - 10 * DAY, [5000]), (START + 7200_000, [6000])]
    once: Counter[tuple[str, str, int]] = Counter()
    for _ in range(2):
        async with running(plant, tmp_path, published=once) as here:
            await read_for(here, 4 * 3600)
            found = here.store.events.list(types=[EventType.METER_EVENT])
            told = sorted((each.event.occurred_at, each.event.data["code"]) for each in found)
            assert told == [(START - DAY, 3), (START - DAY, 4), (START + 7200_000, 1)]
            assert {each.event.data["name"] for each in found} == {"standard events"}
            assert {each.event.data["code"]: each.event.data["text"] for each in found} == {
                1: "power down",
                3: "daylight saving time enabled or disabled",
                4: "the clock was adjusted by somebody",
            }
            assert stored(here.store, "m1") == {START - 10 * DAY: 5000, START + 7200_000: 6000}
    assert set(once.values()) == {1}
    meter.rows["standard events"].append((START + 7200_000 - 1200_000, [5]))  # its clock was set back, then forward
    async with running(plant, tmp_path) as here:
        await read_for(here, 2 * 3600)
        found = [each.event for each in here.store.events.list(types=[EventType.METER_EVENT])]
        assert sorted(event.data["code"] for event in found) == [1, 3, 4, 5]
    meter.rows["standard events"].append((clock() + 1000, [9]))
    async with running(plant, tmp_path) as here:
        await read_for(here, 2 * 3600)
        assert next(iter(here.store.events.list(types=[EventType.METER_EVENT]))).event.data["code"] == 9


@virtual
async def test_what_commands_did_is_told_in_words_once(tmp_path: Path) -> None:
    profile = Library().get("generic-dlms-functions")
    plant = Plant(1, profile)
    async with running(plant, tmp_path) as here:
        for kind in (CommandKind.DISCONNECT, CommandKind.SET_CLOCK):
            await here.lanes.run_job(
                "m1", lambda session, kind=kind: session.execute(Command(kind=kind)), Priority.COMMAND, timeout=30
            )
            await asyncio.sleep(60)
        await read_for(here, 3 * 3600, profile)
        told = [each.event for each in here.store.events.list(types=[EventType.METER_EVENT])]
    told.sort(key=lambda event: (event.occurred_at, event.data["code"]))
    assert [(event.data["name"], event.data["code"], event.data["text"]) for event in told] == [
        ("Events of the disconnector", 62, "disconnected remotely"),
        ("Standard events", 4, "clock adjusted: the time before"),
        ("Standard events", 5, "clock adjusted: the time after"),
    ]
    assert told[1].occurred_at - told[0].occurred_at == pytest.approx(60_000, abs=2000)


def test_what_codes_mean_is_written_back_into_the_file() -> None:
    text = write(document_of(PROFILE))
    again = load_profile(text, "acme-l2", "this test")
    assert again.load_profiles == PROFILE.load_profiles


@pytest.mark.parametrize("said", [{"event_table": "acme"}, {"events": {"cover": "opened"}}, {"events": {"7": 8}}])
def test_tables_of_codes_that_cannot_be(said: dict[str, Any]) -> None:
    document = document_of(PROFILE)
    document["load_profile"][0] |= said
    with pytest.raises(ConfigError, match=f"load_profile. {next(iter(said))}: expected"):
        load_profile(write(document), "acme-l2", "this test")


def test_the_first_whole_number_of_a_row_is_the_code() -> None:
    column = HistoryColumn(ref=ObjectRef("dlms", "x"))
    rows: list[tuple[Any, ...]] = [("a", 7, b"\x01\x02"), (None, "b"), (5, 6), (8,)]
    block = HistoryBlock(columns=(column,), times=[1, 2, 3, None], rows=rows, quality=[0] * 4)
    assert list(entries_of(block)) == [(1, 7, "a 0102"), (3, 5, "6")]
