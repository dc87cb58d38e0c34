"""The rules of commands: who may ask, what is confirmed twice, what waits for what, what an error means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from headend.errors import CapabilityError, ConfigError, HeadendError, KeyMissing, MeterError, NotFound
from headend.model.access import Role
from headend.model.job import CommandKind, Job, JobState, Outcome, Verdict

NEEDED: Final[Mapping[CommandKind, Role]] = MappingProxyType(
    {
        CommandKind.READ: Role.OPERATOR,
        CommandKind.READ_HISTORY: Role.OPERATOR,
        CommandKind.SET_CLOCK: Role.OPERATOR,
        CommandKind.FREEZE: Role.OPERATOR,
        CommandKind.DISCONNECT: Role.DISPATCHER,
        CommandKind.ALLOW_RECONNECT: Role.DISPATCHER,
        CommandKind.RECONNECT: Role.DISPATCHER,
        CommandKind.RESET_DEMAND: Role.DISPATCHER,
        CommandKind.WRITE: Role.DISPATCHER,
        CommandKind.INVOKE: Role.DISPATCHER,
        CommandKind.CLEAR_EVENTS: Role.ADMIN,
        CommandKind.CLEAR_METER: Role.ADMIN,
        CommandKind.CHANGE_SECRET: Role.ADMIN,
    }
)
"""The least role that may ask for a command, and confirm it."""

RELAY: Final = frozenset({CommandKind.DISCONNECT, CommandKind.ALLOW_RECONNECT, CommandKind.RECONNECT})
CONFIRMED: Final = RELAY | {
    CommandKind.CLEAR_METER,
    CommandKind.CHANGE_SECRET,
    CommandKind.WRITE,
    CommandKind.INVOKE,
}
"""What begins only when it was confirmed. A write or a method may switch supply as well: nobody above the drivers knows."""
READS: Final = frozenset({CommandKind.READ, CommandKind.READ_HISTORY})
"""What changes nothing: it may be repeated, and is not kept in the audit trail."""

SETTLE_MS: Final = 15_000
"""A meter that reads as if it had not been asked may still be about to do it, for so long after it was sent."""
_DELAYS: Final = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_NOTHING_SENT: Final = (CapabilityError, ConfigError, NotFound, KeyMissing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a site decides. Times in seconds."""

    four_eyes: bool = False
    """what needs a confirmation is confirmed by another person"""
    confirm_seconds: float = 120.0
    """how long a proposal waits for its confirmation"""
    deadline_seconds: float = 300.0
    """how long a command waits for its meter, unless its request says otherwise"""
    verify_seconds: float = 3600.0
    """how long an unknown outcome is looked into"""


def delay(tries: int) -> float:
    """Seconds to wait after a number of tries that came to nothing."""
    return _DELAYS[min(tries, len(_DELAYS)) - 1]


def holds_back(doubt: Job, job: Job) -> bool:
    """True where a relay command must wait until it is known whether an earlier, contrary one was carried out."""
    kinds = doubt.command.kind, job.command.kind
    return kinds[0] is not kinds[1] and RELAY.issuperset(kinds)


def outcome_after(error: HeadendError) -> Outcome:
    """What is known after a command that ended in an error: everything but a plain no leaves it open what the meter did."""
    verdict = Verdict.UNKNOWN
    if isinstance(error, MeterError):
        verdict = Verdict.REFUSED
    elif isinstance(error, _NOTHING_SENT):
        verdict = Verdict.NOT_SENT
    return Outcome(verdict=verdict, detail=str(error))


def state_after(outcome: Outcome) -> JobState:
    """Where an outcome leads to."""
    if outcome.verdict is Verdict.CONFIRMED:
        return JobState.SUCCEEDED
    return JobState.UNKNOWN if outcome.verdict is Verdict.UNKNOWN else JobState.FAILED
