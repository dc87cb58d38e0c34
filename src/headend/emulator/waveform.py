"""Load, voltage and frequency as pure functions of a seed and a time in milliseconds. See `shape` for how."""

from __future__ import annotations

import math
from typing import Final

from headend.emulator.shape import (
    ONE,
    PATTERNS,
    SEASON,
    SLOT_MS,
    STEP_MS,
    STEPS,
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


class LoadCurve:
    """The load behind one meter. All powers and energies are integers, see WATT and WATT_HOUR."""

    __slots__ = ("_first_week", "_means", "_seed", "kind")

    def __init__(self, kind: str, seed: int, phases: int, mean_watts: float) -> None:
        """`mean_watts` is about the average of all phases together; meters of other seeds differ by up to a half."""
        self.kind = kind
        self._seed = seed
        self._first_week = mix(seed, 1) % _INSTALLED_WEEKS
        total = mean_watts * 1000 * (0.5 + mix(seed, 2) / 2**32)
        shares = [1 + mix(seed, 10 + phase) / 2**32 for phase in range(phases)]
        self._means = tuple(round(total * share / sum(shares)) for share in shares)

    @property
    def phases(self) -> range:
        """All phases, from 0."""
        return range(len(self._means))

    @property
    def started_at(self) -> int:
        """When the registers were at zero."""
        return START_MS + self._first_week * WEEK_MS

    def power(self, name: str, phases: range, at: int) -> int:
        """Power of a channel, summed over phases."""
        week, inside = divmod(at - START_MS, WEEK_MS)
        if week < self._first_week:
            return 0
        slot, inside = divmod(inside, SLOT_MS)
        level = SEASON[week % YEAR_WEEKS] * channel(self.kind, name).mean[self._variant(week)][slot]
        if not level:
            return 0
        step = inside // STEP_MS
        chosen = mix(self._seed, week * WEEK_SLOTS + slot)
        total = 0
        for phase in phases:
            sums, start = _pattern(chosen, phase)
            total += self._means[phase] * (sums[start + step + 1] - sums[start + step])
        return level * total

    def energy(self, name: str, phases: range, tariff: int, at: int) -> int:
        """Energy of a channel since `started_at`, summed over phases: the integral of `power` over the tariff (0: all)."""
        week, inside = divmod(at - START_MS, WEEK_MS)
        if week < self._first_week:
            return 0
        slot, inside = divmod(inside, SLOT_MS)
        table = channel(self.kind, name)
        variant = self._variant(week)
        season = SEASON[week % YEAR_WEEKS]
        slots = table.week[tariff] * (season_sum(week) - season_sum(self._first_week))
        slots += season * table.sums[tariff][variant][slot]
        level = season * table.mean[variant][slot] if tariff in (0, TARIFFS[slot]) else 0
        if not level or not inside:
            return _SLOT_UNITS * slots * sum(self._means[phase] for phase in phases)
        step, rest = divmod(inside, STEP_MS)
        chosen = mix(self._seed, week * WEEK_SLOTS + slot)
        total = 0
        for phase in phases:
            sums, start = _pattern(chosen, phase)
            here = sums[start + step]
            steps = (here - sums[start]) * STEP_MS + (sums[start + step + 1] - here) * rest
            total += self._means[phase] * (_SLOT_UNITS * slots + level * steps)
        return total

    def peak(self, name: str, tariff: int, start: int, end: int) -> int:
        """The greatest mean power of all phases together in the whole slots between two times; 0 when there is none."""
        first = max(-(-(start - START_MS) // SLOT_MS), self._first_week * WEEK_SLOTS)
        beyond = (end - START_MS) // SLOT_MS
        table = channel(self.kind, name)
        best = 0
        while first < beyond:
            week, slot = divmod(first, WEEK_SLOTS)
            stop = min(WEEK_SLOTS, slot + beyond - first)
            if stop - slot == WEEK_SLOTS:
                level = table.peak[tariff]
            else:
                its = [tariff] * WEEK_SLOTS if tariff == 0 else TARIFFS
                part = table.mean[self._variant(week)][slot:stop]
                level = max((mean for mean, one in zip(part, its[slot:stop], strict=True) if one == tariff), default=0)
            best = max(best, SEASON[week % YEAR_WEEKS] * level)
            first += stop - slot
        return best * ONE * sum(self._means)

    def _variant(self, week: int) -> int:
        """The order of the working days of a week."""
        return (self._seed + 2 * week) % VARIANTS


def _pattern(chosen: int, phase: int) -> tuple[tuple[int, ...], int]:
    """The pattern of a phase in a slot, and the step at which it starts, from 30 bits for three phases."""
    return PATTERNS[chosen >> 4 * phase & 15], (chosen >> 12 + 6 * phase & 63) % STEPS


def tariff_at(at: int) -> int:
    """The tariff that is active at a time."""
    return TARIFFS[(at - START_MS) % WEEK_MS // SLOT_MS]


def voltage(seed: int, phase: int, at: int, nominal: float) -> float:
    """Voltage of a phase: it swings over the day and over the hour, and flickers every second, within 2 percent."""
    day = math.sin(math.tau * (at % _DAY_MS / _DAY_MS + (seed >> phase & 0xFF) / 1024))
    hour = math.sin(math.tau * (at % 2_731_000 / 2_731_000 + (seed >> 8 + phase & 0xFF) / 256))
    flicker = mix(seed + phase, at // 1000) / 2**32 - 0.5
    return nominal * (1 + 0.012 * day + 0.005 * hour + 0.003 * flicker)


def frequency(at: int, nominal: float = 50.0) -> float:
    """Frequency of the net: the same for everybody."""
    slow = math.sin(math.tau * (at % 900_000) / 900_000)
    fast = math.sin(math.tau * (at % 133_000) / 133_000)
    return nominal * (1 + 0.00024 * slow + 0.00016 * fast + 0.00008 * (mix(50, at // 1000) / 2**32 - 0.5))
