"""Home Assistant's rules for MQTT discovery, written down from its documentation, as a checker of its own.

Sources: the developer documentation of the sensor entity (units by device class, state classes), the user documentation of the
integrations MQTT (discovery, device payloads), MQTT sensor, binary sensor and switch (keys by platform).
"""

from __future__ import annotations

import json
import re
from typing import Any

NAME = re.compile(r"[a-zA-Z0-9_-]+")
# device class -> units; "" is none
UNITS = {
    "apparent_power": {"mVA", "VA", "kVA"},
    "current": {"A", "mA"},
    "duration": {"d", "h", "min", "s", "ms", "µs"},
    "energy": {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"},
    "energy_storage": {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"},
    "frequency": {"mHz", "Hz", "kHz", "MHz", "GHz"},
    "humidity": {"%"},
    "power": {"mW", "W", "kW", "MW", "GW", "TW"},
    "power_factor": {"%", ""},
    "reactive_energy": {"varh", "kvarh"},
    "reactive_power": {"mvar", "var", "kvar"},
    "signal_strength": {"dB", "dBm"},
    "temperature": {"°C", "°F", "K"},
    "timestamp": {""},
    "voltage": {"V", "mV", "µV", "kV", "MV"},
}
# device class -> state classes; those that are not here allow `measurement` and none
STATE_CLASSES: dict[str, set[str]] = {
    "duration": {"measurement", "total", "total_increasing"},
    "energy": {"total", "total_increasing"},
    "reactive_energy": {"total", "total_increasing"},
    "timestamp": set(),
}
ALL_STATE_CLASSES = {"measurement", "measurement_angle", "total", "total_increasing"}
BINARY_CLASSES = {"connectivity", "power", "problem", "opening", ""}

ENTITY = {
    "platform",
    "unique_id",
    "name",
    "availability",
    "availability_mode",
    "device_class",
    "entity_category",
    "enabled_by_default",
    "state_topic",
    "value_template",
    "icon",
    "qos",
    "encoding",
    "json_attributes_topic",
}
KEYS = {
    "sensor": ENTITY
    | {"unit_of_measurement", "state_class", "suggested_display_precision", "expire_after", "force_update", "options"},
    "binary_sensor": ENTITY | {"payload_on", "payload_off", "expire_after", "off_delay", "force_update"},
    "switch": ENTITY | {"command_topic", "payload_on", "payload_off", "state_on", "state_off", "optimistic", "retain"},
}
DEVICE = {
    "identifiers",
    "connections",
    "name",
    "manufacturer",
    "model",
    "model_id",
    "serial_number",
    "sw_version",
    "hw_version",
    "suggested_area",
    "configuration_url",
    "via_device",
}
ROOT = {
    "device",
    "origin",
    "components",
    "availability",
    "availability_mode",
    "state_topic",
    "command_topic",
    "qos",
    "encoding",
}


def check_topic(topic: str, prefix: str = "homeassistant") -> str:
    """The object id of a topic of device discovery."""
    found = re.fullmatch(rf"{prefix}/device/([a-zA-Z0-9_-]+)/config", topic)
    assert found, topic
    return found.group(1)


def check_payload(payload: bytes) -> dict[str, Any]:
    """A description of a device keeps the rules; returns it."""
    said: dict[str, Any] = json.loads(payload)
    assert said.keys() <= ROOT, said.keys() - ROOT
    device, origin = said["device"], said["origin"]
    assert device.keys() <= DEVICE
    assert device.get("identifiers") or device.get("connections")
    assert all(value and isinstance(value, str) for key, value in device.items() if key != "identifiers")
    assert origin["name"]
    assert origin.keys() <= {"name", "sw_version", "support_url"}
    check_availability(said)
    names = set()
    for key, component in said["components"].items():
        assert NAME.fullmatch(key)
        if component.keys() == {"platform"}:
            assert component["platform"] in KEYS, "what is taken back still names its platform"
            continue
        check_component(component)
        assert component["unique_id"] not in names
        names.add(component["unique_id"])
    return said


def check_availability(said: dict[str, Any]) -> None:
    for place in said.get("availability", ()):
        assert place.keys() <= {"topic", "payload_available", "payload_not_available", "value_template"}
        check_filter(place["topic"])
    assert said.get("availability_mode", "latest") in ("all", "any", "latest")


def check_filter(topic: str) -> None:
    assert topic
    assert not set("+#") & set(topic)


def check_component(said: dict[str, Any]) -> None:
    platform = said["platform"]
    assert said.keys() <= KEYS[platform], said.keys() - KEYS[platform]
    assert NAME.fullmatch(said["unique_id"])
    assert said["name"]
    assert said.get("entity_category", "diagnostic") in ("diagnostic", "config")
    assert said.get("entity_category") != "config" or platform not in ("sensor", "binary_sensor")
    check_filter(said["state_topic"])
    check_availability(said)
    assert isinstance(said.get("expire_after", 1), int)
    assert said.get("expire_after", 1) > 0
    device_class = said.get("device_class", "")
    if platform == "sensor":
        check_sensor(said, device_class)
    elif platform == "binary_sensor":
        assert device_class in BINARY_CLASSES
    else:
        assert device_class in ("switch", "outlet", "")
        check_filter(said["command_topic"])
        assert said["optimistic"] is False


def check_sensor(said: dict[str, Any], device_class: str) -> None:
    unit, state_class = said.get("unit_of_measurement", ""), said.get("state_class", "")
    assert said.get("unit_of_measurement") != ""
    if device_class:
        assert unit in UNITS[device_class], (device_class, unit)
    if state_class:
        assert state_class in ALL_STATE_CLASSES
        if device_class:
            assert state_class in STATE_CLASSES.get(device_class, {"measurement"}), (device_class, state_class)
        assert (state_class == "measurement_angle") == (unit == "°")
    decimals = said.get("suggested_display_precision", 0)
    assert isinstance(decimals, int)
    assert 0 <= decimals <= 6
