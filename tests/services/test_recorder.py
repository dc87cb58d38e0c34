from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from headend.errors import StorageError
from headend.model.event import Event, EventType, Severity
from headend.services.bus import Bus
from headend.services.recorder import Recorder
from headend.storage.store import Store

from .support import virtual


def event(meter_id: str, at: int) -> Event:
    return Event(type=EventType.NOTIFIED, severity=Severity.INFO, occurred_at=at, meter_id=meter_id)


async def test_an_event_that_no_database_can_hold_costs_no_other(tmp_path: Path) -> None:
    with Store.open(tmp_path / "headend.db", vault_key=bytes(32)) as store:
        bus = Bus()
        recorder = Recorder(bus, store.events.append)
        for each in (event("a", 1), event("b", 2**80), event("c\ud800", 2), event("d", 3)):
            bus.publish(each)
        recorder.close()
        await asyncio.wait_for(recorder.run(), 20)
        assert [stored.event.meter_id for stored in store.events.list()] == ["d", "a"]


class Book:
    """Takes events, or raises."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.refused = 0
        self.reason = ""

    def append(self, events: Sequence[Event]) -> None:
        if self.reason:
            self.refused += 1
            raise StorageError("no", reason=self.reason)
        self.kept += [event.meter_id for event in events]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - in virtual time, and a thread does it
        await asyncio.sleep(0.1)


@virtual
async def test_events_wait_for_a_full_disk_and_are_kept_in_order() -> None:
    bus, book = Bus(), Book()
    recorder = Recorder(bus, book.append)
    running = asyncio.create_task(recorder.run())
    bus.publish(event("a", 1))
    await until(lambda: book.kept)
    book.reason = "full"
    bus.publish(event("b", 1))
    await until(lambda: book.refused > 2)
    bus.publish(event("c", 1))
    book.reason = ""
    await until(lambda: len(book.kept) == 3)
    assert book.kept == ["a", "b", "c"]
    recorder.close()
    await running


@virtual
async def test_what_will_never_be_taken_costs_only_itself() -> None:
    bus, book = Bus(), Book()
    recorder = Recorder(bus, book.append)
    running = asyncio.create_task(recorder.run())
    book.reason = "failed"
    bus.publish(event("a", 1))
    await until(lambda: book.refused)
    book.reason = ""
    bus.publish(event("b", 1))
    await until(lambda: book.kept)
    assert book.kept == ["b"]
    recorder.close()
    await running


@virtual
async def test_a_full_disk_does_not_keep_the_head_end_from_stopping() -> None:
    bus, book = Bus(), Book()
    recorder = Recorder(bus, book.append)
    running = asyncio.create_task(recorder.run())
    book.reason = "full"
    bus.publish(event("a", 1))
    await until(lambda: book.refused)
    recorder.close()
    await running
    assert not book.kept
