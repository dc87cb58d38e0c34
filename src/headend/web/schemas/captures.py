"""Captures of what goes over the wires of meters."""

from __future__ import annotations

from pydantic import BaseModel, Field

from headend.web.schemas.base import In


class CaptureIn(In):
    """A capture to begin."""

    meter_id: str = Field("", max_length=200, description="of this meter, or")
    connection: int | None = Field(None, ge=1, description="of this open connection, whoever dials in there")
    seconds: float = Field(60.0, gt=0, le=86_400, description="after which it ends by itself")
    octets: int = Field(16 << 20, ge=65_536, le=1 << 30, description="that are kept at most, the newest ones")


class Capture(BaseModel):
    """A capture: running, or ended and kept."""

    id: str
    name: str = Field(description="the meter or connection; after a restart as far as the file name tells it")
    started_at: int
    running: bool
    octets: int
    packets: int = Field(description="pieces sent or received; 0 for one from an earlier run")
    error: str = Field(description="why it ended early")


class Captures(BaseModel):
    """All captures, newest first."""

    items: list[Capture]
