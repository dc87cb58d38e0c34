"""Virtual meters: templates, instances, what is broken on purpose."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from headend.emulator.emulators import MOST_METERS
from headend.emulator.faults.kinds import FaultKind
from headend.web.schemas.base import In, Text

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class TemplateIn(In):
    """A kind of virtual meters."""

    profile: Text = Field(examples=["generic-dlms-3p"])
    settings: dict[str, Any] = Field(
        {},
        description="further keys of a [[group]] of a fleet file",
        examples=[{"framing": "hdlc", "load": "workshop"}],
    )
    note: Text = ""


class TemplateOut(TemplateIn):
    """A kind of virtual meters."""

    name: str


class TemplateList(BaseModel):
    """All templates."""

    items: list[TemplateOut]


class InstanceIn(In):
    """Start so many meters of a template."""

    template: Label
    count: int = Field(1, ge=1, le=MOST_METERS)
    group: Label | None = Field(None, description="what they are called together; the template's name without it")


class InstancesIn(In):
    """Several groups at once."""

    items: list[InstanceIn] = Field(min_length=1, max_length=100)


class InstanceOut(BaseModel):
    """A group of virtual meters. What it is doing is known while it runs: otherwise `running` is null."""

    group: str
    template: str
    meters: int
    first_address: str
    port: int
    first_url: str = ""
    running: int | None = None
    faulty: int | None = None
    """meters with which something is wrong on purpose"""


class InstanceList(BaseModel):
    """All groups; `at` and `speed` are those of the clock of all virtual meters, null while none runs."""

    items: list[InstanceOut]
    links: int
    at: int | None
    speed: float | None


class InstanceStarted(BaseModel):
    """What became of one group that was asked for."""

    group: str
    error: str = ""
    instance: InstanceOut | None = None


class InstancesStarted(BaseModel):
    """What became of each."""

    items: list[InstanceStarted]


class FaultOut(BaseModel):
    """One kind of trouble of a meter."""

    kind: FaultKind
    chance: float
    seconds: float


class VirtualMeter(BaseModel):
    """A virtual meter as it is now."""

    number: int
    name: str
    url: str
    group: str
    profile: str
    running: bool
    faults: list[FaultOut]


class VirtualMeters(BaseModel):
    """A page of virtual meters, and how many there are."""

    items: list[VirtualMeter]
    total: int


class FaultKindOut(BaseModel):
    """A kind of trouble that virtual meters can have."""

    kind: str
    layer: str


class FaultKinds(BaseModel):
    """All of them."""

    items: list[FaultKindOut]


class SelectionIn(In):
    """Which meters: what is empty means all."""

    group: Text = ""
    name: Text = Field("", description="a pattern, as `house-*`")
    numbers: list[int] = Field([], max_length=MOST_METERS)


class BreakIn(SelectionIn):
    """What is to be wrong with them from now on."""

    kind: FaultKind
    share: float = Field(1.0, gt=0, le=1, description="of the meters chosen")
    chance: float = Field(1.0, gt=0, le=1, description="at each answer")
    seconds: float = Field(2.0, ge=0, le=3600)


class MendIn(SelectionIn):
    """What is to be wrong no more: everything without kinds."""

    kinds: list[FaultKind] = Field([], max_length=len(FaultKind))


class RebootIn(SelectionIn):
    """For how long they say nothing."""

    seconds: float = Field(10.0, ge=0, le=3600)


class Touched(BaseModel):
    """How many meters were changed."""

    meters: int


class ClockIn(In):
    """The clock of all virtual meters."""

    at: int | None = Field(None, description="what it is to show, in milliseconds")
    speed: float | None = Field(None, gt=0, description="seconds that pass in a second")


class ClockOut(BaseModel):
    """What the clock shows now."""

    at: int
    speed: float
