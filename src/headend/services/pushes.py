"""What meters say unasked: readings go to the bus like all others, the rest is an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from headend.drivers.base import Notification
from headend.drivers.mapping import push_batch
from headend.model.event import Event, EventType, Severity
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.services.bus import Bus
from headend.services.roster import Clock, MeterState

LONGEST_BODY: Final = 1000


class Pushes:
    """Publishes notifications; given to the lanes as `heard`."""

    def __init__(self, bus: Bus, profile: Callable[[Meter], MeterProfile | None], clock: Clock) -> None:
        self._bus = bus
        self._profile = profile
        self._clock = clock

    def heard(self, state: MeterState, said: Sequence[Notification]) -> None:
        """A meter said this, oldest first, while it was asked something else."""
        profile = self._profile(state.meter)
        entries = profile.objects if profile is not None else ()
        for notification in said:
            batch = push_batch(state.meter.id, entries, notification, self._clock())
            self._bus.publish(batch if batch is not None else self._event(state, notification))

    def _event(self, state: MeterState, notification: Notification) -> Event:
        body = notification.body
        text = body.hex(" ") if isinstance(body, bytes | bytearray) else str(body)
        return Event(
            type=EventType.NOTIFIED,
            severity=Severity.INFO,
            occurred_at=self._clock() if notification.measured_at is None else notification.measured_at,
            meter_id=state.meter.id,
            data={
                "kind": notification.kind,
                "object": ", ".join(str(ref) for ref in notification.values),
                "body": text if len(text) <= LONGEST_BODY else f"{text[:LONGEST_BODY]}…",
            },
        )
