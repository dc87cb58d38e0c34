from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headend.errors import StorageError
from headend.model.event import Event
from headend.model.reading import ReadingBatch, Source
from headend.services.bus import Bus
from headend.services.writer import BATCH_READINGS, MOST_READINGS, Writer
from headend.storage.store import Store

from .support import Site, World, clock, meter, virtual


class Table:
    """A real SQLite table that can be told to be full."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("CREATE TABLE readings (meter, quantity, at, value, PRIMARY KEY (meter, quantity, at))")
        self.full = False
        self.sizes: list[int] = []
        self.threads: set[int] = set()

    def write(self, batches: Sequence[ReadingBatch]) -> None:
        self.threads.add(threading.get_ident())
        if self.full:
            raise StorageError("no space left on the device")
        rows = [(b.meter_id, *row) for b in batches for row in zip(b.quantities, b.measured_at, b.values, strict=True)]
        self.sizes.append(len(rows))
        with self._database:
            self._database.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", rows)

    def count(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM readings").fetchone()
        assert isinstance(count, int)
        return count

    def close(self) -> None:
        self._database.close()


def batch(number: int, size: int = 4) -> ReadingBatch:
    return ReadingBatch(
        meter_id=f"m{number}",
        source=Source.POLL,
        received_at=number,
        quantities=tuple(f"q{n}" for n in range(size)),
        values=(50,) * size,
        measured_at=(number,) * size,
        quality=(0,) * size,
    )


@asynccontextmanager
async def writing(bus: Bus, table: Table, **options: Any) -> AsyncIterator[Writer]:
    writer = Writer(bus, table.write, clock=clock, **options)
    running = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        writer.close()
        try:
            await running
        finally:
            table.close()


@virtual
async def _write_many(path: Path) -> None:
    bus, table = Bus(), Table(path)
    async with writing(bus, table) as writer:
        for number in range(BATCH_READINGS // 4):
            bus.publish(batch(number))
        await asyncio.sleep(0.01)
        assert table.sizes == [BATCH_READINGS], "so many are not waited with"
        for number in range(3000):
            bus.publish(batch(number + 1000))
        await asyncio.sleep(1)
        assert table.sizes == [BATCH_READINGS, MOST_READINGS, 12_000 - MOST_READINGS], "a backlog is written in bulk"
        assert table.count() == writer.acknowledged == 13_000
        bus.publish(batch(5000))
        await asyncio.sleep(0.1)
        assert table.count() == 13_000, "a few readings wait for more of them"
        await asyncio.sleep(0.2)
        assert table.count() == 13_004
        bus.publish(batch(5001))
    assert writer.acknowledged == 13_008
    assert sum(table.sizes) == 13_008
    assert len(table.threads) == 1
    assert table.threads != {threading.get_ident()}


def test_readings_are_written_in_batches_by_one_thread_and_flushed_at_the_end(tmp_path: Path) -> None:
    _write_many(tmp_path / "readings.db")


@virtual
async def _full_disk(path: Path) -> None:
    world = World({f"h{n}": Site() for n in range(10)})
    world.roster.load(meter(host, host, poll_seconds=1) for host in world.sites)
    table = Table(path)
    async with writing(world.bus, table, queue_readings=50) as writer:
        poller = world.poller()
        polls = asyncio.create_task(poller.run())
        await asyncio.sleep(10)
        assert writer.acknowledged >= 90
        table.full = True
        world.published()
        await asyncio.sleep(100)
        published = world.published()
        assert [item.type.value for item in published if isinstance(item, Event)] == ["STORAGE_FULL"]
        stalled = sum(len(item) for item in published if isinstance(item, ReadingBatch))
        assert 50 <= stalled <= 70, "the queue, what was in hand, and not a read more"
        await asyncio.sleep(100)
        assert world.published() == []
        table.full = False
        await asyncio.sleep(60)
        published = world.published()
        assert [item.type.value for item in published if isinstance(item, Event)] == ["STORAGE_RECOVERED"]
        assert sum(len(item) for item in published if isinstance(item, ReadingBatch)) > 250
        poller.stop()
        await polls
        await asyncio.sleep(1)
        assert table.count() == writer.acknowledged
        assert writer.acknowledged == sum(state.reads_ok for state in world.roster)
    await world.lanes.aclose()


def test_a_full_disk_stops_the_polls_and_costs_no_reading(tmp_path: Path) -> None:
    _full_disk(tmp_path / "readings.db")


@virtual
async def _close_while_full(path: Path) -> None:
    bus, table = Bus(), Table(path)
    table.full = True
    writer = Writer(bus, table.write, clock=clock)
    running = asyncio.create_task(writer.run())
    bus.publish(batch(1))
    await asyncio.sleep(10)
    writer.close()
    with pytest.raises(StorageError):
        await running
    assert writer.waiting == 4
    assert writer.acknowledged == 0
    table.close()


def test_closing_while_the_database_is_away_ends_with_its_error(tmp_path: Path) -> None:
    _close_while_full(tmp_path / "readings.db")


@virtual
async def _recover_at_close(path: Path) -> None:
    bus, table = Bus(), Table(path)
    table.full = True
    async with writing(bus, table) as writer:
        bus.publish(batch(1))
        await asyncio.sleep(10)
        bus.publish(batch(2))
        table.full = False
    assert writer.acknowledged == 8


def test_closing_tries_once_more(tmp_path: Path) -> None:
    _recover_at_close(tmp_path / "readings.db")


@virtual
async def _impossible_batch(path: Path) -> None:
    with Store.open(path, vault_key=None) as store:
        bus = Bus()
        writer = Writer(bus, store.readings.write, clock=clock)
        running = asyncio.create_task(writer.run())
        bus.publish(batch(1))
        bus.publish(replace(batch(2), values=[1, None, 3, 4]))  # type: ignore[list-item] # that is the point
        bus.publish(replace(batch(3), quality=(1 << 20,) * 4))
        bus.publish(replace(batch(4), measured_at=(1 << 90,) * 4))
        bus.publish(replace(batch(5), values=[1, 2]))
        bus.publish(batch(6))
        await asyncio.sleep(1)
        bus.publish(batch(7))
        writer.close()
        await running
        assert (writer.acknowledged, writer.refused, writer.waiting) == (12, 4, 0)
        assert sorted(set(store.readings.latest().meter_ids)) == ["m1", "m6", "m7"]


def test_a_batch_that_cannot_be_stored_costs_itself_alone(tmp_path: Path) -> None:
    _impossible_batch(tmp_path / "readings.db")


@virtual
async def test_after_a_burst_a_trickle_is_written_at_once_again(tmp_path: Path) -> None:
    bus, table = Bus(), Table(tmp_path / "t.db")
    async with writing(bus, table) as writer:
        for number in range(200):
            bus.publish(batch(number, 12))
        await asyncio.sleep(1)
        table.sizes.clear()
        for number in range(200, 300):  # 600 readings a second
            bus.publish(batch(number, 12))
            await asyncio.sleep(0.02)
        assert writer.waiting <= 24
        assert max(table.sizes[20:]) <= 24
