"""What the gateway counts and tells: metrics without a label per meter, events of which nobody can cause too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from headend import telemetry
from headend.errors import LinkError
from headend.model.caller import UnknownCaller
from headend.model.event import Event, EventType, Severity
from headend.model.reading import Value
from headend.services.bus import Bus
from headend.services.gateway.caller import Caller, Stage
from headend.services.intake import Complaints
from headend.services.roster import Clock

_COUNTERS: Final = {
    "taken": telemetry.CONNECTIONS_TAKEN,
    "closed": telemetry.CONNECTIONS_CLOSED,
    "recognised": telemetry.RECOGNISED,
    "registrations": telemetry.REGISTRATIONS,
}


class Books:
    """Counts now and reports once a second: a counter with a lock costs more than a heartbeat."""

    def __init__(self, bus: Bus, time: Callable[[], float], millis: Clock) -> None:
        self._bus = bus
        self._time = time
        self._millis = millis
        self._counted: Counter[tuple[str, str]] = Counter()
        self._complaints = Complaints()

    def count(self, what: str, result: str, number: int = 1) -> None:
        """Count something: `taken`, `closed`, `recognised`, `registrations`."""
        self._counted[what, result] += number

    def refused(self, host: str, why: str) -> None:
        """A caller was refused, or cut off; told once a minute for each address and reason."""
        self.complain(EventType.CALLER_REFUSED, f"{host} {why}", {"source": host, "reason": why}, Severity.WARNING)

    def unknown(self, entry: UnknownCaller) -> None:
        """Who dials in is no known meter; told once a minute for each, unless somebody has blocked it."""
        if entry.blocked:
            return
        data: dict[str, Value] = {
            "caller": entry.id,
            "source": entry.address,
            "label": entry.label,
            "number": entry.number,
            "reason": entry.reason,
            "octets": entry.octets,
        }
        self.complain(EventType.CALLER_UNKNOWN, entry.key, data, Severity.INFO)

    def connected(self, meter_id: str, caller: Caller, replaced: int) -> None:
        """A meter has dialled in, in the place of another connection or of none (0)."""
        data: dict[str, Value] = {
            "connection": caller.number,
            "peer": caller.peer,
            "label": caller.label,
            "registration": caller.registration,
            "trusted": caller.trusted,
            "replaced": replaced,
        }
        self.tell(EventType.METER_CONNECTED, meter_id, data)

    def disconnected(self, meter_id: str, caller: Caller, error: LinkError) -> None:
        """The connection of a meter is lost."""
        data: dict[str, Value] = {
            "connection": caller.number,
            "peer": caller.peer,
            "code": error.code,
            "reason": str(error),
            "seconds": round(self._time() - caller.since, 1),
        }
        self.tell(EventType.METER_DISCONNECTED, meter_id, data)

    def complain(self, kind: EventType, key: str, data: Mapping[str, Value], severity: Severity) -> None:
        """Tell something of somebody who is no meter, once a minute, with how often it was."""
        count = self._complaints.count((kind.value, key), self._millis())
        if count:
            self.tell(kind, "", {**data, "count": count}, severity)

    def tell(
        self, kind: EventType, meter_id: str, data: Mapping[str, Value], severity: Severity = Severity.INFO
    ) -> None:
        """Publish an event."""
        event = Event(type=kind, severity=severity, occurred_at=self._millis(), meter_id=meter_id, data=data)
        self._bus.publish(event)

    def report(self, callers: Mapping[int, Caller]) -> None:
        """Put what was counted since the last time into the metrics."""
        counted, self._counted = self._counted, Counter()
        for (what, result), count in counted.items():
            _COUNTERS[what].labels(result).inc(count)
        stages = Counter(caller.stage for caller in callers.values())
        for stage in Stage:
            if stage is not Stage.GONE:
                telemetry.CONNECTIONS.labels(stage.value).set(stages[stage])
