"""Things that happened to meters and to the head-end, from a closed catalogue."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from headend.model.meter import NO_PARAMS
from headend.model.reading import Value


class Severity(enum.Enum):
    """How much it matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class EventType(enum.Enum):
    """The catalogue; the texts are stable (MQTT, REST, rules)."""

    METER_ONLINE = "METER_ONLINE"
    METER_OFFLINE = "METER_OFFLINE"
    METER_ADDED = "METER_ADDED"
    METER_CHANGED = "METER_CHANGED"
    METER_REMOVED = "METER_REMOVED"
    READ_FAILED = "READ_FAILED"
    COMMAND_FINISHED = "COMMAND_FINISHED"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_RECOVERED = "STORAGE_RECOVERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; times are milliseconds since the epoch (UTC). `meter_id` is empty for events of the head-end itself."""

    type: EventType
    severity: Severity
    occurred_at: int
    meter_id: str = ""
    data: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
