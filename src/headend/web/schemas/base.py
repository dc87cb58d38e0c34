"""What all bodies share: strict input, short texts, values, problems."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

MAX_TEXT = 200
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
MeterId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[^\s,]{1,64}$")]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class In(BaseModel):
    """A request body: unknown fields are refused, and what was given never comes back in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str
    expected: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no meter 'm9'"])
    code: str = Field(examples=["not-found"])
    hint: str = ""
    errors: list[FieldError] = []


def _fits(value: bool | float | str) -> bool | float | str:  # noqa: FBT001 # a value may be a switch
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number within 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"a text of at most {MAX_TEXT} characters")
    return value


ValueIn = Annotated[StrictBool | StrictInt | StrictFloat | StrictStr, AfterValidator(_fits)]
