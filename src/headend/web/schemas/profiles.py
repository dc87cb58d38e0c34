"""Meter profiles: the library, revisions, trials, export and import."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from headend.services.profiles.profiles import MOST_OCTETS
from headend.web.schemas.base import In, MeterId

ProfileId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ProfileText = Annotated[str, StringConstraints(max_length=MOST_OCTETS)]
Scalar = int | float | str | bool


class ProfileRow(BaseModel):
    """A profile in the list."""

    id: str = Field(examples=["eastron-sdm630"])
    vendor: str
    model: str
    protocol: str
    state: Literal["DRAFT", "EMULATED", "FIELD_VERIFIED"]
    revision: int
    registration: str = Field(description="with whose login and heartbeats it dials in")
    object_count: int
    kept: bool = Field(description="the head-end keeps it; otherwise it came with the program or lies in a folder")
    meters: int = Field(description="meters that are read by it")
    source: str


class ProfileList(BaseModel):
    """The library."""

    items: list[ProfileRow]


class ProfileObject(BaseModel):
    """An object of a profile."""

    ref: str
    quantity: str
    name: str
    unit: str
    poll: bool
    every: float = Field(description="seconds between reads, where the meter is polled more often; 0: each time")
    writable: bool
    note: str


class ProfileHistory(BaseModel):
    """A load profile of a profile."""

    ref: str
    name: str
    period_seconds: int
    capacity: int
    columns: list[str]


class ProfileDetail(ProfileRow):
    """A profile with its text and as it is exported."""

    note: str
    objects: list[ProfileObject]
    load_profiles: list[ProfileHistory]
    original: bool = Field(description="there is one under this id besides the one that is kept")
    text: str = Field(description="the meter file, in TOML")
    document: dict[str, Any] = Field(description="by the schema headend-profile/1")


class ProfileIn(In):
    """A new profile."""

    id: ProfileId
    text: ProfileText = Field(description="a meter file, in TOML")


class ProfileChangeIn(In):
    """A new text."""

    text: ProfileText
    revision: int | None = Field(None, ge=0, description="refused (409) when the profile has another one by now")


class ProfileTextIn(In):
    """A text to be checked."""

    text: ProfileText
    id: ProfileId = "profile"


class ProfileChecked(BaseModel):
    """What is wrong with a text, or what it changes."""

    ok: bool
    error: str = ""
    hint: str = ""
    line: int | None = Field(None, description="of the text, from 1")
    objects: int = 0
    base: str = Field("", description="what it was compared with: the profile of its id, or the nearest")
    changes: list[ProfileDifference] = []


class ProfileDifference(BaseModel):
    """One difference in a table of the file."""

    kind: str = Field(examples=["added", "gone", "changed"])
    table: str
    what: str
    key: str
    before: str
    after: str


class ProfileDiffOut(BaseModel):
    """What is to be done to `base` so that it becomes the profile."""

    base: str
    changes: list[ProfileDifference]


class RevisionOut(BaseModel):
    """One revision; `text` is null for one that was retired, and in lists."""

    number: int
    at: int
    actor: str
    action: str
    digest: str
    text: str | None = None


class RevisionList(BaseModel):
    """All revisions, oldest first."""

    items: list[RevisionOut]


class TrialIn(In):
    """On which meter of ours."""

    meter_id: MeterId


class PromoteIn(In):
    """The meter in the field that verifies it; without one it is tried on a virtual meter."""

    meter_id: MeterId | None = None


class ObjectTrialOut(BaseModel):
    """What became of one object."""

    ref: str
    quantity: str
    value: Scalar | None
    unit: str
    error: str
    remark: str


class PlanTrialOut(BaseModel):
    """One read."""

    name: str
    objects: int
    seconds: float


class TrialOut(BaseModel):
    """How a profile did on a meter."""

    profile_id: str
    revision: int
    objects: list[ObjectTrialOut]
    plans: list[PlanTrialOut]
    stopped: str
    answered: int
    well: int


class MismatchOut(BaseModel):
    """An object that a virtual meter did not read back."""

    ref: str
    expected: str
    got: str


class PromotionOut(BaseModel):
    """How a promotion went."""

    profile_id: str
    state: Literal["DRAFT", "EMULATED", "FIELD_VERIFIED"]
    revision: int
    promoted: bool
    tests: int
    mismatches: list[MismatchOut]
    trial: TrialOut | None


class ImportRow(BaseModel):
    """What became of one profile of an import."""

    place: str
    id: str
    outcome: Literal["created", "changed", "same", "refused"]
    revision: int
    error: str


class ImportOut(BaseModel):
    """What became of each."""

    items: list[ImportRow]
