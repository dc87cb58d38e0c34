"""What a poll of a meter reads: the entries of its profile that are polled, as plans shared by all meters of the model.

An entry is read every time, or every so many periods of the meter (`every`, in the meter file, in the settings or in a tag of the
meter: `every:voltage_*=15m`). What falls
due together is read in one plan; the same object for the same profile and the same groups, so that prepared requests
are found at once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from math import ceil, floor, gcd
from typing import Final, TypeAlias

from headend.errors import ConfigError, HeadendError
from headend.model.duration import parse_seconds
from headend.model.meter import Meter
from headend.model.objects import ReadPlan
from headend.model.profile import MeterProfile
from headend.services.acquisition.schedule import fraction

Changes: TypeAlias = tuple[tuple[int, float], ...]
"""places of entries among those that are polled, and every how many seconds they are read instead"""
NO_CHANGES: Final[Changes] = ()
EVERY: Final = "every:"
"""A tag of a meter that begins so says how often some of its quantities are read: `every:QUANTITY=SPAN`, with wildcards."""


@lru_cache(maxsize=1024)
def poll_plan(profile: MeterProfile) -> ReadPlan:
    """The polled entries of a profile; the same object for the same profile."""
    return ReadPlan(entries=tuple(entry for entry in profile.objects if entry.poll and entry.quantity))


def said_by_tags(tags: Iterable[str]) -> list[tuple[str, float]]:
    """Quantities, with wildcards, and every how many seconds they are read; raises ConfigError for what is no span of time."""
    found = []
    for tag in tags:
        if tag.startswith(EVERY):
            name, _, span = tag.removeprefix(EVERY).rpartition("=")
            if not name:
                raise ConfigError(f"tag {tag!r} names no quantity", hint=f"write {EVERY}voltage_*=15m")
            found.append((name, parse_seconds(span)))
    return found


class Intervals:
    """What somebody says about how often quantities are read: seconds by `QUANTITY` or `METER/QUANTITY`, with wildcards."""

    def __init__(self, said: Mapping[str, object] | None = None) -> None:
        """Raises ConfigError for what is no span of time. The last name that fits counts."""
        self._said = [(name, parse_seconds(value)) for name, value in (said or {}).items()]

    def changes(self, meter: Meter, profile: MeterProfile) -> Changes:
        """What is said about a meter of this profile, its own tags last; raises ConfigError for a tag that says no span of time."""
        said = [*self._said, *said_by_tags(meter.tags)]
        if not said:
            return NO_CHANGES
        found: dict[int, float] = {}
        for index, entry in enumerate(poll_plan(profile).entries):
            for name, seconds in said:
                whole = f"{meter.id}/{entry.quantity}" if "/" in name else entry.quantity
                if fnmatchcase(whole, name):
                    found[index] = seconds
        return tuple(found.items())


class PollPlan:
    """The groups of a meter's entries: by every how many slots they are read. A slot is `period` seconds long."""

    __slots__ = ("_entries", "_plans", "every", "multiples", "period", "whole")

    def __init__(self, whole: ReadPlan, multiples: Sequence[int], period: float) -> None:
        slots = gcd(*multiples) if multiples else 1
        self.whole = whole
        self.period = period * slots
        """between slots: one in which nothing would be due is none"""
        self._entries = [(multiple // slots, entry) for multiple, entry in zip(multiples, whole.entries, strict=True)]
        self.multiples = tuple(sorted({multiple for multiple, _ in self._entries}))
        seconds = {entry.quantity: multiple * self.period for multiple, entry in self._entries}
        self.every = {quantity: each for quantity, each in seconds.items() if each > period}
        """every how many seconds the quantities are read that are read less often than their meter"""
        self._plans = {self.multiples: whole}

    def of(self, due: tuple[int, ...]) -> ReadPlan:
        """The plan of what is due."""
        found = self._plans.get(due)
        if found is None:
            found = ReadPlan(entries=tuple(entry for multiple, entry in self._entries if multiple in due))
            self._plans[due] = found
        return found


@lru_cache(maxsize=4096)
def grouped(profile: MeterProfile, period: float, changes: Changes = NO_CHANGES) -> PollPlan:
    """How the polled entries of a profile are read on a meter with a period."""
    whole, said = poll_plan(profile), dict(changes)
    seconds = [said.get(index, entry.every) for index, entry in enumerate(whole.entries)]
    return PollPlan(whole, [max(1, ceil(each / period - 1e-6)) for each in seconds], period)


class Slower:
    """Knows of every meter what is read less often than the rest of it."""

    def __init__(self, intervals: Intervals, profile: Callable[[Meter], MeterProfile | None]) -> None:
        self._intervals = intervals
        self._profile = profile
        self._known: dict[str, tuple[Meter, Mapping[str, float]]] = {}

    def every(self, meter: Meter, quantity: str) -> float:
        """Every how many seconds a quantity is read, where less often than its meter; otherwise 0."""
        known = self._known.get(meter.id)
        if known is None or known[0] is not meter:
            known = self._known[meter.id] = (meter, self._of(meter))
        return known[1].get(quantity, 0.0)

    def _of(self, meter: Meter) -> Mapping[str, float]:
        try:
            profile = self._profile(meter) if meter.poll_seconds > 0 else None
            changes = self._intervals.changes(meter, profile) if profile is not None else NO_CHANGES
        except HeadendError:  # a profile or a tag that cannot be used: then nothing is polled
            profile = None
        return grouped(profile, meter.poll_seconds, changes).every if profile is not None else {}


class Rounds:
    """Which groups of one meter were read when. What was due and could not be read stays due.

    Groups of many slots are read by each meter in a slot of its own, so that they do not all come at once.
    """

    __slots__ = ("_asked", "_id", "_phase", "_plan", "_read")

    def __init__(self, meter_id: str, plan: PollPlan) -> None:
        self._id = meter_id
        self._phase = fraction(meter_id)
        self._plan = plan
        self._read: dict[int, int] = {}
        self._asked: dict[int, int] = {}

    def due(self, now: float) -> ReadPlan | None:
        """What is read now; None when nothing is due."""
        slot = floor(now / self._plan.period - self._phase + 1e-6)
        turns = {each: (slot + int(fraction(f"{self._id}/{each}") * each)) // each for each in self._plan.multiples}
        self._asked = {each: turn for each, turn in turns.items() if self._read.get(each) != turn}
        return self._plan.of(tuple(self._asked)) if self._asked else None

    def done(self) -> None:
        """What was due last was read."""
        self._read |= self._asked
