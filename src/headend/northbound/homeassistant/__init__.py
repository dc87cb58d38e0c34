"""Home Assistant: MQTT discovery of devices, their states, the relay as a switch."""

from headend.northbound.homeassistant.sink import kind

__all__ = ["kind"]
