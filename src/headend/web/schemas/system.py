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


class ProfileSummary(BaseModel):
    """A meter model in the library."""

    id: str = Field(examples=["eastron-sdm630"])
    vendor: str
    model: str
    protocol: str = Field(examples=["modbus"])
    state: str = Field(examples=["EMULATED"])
    revision: int
    registration: str = Field(description="with which login and heartbeats it dials in; empty where it does not")


class Profiles(BaseModel):
    """The library."""

    items: list[ProfileSummary]


class ProfileObject(BaseModel):
    """One object of a meter model."""

    ref: str = Field(examples=["modbus:input/0x0156/f32"])
    quantity: str
    name: str
    unit: str
    poll: bool
    writable: bool
    note: str


class ProfileHistory(BaseModel):
    """One load profile of a meter model."""

    ref: str = Field(examples=["dlms:7/1-0:99.1.0.255/2"])
    name: str
    period_seconds: int
    capacity: int
    columns: list[str]


class ProfileOut(ProfileSummary):
    """A meter model with its objects."""

    source: str
    note: str
    objects: list[ProfileObject]
    load_profiles: list[ProfileHistory]


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
