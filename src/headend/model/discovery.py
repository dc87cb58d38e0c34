"""What discovery finds: open ports, what a probe saw, and what follows from it. No conclusion without the octets that prove it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from headend.model.meter import NO_PARAMS, Endpoint, MeterIdentity
from headend.model.objects import ObjectInfo


class PortState(enum.Enum):
    """What a connect to a port ended in."""

    OPEN = "open"
    CLOSED = "closed"
    """refused: a host is there, nobody listens"""
    DROPPED = "dropped"
    """taken, and dropped at once without a word: by a gatekeeper, or because somebody else has the only session"""
    SILENT = "silent"
    """nothing came back in time: no host, or a firewall"""
    UNREACHABLE = "unreachable"
    """the network said so"""
    LIMITED = "limited"
    """not tried for want of something here: descriptors, local ports"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One target of a scan. `banner` is what it said unasked, `at` in milliseconds."""

    host: str
    port: int
    state: PortState
    at: int = 0
    banner: bytes = b""


class Intrusion(enum.IntEnum):
    """How much a probe may disturb who answers; the lesser ones go first."""

    LISTEN = 0
    """sends nothing"""
    ASK = 1
    """one harmless question without a session"""
    CONNECT = 2
    """opens and ends a data link or an association: a meter with room for one only is occupied meanwhile"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What went over the wire in one step of a probe, without secrets: none is ever sent in discovery unless it was supplied."""

    probe: str
    at: int
    sent: bytes
    received: bytes
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One canonical fact: a name of `headend.model.fingerprint.FACTS`, its value as text, and where in the evidence it shows.

    An empty value: the wire does not show it, and `note` says why.
    """

    name: str
    value: str
    evidence: tuple[int, ...] = ()
    """indices into `Examination.evidence`"""
    note: str = ""


class TrialOutcome(enum.Enum):
    """What a request to associate ended in."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """with a result and a diagnostic"""
    WANTS_SECRET = "wants-secret"  # noqa: S105 - the name of an outcome
    """the mechanism is there (a challenge, or a diagnostic that says so); no secret was sent"""
    EXCEPTION = "exception"
    """answered with something else that ends it"""
    SILENT = "silent"
    CLOSED = "closed"
    NOT_TRIED = "not-tried"
    """for want of budget, or because a trial before told it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of the association matrix: who asked for what, and what the meter said."""

    client: int
    server: int
    referencing: str
    """ln or sn"""
    context: str
    """the application context, as `ln`, `ln-ciphered`, `sn`, `sn-ciphered`"""
    mechanism: str
    """none, lls, hls, md5, sha1, gmac, sha256, ecdsa"""
    outcome: TrialOutcome
    result: str = ""
    diagnostic: str = ""
    conformance: str = ""
    """that the meter answered with: three octets in hexadecimal"""
    max_pdu: int | None = None
    system_title: str = ""
    note: str = ""
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Somebody who speaks a protocol, and how to address it: what `Meter` needs, without what goes deeper."""

    protocol: str
    framing: str
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    evidence: tuple[int, ...] = ()
    note: str = ""
    endpoint: Endpoint | None = None
    """where that is not the one that was looked at: another speed of the same line"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that was learned of one meter. It is stored as it is, so that rules can be run again without touching a network."""

    endpoint: Endpoint
    protocol: str
    framing: str
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    """with which it is read: the least that is needed"""
    identity: MeterIdentity = field(default_factory=MeterIdentity)
    facts: tuple[Fact, ...] = ()
    trials: tuple[Trial, ...] = ()
    objects: tuple[ObjectInfo, ...] = ()
    values: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    """what single objects held, by reference: texts as they are, octets in hexadecimal. How a load profile is laid out, by its
    reference with `#columns` (references with blanks between), `#period` (seconds) and `#capacity` (rows)"""
    evidence: tuple[Evidence, ...] = ()
    associations: int = 0
    """that were opened, accepted or not"""
    stopped: str = ""
    """why it ended before its end; empty when it did not"""
