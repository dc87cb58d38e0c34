"""What the platform is told about a meter beside its readings: its client attributes, the name and the type of its device."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from headend.errors import ConfigError
from headend.model.meter import EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.model.url import format_url
from headend.northbound.thingsboard.values import plain
from headend.services.roster import MeterState, Roster

FIELDS: Final = frozenset({"id", "name", "serial", "manufacturer", "model", "protocol", "profile"})
"""What a template for names and types may use."""
DEFAULT_TYPE: Final = "default"
LONGEST_TEXT: Final = 300


def attributes(state: MeterState, profile: MeterProfile | None, prefix: str) -> dict[str, Any]:
    """The client attributes of a meter. No secret is in them."""
    meter, identity = state.meter, state.meter.identity
    said: dict[str, Any] = {
        "meterId": meter.id,
        "name": meter.name or meter.id,
        "manufacturer": identity.manufacturer or (profile.vendor if profile else ""),
        "model": identity.model or (profile.model if profile else ""),
        "serial": identity.serial,
        "firmware": identity.firmware,
        "protocol": meter.protocol,
        "address": _address(meter),
        "url": _url(meter),
        "profile": meter.profile_id,
        "pollSeconds": float(meter.poll_seconds),
        "enabled": meter.enabled,
        "lastErrorCode": state.last_error_code,
        "lastError": state.last_error_text[:LONGEST_TEXT],
    }
    return {key: plain(value, prefix) for key, value in said.items()}


def changed(said: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is to be said anew; at first, what is not empty."""
    if before is None:
        return {key: value for key, value in said.items() if value != ""}
    return {key: value for key, value in said.items() if before.get(key) != value}


def _address(meter: Meter) -> str:
    where = meter.endpoint
    if where.kind in (EndpointKind.TCP, EndpointKind.UDP):
        return f"{where.host}:{where.port}"
    return where.path or where.host


def _url(meter: Meter) -> str:
    try:
        return format_url(meter)
    except ConfigError:
        return ""


def check_template(template: str, option: str) -> str:
    """The template; raises ConfigError for one that names something else than FIELDS."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        names = {""}
    if names - FIELDS:
        raise ConfigError(f"{option}: expected text with {', '.join(f'{{{each}}}' for each in sorted(FIELDS))}")
    return template


def fill(template: str, meter: Meter) -> str:
    """A template with what is known of a meter."""
    identity = meter.identity
    return template.format(
        id=meter.id,
        name=meter.name,
        serial=identity.serial,
        manufacturer=identity.manufacturer,
        model=identity.model,
        protocol=meter.protocol,
        profile=meter.profile_id,
    ).strip()


class Names:
    """The device of each meter, and the meter of each device. A name that is empty, or another meter's, gives way to the id."""

    def __init__(self, roster: Roster, template: str) -> None:
        self._roster = roster
        self._template = template
        self._devices: dict[str, str] = {}
        self._meters: dict[str, str] = {}

    def device(self, meter_id: str) -> str:
        """The name of a meter's device; that of a meter that is gone is its id, unless it had one before."""
        known = self._devices.get(meter_id)
        return known if known is not None else self._learn(meter_id)

    def meter(self, device: str) -> str | None:
        """The meter that a device stands for."""
        if device not in self._meters:
            for state in self._roster:
                self.device(state.meter.id)
        return self._meters.get(device)

    def forget(self, meter_id: str) -> str | None:
        """The meter may have another name now; returns the one that it had."""
        device = self._devices.pop(meter_id, None)
        if device is not None:
            del self._meters[device]
        return device

    def _learn(self, meter_id: str) -> str:
        state = self._roster.find(meter_id)
        name = fill(self._template, state.meter) if state is not None else ""
        if not name or name in self._meters or (name != meter_id and name in self._roster):
            name = meter_id
        self._devices[meter_id] = name
        self._meters[name] = meter_id
        return name


def device_type(template: str, meter: Meter | None) -> str:
    """The device profile that the platform is to use for new devices."""
    return (fill(template, meter) if meter is not None else "") or DEFAULT_TYPE


Token = tuple[object, ...]


class Told:
    """What the platform has been told of each meter."""

    def __init__(self, profile: Callable[[Meter], MeterProfile | None], prefix: str) -> None:
        self._profile = profile
        self._prefix = prefix
        self._known: dict[str, tuple[Token, dict[str, Any]]] = {}

    def news(self, state: MeterState) -> dict[str, Any]:
        """The attributes that are to be told now; most of the time there are none."""
        meter = state.meter
        token: Token = (id(meter), state.last_error_code, state.last_error_text)
        known = self._known.get(meter.id)
        if known is not None and known[0] == token:
            return {}
        said = attributes(state, self._profile(meter), self._prefix)
        self._known[meter.id] = token, said
        return changed(said, known[1] if known is not None else None)

    def forget(self, meter_id: str) -> None:
        """Tell all of it again."""
        self._known.pop(meter_id, None)
