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
    """the meter answered, for the first time or again"""
    METER_OFFLINE = "METER_OFFLINE"
    """the meter cannot be reached, or answers nonsense; `code` and `reason` say why"""
    METER_ADDED = "METER_ADDED"
    """a meter was added"""
    METER_CHANGED = "METER_CHANGED"
    """a meter, or a secret of it, was changed"""
    METER_REMOVED = "METER_REMOVED"
    """a meter was removed"""
    READ_FAILED = "READ_FAILED"
    """a read failed with another error than before; `code` and `reason` say why"""
    NOTIFIED = "NOTIFIED"
    """the meter said something unasked that is no reading: `kind`, `body`"""
    PUSH_UNKNOWN = "PUSH_UNKNOWN"
    """somebody who is no known meter pushes: `source`, `system_title`, `logical_device_name`, `serial`, `octets`, `count`"""
    PUSH_REFUSED = "PUSH_REFUSED"
    """a push is not believed, or cannot be read: `source`, `code` and `reason`, `count` of them since the last such event"""
    METER_CONNECTED = "METER_CONNECTED"
    """the meter has dialled in: `connection`, `peer`, `label`, `registration`, `trusted`, `replaced` connection (0: none)"""
    METER_DISCONNECTED = "METER_DISCONNECTED"
    """the connection of a meter that dials in is lost: `connection`, `peer`, `code` and `reason`, `seconds` that it lasted"""
    CALLER_UNKNOWN = "CALLER_UNKNOWN"
    """who dials in is no known meter: `caller` (see quarantine), `source`, `label`, `number`, `reason`, `octets`, `count`"""
    CALLER_REFUSED = "CALLER_REFUSED"
    """a connection was refused or cut off: `source`, `reason`, `count` of them since the last such event"""
    JOB_CHANGED = "JOB_CHANGED"
    """a job went on: `job`, `command`, `actor`, `state`, `note`; passes by and is not kept, as the job itself is"""
    COMMAND_FINISHED = "COMMAND_FINISHED"
    """a command ended, or was found out: `job`, `command`, `actor`, `verdict` (confirmed, refused, unknown, not-sent), `detail`"""
    ALARM_RAISED = "ALARM_RAISED"
    """an alarm is raised: its number as `alarm`, `kind`, `rule`, `label`, `quantity`, `phase`, `value`, `threshold`, `unit`"""
    ALARM_CLEARED = "ALARM_CLEARED"
    """an alarm is over: the same, and `cleared` (ended, settled, rule, meter)"""
    ALARM_ACKNOWLEDGED = "ALARM_ACKNOWLEDGED"
    """somebody has seen an alarm: the same, and `actor`, `note`"""
    SCAN_STARTED = "SCAN_STARTED"
    """a scan has begun: `scan`, `targets`, `actor`"""
    SCAN_PROGRESS = "SCAN_PROGRESS"
    """how far a scan is: `scan`, `of`, `done`, `open`, `examined`, `devices`, `new`, `seconds_left`; passes by and is not kept"""
    SCAN_ENDED = "SCAN_ENDED"
    """a scan is over: the same, and `state` (finished, cancelled, failed), `error`"""
    METER_DISCOVERED = "METER_DISCOVERED"
    """a meter was found, or is another: `device`, `url`, `protocol`, `vendor`, `model`, `serial`, `confidence`, `scan`, `new`"""
    STORAGE_FULL = "STORAGE_FULL"
    """the database does not take readings; polling pauses when the queue is full"""
    STORAGE_RECOVERED = "STORAGE_RECOVERED"
    """the database takes readings again"""
    OUTBOX_FULL = "OUTBOX_FULL"
    """what waits for a broker that is away is more than there is room for: the oldest messages go, `dropped` of them at first"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; times are milliseconds since the epoch (UTC). `meter_id` is empty for events of the head-end itself."""

    type: EventType
    severity: Severity
    occurred_at: int
    meter_id: str = ""
    data: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)


PASSING_BY = frozenset({EventType.JOB_CHANGED, EventType.SCAN_PROGRESS})
"""Events that say how something goes on that is kept itself: they are not."""
