"""What Home Assistant is told of a meter: one retained message per device, with all its entities. Pure.

```text
PREFIX/device/NODE_METER/config     retained    the device, where it comes from, its components
TOPIC/status                        retained    online, offline (last will): of the head-end
TOPIC/METER/status                  retained    online, offline: of the meter
TOPIC/METER/QUANTITY                            a number or text; None where it was asked for and did not come
TOPIC/METER/relay_closed            retained    ON, OFF, None: as read from the meter
TOPIC/METER/relay/set               to us       ON, OFF
TOPIC/METER/last_read               retained    when it last answered
TOPIC/METER/clock_offset                        seconds by which its clock is ahead
```
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headend.errors import ConfigError
from headend.model.jsontext import dumps
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.model.quantity import find_quantity
from headend.northbound.homeassistant.classes import DIAGNOSTIC, MEASUREMENT, Units, present
from headend.northbound.message import Message

ORIGIN: Final = "Headend"
ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
RELAY: Final = "relay_closed"
PLATFORMS: Final[Mapping[str, str]] = {"reachable": "binary_sensor", "last_read": "sensor", "relay": "switch"}
"""of the components that are no quantities; the others are sensors"""
_NOT_OF_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")


def slug(text: str) -> str:
    """A name of the characters that are allowed, another one for each text, the same one for ever."""
    plain = _NOT_OF_A_NAME.sub("_", text)
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and names: `prefix` is Home Assistant's, `topic` ours, `node` tells head-ends at one broker apart."""

    prefix: str
    topic: str
    node: str

    def __post_init__(self) -> None:
        for name, text in (("discovery_prefix", self.prefix), ("topic", self.topic)):
            if not text or text.startswith(("/", "$")) or text.endswith("/") or set("+#") & set(text):
                raise ConfigError(f"{name}: expected a topic like headend/home, got {text!r}")
        if not self.node or _NOT_OF_A_NAME.search(self.node):
            raise ConfigError(f"node: expected letters, digits, - and _ only, got {self.node!r}")

    @property
    def status(self) -> str:
        """Where the head-end says that it is there."""
        return f"{self.topic}/status"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    @property
    def configs(self) -> str:
        """The filter for all devices at the broker, ours among them."""
        return f"{self.prefix}/device/+/config"

    @property
    def commands(self) -> str:
        """The filter for commands."""
        return f"{self.topic}/+/relay/set"

    def device(self, meter_id: str) -> str:
        """The name of a meter's device."""
        return f"{self.node}_{slug(meter_id)}"

    def config(self, device: str) -> str:
        """Where a device is described."""
        return f"{self.prefix}/device/{device}/config"

    def of(self, meter_id: str, tail: str) -> str:
        """A topic of one meter."""
        return f"{self.topic}/{slug(meter_id)}/{tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a device consists of: its quantities, each with the seconds after which its value is no longer true."""

    meter: Meter
    profile: MeterProfile | None
    quantities: Mapping[str, float]
    has_switch: bool


def quantities_of(
    profile: MeterProfile | None,
    seen: Collection[str],
    live_seconds: Callable[[str], float],
    *,
    wants: Callable[[str], bool],
) -> dict[str, float]:
    """The quantities that a meter is polled for, and those that came besides, each with how long a value of it is live."""
    polled = [entry.quantity for entry in profile.objects if entry.poll and entry.quantity] if profile else []
    keys = dict.fromkeys([*polled, *sorted(seen)])
    return {key: math.ceil(live_seconds(key)) for key in keys if find_quantity(key) is not None and wants(key)}


