"""Energy, power and demand of a virtual meter: the quantities that come from the channels of its load curve."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.emulator.shape import SLOT_MS, VARIANTS
from headend.emulator.waveform import AT, BEFORE, ENERGY, MEAN, POWER, SLOT, TURN, WATT, WATT_HOUR, Parts, moment

if TYPE_CHECKING:
    from headend.emulator.meter import VirtualMeter

Number: TypeAlias = Callable[["VirtualMeter", int], float]

Count: TypeAlias = Callable[["VirtualMeter", int], int]

PHASES: Final = MappingProxyType({"l1": 0, "l2": 1, "l3": 2})
ALL: Final = 3
"""Where the sum of all phases stands among the numbers of an instant."""

_NOTHING: Final = (-1, 0, 0, 0)
_HOUR_MS: Final = 3_600_000
_SLOTS_AN_HOUR: Final = _HOUR_MS // SLOT_MS
_HIGHEST_TARIFF: Final = 4

# direction -> channels with their signs
_DIRECTIONS: Final = MappingProxyType(
    {"net": (("import", 1), ("export", -1))}
    | {one: ((one, 1),) for one in ("import", "export", "abs", "q1", "q2", "q3", "q4")}
)

PROCESSINGS: Final = (
    "energy_billing",
    "energy_interval",
    "energy",
    "power_avg5",
    "power_avg",
    "power",
    "demand_cum_max",
    "demand_max",
    "demand_present",
    "demand_last",
)


def channel_value(load: str, energy: str, processing: str, direction: str, which: str) -> Number:
    """What makes an energy-like quantity, e.g. `active`, `demand_max`, `import`; `which` is total, a phase or a tariff."""
    parts = tuple((f"{energy}_{one}", sign) for one, sign in _DIRECTIONS[direction])
    tariff = int(which[1:]) if which[0] == "t" and which != "total" else 0
    if tariff > _HIGHEST_TARIFF:
        return lambda _meter, _at: 0.0
    phase = PHASES.get(which, ALL)
    power = _power(load, parts, phase)
    now, edge = _counted_now(load, parts, tariff, phase), _counted_at_edge(load, parts, tariff, phase)

    def last_slot(meter: VirtualMeter, at: int) -> float:
        end = slot_start(at)
        return (edge(meter, end) - edge(meter, end - SLOT_MS)) * _SLOTS_AN_HOUR / WATT_HOUR

    def demand_present(meter: VirtualMeter, at: int) -> float:
        start = slot_start(at)
        if start == at:
            return power(meter, at)
        return (now(meter, at) - edge(meter, start)) * _HOUR_MS / ((at - start) * WATT_HOUR)

    def highest_of_months(meter: VirtualMeter, at: int) -> float:
        total, end = 0.0, month_start(at)
        for _ in range(12):
            if end <= meter.started_at:
                break
            start = month_start(end - 1)
            total += sum(sign * meter.peak(name, tariff, start, end) for name, sign in parts) / WATT
            end = start
        return total

    made: dict[str, Number] = {
        "power": power,
        "power_avg": last_slot,
        "power_avg5": last_slot,
        "energy": lambda meter, at: now(meter, at) / WATT_HOUR,
        "energy_billing": lambda meter, at: (now(meter, at) - edge(meter, month_start(at))) / WATT_HOUR,
        "energy_interval": lambda meter, at: (now(meter, at) - edge(meter, slot_start(at - 1))) / WATT_HOUR,
        "demand_present": demand_present,
        "demand_last": last_slot,
        "demand_max": lambda meter, at: (
            sum(sign * meter.peak(name, tariff, month_start(at), at) for name, sign in parts) / WATT
        ),
        "demand_cum_max": highest_of_months,
    }
    return made[processing]


# The moment of a slot is the same for all meters of a turn, so each function below remembers the one it saw last.


def _power(load: str, parts: Parts, phase: int) -> Number:
    seen, flow = [_NOTHING] * VARIANTS, POWER + phase

    def power(meter: VirtualMeter, at: int) -> float:
        now = meter.instant
        if now[AT] != at:
            now = meter.enter(at)
        slot, turn = now[SLOT], now[TURN]
        known = seen[turn]
        if known[0] != slot:
            known = seen[turn] = (slot, *moment(load, parts, 0, slot, turn))
        return known[2] * now[flow] / WATT

    return power


def _counted_now(load: str, parts: Parts, tariff: int, phase: int) -> Count:
    """What has been counted until now."""
    seen, mean, inside = [_NOTHING] * VARIANTS, MEAN + phase, ENERGY + phase

    def counted(meter: VirtualMeter, at: int) -> int:
        now = meter.instant
        if now[AT] != at:
            now = meter.enter(at)
        slot, turn = now[SLOT], now[TURN]
        known = seen[turn]
        if known[0] != slot:
            known = seen[turn] = (slot, *moment(load, parts, tariff, slot, turn))
        _, until, level, week = known
        total = now[mean] * (until - week * now[BEFORE]) + level * now[inside]
        return total - meter.missed(parts, phase, tariff, at) if meter.gaps else total

    return counted


def _counted_at_edge(load: str, parts: Parts, tariff: int, phase: int) -> Count:
    """What had been counted at the beginning of a slot."""
    mean = MEAN + phase

    def counted(meter: VirtualMeter, at: int) -> int:
        now = meter.instant
        if now[AT] < 0:
            now = meter.enter(at)
        until, _, week = moment(load, parts, tariff, meter.slot_at(at), now[TURN])
        total = now[mean] * (until - week * now[BEFORE])
        return total - meter.missed(parts, phase, tariff, at) if meter.gaps else total

    return counted


def slot_start(at: int) -> int:
    """The beginning of the period of 15 minutes."""
    return at // SLOT_MS * SLOT_MS


def month_start(at: int) -> int:
    """The beginning of the month, which is the billing period."""
    return _month_of_day(at // 86_400_000)


@lru_cache(maxsize=1024)
def _month_of_day(day: int) -> int:
    date = datetime.fromtimestamp(day * 86_400, UTC)
    return round(date.replace(day=1).timestamp()) * 1000


def charge(load: str) -> Number:
    """Ampere-hours of all phases, at the nominal voltage."""
    counted = _counted_now(load, (("apparent_abs", 1),), 0, ALL)
    return lambda meter, at: counted(meter, at) / WATT_HOUR / meter.kind.nominal_voltage
