"""Virtual DLMS meters on links in memory that fail at times, and a head-end that keeps their load profiles complete."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headend.drivers.dlms import driver as dlms
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import ConnectRefused
from headend.model.event import Event, EventType
from headend.model.journal import Item
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.model.reading import ReadingBatch
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.history.collector import Collector
from headend.services.history.kept import Rules
from headend.services.roster import Roster
from headend.services.writer import Writer
from headend.storage.keeping import Keeper
from headend.storage.ledger import mark
from headend.storage.store import Store
from headend.transport.link import Link
from headend.transport.memory import MemoryLink, memory_pair
from services.support import EPOCH, clock
from tests.new_database import laid

QUARTER = 900_000
DAY = 86_400_000
START = round(EPOCH) * 1000
ENERGY = "active_energy_import_total"
REF = "7/1-0:99.1.0.255/2"


def a_profile(*, capacity: int = 8640, period: int = 900, status: bool = False) -> MeterProfile:
    """A meter file with a load profile of energy, voltage and, if wanted, its status."""
    return load_profile(
        f"""
[meter]
vendor = "Acme"
model = "L1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "1/0-0:96.1.0.255/2"
quantity = "serial_number"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "{ENERGY}"
unit = "Wh"
type = "uint32"
[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -1
type = "uint16"
[[object]]
ref = "1/0-0:96.10.1.255/2"
name = "status"
type = "uint8"
emulate = {{ value = 0 }}
[[load_profile]]
ref = "{REF}"
name = "quarters"
period_seconds = {period}
capacity = {capacity}
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2", "3/1-0:32.7.0.255/2"{', "1/0-0:96.10.1.255/2"' if status else ""}]
""",
        "acme-l1",
        "this test",
    )


class Rows(VirtualMeter):
    """A virtual meter that lacks some rows, holds some twice, or says something of them, by the time of the row."""

    def __init__(self, kind: MeterKind, number: int, seed: int = 0, params: Mapping[str, str] | None = None) -> None:
        super().__init__(kind, number, seed, params or {})
        self.plain = VirtualMeter(kind, number, seed, params or {})
        self.held: Callable[[int], bool] = lambda _at: True
        self.status: dict[int, int] = {}
        self.factor: Callable[[int], float] = lambda _at: 1.0

    def _held(self, load_profile: Any, at: int) -> list[int]:
        whole = self.plain.entries_in_use(load_profile, at)
        times = (self.plain.row(load_profile, entry, at)[0] for entry in range(1, whole + 1))
        return [entry for entry, time in enumerate(times, 1) if self.held(time)]

    def entries_in_use(self, load_profile: Any, at: int) -> int:
        return len(self._held(load_profile, at))

    def row(self, load_profile: Any, entry: int, at: int) -> tuple[int, Sequence[Any]]:
        time, values = self.plain.row(load_profile, self._held(load_profile, at)[entry - 1], at)
        changed = [round(int(values[0]) * self.factor(time)), *values[1:]]
        if len(changed) > 2:
            changed[2] = self.status.get(time, 0)
        return time, changed

    def entry_range(self, load_profile: Any, start: int, end: int, at: int) -> tuple[int, int]:
        held = self._held(load_profile, at)
        times = [self.plain.row(load_profile, entry, at)[0] for entry in held]
        chosen = [place for place, time in enumerate(times, 1) if start <= time <= end]
        return (chosen[0], chosen[-1]) if chosen else (1, 0)


class Plant:
    """Meters, and when each of them cannot be reached."""

    def __init__(
        self,
        count: int,
        profile: MeterProfile,
        *,
        make: type[VirtualMeter] = VirtualMeter,
        history_days: float = 0.0,
        params: Mapping[str, str] | None = None,
    ) -> None:
        self.profile = profile
        kind = MeterKind(profile, clock, history_days=history_days)
        self.meters = [make(kind, number, 0, dict(params or {})) for number in range(1, count + 1)]
        self.params = dict(params or {})
        self.outages: dict[int, list[tuple[int, int]]] = {}
        self.links: dict[int, list[MemoryLink]] = {}

    def down(self, number: int, at: int) -> bool:
        return any(start <= at < end for start, end in self.outages.get(number, ()))

    def entered(self) -> list[Meter]:
        return [
            Meter(
                id=f"m{number}",
                protocol="dlms",
                framing="wrapper",
                endpoint=Endpoint(kind=EndpointKind.TCP, host=str(number), port=4059),
                profile_id=self.profile.id,
                params=self.params,
                poll_seconds=0.0,
            )
            for number in range(1, len(self.meters) + 1)
        ]

    async def open_link(self, endpoint: Endpoint, _timeout: float) -> Link:
        number = int(endpoint.host)
        if self.down(number, clock()):
            raise ConnectRefused(f"nobody listens at {endpoint.wire}")
        near, far = memory_pair()
        self.links.setdefault(number, []).append(near)
        dlms.serve(far, self.meters[number - 1])
        return near

    async def cut(self) -> None:
        """Cut the links of meters that cannot be reached, second by second of virtual time."""
        loop = asyncio.get_running_loop()
        for _, number in sorted((start, number) for number, spans in self.outages.items() for start, _ in spans):
            starts = [start for start, _ in self.outages[number]]
            for start in starts:
                loop.call_at(loop.time() + max(0.0, (start - clock()) / 1000), self._drop, number)

    def _drop(self, number: int) -> None:
        for link in self.links.pop(number, ()):
            link.abort()


class HeadEnd:
    """What a head-end has for load profiles, over a store; `published` counts what was stored, by what names it."""

    def __init__(self, plant: Plant, store: Store, rules: Rules, published: Counter[tuple[str, str, int]]) -> None:
        self.store = store
        self.bus = Bus()
        self.roster = Roster(self.bus, clock)
        self.roster.load(plant.entered())
        self.lanes = Lanes(
            self.roster,
            open_link=plant.open_link,
            driver=lambda _name: dlms,
            profile=lambda _meter: plant.profile,
            secrets=_no_secrets,
        )
        keeper = Keeper(store.readings, None, mark)

        def write(items: Sequence[Item]) -> None:
            keeper.write(items)
            for item in items:
                if isinstance(item, ReadingBatch):
                    published.update(
                        (item.meter_id, name, at) for name, at in zip(item.quantities, item.measured_at, strict=True)
                    )

        self.writer = Writer(self.bus, write, clock=clock)
        self.collector = Collector(
            self.roster,
            self.lanes,
            self.bus,
            store.ledger,
            profile=lambda _meter: plant.profile,
            clock=clock,
            rules=rules,
        )
        self.tape = self.bus.subscribe("tape", Event, maxsize=100_000)

    def events(self, *kinds: EventType) -> list[Event]:
        """What was said of these kinds since the last call."""
        found = [event for event in self.tape._items if event.type in kinds]
        self.tape._items.clear()
        return found


async def _no_secrets(_meter: Meter) -> dict[str, Any]:
    return {}


@asynccontextmanager
async def running(
    plant: Plant,
    folder: Path,
    *,
    rules: Rules = Rules(),  # noqa: B008 - nobody changes one
    published: Counter[tuple[str, str, int]] | None = None,
    killed: bool = False,
) -> AsyncIterator[HeadEnd]:
    """A head-end; `killed`: it ends without a word to anybody, with what it had not written lost."""
    with Store.open(laid(folder / "h.db"), vault_key=None) as store:
        here = HeadEnd(plant, store, rules, Counter() if published is None else published)
        writing = asyncio.create_task(here.writer.run())
        collecting = asyncio.create_task(here.collector.run())
        try:
            yield here
        finally:
            here.collector.stop()
            if killed:
                for task in (collecting, writing):
                    task.cancel()
            await asyncio.gather(collecting, return_exceptions=killed)
            await here.lanes.aclose()
            here.writer.close()
            await asyncio.gather(writing, return_exceptions=killed)


def stored(store: Store, meter_id: str, quantity: str = ENERGY) -> dict[int, Any]:
    """The readings of a meter by time."""
    series = store.readings.series(meter_id, quantity, 0, 2**50)
    return dict(zip(series.measured_at, series.values, strict=True))


def recorded(meter: VirtualMeter, at: int) -> dict[int, Sequence[Any]]:
    """All rows that a meter holds at a time."""
    (table,) = meter.profile.load_profiles
    return dict(meter.row(table, entry, at) for entry in range(1, meter.entries_in_use(table, at) + 1))


def quarters(start: int, end: int, period: int = QUARTER) -> Iterable[int]:
    """The times of a grid in a half-open span."""
    return range(-(-start // period) * period, end, period)
