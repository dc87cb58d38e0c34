"""How the poller is doing, for people: wire by wire, and meter by meter with what was learned of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headend.services.acquisition.lanes import Lanes
    from headend.services.acquisition.poller import Poller


@dataclass(slots=True, kw_only=True)
class WireFigures:
    """One wire that meters are polled over. Times are seconds."""

    wire: str
    meters: int
    failing: int
    """meters whose last read failed"""
    waiting: int
    """meters that are due, and jobs that wait for their turn"""
    busy_ratio: float
    """share of the time since the start in which polls had the wire"""
    lateness_p50: float | None
    """from being due to being read, of the last reads; None where nothing was read, or one meter has the wire for itself"""
    lateness_p99: float | None
    circuit: str
    requests: int = 0
    """that were sent for values"""
    singles: int = 0
    """that one for each value would have been"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What of a meter is read every so many seconds."""

    every: float
    quantities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFigures:
    """How one meter is read."""

    groups: Sequence[Group]
    """empty for a meter that is not polled"""
    requests: int
    singles: int
    last_requests: int
    """of the last poll"""
    learned: Mapping[str, object]
    """in the words of its driver"""


def wire_figures(poller: Poller, lanes: Lanes, elapsed: float) -> list[WireFigures]:
    """All wires, those that are busiest first; `elapsed` seconds since the start."""
    found: dict[str, WireFigures] = {}
    for polled in poller.polled.values():
        name = polled.state.meter.endpoint.wire
        figures = found.get(name)
        if figures is None:
            wire, lane = polled.wire, lanes.find(name)
            late = sorted(wire.lateness)
            figures = found[name] = WireFigures(
                wire=name,
                meters=wire.meters,
                failing=wire.failing,
                waiting=wire.waiting + (lane.turns.waiting if lane is not None else 0),
                busy_ratio=min(1.0, wire.busy_seconds / elapsed) if elapsed > 0 else 0.0,
                lateness_p50=percentile(late, 0.5),
                lateness_p99=percentile(late, 0.99),
                circuit=lane.circuit.state.value if lane is not None else "closed",
            )
        figures.requests += polled.state.knowledge.requests
        figures.singles += polled.state.knowledge.singles
    return sorted(found.values(), key=lambda each: (-each.busy_ratio, each.wire))


def wires_named(poller: Poller, text: str) -> set[str]:
    """The wires that hold a text in their name, or in the id or the name of one of their meters; upper or lower case."""
    found, text = set[str](), text.lower()
    for polled in poller.polled.values():
        meter = polled.state.meter
        if any(text in each.lower() for each in (meter.endpoint.wire, meter.id, meter.name)):
            found.add(meter.endpoint.wire)
    return found


def meter_figures(poller: Poller, meter_id: str) -> MeterFigures:
    """How a meter is read; raises NotFound."""
    knowledge = poller.roster.state(meter_id).knowledge
    polled = poller.polled.get(meter_id)
    groups = (
        []
        if polled is None
        else [
            Group(
                every=multiple * polled.plan.period,
                quantities=tuple(entry.quantity for entry in polled.plan.of((multiple,)).entries),
            )
            for multiple in polled.plan.multiples
        ]
    )
    return MeterFigures(
        groups=groups,
        requests=knowledge.requests,
        singles=knowledge.singles,
        last_requests=polled.asked if polled is not None else 0,
        learned=dict(knowledge.facts),
    )


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value below which a share of them lies; None without any."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None
