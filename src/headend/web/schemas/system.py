"""Health, status, catalogue, library, decoding, events."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Liveness."""

    status: Literal["ok", "degraded"]


class Version(BaseModel):
    """Which Headend this is."""

    name: str = "headend"
    version: str = Field(examples=["0.1.0"])


class Status(BaseModel):
    """The head-end at a glance."""

    version: str
    uptime_seconds: int
    meters: int
    online: int
    offline: int
    untried: int
    readings_stored: int
    readings_per_second: float
    readings_waiting: int
    pressure: float
    live_clients: int


class QuantityOut(BaseModel):
    """One row of the catalogue; readings are in `unit`."""

    key: str = Field(examples=["active_energy_import_total"])
    unit: str = Field(examples=["Wh"])
    kind: str = Field(examples=["cumulative"])
    label: str = Field(examples=["Active energy, import"])
    phase: str
    tariff: int
    obis: str = Field(examples=["1-0:1.8.0.255"])


class Quantities(BaseModel):
    """The catalogue."""

    items: list[QuantityOut]


class EventOut(BaseModel):
    """An event, and who has seen it."""

    number: int
    type: str = Field(examples=["METER_OFFLINE"])
    severity: str = Field(examples=["warning"])
    meter_id: str = Field(description="empty for events of the head-end itself")
    occurred_at: int
    recorded_at: int
    data: dict[str, int | float | str | bool]
    acknowledged_by: str
    acknowledged_at: int | None


class EventPage(BaseModel):
    """Some events, newest first; `next` is the cursor of older ones, null at the end."""

    items: list[EventOut]
    next: int | None
