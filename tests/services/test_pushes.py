from __future__ import annotations

from typing import Any

from headend.drivers.base import Notification
from headend.model.event import Event, EventType
from headend.model.objects import ObjectRef
from headend.model.reading import ReadingBatch, Source
from headend.services.bus import Bus
from headend.services.pushes import LONGEST_BODY, Pushes

from .support import PLAN, PROFILE, Site, World, clock, meter, virtual

VOLTAGE = ObjectRef("text", "u")


@virtual
async def test_what_a_meter_says_between_two_answers_comes_on_the_bus_once() -> None:
    bus = Bus()
    tape = bus.subscribe("tape", ReadingBatch, Event)
    pushes = Pushes(bus, lambda _meter: PROFILE, clock)
    world = World({"a": Site()}, heard=pushes.heard)
    world.roster.load([meter("m1", "a")])
    await world.read("m1")
    (session,) = world.driver.sessions
    session.said += [
        Notification(kind="push", body=None, measured_at=5, values={VOLTAGE: 229}),
        Notification(kind="event", body=b"\x01\x02", measured_at=6),
        Notification(kind="event", body="x" * 5000),
    ]
    await world.lanes.run_job("m1", lambda session: session.read(PLAN))
    await world.read("m1")

    items: list[Any] = await tape.take(100, 0)
    push = items[0]
    assert (push.source, list(push.quantities), list(push.values)) == (Source.PUSH, ["voltage_l1"], [229])
    events = items[1:]
    assert [event.type for event in events] == [EventType.NOTIFIED] * 2
    assert (events[0].occurred_at, events[0].data["body"]) == (6, "01 02")
    assert len(str(events[1].data["body"])) == LONGEST_BODY + 1
    await world.lanes.aclose()
