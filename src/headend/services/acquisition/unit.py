"""A unit: one meter on a lane, its session while there is one, and what has befallen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.base import Session
from headend.errors import HeadendError
from headend.model.recovery import Recovery
from headend.services.acquisition.networks import Gate
from headend.services.acquisition.party import PartyLine, Port
from headend.services.roster import MeterState

if TYPE_CHECKING:
    from headend.services.acquisition.lane import Lane

KEEP_SECONDS: Final = 300.0
"""A meter that is polled at least so often keeps its session; of others it is closed when it was idle for a while."""

SHORT_SECONDS: Final = 1.0
"""for a request to one that has just failed, at least"""
FULL_EVERY: Final = 16
"""of its attempts in a row, one in so many has all the time that a request may take"""


class Tries:
    """What one job has used up of what its meter's rules allow. Pure."""

    __slots__ = ("proven", "reopened", "retried", "rules")

    def __init__(self, rules: Recovery) -> None:
        self.rules = rules
        self.retried = 0
        self.reopened = 0
        self.proven = False
        """the session of this job, or one before it, had done something"""

    def next(self, error: HeadendError, *, sound: bool, proven: bool) -> float | None:
        """Seconds to wait before the job is tried again, on the same session if that is sound; None: it has failed."""
        self.proven = self.proven or proven
        if not error.retryable:
            return None
        if sound and self.retried < self.rules.retries:
            self.retried += 1
            return self.rules.retry_seconds
        if not sound and self.proven and self.reopened < self.rules.reopenings:
            self.reopened += 1
            return self.rules.reopen_seconds
        return None


class Unit:
    """One meter on a lane, and its session while there is one."""

    __slots__ = (
        "entered",
        "errors",
        "gates",
        "jobs",
        "kept",
        "lane",
        "lost",
        "port",
        "proven",
        "removed",
        "renewed_by",
        "renews",
        "reopened",
        "reopenings_told_at",
        "reopenings_untold",
        "rules",
        "session",
        "slowest",
        "state",
        "timed_out_on",
        "tries",
        "trouble",
        "used",
    )

    def __init__(self, lane: Lane, state: MeterState, rules: Recovery, gates: tuple[Gate, ...] = ()) -> None:
        self.lane = lane
        self.gates = gates
        """of the networks that it belongs to"""
        self.entered: list[Gate] = []
        """in which the job at work has a place"""
        self.state = state
        self.rules = rules
        self.renews = bool(rules.renew_reads or rules.renew_seconds)
        """the session is renewed before it fails"""
        self.session: Session | None = None
        self.port: Port | None = None
        self.proven = False
        """the session has done something already"""
        self.timed_out_on: PartyLine | None = None
        """where an answer to this meter may still be under way: it is not asked there again"""
        self.removed = False
        self.slowest = 0.0
        """seconds of the slowest read that went well, where others share the wire"""
        self.kept = 0 < state.meter.poll_seconds <= KEEP_SECONDS
        self.jobs = 0
        """done for a meter whose session is not kept"""
        self.used = 0
        """jobs that the session has done, where it is renewed before it fails"""
        self.renewed_by = 0.0
        """when it is renewed at the latest"""
        self.trouble: HeadendError | None = None
        """what the last job failed with; None since one succeeded"""
        self.tries: Tries | None = None
        """of the job at work, once something failed"""
        self.errors = 0
        """of jobs in a row that left the session sound"""
        self.lost: HeadendError | None = None
        """what a session that had worked was given up for, until it is open again"""
        self.reopened: HeadendError | None = None
        """the same, from then on until the job has ended"""
        self.reopenings_untold = 0
        self.reopenings_told_at = 0.0

    def count(self, port: Port) -> None:
        """Put the requests and answers over a port since the last count down to the meter."""
        exchange = port.exchange
        if exchange is not None:
            state, requests, responses = self.state, exchange.requests, exchange.responses
            state.requests += requests - port.seen_requests
            state.responses += responses - port.seen_responses
            port.seen_requests, port.seen_responses = requests, responses

    def timeout(self, full: float) -> float:
        """Seconds for a request: fewer for one that has just failed where others wait for the wire."""
        enough = self._enough() if self.trouble is not None else 0.0
        return min(full, max(SHORT_SECONDS, 2.0 * enough)) if enough else full

    def time_for_poll(self, full: float, request_timeout: float) -> float:
        """Seconds for a whole read: where others wait for the wire, not many times what it ever took."""
        if len(self.lane.units) < 2:
            return full
        enough = self._enough()
        if not enough:
            return full
        least = request_timeout if self.trouble is None else 2.0 * SHORT_SECONDS
        return min(full, max(least, 4.0 * enough))

    def _enough(self) -> float:
        """Seconds that a read took at most, of this meter or else of its neighbours; 0: all that there is."""
        failures = self.state.circuit.failures
        if len(self.lane.units) < 2 or (failures and failures % FULL_EVERY == 0):
            return 0.0
        return self.slowest or max(unit.slowest for unit in self.lane.units)

    @property
    def shut(self) -> Gate | None:
        """The gate that lets no job of this meter pass now, if there is one."""
        return next((gate for gate in self.gates if gate.sessions.free <= 0), None)

    def worn(self, now: float) -> bool:
        """It is time for that; every call counts as a use of the session."""
        self.used += 1
        rules = self.rules
        return 0 < rules.renew_reads < self.used or (rules.renew_seconds > 0 and now >= self.renewed_by)
