"""Load, voltage and frequency as pure functions of a seed and a time in milliseconds. See `shape` for how."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from headend.emulator.shape import (
    ONE,
    PATTERNS,
    SEASON,
    SLOT_MS,
    STEP_MS,
    TARIFFS,
    VARIANTS,
    WEEK_MS,
    WEEK_SLOTS,
    YEAR_WEEKS,
    channel,
    mix,
    season_sum,
)

START_MS: Final = 1_514_764_800_000
"""Monday 2018-01-01T00:00Z: before it there is no load."""

WATT: Final = 1000 * ONE**3
"""Units of power in a watt: a milliwatt times the fractions of season, slot and step."""

WATT_HOUR: Final = WATT * 3_600_000
"""Units of energy in a watt-hour: a unit of power for a millisecond."""

_SLOT_UNITS = ONE * SLOT_MS
_DAY_MS = 86_400_000
_INSTALLED_WEEKS = 200  # meters were installed in the first four years
_NO_SLOT: Final[tuple[int, tuple[tuple[int, ...], ...]]] = (-1, ())
_FLICKER = tuple(mix(7, second) / 2**32 - 0.5 for second in range(1024))


@lru_cache(maxsize=8192)
def _moment(kind: str, name: str, tariff: int, slot: int, turn: int) -> tuple[int, int, int]:
    """What a mean load of one unit has counted up to a slot since START_MS, its level in the slot, its sum of a week."""
    week, inside = divmod(slot, WEEK_SLOTS)
    table, variant, season = channel(kind, name), _variant(turn, week), SEASON[week % YEAR_WEEKS]
    slots = table.week[tariff] * season_sum(week) + season * table.sums[tariff][variant][inside]
    level = season * table.mean[variant][inside] if tariff in (0, TARIFFS[inside]) else 0
    return _SLOT_UNITS * slots, level, table.week[tariff]


@lru_cache(maxsize=1024)
def _peak(kind: str, name: str, tariff: int, first: int, beyond: int, turn: int) -> int:
    """The greatest level of a tariff in a range of slots."""
    table = channel(kind, name)
    best = 0
    while first < beyond:
        week, slot = divmod(first, WEEK_SLOTS)
        stop = min(WEEK_SLOTS, slot + beyond - first)
        if stop - slot == WEEK_SLOTS:
            level = table.peak[tariff]
        else:
            part = zip(table.mean[_variant(turn, week)][slot:stop], TARIFFS[slot:stop], strict=True)
            level = max((mean for mean, one in part if tariff in (0, one)), default=0)
        best = max(best, SEASON[week % YEAR_WEEKS] * level)
        first += stop - slot
    return best


def _variant(turn: int, week: int) -> int:
    """The order of the working days of a week."""
    return (turn + 2 * week) % VARIANTS


class LoadCurve:
    """The load behind one meter. All powers and energies are integers, see WATT and WATT_HOUR."""

    __slots__ = ("_before", "_first_slot", "_means", "_now", "_seed", "_turn", "kind")

    def __init__(self, kind: str, seed: int, phases: int, mean_watts: float) -> None:
        """`mean_watts` is about the average of all phases together; meters of other seeds differ by up to a half."""
        first_week = mix(seed, 1) % _INSTALLED_WEEKS
        total = mean_watts * 1000 * (0.5 + mix(seed, 2) / 2**32)
        shares = [1 + mix(seed, 10 + phase) / 2**32 for phase in range(phases)]
        self.kind = kind
        self._seed = seed
        self._turn = seed % VARIANTS
        self._first_slot = first_week * WEEK_SLOTS
        self._before = _SLOT_UNITS * season_sum(first_week)  # times the sum of a week: not counted by this meter
        self._means = tuple(round(total * share / sum(shares)) for share in shares)
        self._now: tuple[int, tuple[tuple[int, ...], ...]] = _NO_SLOT

    @property
    def phases(self) -> range:
        """All phases, from 0."""
        return range(len(self._means))

    @property
    def started_at(self) -> int:
        """When the registers were at zero."""
        return START_MS + self._first_slot * SLOT_MS

    def _patterns(self, slot: int) -> tuple[tuple[int, ...], ...]:
        """How each phase spreads its load over the steps of a slot; remembered for the slot that was asked for last."""
        now, patterns = self._now
        if now != slot:
            chosen, count = mix(self._seed, slot), len(PATTERNS)
            patterns = tuple(PATTERNS[(chosen >> 9 * phase) % count] for phase in range(len(self._means)))
            self._now = slot, patterns
        return patterns

    def power(self, name: str, phases: range, at: int) -> int:
        """Power of a channel, summed over phases."""
        slot, inside = divmod(at - START_MS, SLOT_MS)
        if slot < self._first_slot:
            return 0
        level = _moment(self.kind, name, 0, slot, self._turn)[1]
        if not level:
            return 0
        step, patterns, means, total = inside // STEP_MS, self._patterns(slot), self._means, 0
        for phase in phases:
            sums = patterns[phase]
            total += means[phase] * (sums[step + 1] - sums[step])
        return level * total

    def energy(self, name: str, phases: range, tariff: int, at: int) -> int:
        """Energy of a channel since `started_at`, summed over phases: the integral of `power` over the tariff (0: all)."""
        slot, inside = divmod(at - START_MS, SLOT_MS)
        if slot < self._first_slot:
            return 0
        counted, level, week = _moment(self.kind, name, tariff, slot, self._turn)
        counted -= week * self._before
        means, total = self._means, 0
        if not level or not inside:
            for phase in phases:
                total += means[phase]
            return total * counted
        step, rest = divmod(inside, STEP_MS)
        patterns = self._patterns(slot)
        for phase in phases:
            sums = patterns[phase]
            here = sums[step]
            total += means[phase] * (counted + level * (here * STEP_MS + (sums[step + 1] - here) * rest))
        return total

    def peak(self, name: str, tariff: int, start: int, end: int) -> int:
        """The greatest mean power of all phases together in the whole slots between two times; 0 when there is none."""
        first = max(-(-(start - START_MS) // SLOT_MS), self._first_slot)
        beyond = (end - START_MS) // SLOT_MS
        return _peak(self.kind, name, tariff, first, beyond, self._turn) * ONE * sum(self._means)


def tariff_at(at: int) -> int:
    """The tariff that is active at a time."""
    return TARIFFS[(at - START_MS) % WEEK_MS // SLOT_MS]


def voltage(seed: int, phase: int, at: int, nominal: float) -> float:
    """Voltage of a phase: it swings over the day and over the hour, and flickers every second, within 2 percent."""
    day = math.sin(math.tau * (at % _DAY_MS / _DAY_MS + (seed >> phase & 0xFF) / 1024))
    hour = math.sin(math.tau * (at % 2_731_000 / 2_731_000 + (seed >> 8 + phase & 0xFF) / 256))
    flicker = _FLICKER[seed + 341 * phase + at // 1000 & 1023]
    return nominal * (1 + 0.012 * day + 0.005 * hour + 0.003 * flicker)


def frequency(at: int, nominal: float = 50.0) -> float:
    """Frequency of the net: the same for everybody."""
    slow = math.sin(math.tau * (at % 900_000) / 900_000)
    fast = math.sin(math.tau * (at % 133_000) / 133_000)
    return nominal * (1 + 0.00024 * slow + 0.00016 * fast + 0.00008 * _FLICKER[at // 1000 & 1023])
