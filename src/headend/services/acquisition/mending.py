"""What follows from a failure: which level of recovery a job may still use, and what is said about all of them."""

from __future__ import annotations

import enum
from typing import Final

from headend import telemetry
from headend.errors import HeadendError
from headend.model.event import EventType, Severity
from headend.model.reading import Value
from headend.services.acquisition.circuit import Circuit, CircuitState
from headend.services.acquisition.unit import Unit
from headend.services.roster import Roster

TOLD_SECONDS: Final = 600.0
"""between two events that say that the session of a meter was opened anew; the later one says how often"""
MAX_REASON: Final = 300


class Level(enum.Enum):
    """The levels of recovery, and how metrics call them."""

    RETRY = "retry"
    REOPEN = "reopen"
    RENEW = "renew"
    CIRCUIT = "circuit"


def count(level: Level, *, ok: bool) -> None:
    """Count an attempt to recover."""
    telemetry.RECOVERIES.labels(level.value, "ok" if ok else "failed").inc()


class Teller:
    """Says what happens to sessions and circuits: events, metrics."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def reopened(self, unit: Unit, error: HeadendError, now: float) -> None:
        """The session of a meter that broke is open again."""
        count(Level.REOPEN, ok=True)
        unit.reopenings_untold += 1
        if unit.reopenings_told_at and now < unit.reopenings_told_at + TOLD_SECONDS:
            return
        data: dict[str, Value] = {**_reason(error), "count": unit.reopenings_untold}
        unit.reopenings_told_at, unit.reopenings_untold = now, 0
        self._roster.tell(EventType.SESSION_REOPENED, unit.state.meter.id, data)

    def moved(self, circuit: Circuit, before: CircuitState, wire: str, meter_id: str, now: float) -> None:
        """A circuit may have gone to another state; the meter has no id where it is the wire's."""
        after = circuit.state
        if after is before:
            return
        scope = "meter" if meter_id else "wire"
        _gauge(scope, before, -1)
        _gauge(scope, after, 1)
        if before is CircuitState.HALF_OPEN:
            count(Level.CIRCUIT, ok=after is CircuitState.CLOSED)
        data: dict[str, Value] = {"scope": scope, "wire": wire}
        severity = Severity.INFO
        if after is CircuitState.CLOSED:
            kind = EventType.CIRCUIT_CLOSED
            data["seconds"] = round(now - circuit.opened_at, 1)
        elif after is CircuitState.HALF_OPEN:
            kind = EventType.CIRCUIT_HALF_OPEN
        elif after is CircuitState.LOCKED:
            kind, severity = EventType.CIRCUIT_LOCKED, Severity.WARNING
            data |= _reason(circuit.error)
        else:
            kind = EventType.CIRCUIT_OPENED if before is CircuitState.CLOSED else EventType.CIRCUIT_REOPENED
            severity = Severity.WARNING
            data |= {
                **_reason(circuit.error),
                "failures": circuit.failures,
                "reopenings": circuit.reopened_within_an_hour(now),
                "seconds": round(circuit.retry_at - now, 1),
            }
        self._roster.tell(kind, meter_id, data, severity)

    def gone(self, circuit: Circuit, scope: str) -> None:
        """A meter or wire is no more: its circuit is not counted any longer."""
        _gauge(scope, circuit.state, -1)
        circuit.state = CircuitState.CLOSED


def _gauge(scope: str, state: CircuitState, change: int) -> None:
    if state is not CircuitState.CLOSED:
        telemetry.CIRCUITS.labels(scope, state.value).inc(change)


def _reason(error: HeadendError | None) -> dict[str, Value]:
    return {} if error is None else {"code": error.code, "reason": str(error)[:MAX_REASON]}
