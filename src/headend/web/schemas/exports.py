"""Export formats."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ExportFormat(BaseModel):
    """A format of exports."""

    name: str
    label: str
    media_type: str
    suffix: str = Field(description="of file names")


class ExportFormats(BaseModel):
    """All formats."""

    items: list[ExportFormat]
