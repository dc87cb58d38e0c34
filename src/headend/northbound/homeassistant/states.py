"""What a reading is in Home Assistant: the present state of an entity, or nothing. Pure.

Home Assistant takes every state for one of this moment. So what was measured long ago is no state: it is left out, and what was
asked for and did not come is said to be unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Final

from headend.model.quantity import find_quantity
from headend.model.reading import ReadingBatch, Value, from_millis
from headend.northbound.homeassistant.classes import Presentation, Units, present
from headend.northbound.homeassistant.discovery import RELAY, Names
from headend.northbound.message import Message
from headend.northbound.present import present_values

UNKNOWN: Final = "None"
MAX_STATE: Final = 255
"""characters that Home Assistant keeps of a state"""


def states(
    batch: ReadingBatch, described: Mapping[str, float], names: Names, units: Units, zone: tzinfo | None
) -> Iterator[Message]:
    """What a batch says of the present; `described` are the quantities with the seconds for which a value is true.

    Clocks without a zone are taken to be in `zone`; without one they are not understood.
    """
    latest = present_values(batch, described.get)
    for key, value in latest.items():
        quantity = find_quantity(key)
        if quantity is None:
            continue
        shown = present(quantity, units)
        text = state_text(value, shown, zone)
        if text != UNKNOWN or shown.decimals is not None or shown.platform != "sensor":
            yield Message(names.of(batch.meter_id, key), text.encode(), retain=key == RELAY)
    clock = _time(latest.get("meter_time"), zone)
    if clock is not None:
        offset = clock.timestamp() - batch.received_at / 1000
        yield Message(names.of(batch.meter_id, "clock_offset"), str(round(offset)).encode())
    if latest:
        at = from_millis(batch.received_at).isoformat(timespec="seconds")
        yield Message(names.of(batch.meter_id, "last_read"), at.encode(), retain=True)


def state_text(value: Value | None, shown: Presentation, zone: tzinfo | None = None) -> str:
    """A value as Home Assistant takes it. It knows UNKNOWN of numbers and switches; texts and times just grow too old."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    if shown.platform == "binary_sensor":
        return UNKNOWN if isinstance(value, str) else "ON" if value else "OFF"
    if shown.device_class == "timestamp":
        at = _time(value, zone)
        return UNKNOWN if at is None else at.isoformat(timespec="seconds")
    if shown.decimals is None:
        return str(value)[:MAX_STATE]
    if isinstance(value, str):
        return UNKNOWN
    return str(value / 10**shown.exponent if shown.exponent else int(value) if isinstance(value, bool) else value)


def _time(value: Value | None, zone: tzinfo | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if at is None or (at.tzinfo is None and zone is None):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)
