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
    SESSION_REOPENED = "SESSION_REOPENED"
    """the session of a meter broke and was opened anew: `code` and `reason`, `count` of times since the last such event"""
    CIRCUIT_OPENED = "CIRCUIT_OPENED"
    """a meter, or a wire (`scope`), is left alone: `wire`, `code` and `reason`, `failures` in a row, `reopenings`, `seconds`"""
    CIRCUIT_HALF_OPEN = "CIRCUIT_HALF_OPEN"
    """the pause is over, and it is tried: `scope`, `wire`; passes by and is not kept"""
    CIRCUIT_REOPENED = "CIRCUIT_REOPENED"
    """that failed: as CIRCUIT_OPENED, `seconds` until it is tried again; passes by and is not kept"""
    CIRCUIT_CLOSED = "CIRCUIT_CLOSED"
    """it works again: `scope`, `wire`, `seconds` since it was opened"""
    CIRCUIT_LOCKED = "CIRCUIT_LOCKED"
    """a meter refused a secret, or cannot be believed, and is left alone until it is changed: `wire`, `code` and `reason`"""
    METER_FROZEN = "METER_FROZEN"
    """a meter answers with the same measurements again and again: `quantity`, `value`, `reads`, `seconds`"""
    SUPERVISOR_ACTED = "SUPERVISOR_ACTED"
    """something was stuck and was restarted: `what`, `why`, `action`"""
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
    INTERVALS_LOST = "INTERVALS_LOST"
    """intervals never arrive: `load_profile`, `reason` (wrapped, power-down, clock-shift …), `first`, `last`, `count`"""
    INTERVALS_REPEATED = "INTERVALS_REPEATED"
    """rows of one time come twice, as a clock was set back: `load_profile`, `first`, `last`, `count`; the later hold, in doubt"""
    COUNTER_FELL = "COUNTER_FELL"
    """a counter shows less than before: `load_profile`, `quantity`, `before`, `after`, `measured_at`, `rolled_over`"""
    METER_EVENT = "METER_EVENT"
    """an entry in an event log of a meter, at its time: `load_profile`, `name`, `code`, further `values`, `text` if it is known"""
    CLOCK_OFF = "CLOCK_OFF"
    """the clock of a meter is off by more than may be set: `offset` and `limit` in seconds"""
    CLOCK_JUMPED = "CLOCK_JUMPED"
    """the clock of a meter was set by somebody else: seconds that it was ahead `before`, and is now, as `offset`"""
    METER_EXCHANGED = "METER_EXCHANGED"
    """another meter answers: serial numbers `before` and `after`, `load_profile`"""
    STORAGE_FULL = "STORAGE_FULL"
    """the database does not take readings; polling pauses when the queue is full"""
    STORAGE_RECOVERED = "STORAGE_RECOVERED"
    """the database takes readings again"""
    SINK_AWAY = "SINK_AWAY"
    """a system that is delivered to cannot be reached, or went: `sink`, `reason`; what is stored waits for it"""
    SINK_BACK = "SINK_BACK"
    """it is there again: `sink`, `seconds` that it was away, `entries` that have waited"""
    SINK_STUCK = "SINK_STUCK"
    """it did not confirm what it was given; its connection is opened anew: `sink`, `seconds`, `entries` given at once"""
    SINK_REFUSED = "SINK_REFUSED"
    """it will never take an entry, which is set aside: `sink`, `entry`, `reason`, `count` since the last such event"""
    DELIVERY_LOST = "DELIVERY_LOST"
    """what waited for a sink is gone, too old or too much: `sink`, `count` since the last such event, stored `first` to `last`"""
    EXPORT_FAILED = "EXPORT_FAILED"
    """a file of a scheduled export could not be made, and is tried again: `export`, `code` and `reason`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; times are milliseconds since the epoch (UTC). `meter_id` is empty for events of the head-end itself."""

    type: EventType
    severity: Severity
    occurred_at: int
    meter_id: str = ""
    data: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)


PASSING_BY = frozenset(
    {EventType.JOB_CHANGED, EventType.SCAN_PROGRESS, EventType.CIRCUIT_HALF_OPEN, EventType.CIRCUIT_REOPENED}
)
"""Events that say how something goes on that is kept itself: they are not."""
