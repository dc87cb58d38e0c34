"""What is kept complete, and by which rules; what a meter is asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headend.drivers.base import Capability, Session
from headend.errors import CapabilityError, MeterError
from headend.model.meter import MeterIdentity
from headend.model.objects import HistoryBlock, HistoryRequest
from headend.model.profile import LoadProfile
from headend.storage.ledger import Book


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a site decides."""

    backfill_days: float = 31.0
    """how far back a meter is asked that is new"""
    at_once: int = 100
    """meters that are asked at a time"""
    settle_seconds: float = 30.0
    """after the end of an interval, before it is asked for"""
    spread_seconds: float = 120.0
    """over which meters with the same period are spread"""
    rows: int = 96
    """in one request"""
    zone: str = "UTC"


class Kept:
    """One load profile of one meter that is kept complete."""

    __slots__ = (
        "book",
        "counters",
        "doubted",
        "due",
        "failed_with",
        "failures",
        "load_profile",
        "meter_id",
        "newest",
        "on_way",
        "serial",
    )

    def __init__(self, meter_id: str, load_profile: LoadProfile) -> None:
        self.meter_id = meter_id
        self.load_profile = load_profile
        self.due = 0
        self.failures = 0
        self.failed_with = ""
        self.book: Book | None = None
        self.newest = 0
        """the newest row that the meter is known to hold"""
        self.on_way: set[int] = set()
        """read, and not stored yet"""
        self.doubted: set[int] = set()
        """asked for, and not there"""
        self.counters: dict[str, tuple[int, float]] = {}
        """time and value of each in the newest row"""
        self.serial: str | None = None
        """who answers, since it was asked last; None: it may be somebody else"""


async def rows_of(request: HistoryRequest, session: Session) -> Sequence[HistoryBlock]:
    """The rows of one piece."""
    if Capability.HISTORY not in session.capabilities:
        raise CapabilityError("this meter has no load profiles")
    return [block async for block in session.read_history(request)]


async def who_answers(session: Session) -> MeterIdentity:
    """Who answers; nobody in particular where the meter does not say."""
    try:
        return await session.identify()
    except (MeterError, CapabilityError):
        return MeterIdentity()
