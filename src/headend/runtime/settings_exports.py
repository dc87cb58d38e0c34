"""Settings of exports: what the tables `[exports.NAME]` say."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from headend.runtime.settings_section import Section

ExportName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class ExportSettings(Section):
    """Files that are written into a folder, one for each day or hour that is over."""

    format: str = Field(description="`csv`, `parquet`, `iec61968-9`, `nem12` or `espi`")
    folder: str = Field(description="where the files go")
    every: Literal["daily", "hourly"] = Field(
        default="daily", description="what one file holds: a local day, or an hour"
    )
    meters: tuple[str, ...] = Field(default=(), description="ids of meters; empty: all")
    quantities: tuple[str, ...] = Field(default=(), description="keys; empty: what the format is made for")
    period_minutes: int = Field(
        default=0, ge=0, le=60, description="length of the intervals; 0: as the load profile of the meter, else 15"
    )
    zone: str = Field(
        default="",
        description="whose days they are: an IANA name, or an offset as `+10:00`; empty: UTC, of nem12 +10:00",
    )
    sender: str = Field(default="", description="who sends, where the format says it")
    receiver: str = Field(default="", description="to whom, where the format says it")
    limit_kw: float = Field(
        default=10_000.0, gt=0, description="registers that grow faster are taken for those of another meter"
    )
    delay_minutes: int = Field(
        default=60, ge=0, le=100_000, description="how long after its end a day or an hour is written"
    )
    first: date | None = Field(default=None, description="the first day; absent: the one before the first start")
