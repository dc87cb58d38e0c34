"""Settings: one TOML file, overridden by environment variables `HEADEND_SECTION__FIELD`, all with safe defaults.

Every field is described here and listed in `docs/reference/settings.md` (a test keeps the two in step). Passwords are named
by place (`env:NAME`, `file:PATH`), never written into the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from headend.errors import ConfigError
from headend.model.place import line_of
from headend.model.targets import PRIVATE
from headend.runtime.folders import data_folder

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSettings(_Section):
    """Where readings and meters are kept."""

    url: str = Field(default="", description="database URL; empty: `sqlite:///headend.db` in the data folder")
    vault_key: str = Field(
        default="", description="file with the key that encrypts meter secrets; empty: `vault.key` in the data folder"
    )
    retention_days: int = Field(
        default=0, ge=0, description="readings older than this many days are removed; 0: kept for ever"
    )


class WebSettings(_Section):
    """REST and console."""

    enabled: bool = Field(default=True, description="serve REST and the console")
    host: str = Field(
        default="127.0.0.1", description="address to listen on; beyond loopback every request needs a credential"
    )
    port: Port = Field(default=8080, description="port to listen on; 0: any free one")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="host names under which browsers may ask, beside loopback names"
    )
    cors_origins: tuple[str, ...] = Field(default=(), description="origins of other pages that may use REST")
    tls_certificate: str = Field(
        default="", description="PEM file with the certificate chain; together with `tls_key` turns on TLS"
    )
    tls_key: str = Field(default="", description="PEM file with the private key")
    public_read: bool = Field(
        default=True,
        description="reading needs no credential on this machine; turn it off behind a proxy that does not say whom it serves",
    )
    accept_unknown_meters: bool = Field(
        default=False, description="readings posted for an unknown meter create that meter (not polled)"
    )


class TopicRights(_Section):
    """What a user of the embedded broker may do beyond asking."""

    subscribe: tuple[str, ...] = ("#",)
    publish: tuple[str, ...] = ()


class MqttSettings(_Section):
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
    commands: bool = Field(
        default=False,
        description="requests on `command/request` may change meters; everybody who may publish there then can",
    )
    roles: dict[str, Literal["operator", "dispatcher", "admin"]] = Field(
        default={},
        description="who may ask on `command/request`: user at the broker to `operator`, `dispatcher` or `admin`",
    )
    outbox_messages: int = Field(
        default=1_000_000, ge=1, description="messages kept on disk for a broker that is away; the oldest go first"
    )
    outbox_megabytes: int = Field(default=1024, ge=1, description="room that they may take")
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


class PollSettings(_Section):
    """How meters are read."""

    timeout: Seconds = Field(default=5.0, description="seconds to wait for one answer of a meter")
    in_flight: int = Field(default=2000, ge=1, le=20000, description="reads under way at once")
    connects_per_second: int = Field(default=500, ge=1, description="new links opened per second")


class CommandSettings(_Section):
    """How meters are commanded."""

    confirm: Literal["code", "four-eyes"] = Field(
        default="code",
        description="who confirms what switches supply, clears or changes secrets: who asked for it, by a code, or another"
        " person; `four-eyes`: another person",
    )
    confirm_seconds: Seconds = Field(default=120.0, description="seconds that a proposal waits for its confirmation")
    deadline: Seconds = Field(
        default=300.0, description="seconds that a command waits for its meter, unless the request says otherwise"
    )
    verify: Seconds = Field(default=3600.0, description="seconds that an unknown outcome is looked into by reading")
    retention_days: int = Field(
        default=0,
        ge=0,
        description="jobs that ended this many days ago are removed, the audit trail never; 0: kept for ever",
    )


class ListenSettings(_Section):
    """Where meters may push to."""

    places: tuple[str, ...] = Field(
        default=(),
        description="`tcp://HOST:PORT`, `udp://HOST:PORT`, `serial:/dev/ttyUSB0?baud=2400`; empty: off",
    )
    links: int = Field(default=1000, ge=1, le=20000, description="open links at a time")
    per_address: int = Field(default=16, ge=1, description="open links from one address")
    max_octets: int = Field(default=65536, ge=64, le=1 << 20, description="longest push that is taken")
    idle: Seconds = Field(default=300.0, description="seconds of silence after which a link is dropped")


class CaptureSettings(_Section):
    """Captures of what goes over the wires of meters, in the folder `captures` beside the database."""

    at_once: int = Field(default=20, ge=1, le=1000, description="captures that run at a time")
    seconds: Seconds = Field(default=3600.0, description="after which each ends by itself at the latest")
    octets: int = Field(default=1 << 30, ge=1 << 20, description="all that is kept; the oldest captures make room")


class AlarmSettings(_Section):
    """What the rules of alarms start from; meter files and REST change them for some meters."""

    nominal_voltage: float = Field(default=230.0, gt=0, description="V from phase to neutral")
    rated_current: float = Field(default=0.0, ge=0, description="A a phase; 0: not known, over-current is not watched")
    rated_power: float = Field(default=0.0, ge=0, description="W in all; 0: not known, overload is not watched")
    late_seconds: Seconds = Field(
        default=900.0, description="readings that come later than this after their measurement raise and clear nothing"
    )
    retention_days: int = Field(
        default=0, ge=0, description="alarms that have been over for this many days are removed; 0: kept for ever"
    )
    rules: dict[str, dict[str, bool | int | float | str]] = Field(
        default={}, description="what is changed of the rules for all meters: `[alarms.rules.overvoltage]`"
    )


class GatewaySettings(_Section):
    """Meters that dial in."""

    enabled: bool = Field(default=True, description="take connections of meters that dial in")
    places: tuple[str, ...] = Field(
        default=("tcp://127.0.0.1:8899",), description="where meters dial in: `tcp://HOST:PORT`, several if need be"
    )
    links: int = Field(default=12_000, ge=1, le=65_000, description="open connections at a time, for each place")
    per_address: int = Field(default=10_000, ge=1, description="open connections from one address")
    per_second: int = Field(
        default=2000, ge=1, description="new connections a second from one address, five seconds' worth at once"
    )
    per_meter: int = Field(
        default=6, ge=1, description="how often a minute a connection of a meter may replace the one before"
    )
    first_octet: Seconds = Field(default=30.0, description="seconds within which a caller must say something")
    recognise: Seconds = Field(
        default=60.0, description="seconds within which it must have said what can be recognised"
    )
    idle: Seconds = Field(
        default=900.0,
        description="seconds of silence after which a connection is closed, where no heartbeats are expected",
    )
    missed_heartbeats: int = Field(
        default=3, ge=1, description="a caller whose heartbeats have a known period is closed when so many did not come"
    )
    grace: Seconds = Field(
        default=120.0, description="seconds after its connection is lost until a meter counts as offline"
    )
    settle: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="about so many seconds a meter is left alone after it dialled in; then it is asked what is overdue",
    )
    octets_per_second: int = Field(
        default=16_384,
        ge=64,
        description="octets that one caller may send unasked; of more, the rest waits on its side",
    )
    ask: tuple[str, ...] = Field(
        default=(),
        description="schemes of meter URLs (`dlms`, `dlms+hdlc`, `dlt645`) in which a caller that does not say who it is may be"
        " asked; empty: never",
    )
    quarantine: int = Field(default=500, ge=0, description="unknown callers that stay connected; the rest are closed")
    registrations: tuple[str, ...] = Field(
        default=(), description="folders with descriptions of logins and heartbeats of your own"
    )
    acknowledge: Literal["", "when-right", "always", "never"] = Field(
        default="", description="when logins and heartbeats are acknowledged; empty: as their description says"
    )
    strict: bool = Field(
        default=False, description="a login with wrong check octets leads to quarantine, whatever number it says"
    )
    zero_number: Literal["", "peer", "number"] = Field(
        default="",
        description="who says a number of all zeros is known by its address (`peer`), or by that number; empty: as the"
        " description says",
    )


class DiscoverySettings(_Section):
    """Searching networks for meters, and finding out what they are."""

    networks: tuple[str, ...] = Field(
        default=PRIVATE, description="networks that may be scanned, and nothing outside of them"
    )
    ports: str = Field(
        default="", description="ports that are scanned, as `502,4059,8000-8010`; empty: those that the protocols name"
    )
    rate: float = Field(default=2000.0, gt=0, le=1_000_000, description="connections a second that a scan tries")
    network_rate: float = Field(default=100.0, gt=0, le=1_000_000, description="of them to one /24, or /64 of IPv6")
    window: int = Field(default=4000, ge=1, le=60_000, description="connections of a scan under way at once")
    timeout: Seconds = Field(
        default=2.0, description="seconds to wait for a connection of a scan, and for one answer of a meter"
    )
    listen_milliseconds: int = Field(
        default=200,
        ge=0,
        le=60_000,
        description="how long an open port is listened to before anything is asked; 0: not at all",
    )
    places: int = Field(default=200, ge=1, le=5000, description="open places that are looked into at once")
    per_host: int = Field(default=1, ge=1, le=5000, description="of them at one host")
    cycle_minutes: float = Field(
        default=15.0, ge=0, le=100_000, description="a place that was looked into is left alone so long by scans"
    )
    links: int = Field(default=32, ge=1, description="connections that may be opened to find out about one place")
    associations: int = Field(default=24, ge=0, description="associations that may be asked for there")
    seconds: Seconds = Field(default=60.0, description="seconds that it may take")
    spacing_milliseconds: int = Field(
        default=0, ge=0, le=60_000, description="pause between the end of one connection there and the next"
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        description="scans that ended this many days ago are forgotten, not what they found; 0: kept for ever",
    )


class LogSettings(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is written"
    )
    json_lines: bool = Field(default=False, description="one JSON object a line instead of text for people")


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(env_prefix="HEADEND_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data: str = Field(
        default="", description="folder for database and keys; empty: `headend` in the user's data folder"
    )
    profiles: tuple[str, ...] = Field(default=(), description="folders with meter files of your own")
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    mqtt: MqttSettings = MqttSettings()
    poll: PollSettings = PollSettings()
    commands: CommandSettings = CommandSettings()
    listen: ListenSettings = ListenSettings()
    capture: CaptureSettings = CaptureSettings()
    alarms: AlarmSettings = AlarmSettings()
    gateway: GatewaySettings = GatewaySettings()
    discovery: DiscoverySettings = DiscoverySettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the file (given as init values)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def data_folder(self) -> Path:
        """The folder for database and keys."""
        return data_folder(self.data)


def load_settings(path: Path | None) -> Settings:
    """Read a settings file (None: defaults and environment only).

    Raises ConfigError `FILE:LINE: section.field: expected …, got …`.
    """
    text, values = "", {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(f"no settings file at {path}", hint="see docs/reference/settings.md") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the settings file {path}: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item, path, text) for item in error.errors())) from None


def settings_of(config: str | None, data: str | None) -> Settings:
    """The settings of a command line: its file, and the data folder where it names one."""
    settings = load_settings(Path(config).expanduser() if config else None)
    return settings.model_copy(update={"data": data}) if data else settings


def _explain(item: Any, path: Path | None, text: str) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    names = [str(part) for part in item["loc"]]
    table, key = (names[0], names[1]) if len(names) > 1 else ("", names[0])
    in_file = path is not None and (key in text)
    place = f"{path}:{line_of(text, table, 0, key)}" if in_file else f"HEADEND_{'__'.join(names).upper()}"
    if item["type"] == "extra_forbidden":
        section = Settings.model_fields[table].annotation if table in Settings.model_fields else Settings
        known = ", ".join(getattr(section, "model_fields", Settings.model_fields))
        return f"{place}: {'.'.join(names)}: no such setting; known here: {known}"
    return f"{place}: {'.'.join(names)}: {item['msg'].lower()}, got {item['input']!r}"


def describe() -> Iterator[tuple[str, str, str]]:
    """(name, default, description) of every setting, for the reference page."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for key, inner in section.model_fields.items():
                yield f"{name}.{key}", _shown(inner.default), inner.description or ""
        else:
            yield name, _shown(field.default), field.description or ""


def _shown(default: object) -> str:
    if default is None:
        return "absent"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[{}]".format(", ".join(f'"{each}"' for each in default))
    return "{}" if isinstance(default, dict) else f'"{default}"' if isinstance(default, str) else str(default)
