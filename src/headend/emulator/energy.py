"""Energy, power and demand of a virtual meter: the quantities that come from the channels of its load curve."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.emulator.shape import SLOT_MS
from headend.emulator.waveform import WATT, WATT_HOUR

if TYPE_CHECKING:
    from headend.emulator.meter import VirtualMeter

Number: TypeAlias = Callable[["VirtualMeter", int], float]

_HOUR_MS: Final = 3_600_000
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


def channel_value(energy: str, processing: str, direction: str, which: str) -> Number:
    """What makes an energy-like quantity, e.g. `active`, `demand_max`, `import`; `which` is total, a phase or a tariff."""
    parts = [(f"{energy}_{one}", sign) for one, sign in _DIRECTIONS[direction]]
    tariff = int(which[1:]) if which[0] == "t" and which != "total" else 0
    if tariff > _HIGHEST_TARIFF:
        return lambda _meter, _at: 0.0

    (first_name, _), *others = parts

    def power(meter: VirtualMeter, at: int) -> float:
        total = meter.power(first_name, meter.phases(which), at)
        for name, sign in others:
            total += sign * meter.power(name, meter.phases(which), at)
        return total / WATT

    def counted(meter: VirtualMeter, at: int) -> int:
        total = meter.energy(first_name, meter.phases(which), tariff, at)
        for name, sign in others:
            total += sign * meter.energy(name, meter.phases(which), tariff, at)
        return total

    def since(start: Callable[[int], int]) -> Number:
        return lambda meter, at: (counted(meter, at) - counted(meter, start(at))) / WATT_HOUR

    def mean(start: Callable[[int], int], end: Callable[[int], int]) -> Number:
        def mean_of(meter: VirtualMeter, at: int) -> float:
            first, last = start(at), end(at)
            if first == last:
                return power(meter, at)
            return (counted(meter, last) - counted(meter, first)) * _HOUR_MS / ((last - first) * WATT_HOUR)

        return mean_of

    def highest(meter: VirtualMeter, at: int) -> float:
        return sum(sign * meter.peak(name, tariff, month_start(at), at) for name, sign in parts) / WATT

    def highest_of_months(meter: VirtualMeter, at: int) -> float:
        total, end = 0.0, month_start(at)
        for _ in range(12):
            if end <= meter.started_at:
                break
            start = month_start(end - 1)
            total += sum(sign * meter.peak(name, tariff, start, end) for name, sign in parts) / WATT
            end = start
        return total

    last_slot = mean(lambda at: slot_start(at) - SLOT_MS, slot_start)
    made: dict[str, Number] = {
        "power": power,
        "power_avg": last_slot,
        "power_avg5": last_slot,
        "energy": lambda meter, at: counted(meter, at) / WATT_HOUR,
        "energy_billing": since(month_start),
        "energy_interval": since(lambda at: slot_start(at - 1)),
        "demand_present": mean(slot_start, lambda at: at),
        "demand_last": last_slot,
        "demand_max": highest,
        "demand_cum_max": highest_of_months,
    }
    return made[processing]


def slot_start(at: int) -> int:
    """The beginning of the period of 15 minutes."""
    return at // SLOT_MS * SLOT_MS


def month_start(at: int) -> int:
    """The beginning of the month, which is the billing period."""
    day = datetime.fromtimestamp(at // 1000, UTC)
    return round(day.replace(day=1, hour=0, minute=0, second=0).timestamp()) * 1000


def charge(meter: VirtualMeter, at: int) -> float:
    """Ampere-hours of all phases, at the nominal voltage."""
    return meter.energy("apparent_abs", meter.phases("total"), 0, at) / WATT_HOUR / meter.kind.nominal_voltage
