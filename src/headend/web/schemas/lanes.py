"""Wires, their circuits and those of their meters."""

from __future__ import annotations

from pydantic import BaseModel, Field


class StandingOut(BaseModel):
    """A circuit: of a wire, or of a meter."""

    name: str = Field(description="the wire, or the id of the meter")
    state: str = Field(description="closed, open, half-open or locked")
    failures: int = Field(description="in a row")
    retry_in: float | None = Field(description="seconds until an open one lets somebody try")
    reopenings: int = Field(description="sessions that broke and were opened anew within the last hour")
    code: str
    reason: str


class LaneOut(BaseModel):
    """A wire, and those of its meters that have trouble."""

    wire: StandingOut
    meters: int
    linked: bool
    busy: bool
    networks: list[str]
    troubled: list[StandingOut]


class LanePage(BaseModel):
    """Wires by name; `next` is where to go on, null at the end."""

    items: list[LaneOut]
    next: str | None
