"""Bodies of the interface of an earlier bridge from DLMS to ThingsBoard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from headend.web.schemas.base import In, Text

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
Sap = Annotated[int, Field(ge=0, le=0xFFFF)]
Token = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")]
Password = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Device = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_. -]{1,50}$")]
MAX: int = 200


class MeasurementIn(In):
    """A register by its OBIS code."""

    name: Text = ""
    obis: Text


class BridgeMeterIn(In):
    """A meter as clients of the bridge enter it."""

    name: Text = Field(min_length=1, examples=["Feeder 1"])
    ip_address: Host = Field(examples=["192.0.2.11"])
    port: int = Field(3333, ge=1, le=65535)
    client_id: Sap = 1
    server_id: Sap = 1
    password: Password | None = Field(None, description="of low level security; without one, none is used")
    tb_token: Token | None = None
    tb_device_name: Device | None = None
    measurements: list[Text | MeasurementIn] = Field(
        ["voltage_l1", "current_l1", "frequency", "active_power", "active_energy"], min_length=1, max_length=MAX
    )


class BridgeMeterChange(In):
    """What is changed of a meter; what is absent stays."""

    name: Text | None = Field(None, min_length=1)
    ip_address: Host | None = None
    port: int | None = Field(None, ge=1, le=65535)
    client_id: Sap | None = None
    server_id: Sap | None = None
    status: Literal["active", "inactive"] | None = None
    password: Password | None = None
    tb_token: Token | None = None
    tb_device_name: Device | None = None


class BridgeMeter(BaseModel):
    """A meter, as the bridge had it in its table. Times are ISO 8601."""

    id: str
    name: str
    ip_address: str
    port: int
    client_id: int
    server_id: int
    status: Literal["active", "inactive", "error"]
    last_seen: str | None
    last_error: str | None
    error_count: int
    tb_host: str | None
    tb_port: int | None
    tb_device_name: str | None
    model: str
    serial_number: str
    firmware_version: str


class ConfigRow(In):
    """One measurement of a meter."""

    measurement: Text
    obis: Text = ""
    enabled: bool = True
    sampling_interval: float | None = Field(
        None, ge=0.1, le=86_400 * 31, description="seconds; as often as the meter is polled"
    )
    tb_key: Text | None = None


class BridgeConfig(In):
    """The measurements of a meter."""

    measurements: list[ConfigRow] = Field(min_length=1, max_length=MAX)


class BridgeMetrics(BaseModel):
    """How a meter was read in the last 24 hours; read times in milliseconds."""

    meter_id: str
    avg_read_time: float | None
    min_read_time: float | None
    max_read_time: float | None
    total_reads: int
    successful_reads: int
    failed_reads: int
    success_rate: float | None = Field(description="percent")
    messages_sent: int = Field(description="of this meter, that sinks have confirmed")
    messages_buffered: int = Field(description="of them, those that had to wait for a sink")
    reconnects: int = Field(description="sessions with this meter after the first")
    cache_hits: int = Field(description="scalers that were remembered instead of asked for")
    cache_hit_rate: float | None = Field(description="percent; null where the meter has to tell no scalers")
    mqtt_reconnects: int = Field(description="of all sinks, since the start")
    requests: int
    requests_saved: int = Field(description="since the start: that reading value by value would have taken")


class NetworkMetrics(BaseModel):
    """What all meters said and were asked in the last 24 hours."""

    requests: int
    responses: int
    bytes_sent: int
    bytes_received: int
    bandwidth: float = Field(description="octets a second, both ways, over the time in which anything was counted")
    mqtt_messages: int = Field(description="delivered by all sinks since the start")


class BridgeAlarm(BaseModel):
    """An alarm."""

    id: int
    meter_id: str
    severity: str
    category: str
    message: str
    timestamp: str
    active: bool
    acknowledged: bool
    acknowledged_by: str | None
    acknowledged_at: str | None
