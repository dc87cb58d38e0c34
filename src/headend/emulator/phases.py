"""Voltage, current and what follows from them, by phase. Currents follow from apparent power, so that U, I, P and Q agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from headend.emulator.energy import month_start
from headend.emulator.shape import PATTERNS, STEPS
from headend.emulator.waveform import WATT

if TYPE_CHECKING:
    from headend.emulator.meter import VirtualMeter

_PATTERN_PEAK: Final = max(
    (sums[step + 1] - sums[step]) * STEPS / sums[STEPS] for sums in PATTERNS for step in range(STEPS)
)


def volts(meter: VirtualMeter, at: int, which: str = "total") -> float:
    """Voltage of a phase against neutral; of all of them: their mean. 0 for a phase that the meter does not have."""
    phases = meter.phases(which)
    return sum(meter.voltage(phase, at) for phase in phases) / len(phases) if phases else 0.0


def line_volts(meter: VirtualMeter, at: int, which: str) -> float:
    """Voltage between two phases, a third of a turn apart (`l1l2`); of all pairs (`line_avg`): the mean."""
    if which == "line_avg":
        return sum(line_volts(meter, at, pair) for pair in ("l1l2", "l2l3", "l3l1")) / 3
    a, b = volts(meter, at, which[:2]), volts(meter, at, which[2:])
    return math.sqrt(a * a + b * b + a * b)


def amperes(meter: VirtualMeter, at: int, which: str = "total") -> float:
    """Current of a phase; of all of them: their mean; or in the neutral conductor."""
    if which == "neutral":
        return _neutral_amperes(meter, at)
    phases = meter.phases(which)
    return sum(_phase_amperes(meter, phase, at) for phase in phases) / len(phases) if phases else 0.0


def amperes_sum(meter: VirtualMeter, at: int) -> float:
    """Sum of the currents of all phases."""
    return sum(_phase_amperes(meter, phase, at) for phase in meter.phases("total"))


def _phase_amperes(meter: VirtualMeter, phase: int, at: int) -> float:
    return meter.power("apparent_abs", range(phase, phase + 1), at) / WATT / meter.voltage(phase, at)


def _neutral_amperes(meter: VirtualMeter, at: int) -> float:
    """Currents of equal angle, a third of a turn apart, as they add up."""
    currents = [_phase_amperes(meter, phase, at) for phase in meter.phases("total")]
    if len(currents) < 3:
        return sum(currents)
    a, b, c = currents
    return math.sqrt(max(0.0, a * a + b * b + c * c - a * b - b * c - c * a))


def amperes_max(meter: VirtualMeter, at: int) -> float:
    """A bound of the current of this month: its highest demand, with the sharpest pattern, at low voltage, in one phase."""
    peak = meter.peak("apparent_abs", 0, month_start(at), at)
    return _PATTERN_PEAK * peak / WATT / (0.98 * meter.kind.nominal_voltage)


def power_factor(meter: VirtualMeter, at: int, which: str = "total") -> float:
    """Active by apparent power, 1 where nothing flows."""
    phases = meter.phases(which)
    apparent = meter.power("apparent_abs", phases, at)
    return min(1.0, meter.power("active_abs", phases, at) / apparent) if apparent else 1.0


def phase_angle(meter: VirtualMeter, at: int, which: str) -> float:
    """Degrees between voltage and current."""
    return math.degrees(math.acos(power_factor(meter, at, which)))
