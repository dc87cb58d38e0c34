"""Sinks: how they are doing, what they refused, replays."""

from __future__ import annotations

from pydantic import BaseModel, Field

from headend.web.schemas.base import In


class SinkOut(BaseModel):
    """How a sink is doing; times are milliseconds since 1970 (UTC), figures are since the start."""

    name: str = Field(description="in the settings; `mqtt` is that of `[mqtt]`")
    kind: str
    enabled: bool = Field(
        description="false: switched off in the settings; what is stored waits while the journal keeps it"
    )
    connected_since: int | None = Field(description="null while it is away, or off")
    last_error: str
    last_error_at: int | None
    delivered: int = Field(description="entries: batches of readings, and events")
    refused: int = Field(description="that it will never take, and that were set aside")
    failed: int = Field(description="whose delivery failed, and that came or come again")
    lost: int = Field(description="that went, being too old or too many, before it had them")
    lost_from: int | None = Field(description="when the first of them was stored")
    lost_until: int | None = Field(description="when the last of them was stored")
    backlog: int = Field(description="that are stored and that it does not have yet")
    oldest: int | None = Field(description="when the oldest of them was stored")
    lag_seconds: float = Field(description="how long ago that was; 0 where it has everything")
    per_minute: int = Field(description="entries in the last minute")
    connections: int = Field(description="that were opened")


class SinkPage(BaseModel):
    """All sinks, in the order of the settings."""

    items: list[SinkOut]


class Refused(BaseModel):
    """An entry that a sink will never take."""

    id: str = Field(description="of the entry, as in what is delivered")
    reason: str
    at: int
    what: str = Field(description="`readings`, or the type of the event", examples=["METER_OFFLINE"])
    meter_id: str
    size: int = Field(description="readings in it")


class RefusedPage(BaseModel):
    """What was set aside for a sink, the newest first; at most 1,000 are kept."""

    items: list[Refused]


class ReplayIn(In):
    """What is delivered again."""

    since: str = Field(
        description="stored at this time or later: milliseconds, or ISO 8601 with its zone", max_length=40
    )
    until: str = Field(description="stored before this time", max_length=40)


class ReplayOut(BaseModel):
    """How much is delivered again."""

    entries: int
