"""Alarms, their rules, and trying a rule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from headend.web.schemas.base import In, MeterId, Text, ValueIn

Note = Annotated[str, StringConstraints(max_length=1000)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Scalar = int | float | str | bool


class AlarmOut(BaseModel):
    """One alarm. `since` is when the condition began, `raised_at` when it had held long enough."""

    number: int
    meter_id: str = Field(description="empty for alarms of the head-end itself")
    rule: str = Field(examples=["overvoltage"])
    kind: str = Field(examples=["OVERVOLTAGE"])
    label: str = Field(examples=["Over-voltage"])
    severity: str = Field(examples=["warning"])
    quantity: str = Field(examples=["voltage_l1"])
    phase: str = Field(examples=["l1"])
    unit: str = Field(examples=["V"])
    value: Scalar | None = Field(examples=[254.1])
    threshold: Scalar | None = Field(examples=[253.0])
    since: int
    raised_at: int
    cleared_at: int | None
    cleared: str | None = Field(description="ended, settled (it flapped), rule (was changed), meter (was removed)")
    flapping: bool
    acknowledged_by: str = Field(examples=["user:ada"])
    acknowledged_at: int | None
    note: str


class AlarmPage(BaseModel):
    """Some alarms, newest first; `active` counts all active ones by severity, whatever was asked for."""

    items: list[AlarmOut]
    next: int | None
    active: dict[str, int] = Field(examples=[{"critical": 1, "warning": 3}])
    unacknowledged: int = Field(description="active alarms that nobody has acknowledged")


class AlarmStep(BaseModel):
    """One thing that happened to an alarm."""

    at: int
    what: Literal["began", "raised", "acknowledged", "cleared"]
    by: str = ""
    text: str = ""


class AlarmDetail(AlarmOut):
    """An alarm, what happened to it, and earlier ones of the same rule, quantity and meter."""

    steps: list[AlarmStep]
    earlier: list[AlarmOut]


class AcknowledgeIn(In):
    """What whoever has seen an alarm says about it."""

    note: Note = ""


class RuleOut(BaseModel):
    """A rule as it counts. `set` says which layer each changed field comes from."""

    id: str
    kind: str
    label: str
    severity: str
    enabled: bool
    in_force: bool = Field(description="false where it is disabled, or nothing is known to compare with")
    quantities: list[str]
    comparison: str
    threshold: Scalar | None
    percent: float | None
    rating: str
    unit: str
    clear: float | None
    hysteresis: float
    hold_seconds: float
    flap_changes: int
    flap_seconds: float
    load: float
    event: str | None
    until: str | None
    fields: list[str] = Field(description="what may be changed of it")
    set: dict[str, str] = Field(examples=[{"threshold": "meter"}])


class RuleChangeOut(BaseModel):
    """What somebody set of a rule at one level."""

    level: str = Field(examples=["meter"])
    subject: str = Field(description="the meter file or the meter; empty for all")
    rule: str
    fields: dict[str, Scalar]
    changed_by: str
    changed_at: int


class RulesOut(BaseModel):
    """The rules as they count for all, for a meter file or for a meter, and all that was changed at any level."""

    items: list[RuleOut]
    ratings: dict[str, float]
    ratings_set: dict[str, str]
    changes: list[RuleChangeOut]


class RuleIn(In):
    """What to change of a rule: only these fields differ from the more general levels."""

    fields: dict[Text, ValueIn] = Field(
        min_length=1, max_length=20, examples=[{"threshold": 250, "severity": "critical"}]
    )


class RuleTest(In):
    """A rule, with the fields given over those that count for the meter, and the time to try it on."""

    meter_id: MeterId
    rule: RuleId
    fields: dict[Text, ValueIn] = Field(default={}, max_length=20)
    start: int | str
    end: int | str | None = None


class RuleTested(BaseModel):
    """The alarms that would have been raised, oldest first; their numbers count from 1."""

    items: list[AlarmOut]
