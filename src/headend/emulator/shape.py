"""What a load looks like over a week, as integer tables that are made once and shared by all meters of a kind.

Time is cut into slots of 15 minutes and slots into steps of 15 seconds. A shape gives each slot of the week its mean power;
a pattern spreads it over the 60 steps of the slot without changing the mean. So power is constant within a step, energy is
a sum of whole weeks, whole slots, whole steps and a rest, all from cumulated tables, and everything is an integer: energy
is the integral of power exactly, at any time, in a few look-ups.

The five working days of a week have five variants, which come in another order each week; weeks differ by season.
Tariff 1 is the night, 2 the working day, 3 its evening, 4 the day at weekends.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from headend.errors import ConfigError

SLOT_MS: Final = 900_000
STEP_MS: Final = 15_000
STEPS: Final = SLOT_MS // STEP_MS
DAY_SLOTS: Final = 96
WEEK_SLOTS: Final = 7 * DAY_SLOTS
WEEK_MS: Final = WEEK_SLOTS * SLOT_MS
YEAR_WEEKS: Final = 52
VARIANTS: Final = 5
ONE: Final = 1024
"""Tables hold fractions in 1/1024."""


def mix(a: int, b: int) -> int:
    """32 bits that look random and are always the same for the same two numbers (a finaliser as in MurmurHash3)."""
    h = (a * 0x9E3779B1 + b * 0x85EBCA77 + 0x165667B1) & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


# --- tariffs and seasons ---


def _tariff(slot: int) -> int:
    day, hour = slot // DAY_SLOTS, slot % DAY_SLOTS // 4
    if hour < 6 or hour >= 22:
        return 1
    if day >= 5:
        return 4
    return 3 if hour >= 17 else 2


TARIFFS: Final = tuple(_tariff(slot) for slot in range(WEEK_SLOTS))
"""tariff of each slot of the week, from Monday 00:00 UTC"""

SEASON: Final = tuple(round(ONE * (1 + 0.2 * math.cos(math.tau * week / YEAR_WEEKS))) for week in range(YEAR_WEEKS))
"""factor of each week of a year, the greatest in January"""

_SEASON_SUMS: Final = tuple(sum(SEASON[:week]) for week in range(YEAR_WEEKS + 1))


def season_sum(week: int) -> int:
    """Sum of the season factors of all weeks before `week`."""
    years, rest = divmod(week, YEAR_WEEKS)
    return years * _SEASON_SUMS[YEAR_WEEKS] + _SEASON_SUMS[rest]


# --- patterns within a slot ---


def _pattern(number: int) -> list[int]:
    """The steps of a slot: a floor that moves, and one to three appliances; the mean is ONE."""
    steps = [600 + mix(number, step) % 300 for step in range(STEPS)]
    for appliance in range(1 + number % 3):
        start, length = mix(number, 100 + appliance) % STEPS, 3 + mix(number, 200 + appliance) % 9
        for step in range(start, start + length):
            steps[step % STEPS] += 1500
    total = sum(steps)
    steps = [step * ONE * STEPS // total for step in steps]
    steps[0] += ONE * STEPS - sum(steps)
    return steps


def _patterns() -> Iterator[tuple[int, ...]]:
    for number in range(8):
        steps = _pattern(number)
        for start in range(STEPS):
            yield tuple(accumulate(steps[start:] + steps[:start], initial=0))


PATTERNS: Final = tuple(_patterns())
"""[pattern][step]: sum of the steps before it; eight patterns, begun at each of their steps"""


# --- shapes ---


def _bump(hour: float, centre: float, width: float) -> float:
    return math.exp(-(((hour - centre) / width) ** 2))


def _household(day: int, hour: float) -> float:
    weekend = day >= 5
    morning = 0.9 * _bump(hour, 9.5, 1.8) if weekend else (0.6 + 0.1 * day) * _bump(hour, 6.6 + 0.2 * day, 0.9)
    noon = (0.85 if weekend else 0.35 + 0.08 * day) * _bump(hour, 12.6, 1.2)
    return 0.28 + morning + noon + (1.5 + 0.15 * (day % 3)) * _bump(hour, 19.2 + 0.25 * (day % 4), 2.1)


def _workshop(day: int, hour: float) -> float:
    if day >= 5:
        return 0.15
    return 0.15 + (1.9 + 0.1 * day) / (1 + math.exp((6.8 - hour) * 4)) / (1 + math.exp((hour - 16.2) * 3))


def _steady(day: int, hour: float) -> float:
    return 1.0 + 0.1 * math.sin(math.tau * (hour / 24 + day / 7))


_CLOUDS = (1.0, 0.35, 0.8, 0.55, 1.1, 0.7, 0.95)

# kind of load -> (its curve over a day from 0 = Monday and an hour, power of its solar panels at noon)
SHAPES: Final[Mapping[str, tuple[Callable[[int, float], float], float]]] = MappingProxyType(
    {
        "household": (_household, 0.0),
        "solar": (_household, 4.0),
        "workshop": (_workshop, 0.0),
        "steady": (_steady, 0.0),
    }
)


@cache
def _days(kind: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    """(active, reactive) power of each slot of seven days; the mean load without the panels is ONE."""
    if kind not in SHAPES:
        raise ConfigError(f"no load shape {kind!r}", hint="one of " + ", ".join(SHAPES))
    shape, panels = SHAPES[kind]
    hours = [slot / 4 for slot in range(DAY_SLOTS)]
    one = ONE * WEEK_SLOTS / sum(shape(day, hour) for day in range(7) for hour in hours)
    return tuple(
        tuple(
            (
                round(one * shape(day, hour) - ONE * panels * _CLOUDS[day] * _bump(hour, 12.0, 2.6)),
                round(one * shape(day, hour) * (0.1 + 0.3 * _bump(hour, 14.0, 5.0) - 0.22 * _bump(hour, 2.5, 2.0))),
            )
            for hour in hours
        )
        for day in range(7)
    )


# channel -> its power from active and reactive power of a slot (positive: from the net to the load)
CHANNELS: Final[Mapping[str, Callable[[int, int], int]]] = MappingProxyType(
    {
        "active_import": lambda p, _: max(p, 0),
        "active_export": lambda p, _: max(-p, 0),
        "active_abs": lambda p, _: abs(p),
        "active_q1": lambda p, q: p if p >= 0 <= q else 0,
        "active_q2": lambda p, q: -p if p < 0 <= q else 0,
        "active_q3": lambda p, q: -p if p < 0 > q else 0,
        "active_q4": lambda p, q: p if p >= 0 > q else 0,
        "reactive_import": lambda _, q: max(q, 0),
        "reactive_export": lambda _, q: max(-q, 0),
        "reactive_abs": lambda _, q: abs(q),
        "reactive_q1": lambda p, q: q if p >= 0 <= q else 0,
        "reactive_q2": lambda p, q: q if p < 0 <= q else 0,
        "reactive_q3": lambda p, q: -q if p < 0 > q else 0,
        "reactive_q4": lambda p, q: -q if p >= 0 > q else 0,
        "apparent_import": lambda p, q: math.isqrt(p * p + q * q) if p >= 0 else 0,
        "apparent_export": lambda p, q: math.isqrt(p * p + q * q) if p < 0 else 0,
        "apparent_abs": lambda p, q: math.isqrt(p * p + q * q),
    }
)


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a shape. Index 0 of a tariff is all of them."""

    mean: tuple[Sequence[int], ...]
    """[variant][slot of the week]: mean power, in 1/1024 of the meter's"""
    sums: tuple[tuple[Sequence[int], ...], ...]
    """[tariff][variant][slot of the week]: sum of the slots before it"""
    week: tuple[int, ...]
    """[tariff]: sum of a week, the same for every variant"""
    peak: tuple[int, ...]
    """[tariff]: greatest slot of a week, the same for every variant"""


@cache
def channel(kind: str, name: str) -> Channel:
    """The tables of a channel of a shape; raises ConfigError for an unknown shape."""
    days = _days(kind)
    power = CHANNELS[name]
    means = []
    for variant in range(VARIANTS):
        order = [(day + variant) % VARIANTS for day in range(VARIANTS)] + [5, 6]
        means.append(array("q", (power(p, q) for day in order for p, q in days[day])))
    sums = tuple(tuple(_cumulated(mean, tariff) for mean in means) for tariff in range(max(TARIFFS) + 1))
    peaks = (
        max((value for value, its in zip(means[0], TARIFFS, strict=True) if tariff in (0, its)), default=0)
        for tariff in range(max(TARIFFS) + 1)
    )
    return Channel(tuple(means), sums, tuple(of_tariff[0][WEEK_SLOTS] for of_tariff in sums), tuple(peaks))


def _cumulated(mean: Sequence[int], tariff: int) -> Sequence[int]:
    sums = array("q", [0])
    total = 0
    for value, its in zip(mean, TARIFFS, strict=True):
        total += value if tariff in (0, its) else 0
        sums.append(total)
    return sums
