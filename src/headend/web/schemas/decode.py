"""Octets to explain, and what they mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from headend.web.schemas.base import In

MAX_HEX = 200_000
MAX_BASE64 = 400_000
MAX_KEY = 8_000


class DecodeIn(In):
    """Octets to explain, as `hex` or as `base64`. Keys are used for this answer alone and kept nowhere."""

    hex: str = Field(
        "",
        max_length=MAX_HEX,
        description="hexadecimal in any grouping, a hexdump, or base64 after `base64:`",
        examples=["0001 0000 0006 01 04 0000 0006"],
    )
    base64: str = Field("", max_length=MAX_BASE64, description="octets in base64, also those of a pcap or pcapng file")
    protocol: str = Field("", max_length=40, description="without it the drivers are asked", examples=["modbus"])
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        [], max_length=16, description="explain only conversations of these ports in a capture"
    )
    keys: dict[str, Annotated[str, Field(max_length=MAX_KEY)]] = Field(
        {},
        max_length=16,
        description="what ciphered APDUs are opened with, by name (`ek`, `ak`, …), each `hex:…` or `text:…`",
        json_schema_extra={"writeOnly": True},
    )
    xml: bool = Field(False, description="also write the APDUs in the XML notation of the protocol's translators")  # noqa: FBT003 # the default


class DecodedField(BaseModel):
    """One field of a layer."""

    name: str
    value: str
    offset: int
    length: int


class DecodedLayer(BaseModel):
    """One layer of a frame."""

    name: str
    offset: int
    length: int
    fields: list[DecodedField]
    layers: list[DecodedLayer]
    error: str


class Decoded(BaseModel):
    """What the octets mean; offsets count in `octets`, which are those that were given, in hexadecimal."""

    protocol: str
    length: int
    octets: str
    layer: DecodedLayer
    xml: str = Field(description="empty unless asked for, and where nothing can be written")
