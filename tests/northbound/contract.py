"""What every sink must hold, for the tests of any of them: outage, restart, replay, same ids, poison, order per meter.

A test gives a sink and a peer: something that takes what the sink says and can tell what came. The journal, the courier and
the database are the real ones.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from headend.model.event import Event
from headend.model.journal import Entry, Item
from headend.model.reading import ReadingBatch, Source
from headend.northbound.courier import Courier
from headend.northbound.deliveries import Deliveries
from headend.northbound.groups import Passes
from headend.northbound.sink import Sink
from headend.services.bus import Bus
from headend.services.writer import Writer
from headend.storage.keeping import Keeper
from headend.storage.store import Store, wall_millis
from tests.new_database import laid

QUANTITY = "voltage_l1"


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that came to the peer, and the id of its entry (empty where the peer is told none)."""

    meter: str
    value: float
    id: str = ""


class Peer(Protocol):
    """Who a sink delivers to."""

    async def leave(self) -> None:
        """Go away: connections break, none can be opened."""

    async def come(self) -> None:
        """Be there again."""

    def seen(self) -> Sequence[Seen]:
        """All that came and was acknowledged, in order, also what came twice."""

    def refuse(self, value: float) -> bool:
        """Never take this value; False where the peer takes everything."""


def batch(meter: str, value: float, at: int = 1_800_000_000_000, **more: object) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.POLL,
        received_at=at,
        quantities=(QUANTITY,),
        values=[value],
        measured_at=[at],
        quality=[0],
        **more,  # type: ignore[arg-type] # fields of a batch
    )


