"""Commands and jobs: every action on a meter, who asked for it and how it ended."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headend.model.meter import NO_PARAMS, Secret
from headend.model.reading import Value


class CommandKind(enum.Enum):
    """What can be asked of a meter; what each takes in `Command.params`. Sessions execute all but the two that read."""

    READ = "read"
    """`refs` separated by blanks; without them all that is polled"""
    READ_HISTORY = "read-history"
    """a load profile: `ref`; `start` and `end` in milliseconds"""
    DISCONNECT = "disconnect"
    """open the load relay"""
    ALLOW_RECONNECT = "allow-reconnect"
    """let the customer close the relay by the button"""
    RECONNECT = "reconnect"
    """close the load relay"""
    SET_CLOCK = "set-clock"
    """`at`: milliseconds, now without it"""
    FREEZE = "freeze"
    """keep the present registers as a record: `ref` of what keeps them, where the protocol has several"""
    RESET_DEMAND = "reset-demand"
    """end the demand or billing period"""
    CLEAR_METER = "clear-meter"
    CLEAR_EVENTS = "clear-events"
    """`ref` of one event log, all without it"""
    CHANGE_SECRET = "change-secret"  # noqa: S105 - the name of a command
    """`name` of the secret as in a meter URL; the new one is `Command.secret`"""
    WRITE = "write"
    """`ref`, `value`"""
    INVOKE = "invoke"
    """`ref`, `value` where the method takes one"""


class JobState(enum.Enum):
    """(PROPOSED →) QUEUED → RUNNING → one of the others.

    UNKNOWN: sent, and nobody knows whether the meter did it; until `Job.verify_by` it is found out by reading.
    """

    PROPOSED = "proposed"
    """waits for a confirmation"""
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One action. `secret` is what a secret is changed to: never stored with the command, shown nor logged."""

    kind: CommandKind
    params: Mapping[str, Value] = field(default_factory=lambda: NO_PARAMS)
    secret: Secret | None = field(default=None, repr=False, compare=False)


class Verdict(enum.Enum):
    """What is known after a command."""

    CONFIRMED = "confirmed"
    """read back and found as asked"""
    REFUSED = "refused"
    """the meter said no, or reads as if it had never been asked: nothing changed"""
    UNKNOWN = "unknown"
    """the answer or the read-back is missing"""
    NOT_SENT = "not-sent"
    """the meter was not asked"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a command; `detail` is for people, `observed` is what the read-back saw."""

    verdict: Verdict
    detail: str = ""
    observed: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command on its way. Times in milliseconds; `deadline` is when it expires if nobody has begun it by then.

    `idempotency_key` is the caller's own name for the request, unique for its actor; empty where the caller gave none.
    `confirm_by` is when a proposal ends, `started_at` when the command was sent, `verify_by` until when an unknown outcome is
    looked into; None where there is no such time.
    """

    id: str
    meter_id: str
    command: Command
    actor: str
    created_at: int
    deadline: int
    idempotency_key: str = ""
    state: JobState = JobState.QUEUED
    updated_at: int = 0
    outcome: Outcome | None = None
    confirm_by: int | None = None
    confirmed_by: str = ""
    started_at: int | None = None
    verify_by: int | None = None
    note: str = ""
    """what it waits for, for people"""
    result: Sequence[Mapping[str, Any]] = ()
    """what a read brought, row by row"""
    code: str = field(default="", repr=False, compare=False)
    """what its actor confirms it with: only in the answer to a proposal, never stored"""

    @property
    def ended(self) -> bool:
        """True when nothing more will happen to it."""
        return self.state in _ENDED or (self.state is JobState.UNKNOWN and self.verify_by is None)


_ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})
