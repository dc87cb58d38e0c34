"""A message on its way to a broker."""

from __future__ import annotations

from dataclasses import dataclass

from paho.mqtt.properties import Properties


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. One that is retained says how things are now: it is never sent late."""

    topic: str
    payload: bytes
    retain: bool = False
    properties: Properties | None = None
    qos: int = 1
