"""Load, voltage and frequency as pure functions of a seed and a time in milliseconds. See `shape` for how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

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
_MINUTES, _SWING_SECONDS = 1440, 2731
_INSTALLED_WEEKS = 200  # meters were installed in the first four years
_NO_SLOT: Final[tuple[int, tuple[tuple[int, ...], ...]]] = (-1, ())
_FLICKER = tuple(mix(7, second) / 2**32 - 0.5 for second in range(1024))
_DAY_SWING = tuple(0.012 * math.sin(math.tau * minute / _MINUTES) for minute in range(_MINUTES))
_HOUR_SWING = tuple(0.005 * math.sin(math.tau * at / _SWING_SECONDS) for at in range(_SWING_SECONDS))


Parts: TypeAlias = tuple[tuple[str, int], ...]
"""Channels with their signs, e.g. import less export."""


@lru_cache(maxsize=8192)
def moment(kind: str, parts: Parts, tariff: int, slot: int, turn: int) -> tuple[int, int, int]:
    """What a mean load of one unit has counted up to a slot since START_MS, its level in the slot, its sum of a week."""
    week, inside = divmod(slot, WEEK_SLOTS)
    variant, season, weeks = _variant(turn, week), SEASON[week % YEAR_WEEKS], season_sum(week)
    slots = level = whole = 0
    for name, sign in parts:
        table = channel(kind, name)
        slots += sign * (table.week[tariff] * weeks + season * table.sums[tariff][variant][inside])
        whole += sign * table.week[tariff]
        if tariff in (0, TARIFFS[inside]):
            level += sign * season * table.mean[variant][inside]
    return _SLOT_UNITS * slots, level, whole


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


def _by_phase(numbers: Sequence[int]) -> Sequence[int]:
    """One number a phase, filled up to three, and their sum."""
    return (*numbers, sum(numbers)) if len(numbers) == 3 else (numbers[0], 0, 0, numbers[0])


def _variant(turn: int, week: int) -> int:
    """The order of the working days of a week."""
    return (turn + 2 * week) % VARIANTS


Instant: TypeAlias = tuple[int, ...]
"""What all quantities of a moment follow from: AT, SLOT, TURN, BEFORE, then four numbers (L1, L2, L3, all) each of MEAN,
POWER and ENERGY: times a level of the slot they are the power, and the energy of the slot until then."""

AT, SLOT, TURN, BEFORE, MEAN, POWER, ENERGY = 0, 1, 2, 3, 4, 8, 12
NO_INSTANT: Final[Instant] = (-1,)


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

    def instant(self, at: int) -> Instant:
        """What power and energy at a time follow from; before `started_at` nothing flows."""
        slot, inside = divmod(at - START_MS, SLOT_MS)
        first, means = self._first_slot, self._means
        if slot < first:
            return (at, first, self._turn, self._before, *_by_phase(means), 0, 0, 0, 0, 0, 0, 0, 0)
        step, rest = divmod(inside, STEP_MS)
        powers, energies = [], []
        for mean, sums in zip(means, self._patterns(slot), strict=True):
            here = sums[step]
            rate = sums[step + 1] - here
            powers.append(mean * rate)
            energies.append(mean * (here * STEP_MS + rate * rest))
        return (at, slot, self._turn, self._before, *_by_phase(means), *_by_phase(powers), *_by_phase(energies))

    def power(self, name: str, phases: range, at: int) -> int:
        """Power of a channel, summed over phases."""
        now = self.instant(at)
        return moment(self.kind, ((name, 1),), 0, now[SLOT], now[TURN])[1] * sum(now[POWER + phase] for phase in phases)

    def energy(self, name: str, phases: range, tariff: int, at: int) -> int:
        """Energy of a channel since `started_at`, summed over phases: the integral of `power` over the tariff (0: all)."""
        now = self.instant(at)
        counted, level, week = moment(self.kind, ((name, 1),), tariff, now[SLOT], now[TURN])
        counted -= week * now[BEFORE]
        return sum(now[MEAN + phase] * counted + level * now[ENERGY + phase] for phase in phases)

    def slot_at(self, at: int) -> int:
        """The slot that a time is in; before `started_at` the one that begins then."""
        return max((at - START_MS) // SLOT_MS, self._first_slot)

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
    second = at // 1000
    day = _DAY_SWING[(second // 60 + _MINUTES * (seed >> phase & 0xFF) // 1024) % _MINUTES]
    hour = _HOUR_SWING[(second + _SWING_SECONDS * (seed >> 8 + phase & 0xFF) // 256) % _SWING_SECONDS]
    return nominal * (1 + day + hour + 0.003 * _FLICKER[seed + 341 * phase + second & 1023])


@lru_cache(maxsize=256)
def frequency(at: int, nominal: float = 50.0) -> float:
    """Frequency of the net: the same for everybody."""
    slow = math.sin(math.tau * (at % 900_000) / 900_000)
    fast = math.sin(math.tau * (at % 133_000) / 133_000)
    return nominal * (1 + 0.00024 * slow + 0.00016 * fast + 0.00008 * _FLICKER[at // 1000 & 1023])
