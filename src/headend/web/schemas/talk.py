"""Reading a meter now."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from headend.web.schemas.base import In, Text


class ReadIn(In):
    """What to read: object references of the meter, or nothing for all that is polled."""

    refs: list[Text] | None = Field(None, min_length=1, max_length=200, examples=[["dlms:3/1-0:1.8.0.255/2"]])


class ReadValue(BaseModel):
    """One value that was read; an amount is in the base unit of its quantity, or in `unit`, or raw when there is neither."""

    ref: str
    quantity: str
    unit: str
    value: Any
    quality: int


class ReadMissing(BaseModel):
    """One value that did not come."""

    ref: str
    quantity: str
    code: str
    reason: str


class ReadOut(BaseModel):
    """What a read brought."""

    meter_id: str
    measured_at: int
    values: list[ReadValue]
    missing: list[ReadMissing]


class ObjectOut(BaseModel):
    """One object of a meter."""

    ref: str
    name: str
    quantity: str
    unit: str
    class_id: int | None
    class_name: str
    version: int | None
    history: bool
    attributes: dict[str, str]
    methods: dict[str, str]


class Objects(BaseModel):
    """The object list of a meter."""

    items: list[ObjectOut]


class HistoryColumnOut(BaseModel):
    """One column of a load profile."""

    ref: str
    quantity: str
    unit: str


class HistoryOut(BaseModel):
    """Rows of a load profile; `truncated` when the limit ended them."""

    meter_id: str
    ref: str
    columns: list[HistoryColumnOut]
    times: list[int | None]
    rows: list[list[Any]]
    quality: list[int]
    truncated: bool
    events: list[str] = Field(
        description="of an event log whose codes are known: what each row tells, in words; else empty"
    )


class TriedOut(BaseModel):
    """What a trial of a meter found: nothing of it is stored."""

    identity: dict[str, str] = Field(description="what the meter says about itself; empty texts where it does not")
    seconds: float = Field(description="that asking took, once the session was open")
    values: list[ReadValue]
    missing: list[ReadMissing]
