"""Options of the two sinks for ThingsBoard, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headend.errors import ConfigError
from headend.northbound.brokered import BrokerOptions
from headend.northbound.thingsboard.attributes import check_template
from headend.northbound.thingsboard.limits import PUBLIC, PUBLIC_RATES, SHARE, Limits, Rates, parse_rate
from headend.northbound.thingsboard.values import BRIDGE_KEYS, Keys

UNITS: Final = ("base", "kilo")
NAMING: Final = ("headend", "bridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingsBoardOptions(BrokerOptions):
    """What both sinks understand."""

    device_name: str = field(
        default="{id}",
        metadata={"description": "name of a meter's device: text with {id}, {name}, {serial}, {model} …"},
    )
    device_type: str = field(
        default="{profile}",
        metadata={"description": "device profile for new devices, likewise; `default` where it is empty"},
    )
    units: str = field(
        default="base",
        metadata={"description": "`base`: W, Wh, var …; `kilo`: kW, kWh, kvar … where a quantity has such a unit"},
    )
    naming: str = field(
        default="headend",
        metadata={"description": "telemetry keys: `headend` (our quantities), `bridge` (the earlier bridge)"},
    )
    keys: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"description": "telemetry keys of your own, by quantity; they come before `naming`"},
    )
    text_prefix: str = field(
        default="#",
        metadata={"description": 'put before texts that read like numbers; empty: they go as JSON objects {"text": …}'},
    )
    events: bool = field(default=True, metadata={"description": "events of meters as telemetry `event_TYPE`, too"})
    share: float = field(default=SHARE, metadata={"description": "how much of the platform's rate limits is used"})
    max_payload: int = field(
        default=0, metadata={"description": "octets in one message, at most; 0: as the platform says"}
    )
    messages: str = field(
        default="",
        metadata={"description": "limit of messages, `N:SECONDS,N:SECONDS`, for a platform that does not say"},
    )
    telemetry_messages: str = field(default="", metadata={"description": "limit of telemetry messages, likewise"})
    telemetry_points: str = field(default="", metadata={"description": "limit of data points, likewise"})
    shared: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "description": "what is done when a shared attribute is set in ThingsBoard: attribute to method of remote calls, as"
            ' `relay = "setValue"`'
        },
    )
    catch_up: bool = field(
        default=False,
        metadata={
            "description": "ask for those attributes on each connection, and do, once, what was set meanwhile: late, and however"
            " long ago; without it that does nothing"
        },
    )
    call_seconds: float = field(default=30.0, metadata={"description": "how long a remote call may take"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions(ThingsBoardOptions):
    """Options of `kind = "thingsboard"`: one connection of a device that is marked as a gateway."""

    token: str = field(
        default="",
        metadata={"description": "access token of the gateway device, as env:NAME or file:PATH; or `username`"},
    )
    metadata: bool = field(
        default=False, metadata={"description": "tell with each point when it was read and published (newer platforms)"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions(ThingsBoardOptions):
    """Options of `kind = "thingsboard-device"`: a connection for each meter that has an access token."""

    tokens: Mapping[str, str] = field(
        default_factory=dict, metadata={"description": "access tokens by meter id, as env:NAME or file:PATH"}
    )
    token_folder: str = field(
        default="",
        metadata={"description": "folder with a file METER_ID.token for each meter; provisioning puts them there"},
    )
    provision_key: str = field(
        default="",
        metadata={"description": "device provisioning key, as env:NAME or file:PATH: meters without token get one"},
    )
    provision_secret: str = field(default="", metadata={"description": "its secret, likewise"})
    connections: int = field(default=1000, metadata={"description": "connections that may be open at once"})


def check(options: ThingsBoardOptions, sink: str) -> None:
    """Raises ConfigError for options that make no sense."""
    where = f"sinks.{sink}"
    check_template(options.device_name, f"{where}.device_name")
    check_template(options.device_type, f"{where}.device_type")
    for name, value, known in (("units", options.units, UNITS), ("naming", options.naming, NAMING)):
        if value not in known:
            raise ConfigError(f"{where}.{name}: expected {' or '.join(known)}, got {value!r}")
    if not 0 < options.share <= 1:
        raise ConfigError(f"{where}.share: expected more than 0, and 1 at most")
    if options.max_payload and options.max_payload < 1024:
        raise ConfigError(f"{where}.max_payload: expected 1024 octets or more")
    if options.catch_up and not options.shared:
        raise ConfigError(f"{where}.catch_up: asks for the attributes of `shared`, which names none")
    if options.call_seconds <= 0:
        raise ConfigError(f"{where}.call_seconds: expected more than 0")


def keys_of(options: ThingsBoardOptions) -> Keys:
    """How quantities are written."""
    usual = BRIDGE_KEYS if options.naming == "bridge" else {}
    return Keys({**usual, **options.keys}, kilo=options.units == "kilo", prefix=options.text_prefix)


def fallback_of(options: ThingsBoardOptions, host: str) -> Limits:
    """The limits that are kept to where the platform does not say; raises ConfigError."""
    said = Rates(
        messages=parse_rate(options.messages),
        telemetry=parse_rate(options.telemetry_messages),
        points=parse_rate(options.telemetry_points),
    )
    usual = said if said != Rates() else PUBLIC_RATES if host in PUBLIC else Rates()
    return Limits(own=usual, gateway=usual)
