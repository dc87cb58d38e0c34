from __future__ import annotations

import asyncio
from pathlib import Path

from headend.model.event import Event, EventType, Severity
from headend.services.bus import Bus
from headend.services.recorder import Recorder
from headend.storage.store import Store


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
