"""The audit trail: who did what to whom, in rows that are chained, so that none can be changed or taken away unnoticed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from headend.model.meter import NO_PARAMS
from headend.model.reading import Value

HEADEND = "headend"
"""the actor of what the head-end does by itself"""


class Action(enum.Enum):
    """What is kept in the audit trail; the texts are stable."""

    COMMAND_PROPOSED = "command-proposed"
    COMMAND_SUBMITTED = "command-submitted"
    """one that needs no confirmation"""
    COMMAND_CONFIRMED = "command-confirmed"
    CONFIRMATION_REFUSED = "confirmation-refused"
    RIGHT_REFUSED = "right-refused"
    """somebody asked for what their role may not do"""
    COMMAND_BEGUN = "command-begun"
    """written before the first octet of it is sent"""
    COMMAND_FINISHED = "command-finished"
    """with an outcome, which may be unknown"""
    COMMAND_VERIFIED = "command-verified"
    """an unknown outcome was looked into"""
    COMMAND_EXPIRED = "command-expired"
    COMMAND_CANCELLED = "command-cancelled"
    SECRET_CHANGED = "secret-changed"  # noqa: S105 - a word, not a secret
    """the head-end keeps another secret of a meter from now on"""
    CALLER_ADOPTED = "caller-adopted"
    CALLER_BLOCKED = "caller-blocked"
    SCAN_STARTED = "scan-started"
    SCAN_CANCELLED = "scan-cancelled"
    DEVICE_EXAMINED = "device-examined"
    """somebody had a place looked into; with the names of the secrets that were used"""
    DEVICES_ADOPTED = "devices-adopted"
    DEVICES_IGNORED = "devices-ignored"
    DEVICES_FORGOTTEN = "devices-forgotten"
    USER_CHANGED = "user-changed"
    USER_REMOVED = "user-removed"
    KEY_CREATED = "key-created"
    KEY_REMOVED = "key-removed"
    PROFILE_CREATED = "profile-created"
    PROFILE_CHANGED = "profile-changed"
    PROFILE_PROMOTED = "profile-promoted"
    PROFILE_IMPORTED = "profile-imported"
    PROFILE_RETIRED = "profile-retired"
    DELIVERY_REPLAYED = "delivery-replayed"
    """somebody had a sink given again what was stored in a span of time"""
    DELIVERY_RETRIED = "delivery-retried"
    """somebody had an entry tried once more that a sink had refused"""
    TAIL_MISSING = "tail-missing"
    """the trail ended earlier than it had: rows were taken off its end before this one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done. `subject` is what it was done to: `meter:m1`, `user:anna`. Never holds a secret."""

    actor: str
    action: Action
    subject: str
    data: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An entry as it is kept: `at` in milliseconds, `digest` over the digest before it and all of the row."""

    number: int
    at: int
    actor: str
    action: str
    subject: str
    data: Mapping[str, Value]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the trail, at which row."""

    number: int
    text: str
