"""The register of devices: what was found goes in with all that follows from it, and whoever listens is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headend.model.device import Noted
from headend.model.discovery import Examination
from headend.model.event import Event, EventType, Severity
from headend.model.reading import Value
from headend.services.bus import Bus
from headend.services.discovery.deriving import Derive, finding
from headend.services.discovery.identifying import Identified
from headend.services.roster import Clock
from headend.storage.store import Store


class Register:
    """Records what was found. `derive` gives the rules as they are now, `ours` the meter of ours that was examined."""

    def __init__(
        self, store: Store, bus: Bus, clock: Clock, derive: Callable[[], Derive], ours: Callable[[Examination], str]
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._derive = derive
        self._ours = ours

    async def record(self, found: Sequence[Identified], scan: str = "") -> Sequence[Noted]:
        """Store what was found. Raises StorageError."""
        now = self._clock()
        seen = [(each, self._ours(each.examination)) for place in found for each in place.found]
        if not seen:
            return ()

        def store() -> Sequence[Noted]:
            derive = self._derive()
            findings = [finding(derive, each.sighting, each.examination, now, meter) for each, meter in seen]
            return self._store.devices.record(findings, scan)

        return await asyncio.to_thread(store)

    def announce(self, noted: Sequence[Noted], scan: str = "") -> None:
        """Say on the bus what is new, or otherwise than it was."""
        for each in noted:
            if not (each.new or each.changed):
                continue
            device = each.device
            data: dict[str, Value] = {
                "device": device.id,
                "url": device.url,
                "protocol": device.protocol,
                "vendor": device.vendor,
                "model": device.model,
                "serial": device.serial,
                "confidence": device.confidence,
                "scan": scan,
                "new": each.new,
            }
            self._bus.publish(
                Event(
                    type=EventType.METER_DISCOVERED,
                    severity=Severity.INFO,
                    occurred_at=self._clock(),
                    meter_id=device.meter_id,
                    data=data,
                )
            )
