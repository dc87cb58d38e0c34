"""Settings: one TOML file, overridden by environment variables `HEADEND_SECTION__FIELD`, all with safe defaults.

Every field is described here and listed in `docs/reference/settings.md` (a test keeps the two in step). Passwords are named
by place (`env:NAME`, `file:PATH`), never written into the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from headend.errors import ConfigError
from headend.model.place import line_of
from headend.model.targets import PRIVATE
from headend.runtime.folders import data_folder
from headend.runtime.settings_delivery import DeliverySettings, MqttSettings
from headend.runtime.settings_exports import ExportName, ExportSettings
from headend.runtime.settings_history import LedgerSettings
from headend.runtime.settings_recovery import FreshnessSettings, NetworkEntry, RecoverySettings, SupervisorSettings
from headend.runtime.settings_section import Port, Seconds, Section


class StorageSettings(Section):
    """Where readings and meters are kept."""

    url: str = Field(
        default="",
        description="`sqlite:///FILE` or `postgresql://USER@HOST:PORT/DATABASE`; empty: `headend.db` in the data folder",
    )
    password: str = Field(
        default="",
        description="where the password of PostgreSQL is: `env:NAME` or `file:PATH`; empty: none, or PGPASSFILE's",
    )
    vault_key: str = Field(
        default="", description="file with the key that encrypts meter secrets; empty: `vault.key` in the data folder"
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        description="readings older than this many days are removed, once they are summarised; 0: kept for ever",
    )
    quarter_hour_retention_days: int = Field(default=0, ge=0, description="the same for their summaries by 15 minutes")
    hour_retention_days: int = Field(default=0, ge=0, description="the same for their summaries by hour")
    day_retention_days: int = Field(default=0, ge=0, description="the same for their summaries by day")


class WebSettings(Section):
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
    mbmd: bool = Field(
        default=False, description="serve the interface of mbmd, too: `/api/last`, `/api/avg`, `/api/status`, `/ws`"
    )


class PollSettings(Section):
    """How meters are read."""

    timeout: Seconds = Field(default=5.0, description="seconds to wait for one answer of a meter")
    in_flight: int = Field(default=2000, ge=1, le=20000, description="reads under way at once")
    connects_per_second: int = Field(default=500, ge=1, description="new links opened per second")
    every: dict[str, int | float | str] = Field(
        default={},
        description="how often quantities are read, where less often than their meter: `QUANTITY` or `METER/QUANTITY`, with"
        ' wildcards, to seconds or `"15m"`; goes before `every` in meter files,'
        " a meter's tags (`every:QUANTITY=15m`) go before both, and the last name that fits counts",
    )


class CommandSettings(Section):
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


class ListenSettings(Section):
    """Where meters may push to."""

    places: tuple[str, ...] = Field(
        default=(),
        description="`tcp://HOST:PORT`, `udp://HOST:PORT`, `serial:/dev/ttyUSB0?baud=2400`; empty: off",
    )
    links: int = Field(default=1000, ge=1, le=20000, description="open links at a time")
    per_address: int = Field(default=16, ge=1, description="open links from one address")
    max_octets: int = Field(default=65536, ge=64, le=1 << 20, description="longest push that is taken")
    idle: Seconds = Field(default=300.0, description="seconds of silence after which a link is dropped")


class CaptureSettings(Section):
    """Captures of what goes over the wires of meters, in the folder `captures` beside the database."""

    at_once: int = Field(default=20, ge=1, le=1000, description="captures that run at a time")
    seconds: Seconds = Field(default=3600.0, description="after which each ends by itself at the latest")
    octets: int = Field(default=1 << 30, ge=1 << 20, description="all that is kept; the oldest captures make room")


class AlarmSettings(Section):
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


class GatewaySettings(Section):
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


class DiscoverySettings(Section):
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


class MeterEntry(Section):
    """A meter that the settings declare."""

    url: str = Field(description="how it is reached, as in docs/reference/meter-urls.md")
    name: str = Field(default="", description="for people; the id is made of it, or else of the address")
    poll: float = Field(default=60.0, ge=0, description="seconds between reads; 0: none")
    tags: tuple[str, ...] = ()


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is written"
    )
    json_lines: bool = Field(default=False, description="one JSON object a line instead of text for people")
    traces: str = Field(
        default="", description="`http://HOST:4318` of an OpenTelemetry collector that is sent traces; empty: none"
    )


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(env_prefix="HEADEND_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data: str = Field(
        default="", description="folder for database and keys; empty: `headend` in the user's data folder"
    )
    profiles: tuple[str, ...] = Field(default=(), description="folders with meter files of your own")
    meters: tuple[MeterEntry, ...] = Field(
        default=(),
        description="meters that the file declares: `[[meters]]` with `url`, `name`, `poll` (seconds), `tags`; at each start they"
        " are entered, changed, or removed (their readings stay) as it says",
    )
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    mqtt: MqttSettings = MqttSettings()
    delivery: DeliverySettings = DeliverySettings()
    sinks: dict[str, dict[str, Any]] = Field(
        default={},
        description="systems that are delivered to, beside `[mqtt]`: tables `[sinks.NAME]`, see [sinks](sinks.md)",
    )
    poll: PollSettings = PollSettings()
    recovery: RecoverySettings = RecoverySettings()
    freshness: FreshnessSettings = FreshnessSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    networks: tuple[NetworkEntry, ...] = Field(
        default=(),
        description="what meters share that is narrow: `[[networks]]` with `name`, `cidr` and `tags` (lists; `cell=*` makes a"
        " network of each cell), `at_once` (sessions at work), `connects_per_second`, `links` (open), `recovery` (thresholds)",
    )
    ledger: LedgerSettings = LedgerSettings()
    commands: CommandSettings = CommandSettings()
    listen: ListenSettings = ListenSettings()
    capture: CaptureSettings = CaptureSettings()
    alarms: AlarmSettings = AlarmSettings()
    gateway: GatewaySettings = GatewaySettings()
    discovery: DiscoverySettings = DiscoverySettings()
    exports: dict[ExportName, ExportSettings] = Field(
        default={},
        description="files that are written by themselves: `[exports.NAME]` with `format`, `folder`; see docs/reference/exports.md",
    )
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
