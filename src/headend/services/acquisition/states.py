"""How wires and meters are recovering, for people: circuits, reopenings, what went wrong last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from headend.services.acquisition.circuit import Circuit, CircuitState
from headend.services.acquisition.lane import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One circuit. Times are seconds from now."""

    name: str
    """the wire, or the id of the meter"""
    state: str
    failures: int
    """in a row"""
    retry_in: float | None
    """until an open one lets somebody try; None where it lets everybody, or nobody before the meter is changed"""
    reopenings: int
    """sessions that broke and were opened anew, within the last hour"""
    code: str
    reason: str
    """of the last error, where the circuit has one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One wire, and those of its meters that have trouble."""

    wire: Standing
    meters: int
    linked: bool
    """a link is open"""
    busy: bool
    networks: Sequence[str]
    troubled: Sequence[Standing]


def lane_states(
    lanes: Iterable[Lane], now: float, *, after: str = "", limit: int = 100, troubled: bool = False
) -> list[LaneState]:
    """Up to `limit` wires behind the one named, by name; only those with trouble, their own or of a meter, where that is asked."""
    wanted = (lane for lane in lanes if lane.wire > after and not (troubled and _is_well(lane)))
    return [_state(lane, now) for lane in nsmallest(limit, wanted, key=lambda lane: lane.wire)]


def _is_well(lane: Lane) -> bool:
    return _closed(lane.circuit) and all(_closed(unit.state.circuit) for unit in lane.units)


def _closed(circuit: Circuit) -> bool:
    return circuit.state is CircuitState.CLOSED and not circuit.reopenings and circuit.error is None


def _state(lane: Lane, now: float) -> LaneState:
    bad = [unit.state for unit in lane.units if not _closed(unit.state.circuit)]
    return LaneState(
        wire=_standing(lane.wire, lane.circuit, now),
        meters=len(lane.units),
        linked=lane.linkage.is_open,
        busy=lane.busy,
        networks=sorted({gate.name for unit in lane.units for gate in unit.gates}),
        troubled=[_standing(each.meter.id, each.circuit, now) for each in sorted(bad, key=lambda one: one.meter.id)],
    )


def _standing(name: str, circuit: Circuit, now: float) -> Standing:
    error = circuit.error
    return Standing(
        name=name,
        state=circuit.state.value,
        failures=circuit.failures,
        retry_in=round(max(0.0, circuit.retry_at - now), 1) if circuit.state is CircuitState.OPEN else None,
        reopenings=circuit.reopened_within_an_hour(now),
        code=error.code if error is not None else "",
        reason=str(error) if error is not None else "",
    )
