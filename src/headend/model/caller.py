"""A caller that nobody knows: who dials in and is no meter of the head-end, or none that can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from headend.model.meter import MeterIdentity


@dataclass(slots=True, kw_only=True)
class UnknownCaller:
    """What is known of it; times are milliseconds.

    `key` is the number or name that it says, or else its address; `id` stands for that in requests. `octets` are the first ones,
    as hexadecimal text: too few to hold a secret. `blocked` callers are closed at once when they come again.
    """

    id: str
    key: str
    address: str
    first_seen: int
    last_seen: int
    count: int = 1
    label: str = ""
    """how its octets look; empty where they make no sense"""
    protocol: str = ""
    framing: str = ""
    registration: str = ""
    """the description of its login, if it sent one"""
    number: str = ""
    trusted: bool = True
    """False when the check octets of its login were wrong"""
    identity: MeterIdentity = field(default_factory=MeterIdentity)
    octets: str = ""
    reason: str = ""
    blocked: bool = False
