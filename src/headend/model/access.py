"""Who may use the head-end: roles, people and the keys of machines. Passwords and keys themselves never leave the store."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.Enum):
    """What somebody may do; each role includes those before it."""

    VIEWER = "viewer"
    """read what is stored"""
    OPERATOR = "operator"
    """also read meters now, set their clocks, freeze registers, and submit readings"""
    DISPATCHER = "dispatcher"
    """also switch supply, reset demand, write and invoke, and confirm what others propose"""
    ADMIN = "admin"
    """also change meters and their secrets, clear them, change users and keys"""

    def includes(self, other: Role) -> bool:
        """True when this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something, as the records name them (`user:anna`, `key:billing`, `mqtt:anna`), and what they may do."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who logs in with a password. `created_at` in milliseconds."""

    name: str
    role: Role
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of a machine, known by its name; the key itself is shown once, when it is made. Times in milliseconds."""

    name: str
    role: Role
    created_at: int = 0
    expires_at: int | None = None
    last_used_at: int | None = None
    """to the minute"""
