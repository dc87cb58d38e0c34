"""Voltage, current and what follows from them, by phase. Currents follow from apparent power, so that U, I, P and Q agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from headend.emulator.energy import ALL, PHASES, Number, channel_value, month_start
from headend.emulator.shape import PATTERNS, STEPS
from headend.emulator.waveform import WATT

if TYPE_CHECKING:
    from headend.emulator.meter import VirtualMeter

_PATTERN_PEAK: Final = max(
    (sums[step + 1] - sums[step]) * STEPS / sums[STEPS] for sums in PATTERNS for step in range(STEPS)
)


def volts(which: str) -> Number:
    """Voltage of a phase against neutral; of all of them: their mean. 0 for a phase that the meter does not have."""
    place = _place(which)

    def voltage(meter: VirtualMeter, at: int) -> float:
        now = meter.voltages
        if now[0] != at:
            now = meter.swing(at)
        return now[place]

    return voltage


def line_volts(which: str) -> Number:
    """Voltage between two phases, a third of a turn apart (`l1l2`); of all pairs (`line_avg`): the mean."""
    if which == "line_avg":
        pairs = [line_volts(pair) for pair in ("l1l2", "l2l3", "l3l1")]
        return lambda meter, at: sum(pair(meter, at) for pair in pairs) / 3
    one, other = volts(which[:2]), volts(which[2:])

    def voltage(meter: VirtualMeter, at: int) -> float:
        a, b = one(meter, at), other(meter, at)
        return math.sqrt(a * a + b * b + a * b)

    return voltage


def amperes(load: str, which: str = "total") -> Number:
    """Current of a phase; of all of them: their mean; or in the neutral conductor."""
    if which == "neutral":
        return _neutral_amperes(load)
    if which not in PHASES:
        both = amperes_sum(load)
        return lambda meter, at: both(meter, at) / len(meter.kind.phases["total"])
    power, place = channel_value(load, "apparent", "power", "abs", which), _place(which)

    def current(meter: VirtualMeter, at: int) -> float:
        watts, now = power(meter, at), meter.voltages
        if not watts:
            return 0.0
        if now[0] != at:
            now = meter.swing(at)
        return watts / now[place]

    return current


def amperes_sum(load: str) -> Number:
    """Sum of the currents of all phases."""
    one, two, three = (amperes(load, which) for which in PHASES)
    return lambda meter, at: one(meter, at) + two(meter, at) + three(meter, at)


def _neutral_amperes(load: str) -> Number:
    """Currents of equal angle, a third of a turn apart, as they add up."""
    one, two, three = (amperes(load, which) for which in PHASES)

    def current(meter: VirtualMeter, at: int) -> float:
        a, b, c = one(meter, at), two(meter, at), three(meter, at)
        return math.sqrt(max(0.0, a * a + b * b + c * c - a * b - b * c - c * a))

    return current


def amperes_max(meter: VirtualMeter, at: int) -> float:
    """A bound of the current of this month: its highest demand, with the sharpest pattern, at low voltage, in one phase."""
    peak = meter.peak("apparent_abs", 0, month_start(at), at)
    return _PATTERN_PEAK * peak / WATT / (0.98 * meter.kind.nominal_voltage)


def power_factor(load: str, which: str) -> Number:
    """Active by apparent power, 1 where nothing flows."""
    active, apparent = (channel_value(load, one, "power", "abs", which) for one in ("active", "apparent"))

    def factor(meter: VirtualMeter, at: int) -> float:
        whole = apparent(meter, at)
        return min(1.0, active(meter, at) / whole) if whole else 1.0

    return factor


def phase_angle(load: str, which: str) -> Number:
    """Degrees between voltage and current."""
    factor = power_factor(load, which)
    return lambda meter, at: math.degrees(math.acos(factor(meter, at)))


def vector_angle(load: str, end: str, end_phase: str, start: str, start_phase: str) -> Number:
    """Degrees from one arrow of the vector diagram to another: voltages a third of a turn apart, each current behind its own."""

    def arrow(kind: str, phase: str) -> Number:
        third = 120.0 * PHASES[phase]
        if kind == "u":
            return lambda _meter, _at: third
        behind = phase_angle(load, phase)
        return lambda meter, at: third + behind(meter, at)

    one, other = arrow(end, end_phase), arrow(start, start_phase)
    return lambda meter, at: (one(meter, at) - other(meter, at)) % 360.0


def _place(which: str) -> int:
    """Where a voltage stands among those of a second."""
    return 1 + PHASES.get(which, ALL)