class Discovery:
    """Describes devices, all in the same words."""

    def __init__(self, names: Names, units: Units, version: str) -> None:
        self.names = names
        self.units = units
        self._origin = {"name": ORIGIN, "sw_version": version}
        self._version = version

    def gateway(self) -> Message:
        """The device of the head-end itself, by which all meters come."""
        names = self.names
        reachable = {
            "platform": "binary_sensor",
            "unique_id": f"{names.node}_reachable",
            "name": "Connection",
            "device_class": "connectivity",
            "entity_category": DIAGNOSTIC,
            "state_topic": names.status,
            "payload_on": ONLINE.decode(),
            "payload_off": OFFLINE.decode(),
        }
        device = {"identifiers": [names.node], "name": ORIGIN, "manufacturer": ORIGIN, "sw_version": self._version}
        return self._message(names.node, {"device": device, "components": {"reachable": reachable}})

    def meter(self, told: Told, gone: Mapping[str, str] | None = None) -> Message:
        """The device of a meter; of what is gone since it was last described (name and platform), that it is gone."""
        names, meter = self.names, told.meter
        components = {key: self._quantity(told, key, seconds) for key, seconds in told.quantities.items()}
        components |= self._diagnostics(meter, told.quantities.get("meter_time"))
        if told.has_switch:
            components["relay"] = self._switch(meter)
        components |= {key: {"platform": platform} for key, platform in (gone or {}).items() if key not in components}
        said: dict[str, Any] = {
            "device": self._device(told),
            "availability": [{"topic": names.status}, {"topic": names.of(meter.id, "status")}],
            "availability_mode": "all",
            "components": components,
        }
        return self._message(names.device(meter.id), said)

    def removed(self, device: str) -> Message:
        """A device that is no more."""
        return Message(self.names.config(device), b"", retain=True)

    def _message(self, device: str, said: Mapping[str, Any]) -> Message:
        return Message(self.names.config(device), dumps({**said, "origin": self._origin, "qos": 1}), retain=True)

    def _device(self, told: Told) -> dict[str, Any]:
        meter, profile, identity = told.meter, told.profile, told.meter.identity
        said = {
            "identifiers": [self.names.device(meter.id)],
            "name": meter.name or meter.id,
            "manufacturer": identity.manufacturer or (profile.vendor if profile else ""),
            "model": identity.model or (profile.model if profile else ""),
            "serial_number": identity.serial,
            "sw_version": identity.firmware,
            "via_device": self.names.node,
        }
        return {key: value for key, value in said.items() if value}

    def _quantity(self, told: Told, key: str, seconds: float) -> dict[str, Any]:
        quantity = find_quantity(key)
        assert quantity is not None  # noqa: S101 - `quantities_of` has looked
        shown = present(quantity, self.units)
        said: dict[str, Any] = {
            "platform": shown.platform,
            "unique_id": f"{self.names.device(told.meter.id)}_{key}",
            "name": quantity.label,
            "state_topic": self.names.of(told.meter.id, key),
            "device_class": shown.device_class,
            "unit_of_measurement": shown.unit,
            "state_class": shown.state_class,
            "entity_category": shown.category,
            "suggested_display_precision": shown.decimals,
            "expire_after": seconds,
        }
        return {name: value for name, value in said.items() if value not in ("", None)}

    def _diagnostics(self, meter: Meter, clock_seconds: float | None) -> dict[str, Any]:
        """What says how the reading goes: known, too, while the meter is away."""
        names, device = self.names, self.names.device(meter.id)
        always = {"availability": [{"topic": names.status}], "entity_category": DIAGNOSTIC}
        said: dict[str, Any] = {
            "reachable": {
                "platform": PLATFORMS["reachable"],
                "unique_id": f"{device}_reachable",
                "name": "Reachable",
                "device_class": "connectivity",
                "state_topic": names.of(meter.id, "status"),
                "payload_on": ONLINE.decode(),
                "payload_off": OFFLINE.decode(),
                **always,
            },
            "last_read": {
                "platform": PLATFORMS["last_read"],
                "unique_id": f"{device}_last_read",
                "name": "Last read",
                "device_class": "timestamp",
                "state_topic": names.of(meter.id, "last_read"),
                **always,
            },
        }
        if clock_seconds is not None:
            said["clock_offset"] = {
                "platform": "sensor",
                "unique_id": f"{device}_clock_offset",
                "name": "Clock offset",
                "device_class": "duration",
                "unit_of_measurement": "s",
                "state_class": MEASUREMENT,
                "suggested_display_precision": 0,
                "state_topic": names.of(meter.id, "clock_offset"),
                "expire_after": clock_seconds,
                "entity_category": DIAGNOSTIC,
            }
        return said

    def _switch(self, meter: Meter) -> dict[str, Any]:
        """The relay: switched by a command, shown as the meter says it is, never as it was asked to be."""
        names = self.names
        return {
            "platform": PLATFORMS["relay"],
            "unique_id": f"{names.device(meter.id)}_relay",
            "name": "Load relay",
            "device_class": "switch",
            "state_topic": names.of(meter.id, RELAY),
            "command_topic": names.of(meter.id, "relay/set"),
            "optimistic": False,
            "retain": False,
        }


def gone_since(described: object, components: Collection[str]) -> dict[str, str]:
    """Components (name and platform) of an earlier description, as it came from the broker, that are no more."""
    earlier = described.get("components") if isinstance(described, dict) else None
    if not isinstance(earlier, dict):
        return {}
    return {
        key: each["platform"]
        for key, each in earlier.items()
        if key not in components and isinstance(each, dict) and isinstance(each.get("platform"), str)
    }


def is_ours(described: object) -> bool:
    """Whether a description of a device is one of a head-end."""
    origin = described.get("origin") if isinstance(described, dict) else None
    return isinstance(origin, dict) and origin.get("name") == ORIGIN
