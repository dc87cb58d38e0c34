"""Readings that clients hand in: they take the same way as those of a poll."""

from __future__ import annotations

from collections.abc import Sequence

from headend.errors import Busy, ConfigError
from headend.model.quantity import quantity
from headend.model.reading import Reading, ReadingBatch, Source, to_millis
from headend.services.bus import Bus
from headend.services.roster import Clock, Roster


def submit(roster: Roster, bus: Bus, clock: Clock, meter_id: str, readings: Sequence[Reading]) -> int:
    """Publish readings of one meter; returns how many.

    Raises NotFound for an unknown meter or quantity, ConfigError for readings of another meter or times without a zone,
    Busy when the database does not keep up.
    """
    roster.state(meter_id)
    if bus.pressure() >= 1.0:
        raise Busy("the database does not keep up with the readings that wait already", hint="try again later")
    for index, reading in enumerate(readings):
        quantity(reading.quantity)
        if reading.meter_id != meter_id:
            raise ConfigError(f"reading {index} is of meter {reading.meter_id!r}, expected {meter_id!r}")
        if reading.measured_at.tzinfo is None:
            raise ConfigError(f"the time of reading {index} has no zone")
    if readings:
        bus.publish(
            ReadingBatch(
                meter_id=meter_id,
                source=Source.SUBMITTED,
                received_at=clock(),
                quantities=tuple(reading.quantity for reading in readings),
                values=tuple(reading.value for reading in readings),
                measured_at=tuple(to_millis(reading.measured_at) for reading in readings),
                quality=tuple(int(reading.quality) for reading in readings),
            )
        )
    return len(readings)
