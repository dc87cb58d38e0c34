"""How sinks are doing, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from headend.model.meter import Secret


@runtime_checkable
class TakesTokens(Protocol):
    """A sink that has an access token for each meter. What keeps and drops them blocks."""

    @property
    def host(self) -> str:
        """Of the platform."""

    @property
    def port(self) -> int:
        """Of the platform."""

    def key(self, quantity: str) -> str:
        """Under which a quantity is written there."""

    def keep_token(self, meter_id: str, token: Secret) -> None:
        """From now on this is the token of a meter; raises ConfigError where it cannot be kept."""

    def drop_token(self, meter_id: str) -> None:
        """The meter is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How a sink is doing; times are milliseconds since the epoch, figures are since the start."""

    name: str
    kind: str
    enabled: bool
    """False: switched off in the settings"""
    connected_since: int | None
    last_error: str
    last_error_at: int | None
    delivered: int
    refused: int
    failed: int
    """entries whose delivery failed, and that come again"""
    lost: int
    """entries that went, being too old or too many, before it had them"""
    lost_from: int | None
    """when the first of them was stored"""
    lost_until: int | None
    """when the last of them was stored"""
    backlog: int
    """entries that it does not have yet"""
    oldest: int | None
    """when the oldest of them was stored"""
    lag_seconds: float
    per_minute: int
    """entries in the last minute"""
    connections: int
