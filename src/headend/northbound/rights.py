"""Who may subscribe and publish what at the embedded broker. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headend.errors import ConfigError
from headend.model.meter import Secret

EVERYTHING: Final[tuple[str, ...]] = ("#",)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the embedded broker: topic filters for what may be read and written; `digest` is SHA-256 of the password."""

    name: str
    digest: bytes = field(default=b"", repr=False)
    subscribe: tuple[str, ...] = EVERYTHING
    publish: tuple[str, ...] = ()
    trusted: bool = False
    """the head-end itself: no limits of speed and number"""

    def may_subscribe(self, asked: str) -> bool:
        """True when all that a filter asks for may be read."""
        return any(covers(allowed, asked) for allowed in self.subscribe)

    def may_publish(self, topic: str) -> bool:
        """True when a topic may be written."""
        return any(covers(allowed, topic) for allowed in self.publish)


def user(
    name: str, password: Secret, *, subscribe: tuple[str, ...], publish: tuple[str, ...], trusted: bool = False
) -> User:
    """A user with a password; raises ConfigError for a filter that is none."""
    for each in (*subscribe, *publish):
        if not is_filter(each):
            raise ConfigError(f"topics of the MQTT user {name}: expected topic filters, got {each!r}")
    digest = hashlib.sha256(password.reveal()).digest()
    return User(name=name, digest=digest, subscribe=subscribe, publish=publish, trusted=trusted)


def authenticate(users: Mapping[str, User], name: str, password: bytes) -> User | None:
    """The user with that password. Digests are compared in constant time; an unknown user takes as long."""
    known = users.get(name)
    right = hmac.compare_digest(hashlib.sha256(password).digest(), known.digest if known else bytes(32))
    return known if right else None


def covers(allowed: str, asked: str) -> bool:
    """True when the filter `allowed` matches every topic that the topic or filter `asked` matches."""
    ours, theirs = allowed.split("/"), asked.split("/")
    if theirs[0].startswith("$") and ours[0] in ("+", "#"):
        return False
    for index, level in enumerate(ours):
        if level == "#":
            return True
        if index >= len(theirs) or theirs[index] == "#" or (level != "+" and level != theirs[index]):
            return False
    return len(ours) == len(theirs)


def is_filter(text: str) -> bool:
    """True for what MQTT takes for a topic filter."""
    levels = text.split("/")
    return bool(text) and all(
        (level == "#" and index == len(levels) - 1) or level == "+" or not set("+#") & set(level)
        for index, level in enumerate(levels)
    )
