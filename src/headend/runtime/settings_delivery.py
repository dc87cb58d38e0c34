"""Settings of delivery: what the sections `[mqtt]` and `[delivery]` say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headend.runtime.settings_section import Port, Seconds, Section


class TopicRights(Section):
    """What a user of the embedded broker may do beyond asking."""

    subscribe: tuple[str, ...] = ("#",)
    publish: tuple[str, ...] = ()


class MqttSettings(Section):
    """The MQTT broker that telemetry is published to."""

    enabled: bool = Field(default=True, description="publish to MQTT")
    broker: str = Field(
        default="", description="`mqtt://HOST[:PORT]` or `mqtts://…` of your broker; empty: the embedded one"
    )
    username: str = Field(default="", description="user name at the broker")
    password: str = Field(default="", description="where the password is: `env:NAME` or `file:PATH`")
    version: Literal["3.1.1", "5"] = Field(
        default="5", description="MQTT version spoken to your broker (the embedded one speaks 3.1.1)"
    )
    layouts: tuple[Literal["headend", "ivy"], ...] = Field(
        default=("headend",),
        min_length=1,
        description="what is published and answered: `headend`, `ivy` (as `ivy/v1/…`) or both; the first has the last will",
    )
    prefix: str = Field(default="headend/v1", description="first levels of every topic of the layout `headend`")
    ivy_prefix: str = Field(default="ivy/v1", description="first levels of every topic of the layout `ivy`")
    stats_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="seconds between messages on `gateway/stats`; 0: none"
    )
    client_id: str = Field(default="", description="client id; empty: made from the host name")
    ca_file: str = Field(
        default="", description="PEM file with the authorities trusted for `mqtts`; empty: the system's"
    )
    certificate: str = Field(default="", description="PEM file with a client certificate; together with `key_file`")
    key_file: str = Field(default="", description="PEM file with its key")
    qos: Literal[0, 1] = Field(
        default=1, description="1: readings and events arrive at least once; 0: what is on its way may be lost"
    )
    retain: bool = Field(default=False, description="the broker keeps the newest readings of each meter")
    commands: bool = Field(
        default=False,
        description="requests on `command/request` may change meters; everybody who may publish there then can",
    )
    roles: dict[str, Literal["operator", "dispatcher", "admin"]] = Field(
        default={},
        description="who may ask on `command/request`: user at the broker to `operator`, `dispatcher` or `admin`",
    )
    embedded_host: str = Field(
        default="127.0.0.1", description="address of the embedded broker; beyond loopback it needs users"
    )
    embedded_port: Port = Field(default=1883, description="TCP port of the embedded broker")
    embedded_ws_port: Port | None = Field(
        default=None, description="port for MQTT over WebSocket at the embedded broker, for example 9001; absent: off"
    )
    embedded_ws_origins: tuple[str, ...] = Field(
        default=(), description="origins of pages that may use it; programs other than browsers send none"
    )
    embedded_users: dict[str, str] = Field(
        default={},
        description="users of the embedded broker: name to `env:NAME` or `file:PATH`; they may read everything",
    )
    embedded_rights: dict[str, TopicRights] = Field(
        default={},
        description="topics of single users: name to `{ subscribe = [FILTER, …], publish = [FILTER, …] }`; `roles` adds to it",
    )
    embedded_clients: int = Field(default=1000, ge=1, le=20000, description="clients of the embedded broker at a time")
    embedded_message_octets: int = Field(
        default=1 << 20, ge=1024, le=1 << 26, description="longest message that the embedded broker takes"
    )
    embedded_messages_per_second: float = Field(
        default=200.0, ge=1, description="messages of one client per second; a faster one is slowed down"
    )
    embedded_subscriptions: int = Field(default=100, ge=1, description="subscriptions of one client")
    embedded_retained: int = Field(
        default=20000,
        ge=0,
        description="retained messages from which on the embedded broker takes no more from clients",
    )


class DeliverySettings(Section):
    """How what is stored is delivered to sinks."""

    keep_hours: float = Field(
        default=72.0,
        gt=0,
        le=87_600,
        description="what is delivered is kept so long for sinks that are away, and for replays",
    )
    keep_megabytes: int = Field(default=4096, ge=1, description="room that it may take; the oldest goes first")
    confirm_seconds: Seconds = Field(
        default=60.0, description="a sink that does not confirm what it is given in this time is connected anew"
    )
