"""Readings, in the rich and in the plain form."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headend.web.schemas.base import In, MeterId, ValueIn


class Rows(BaseModel):
    """A table: names of the columns, and rows in their order."""

    columns: list[str]
    rows: list[list[int | float | str | bool | None]]


class LatestOut(Rows):
    """The newest reading of each series."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "columns": [
                    "meter_id",
                    "quantity",
                    "value",
                    "measured_at",
                    "quality",
                    "received_at",
                    "source",
                    "stale",
                ],
                "rows": [["feeder-1", "voltage_l1", 230.2, 1700000000000, 0, 1700000000042, "poll", False]],
            }
        }
    )


class SeriesOut(BaseModel):
    """Readings of one quantity as parallel columns, oldest first; `next` is where to go on, null at the end.

    With `receipts`: also when each was received, and whether it was polled, pushed, read from a load profile, emulated or
    submitted. With `bucket`: one row for each span that has numbers, `measured_at` its start, instead of values and quality.
    """

    meter_id: str
    quantity: str
    unit: str
    measured_at: list[int]
    values: list[int | float | str | bool | None] | None = None
    quality: list[int] | None = None
    received_at: list[int] | None = None
    source: list[str] | None = None
    minimum: list[float] | None = None
    maximum: list[float] | None = None
    mean: list[float] | None = None
    last: list[float] | None = None
    count: list[int] | None = None
    next: int | None


class ReadingIn(In):
    """One reading, in the base unit of its quantity. `measured_at` is milliseconds or ISO 8601; absent: now."""

    meter_id: str = Field(max_length=64, examples=["feeder-1"])
    quantity: str = Field(max_length=100, examples=["active_energy_import_total"])
    value: ValueIn = Field(examples=[1_234_500])
    measured_at: int | str | None = Field(None, examples=["2026-01-01T00:15:00Z"])
    quality: int = Field(0, ge=0, le=0x3F)


class Submission(In):
    """Readings to take in, all or none."""

    readings: list[ReadingIn] = Field(min_length=1, max_length=10_000)


class Accepted(BaseModel):
    """How many readings were taken in; they are stored within a second."""

    accepted: int


class PlainReadingIn(BaseModel):
    """A reading of a simple meter, in V, A, W and Wh."""

    model_config = ConfigDict(
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {"meter_id": "1", "voltage": 230.1, "current": 4.2, "power": 966.0, "energy": 1234567.0}
        },
    )

    meter_id: int | MeterId
    voltage: float | None = Field(None, allow_inf_nan=False)
    current: float | None = Field(None, allow_inf_nan=False)
    power: float | None = Field(None, allow_inf_nan=False)
    energy: float | None = Field(None, allow_inf_nan=False)
    timestamp: int | str | None = None


class PlainReading(BaseModel):
    """A reading of a simple meter, in V, A, W and Wh; what the meter does not measure is null."""

    meter_id: str
    timestamp: str
    voltage: float | None
    current: float | None
    power: float | None
    energy: float | None


class PlainMeter(BaseModel):
    """A meter in the plain API."""

    meter_id: str
    name: str
    online: bool | None