class Rig:
    """A head-end as far as delivery goes: what is stored is offered."""

    def __init__(self, store: Store, deliveries: Deliveries, courier: Courier, events: list[Event]) -> None:
        self._store = store
        self.deliveries = deliveries
        self.courier = courier
        self.events = events
        self._keeper = Keeper(store.readings, store.journal)
        self.journal = store.journal

    async def store(self, *items: Item) -> list[Entry]:
        """Store items in one transaction; returns their entries."""
        segment = await asyncio.to_thread(self._keeper.write, items)
        assert segment is not None
        self.deliveries.offer(segment)
        return segment.entries()

    async def until(self, look: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for what cannot be awaited."""
        async with asyncio.timeout(seconds):
            while not look():  # noqa: ASYNC110 - what a peer does cannot be awaited
                await asyncio.sleep(0.02)


@asynccontextmanager
async def rig(
    folder: Path,
    sink: Sink,
    *,
    confirm_seconds: float = 60,
    passes: Passes = lambda entry: entry,
    keep_hours: float = 72,
    running: Callable[[Courier], Coroutine[Any, Any, None]] = Courier.run,
    count: Callable[[Sequence[Entry], bool], None] = lambda _entries, _late: None,
) -> AsyncIterator[Rig]:
    """Deliver to a sink from the database in a folder, until the block ends; times are those of the loop."""
    loop = asyncio.get_running_loop()

    def clock() -> int:
        return round((1_800_000_000 + loop.time()) * 1000)

    with Store.open(laid(folder / "headend.db"), vault_key=None, millis=clock) as store:
        events: list[Event] = []
        courier = Courier(
            "test",
            "test",
            sink,
            store.journal,
            clock=clock,
            publish=events.append,
            passes=passes,
            confirm_seconds=confirm_seconds,
            count=count,
        )
        deliveries = Deliveries(store.journal, clock, keep_hours=keep_hours, keep_octets=1 << 40)
        deliveries.add(courier)
        deliveries.load()
        task = asyncio.create_task(deliveries.run(running))
        try:
            yield Rig(store, deliveries, courier, events)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            raise AssertionError from task.exception()


async def check(folder: Path, make: Callable[[], Sink], peer: Peer, *, meters: int = 5, rounds: int = 20) -> None:
    """All of it. `make` makes the sink anew, as a restart does."""
    names = [f"meter-{number}" for number in range(meters)]
    stored: dict[str, list[float]] = defaultdict(list)
    ids: dict[tuple[str, float], str] = {}
    value = 0.0

    async def some(rig: Rig) -> None:
        nonlocal value
        for _ in range(rounds):
            value += 1
            for entry, name in zip(await rig.store(*(batch(name, value) for name in names)), names, strict=True):
                stored[name].append(value)
                ids[name, value] = entry.id
            await asyncio.sleep(0)

    def complete() -> bool:
        return {(seen.meter, seen.value) for seen in peer.seen()} >= ids.keys()

    async with rig(folder, make()) as running:
        await asyncio.wait_for(running.courier.connected.wait(), 60)
        await some(running)
        await running.until(complete)
        await peer.leave()
        await some(running)
        await peer.come()
        await running.until(complete)
        await some(running)
        await peer.leave()
        await some(running)
    # what was stored while the peer was away outlives a restart
    await peer.come()
    async with rig(folder, make()) as running:
        await running.until(complete)
        # What came is confirmed a little later; a replay of what is still on its way would be no second delivery.
        await running.until(lambda: not running.courier.state.backlog)
        before = len(peer.seen())
        assert await running.deliveries.replay("test", 0, 1 << 60) == len(ids)
        await running.until(lambda: len(peer.seen()) >= before + len(ids))
        await _poison(running, peer, ids)
    _orderly(peer.seen(), stored)
    for seen in peer.seen():
        assert seen.id in ("", ids.get((seen.meter, seen.value), seen.id)), "an entry came under another id"


async def _poison(running: Rig, peer: Peer, ids: dict[tuple[str, float], str]) -> None:
    """One value that the peer never takes holds up nothing."""
    if not peer.refuse(-1.0):
        return
    entries = await running.store(*(batch(f"poison-{number}", -1.0 if number == 3 else 7.0) for number in range(7)))
    ids.update({(f"poison-{number}", 7.0): entries[number].id for number in range(7) if number != 3})
    await running.until(lambda: running.courier.state.refused == 1)
    await running.until(lambda: {(seen.meter, seen.value) for seen in peer.seen()} >= ids.keys())
    assert ("poison-3", -1.0) not in {(seen.meter, seen.value) for seen in peer.seen()}
    assert [letter.entry.id for letter in await running.deliveries.refused("test")] == [entries[3].id]


def _orderly(seen: Sequence[Seen], stored: dict[str, list[float]]) -> None:
    """What came of a meter for the first time came in the order in which it was stored, live and late each for itself."""
    first: dict[str, list[float]] = defaultdict(list)
    for each in seen:
        if each.meter in stored and each.value not in first[each.meter]:
            first[each.meter].append(each.value)
    for meter, values in first.items():
        assert sorted(values) == stored[meter]
        falls = sum(1 for one, next_ in pairwise(values) if next_ < one)
        assert falls <= 2, "more than live and late can mix"


@asynccontextmanager
async def on_the_bus(
    folder: Path, sink: Sink, bus: Bus, clock: Callable[[], int] = wall_millis
) -> AsyncIterator[Courier]:
    """Deliver to a sink what passes over a bus, as a head-end does: stored first, by the writer."""
    loop = asyncio.get_running_loop()
    begin = clock() - round(loop.time() * 1000)
    with Store.open(
        laid(folder / "headend.db"), vault_key=None, millis=lambda: begin + round(loop.time() * 1000)
    ) as store:
        courier = Courier("test", "mqtt", sink, store.journal, clock=clock, publish=bus.publish)
        deliveries = Deliveries(store.journal, clock, keep_hours=72, keep_octets=1 << 40)
        deliveries.add(courier)
        deliveries.load()
        writer = Writer(bus, Keeper(store.readings, store.journal).write, clock=clock, stored=deliveries.offer)
        writing, delivering = asyncio.create_task(writer.run()), asyncio.create_task(deliveries.run())
        try:
            yield courier
        finally:
            writer.close()
            await writing
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
        if not delivering.cancelled():
            raise AssertionError from delivering.exception()
