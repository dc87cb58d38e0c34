"""The statistician: what meters did since the last time, once, in the slot of now; a database that is away loses nothing."""

from __future__ import annotations

from collections.abc import Mapping

from headend.errors import StorageError
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.statistics import SLOT_MS, Figures
from headend.services.bus import Bus
from headend.services.roster import MeterState, Roster
from headend.services.statistics import Statistician

NOW = 1_767_225_600_000


class Site:
    def __init__(self) -> None:
        self.now = NOW
        self.away = False
        self.stored: list[tuple[int, dict[str, tuple[int, int]]]] = []
        self.roster = Roster(Bus(), lambda: self.now)
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=1)
        for name in ("a", "b"):
            self.roster.add(Meter(id=name, protocol="dlms", framing="wrapper", endpoint=endpoint))
        self.statistician = Statistician(self.roster, self.store, lambda: self.now)

    def store(self, slot: int, figures: Mapping[str, Figures]) -> None:
        if self.away:
            raise StorageError("away", reason="full")
        self.stored.append((slot, {name: (each.reads_ok, sum(each.classes)) for name, each in figures.items()}))

    def read(self, meter_id: str, count: int = 1) -> MeterState:
        state = self.roster.state(meter_id)
        for _ in range(count):
            state.reads_ok += 1
            state.figures.took(0.1)
        return state


async def test_only_what_is_new_is_stored_and_only_of_meters_that_did_something() -> None:
    site = Site()
    site.read("a", 3)
    await site.statistician.flush()
    await site.statistician.flush()
    site.read("a")
    site.read("b", 2)
    await site.statistician.flush()
    assert site.stored == [(NOW, {"a": (3, 3)}), (NOW, {"a": (1, 1), "b": (2, 2)})]


async def test_a_database_that_was_away_gets_all_of_it_in_the_right_slots() -> None:
    site = Site()
    site.away = True
    site.read("a", 2)
    await site.statistician.flush()
    site.now += SLOT_MS
    site.read("a", 5)
    await site.statistician.flush()
    site.away = False
    await site.statistician.flush()
    assert site.stored == [(NOW, {"a": (2, 2)}), (NOW + SLOT_MS, {"a": (5, 5)})]


async def test_a_meter_that_was_changed_counts_anew() -> None:
    site = Site()
    site.read("a", 4)
    await site.statistician.flush()
    site.roster.update(site.roster.state("a").meter)
    site.read("a")
    await site.statistician.flush()
    assert site.stored[-1] == (NOW, {"a": (1, 1)})
