from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend import telemetry
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch, Source
from headend.services.bus import BLOCK, Bus

from .support import virtual


def batch(size: int = 1, meter_id: str = "m") -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=Source.POLL,
        received_at=0,
        quantities=("frequency",) * size,
        values=(50,) * size,
        measured_at=(0,) * size,
        quality=(0,) * size,
    )


def event(kind: EventType = EventType.METER_ADDED) -> Event:
    return Event(type=kind, severity=Severity.INFO, occurred_at=0)


@virtual
async def test_everyone_gets_what_it_asked_for_in_order() -> None:
    bus = Bus()
    batches = bus.subscribe("batches", ReadingBatch)
    both = bus.subscribe("both", ReadingBatch, Event)
    items = [batch(), event(), batch()]
    for item in items:
        bus.publish(item)
    batches.close()
    both.close()
    bus.publish(batch())
    assert [item async for item in batches] == [items[0], items[2]]
    assert [item async for item in both] == items


@virtual
async def test_a_consumer_wakes_up_for_the_first_item_and_for_the_end() -> None:
    bus = Bus()
    subscription = bus.subscribe("s", Event)
    got: list[Event] = []

    async def consume() -> None:
        got.extend([item async for item in subscription])

    async with asyncio.TaskGroup() as group:
        group.create_task(consume())
        await asyncio.sleep(1)
        bus.publish(event())
        await asyncio.sleep(1)
        assert len(got) == 0, "a comprehension ends with the subscription"
        assert subscription.size == 0
        subscription.close()
    assert len(got) == 1


@virtual
async def test_the_oldest_is_dropped_and_counted_where_a_consumer_falls_behind() -> None:
    bus = Bus()
    subscription = bus.subscribe("slow", ReadingBatch, maxsize=3)
    before = telemetry.BUS_DROPPED.labels("slow")._value.get()
    items = [batch() for _ in range(5)]
    for item in items:
        bus.publish(item)
    assert bus.pressure() == 0.0
    subscription.close()
    assert [item async for item in subscription] == items[2:]
    assert telemetry.BUS_DROPPED.labels("slow")._value.get() - before == 2


@virtual
async def test_a_blocking_subscription_loses_nothing_and_holds_work_back() -> None:
    bus = Bus()
    subscription = bus.subscribe("writer", ReadingBatch, maxsize=10, overflow=BLOCK, weigh=len)
    await bus.room()
    for _ in range(4):
        bus.publish(batch(3))
    assert bus.pressure() == 1.2
    waiting = asyncio.create_task(bus.room())
    cancelled = asyncio.create_task(bus.room())
    await asyncio.sleep(1)
    cancelled.cancel()
    assert not waiting.done()
    assert len(await subscription.take(1, 0)) == 1
    await waiting
    assert bus.pressure() == 0.9
    subscription.close()
    assert bus.pressure() == 0.0, "who is gone holds nobody back"
    assert sum([len(item) async for item in subscription]) == 9


@virtual
async def test_taking_in_bulk_waits_for_enough_or_for_long_enough() -> None:
    bus = Bus()
    subscription = bus.subscribe("writer", ReadingBatch, maxsize=100, overflow=BLOCK, weigh=len)
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, bus.publish, batch(4))
    taken = await subscription.take(10, 0.2)
    assert (len(taken), loop.time()) == (1, pytest.approx(1.2))
    for delay in (0.05, 0.1, 0.15):
        loop.call_later(delay, bus.publish, batch(4))
    taken = await subscription.take(10, 0.2)
    assert (len(taken), loop.time()) == (2, pytest.approx(1.35)), "two fit into ten, the third waits"
    assert len(await subscription.take(10, 0.0)) == 1
    bus.publish(batch(50))
    assert len(await subscription.take(10, 0.2)) == 1, "what is larger than the limit comes alone"
    loop.call_later(1.0, subscription.close)
    assert await subscription.take(10, 0.2) == []


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 12))
def test_a_dropping_queue_never_outgrows_its_bound_and_keeps_the_newest(weights: list[int], maxsize: int) -> None:
    bus = Bus()
    subscription = bus.subscribe("bounded", ReadingBatch, maxsize=maxsize, weigh=len)
    items = [batch(weight) for weight in weights]
    for item in items:
        bus.publish(item)
    kept = list(subscription._items)
    assert subscription.size == sum(len(item) for item in kept)
    assert subscription.size <= maxsize or len(kept) == 1
    assert all(one is other for one, other in zip(kept, items[len(items) - len(kept) :], strict=True))
