"""How meters are polled."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Wire(BaseModel):
    """One wire that meters are polled over. Times are seconds."""

    wire: str = Field(examples=["tcp://192.0.2.7:502"])
    meters: int
    failing: int = Field(description="meters whose last read failed")
    waiting: int = Field(description="meters that are due, and jobs that wait for their turn")
    busy_ratio: float = Field(description="share of the time since the start in which polls had the wire")
    lateness_p50: float | None = Field(
        description="from being due to being read, of the last reads; null where one meter has the wire for itself"
    )
    lateness_p99: float | None
    circuit: Literal["closed", "open", "half-open", "locked"]
    requests: int = Field(description="that were sent for values since the start")
    singles: int = Field(description="that one for each value would have been")


class Acquisition(BaseModel):
    """All wires together, and one by one: those with trouble first, then the busiest."""

    meters: int = Field(description="that are polled")
    wires: int
    in_flight: int = Field(description="reads under way")
    requests: int
    singles: int
    saved_ratio: float = Field(description="share of round trips that were saved against one for each value")
    troubled: int = Field(description="wires that have trouble, or meters with trouble")
    found: int = Field(description="wires that were asked for; the first of them are told")
    items: list[Wire]


class Group(BaseModel):
    """What of a meter is read together."""

    every: float = Field(description="seconds between reads")
    quantities: list[str]


class MeterPlan(BaseModel):
    """How a meter is read, and what was learned of it."""

    groups: list[Group] = Field(description="empty for a meter that is not polled")
    requests: int = Field(description="that were sent for values since the start")
    singles: int = Field(description="that one for each value would have been")
    last_requests: int = Field(description="of the last poll")
    learned: dict[str, Any] = Field(description="in the words of its driver", examples=[{"length": [60, 64]}])
