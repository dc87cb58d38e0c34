"""Meters and their secrets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from headend.web.schemas.base import In, MeterId, Tag, Text


class EndpointModel(In):
    """Where a meter is reached."""

    kind: Literal["tcp", "udp", "serial", "inbound"] = "tcp"
    host: Text = ""
    port: int = Field(0, ge=0, le=65535)
    path: Text = ""
    baud: int = Field(9600, ge=50, le=4_000_000)
    line: str = Field("8N1", pattern="^[78][NEO][12]$")


class MeterFields(In):
    """What can be set on a meter. Say how it is reached by `url`, or by `protocol`, `framing`, `endpoint` and `params`."""

    url: str | None = Field(None, max_length=1000, examples=["modbus://127.0.0.1:5020/1?profile=eastron-sdm630"])
    protocol: Text | None = Field(None, examples=["modbus"])
    framing: Text | None = Field(None, examples=["tcp"])
    endpoint: EndpointModel | None = None
    params: dict[Text, Text] | None = Field(None, examples=[{"unit": "1"}])
    name: Text | None = Field(None, examples=["Feeder 1"])
    profile_id: Text | None = Field(None, examples=["eastron-sdm630"])
    poll_seconds: float | None = Field(None, ge=0, le=86_400 * 31, allow_inf_nan=False)
    enabled: bool | None = None
    tags: list[Tag] | None = Field(None, max_length=50, examples=[["hall-2"]])


class MeterIn(MeterFields):
    """A new meter. Without `id` it gets one from its name or address."""

    id: MeterId | None = Field(None, examples=["feeder-1"])
    secrets: dict[str, str] = Field(
        {}, max_length=8, description="secrets by name (`secret`, `ek`, `ak`, `mk`), each `hex:…` or `text:…`"
    )


_METER_ID = TypeAdapter[str](MeterId)


def id_of(name: str | None) -> str | None:
    """The name, if it can be an id."""
    try:
        return _METER_ID.validate_python(name)
    except ValidationError:
        return None


class MeterList(In):
    """Meters to be entered together."""

    meters: list[MeterIn] = Field(max_length=20_000)


class MetersImported(BaseModel):
    """How many were new, were otherwise before, and were as they are now."""

    added: int
    changed: int
    same: int


class Identity(BaseModel):
    """What a meter says about itself."""

    serial: str
    manufacturer: str
    model: str
    firmware: str
    logical_device_name: str
    system_title: str
    meter_address: str


class MeterState(BaseModel):
    """What is known of a meter since the head-end started."""

    online: bool | None = Field(description="null until it was tried")
    last_seen: int | None
    last_error_code: str
    last_error_text: str
    last_error_at: int | None
    reads_ok: int
    reads_failed: int


class MeterOut(BaseModel):
    """A meter. Its revision is also the ETag; a change names it in If-Match."""

    id: str
    revision: int
    name: str
    url: str = Field(description="how it is reached, without secrets")
    protocol: str
    framing: str
    endpoint: EndpointModel
    params: dict[str, str]
    profile_id: str
    identity: Identity
    poll_seconds: float
    enabled: bool
    tags: list[str]
    state: MeterState


class MeterPage(BaseModel):
    """Some meters, by id; `next` is the cursor of the following page, null at the end."""

    items: list[MeterOut]
    total: int
    next: str | None


class SecretNames(BaseModel):
    """Which secrets a meter has. Their values never leave the head-end."""

    names: list[str]


class SecretIn(In):
    """A secret, as `hex:…` or `text:…`."""

    value: str = Field(max_length=1024, examples=["hex:000102030405060708090A0B0C0D0E0F"])
