"""Commands and their jobs, and the audit trail."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from headend.model.job import CommandKind, JobState, Verdict
from headend.web.schemas.base import In, Text, ValueIn


class CommandIn(In):
    """A command: its kind, and what that takes."""

    kind: CommandKind
    params: dict[Text, ValueIn | list[Text]] = Field(
        {}, max_length=20, description="`refs` of a read may be a list", examples=[{"ref": "dlms:70/0-0:96.3.10.255/1"}]
    )
    secret: str | None = Field(
        None, max_length=512, description="what a secret is changed to, `hex:…` or `text:…`; shown to nobody"
    )
    deadline: float | None = Field(
        None,
        gt=0,
        description="seconds that it may wait for its meter, at most a week; 300 unless the settings say otherwise",
    )
    confirm: str | None = Field(
        None, max_length=64, description="the id of the meter, again: then the answer waits for the end of the command"
    )


class JobOut(BaseModel):
    """A job. Times in milliseconds; `verdict`, `detail` and `observed` are its outcome, while there is one."""

    id: str
    meter_id: str
    kind: CommandKind
    params: dict[str, int | float | str | bool]
    actor: str
    state: JobState
    created_at: int
    updated_at: int
    deadline: int = Field(description="when it expires if nobody could begin it")
    confirm_by: int | None = Field(description="until when a proposal waits for its confirmation")
    confirmed_by: str
    started_at: int | None
    verify_by: int | None = Field(description="until when an unknown outcome is looked into")
    note: str = Field(description="what it waits for")
    verdict: Verdict | None
    detail: str
    observed: int | float | str | bool | None
    result: list[dict[str, Any]] = Field(description="what a read brought, row by row")
    code: str = Field("", description="what its actor confirms it with: only in the answer to a proposal")


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobOut]
    next: str | None = Field(description="`before` of the next page")


class ConfirmIn(In):
    """The confirmation of a proposal: its actor gives the code, somebody else none."""

    code: str = Field("", max_length=16)


class AuditOut(BaseModel):
    """One row of the audit trail; `digest` in hexadecimal."""

    number: int
    at: int
    actor: str
    action: str
    subject: str
    data: dict[str, int | float | str | bool]
    digest: str


class AuditPage(BaseModel):
    """Rows of the audit trail, newest first."""

    items: list[AuditOut]
    next: int | None = Field(description="`before` of the next page")


class FlawOut(BaseModel):
    """What is wrong with the audit trail, at which row."""

    number: int
    text: str


class AuditCheck(BaseModel):
    """Whether the audit trail is whole."""

    verdict: Literal["whole", "broken"]
    flaws: list[FlawOut]
