"""How much of what the meters record is there."""

from __future__ import annotations

from pydantic import BaseModel, Field

from headend.web.schemas.base import In


class Figures(BaseModel):
    """Intervals: how many there should be, are there, never will be, may still arrive."""

    expected: int
    arrived: int
    void: int
    missing: int
    completeness: float | None = Field(examples=[0.9896])


class FleetDay(Figures):
    """One day (UTC) of all meters; of today what is due by now."""

    day: str = Field(examples=["2026-02-16"])


class MeterLine(Figures):
    """One meter, over some days."""

    meter_id: str


class FleetCompleteness(BaseModel):
    """All meters, day by day, and those of which the least is there."""

    days: list[FleetDay]
    worst: list[MeterLine]


class MeterDay(FleetDay):
    """One calendar day of a load profile, in the time zone of its meter."""

    reasons: dict[str, int] = Field(description="how many never will be there, by reason")


class LoadProfileCompleteness(BaseModel):
    """One load profile of a meter."""

    load_profile: str = Field(examples=["7/1-0:99.1.0.255/2"])
    name: str
    period: int = Field(description="milliseconds")
    time_zone: str
    since: int
    days: list[MeterDay]


class MeterCompleteness(BaseModel):
    """The load profiles of a meter."""

    meter_id: str
    load_profiles: list[LoadProfileCompleteness]


class MetersCompleteness(BaseModel):
    """Several meters, in the order they were asked for."""

    items: list[MeterCompleteness]


class GapOut(BaseModel):
    """Neighbouring intervals that are not there: the times of the first and of the last one."""

    load_profile: str
    first: int
    last: int
    count: int
    reason: str = Field(description="why they never will be; empty: they may still arrive", examples=["power-down"])


class GapList(BaseModel):
    """What is not there, oldest first."""

    items: list[GapOut]


class RefillIn(In):
    """What to ask for again, even if it was given up: a half-open span, in milliseconds or ISO 8601."""

    start: str = Field(max_length=40)
    end: str = Field(max_length=40)


class RefillOut(BaseModel):
    """How many intervals the meter is asked for."""

    intervals: int
