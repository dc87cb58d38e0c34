"""Statistics of meters and of the fleet."""

from __future__ import annotations

from pydantic import BaseModel, Field


class StatisticsOut(BaseModel):
    """What was counted over some time. Times in seconds; absent where nothing was read."""

    reads_ok: int
    reads_failed: int
    success_ratio: float | None = Field(description="reads that went well, of those tried: 0 to 1")
    requests: int
    responses: int
    readings: int
    octets_in: int
    octets_out: int
    octets_per_second: float = Field(description="both ways, over the time asked for")
    sessions: int
    reconnections: int = Field(description="sessions after the first since the start, or since the meter was changed")
    messages: int = Field(
        description="batches of readings and events that sinks have confirmed, each once for each sink"
    )
    messages_late: int = Field(description="of them, those that had to wait in the journal")
    scales_used: int = Field(description="scalers and units that values needed and that the meter has to tell")
    scales_asked: int = Field(description="of them, those that it was asked for")
    cache_hit_ratio: float | None = Field(
        description="those that were remembered, 0 to 1; null where the meter file has all, or the protocol none"
    )
    read_seconds_mean: float | None
    read_seconds_fastest: float | None
    read_seconds_slowest: float | None
    read_seconds_p50: float | None
    read_seconds_p90: float | None
    read_seconds_p99: float | None


class SlotOut(StatisticsOut):
    """One slot of fifteen minutes."""

    start: int = Field(description="milliseconds")


class StatisticsPage(BaseModel):
    """All of it together, and slot by slot, the oldest first."""

    start: int
    end: int
    total: StatisticsOut
    slots: list[SlotOut]
