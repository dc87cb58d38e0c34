"""Captures of what goes over the wires of meters."""

from __future__ import annotations

from pydantic import BaseModel, Field

from headend.web.schemas.base import In


class CaptureIn(In):
    """A capture to begin."""

    meter_id: str = Field(min_length=1, max_length=200)
    seconds: float = Field(60.0, gt=0, le=86_400, description="after which it ends by itself")
    octets: int = Field(16 << 20, ge=65_536, le=1 << 30, description="that are kept at most, the newest ones")


class Capture(BaseModel):
    """A capture: running, or ended and kept."""

    id: str
    meter_id: str = Field(description="of one from an earlier run as far as its file name tells it")
    started_at: int
    running: bool
    octets: int
    packets: int = Field(description="pieces sent or received; 0 for one from an earlier run")
    error: str = Field(description="why it ended early")


class Captures(BaseModel):
    """All captures, newest first."""

    items: list[Capture]
