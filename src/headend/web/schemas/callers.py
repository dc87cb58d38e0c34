"""Connections of meters that dial in, and callers in quarantine."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from headend.web.schemas.base import In, MeterId, Tag, Text
from headend.web.schemas.meters import Identity


class Connection(BaseModel):
    """An open connection."""

    id: int
    stage: Literal["new", "nameless", "unknown", "known"] = Field(
        description="`new`: not recognised, `nameless`: its protocol is known, `unknown`: in quarantine, `known`: a meter"
    )
    meters: list[str] = Field(description="the meter that it is, or those behind it")
    caller: str = Field(description="its entry in quarantine, empty where it has none")
    peer: str
    local: str
    label: str = Field(description="what it was recognised as", examples=["longi"])
    protocol: str
    framing: str
    registration: str
    number: str = Field(description="in its login", examples=["210600402941"])
    trusted: bool = Field(description="false when the check octets of its login were wrong")
    since: int
    last_heard: int | None
    last_heartbeat: int | None
    octets_in: int
    octets_out: int
    busy: bool = Field(description="the meter is being asked something")
    held: bool = Field(description="it says more than it may, and is not read just now")


class ConnectionPage(BaseModel):
    """Some connections, by id; `next` is the cursor of the following page, null at the end."""

    items: list[Connection]
    total: int
    next: int | None


class CallerOut(BaseModel):
    """Who dials in and is no known meter."""

    id: str
    key: str = Field(description="what it is known by", examples=["name 210600402941"])
    address: str
    label: str = Field(description="empty when its octets make no sense")
    protocol: str
    framing: str
    registration: str
    number: str
    trusted: bool
    identity: Identity
    octets: str = Field(description="the first ones", examples=["00010001000100120a020c"])
    reason: str
    first_seen: int
    last_seen: int
    count: int
    blocked: bool
    connections: list[int] = Field(description="those that are open")


class CallerPage(BaseModel):
    """Some callers, the one that was seen last first; `next` is the cursor of the following page, null at the end."""

    items: list[CallerOut]
    total: int
    next: str | None


class Adoption(In):
    """What a caller becomes: a meter that dials in. What is left out comes from what it was recognised as."""

    protocol: Text | None = Field(None, examples=["dlms"])
    framing: Text | None = Field(None, examples=["wrapper"])
    profile_id: Text = Field("", examples=["ivy-em114070"])
    params: dict[Text, Text] = Field({}, examples=[{"client": "16"}])
    poll_seconds: float = Field(60.0, ge=0, le=86_400 * 31, allow_inf_nan=False, description="0: only listen")
    tags: list[Tag] = Field([], max_length=50)
    secrets: dict[str, str] = Field(
        {}, max_length=8, description="secrets by name (`secret`, `ek`, `ak`, `mk`), each `hex:…` or `text:…`"
    )


class AdoptIn(Adoption):
    """One caller becomes a meter."""

    id: MeterId | None = Field(None, examples=["feeder-1"])
    name: Text = Field("", examples=["Feeder 1"])


class AdoptManyIn(Adoption):
    """Several callers become meters of one kind."""

    callers: list[str] = Field(min_length=1, max_length=1000)


class Adopted(BaseModel):
    """What became of one caller: a meter, or a problem."""

    caller: str
    meter_id: str
    problem: str


class AdoptedMany(BaseModel):
    """What became of them."""

    items: list[Adopted]
