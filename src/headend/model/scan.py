"""A scan as a job: what was asked for, how far it is, and what came of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headend.model.discovery import PortState


class ScanState(enum.Enum):
    """QUEUED → RUNNING → one of the others. One that was running when the head-end stopped is queued again and goes on."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """What to scan, and how. None and empty texts mean: as the settings say."""

    targets: str
    """networks, ranges, addresses and host names, separated by blanks, commas or lines; also places of one meter each, as
    `serial:/dev/ttyUSB0?baud=9600`"""
    ports: str = ""
    """numbers and ranges, separated by commas"""
    exclude: str = ""
    """what is left out, as targets are written"""
    rate: float | None = None
    """connections a second"""
    window: int | None = None
    """connections under way at once"""
    timeout: float | None = None
    """seconds to wait for a connection, and for one answer"""
    examine: bool = True
    """find out who is behind what is open; else only that it is open"""
    exhaustive: bool = False
    """every probe everywhere, also those that are unlikely to be answered"""
    again: bool = False
    """also what was examined a short while ago"""
    credentials: bool = False
    """use those that are kept for the networks that a place lies in"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProgress:
    """How far a scan is: targets, what became of their ports, and places whose owner is being found out."""

    targets: int = 0
    """in all"""
    done: int = 0
    states: Mapping[PortState, int] = field(default_factory=dict)
    waiting: int = 0
    """open places that nobody has looked into yet"""
    examined: int = 0
    """places looked into"""
    skipped: int = 0
    """open places that were looked into a short while ago"""
    devices: int = 0
    """meters found there"""
    new: int = 0
    """of them, those that were not known"""
    nobody: int = 0
    """places where nobody speaks a known protocol"""
    seconds_left: float | None = None
    """None where nobody can say yet"""

    @property
    def open(self) -> int:
        """Open places."""
        return self.states.get(PortState.OPEN, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanJob:
    """A scan. Times in milliseconds; `seed` and `cursor` are where it goes on: the order of targets, and how many are done."""

    id: str
    request: ScanRequest
    actor: str
    reason: str = ""
    created_at: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    state: ScanState = ScanState.QUEUED
    seed: int = 0
    cursor: int = 0
    progress: ScanProgress = field(default_factory=ScanProgress)
    error: str = ""
    """why it failed, or which names it has left out"""

    @property
    def ended(self) -> bool:
        """True when nothing more will happen to it."""
        return self.state not in (ScanState.QUEUED, ScanState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHit:
    """An open place of a scan, and what became of it: empty while nobody has looked into it."""

    host: str
    port: int
    at: int
    banner: bytes = b""
    outcome: str = ""
    """`identified`, `skipped`, `nobody`"""
    note: str = ""
    """why nobody was found, or who it seems to be instead"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """What a scan found in one of its targets."""

    target: str
    """as it was written"""
    states: Mapping[PortState, int]
    devices: int
    vendors: Mapping[str, int]
    """devices by vendor; those of an unknown one under the empty text"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """All that a scan found, target by target."""

    job: ScanJob
    networks: Sequence[NetworkReport]
    vendors: Mapping[str, int]
    protocols: Mapping[str, int]
    nobody: Mapping[str, int]
    """why nobody was found at open places, and how often"""
