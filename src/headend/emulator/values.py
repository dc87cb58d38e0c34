"""How a virtual meter makes the value of an object: from its quantity, or as the meter file's `emulate` says.

An evaluator takes a meter and a time of the world (not of the meter's own clock) and returns the value in the base unit. It
is compiled once for an object of a meter file; what changes with the second it takes from the meter, which works it out once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from headend.emulator import phases
from headend.emulator.energy import PROCESSINGS, Number, channel_value, charge, slot_start
from headend.emulator.shape import SLOT_MS, mix
from headend.emulator.waveform import frequency, tariff_at
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.model.reading import Value

if TYPE_CHECKING:
    from headend.emulator.meter import VirtualMeter

Evaluator: TypeAlias = Callable[["VirtualMeter", int], Value]

_HOUR_MS: Final = 3_600_000
_EMULATE_FORMS: Final = ({"value"}, {"choice", "every"}, {"counter", "every"}, {"as"})


def evaluator(entry: ObjectEntry, load: str) -> Evaluator:
    """What makes the values of an object behind a shape of load; raises ConfigError that names it."""
    emulate = entry.emulate
    if emulate and set(emulate) not in _EMULATE_FORMS:
        raise ConfigError(
            f"{entry.ref}: emulate = {dict(emulate)!r} is none of the forms",
            hint='write { value = X }, { choice = "a|b", every = SECONDS }, { counter = X, every = SECONDS } or { as = "KEY" }',
        )
    if "value" in emulate:
        return _constant(emulate["value"])
    if emulate and "as" not in emulate:
        return _changing(entry, emulate)
    key = str(emulate.get("as", entry.quantity))
    return _constant(0) if not key else of_quantity(key, load)


def _constant(value: Value) -> Evaluator:
    if isinstance(value, str) and "{" in value:
        return lambda meter, _: meter.fill(value)
    return lambda _meter, _at: value


def _changing(entry: ObjectEntry, emulate: Mapping[str, Value]) -> Evaluator:
    every = emulate["every"]
    if isinstance(every, bool) or not isinstance(every, int | float) or every <= 0:
        raise ConfigError(f"{entry.ref}: emulate every: expected seconds, got {every!r}")
    period = round(every * 1000)
    if "choice" in emulate:
        choices = str(emulate["choice"]).split("|")
        values: list[Value] = [int(text) if text.isascii() and text.isdigit() else text for text in choices]
        return lambda meter, at: values[mix(meter.seed, at // period) % len(values)]
    start = emulate["counter"]
    if isinstance(start, bool) or not isinstance(start, int):
        raise ConfigError(f"{entry.ref}: emulate counter: expected a whole number, got {start!r}")
    return lambda meter, at: start + max(0, at - meter.started_at) // period


def of_quantity(key: str, load: str) -> Evaluator:
    """What makes the values of a quantity of the catalogue behind a shape of load; raises ConfigError for one that has no rule."""
    if key in _PLAIN:
        return _PLAIN[key]
    if key in _LOADED:
        return _LOADED[key](load)
    for pattern, make in _FAMILIES:
        found = pattern.fullmatch(key)
        if found:
            return make(load, *found.groups())
    raise ConfigError(f"a virtual meter has no rule for {key}", hint="say how with emulate = { value = … }")


# --- quantities ---


def _same(made: Evaluator) -> Callable[[str, str], Evaluator]:
    return lambda _load, _which: made


def _phased(load: str, key: str, which: str) -> Evaluator:
    return _PHASED[key](load, which)


def _volts(_load: str, which: str) -> Number:
    return phases.volts(which)


def _average(make: Callable[[str, str], Number]) -> Callable[[str, str], Number]:
    """What happens in the middle of the last complete slot stands for its average."""

    def of_slot(load: str, which: str) -> Number:
        made = make(load, which)
        return lambda meter, at: made(meter, slot_start(at) - SLOT_MS // 2)

    return of_slot


def _of_nominal(factor: float) -> Number:
    return lambda meter, _: factor * meter.kind.nominal_voltage


def _distortion(low: float, span: float) -> Number:
    return lambda meter, at: low + span * mix(meter.seed, at // SLOT_MS) / 2**32


def _events(days: int) -> Evaluator:
    """Something that happens once in so many days."""
    return lambda meter, at: max(0, at - meter.started_at) // (days * 24 * _HOUR_MS)


def _hertz(meter: VirtualMeter, at: int) -> float:
    return frequency(at, meter.kind.nominal_frequency)


_PHASED: Final[Mapping[str, Callable[[str, str], Evaluator]]] = MappingProxyType(
    {
        "voltage": _volts,
        "voltage_avg": _average(_volts),
        "voltage_avg5": _average(_volts),
        "voltage_avg_present": _average(_volts),
        "voltage_avg_last": _average(_volts),
        "voltage_max": _same(_of_nominal(1.02)),
        "voltage_min": _same(_of_nominal(0.98)),
        "voltage_thd": _same(_distortion(1.5, 1.0)),
        "voltage_sag_threshold": _same(_of_nominal(0.9)),
        "voltage_sag_count": _same(_events(30)),
        "voltage_sag_duration": _same(_constant(0.2)),
        "voltage_sag_magnitude": _same(_of_nominal(0.85)),
        "voltage_swell_threshold": _same(_of_nominal(1.1)),
        "voltage_swell_count": _same(_events(90)),
        "voltage_swell_duration": _same(_constant(0.1)),
        "voltage_swell_magnitude": _same(_of_nominal(1.12)),
        "voltage_missing_voltage_threshold": _same(_of_nominal(0.5)),
        "current": phases.amperes,
        "current_avg": _average(phases.amperes),
        "current_avg5": _average(phases.amperes),
        "current_avg_present": _average(phases.amperes),
        "current_avg_last": _average(phases.amperes),
        "current_max": _same(phases.amperes_max),
        "current_min": _same(_constant(0.0)),
        "current_thd": _same(_distortion(4.0, 6.0)),
        "power_factor": phases.power_factor,
        "power_factor_export": phases.power_factor,
        "power_factor_avg_billing": _average(phases.power_factor),
        "phase_angle": phases.phase_angle,
        "frequency": _same(_hertz),
    }
)
"""what a quantity of a phase is, given `total`, `l1`, `l2`, `l3` or, for currents, `neutral`"""


def _daily(low: float, span: float) -> Number:
    """Something that is greatest in the afternoon."""
    return lambda _, at: low + span * math.sin(math.tau * (at % (24 * _HOUR_MS) / (24 * _HOUR_MS) - 0.375))


def _volt_squared_hours(meter: VirtualMeter, at: int) -> float:
    return max(0, at - meter.started_at) / _HOUR_MS * meter.kind.nominal_voltage**2


def _prepaid(price: float) -> Callable[[str], Evaluator]:
    """What is left of the last purchase, at so much for a watt-hour; who has used it up buys again at once."""

    def made(load: str) -> Evaluator:
        used = channel_value(load, "active", "energy", "import", "total")
        return lambda meter, at: (_PURCHASE - used(meter, at) % _PURCHASE) * price

    return made


_PURCHASE: Final = 200_000.0
"""Watt-hours that are bought at a time."""

_PLAIN: Final[Mapping[str, Evaluator]] = MappingProxyType(
    {
        "frequency": _hertz,
        "voltage_phase_avg": phases.volts("total"),
        "voltage_neutral": _constant(0.3),
        "temperature_ambient": _daily(18.0, 7.0),
        "temperature_internal": _daily(31.0, 9.0),
        "signal_strength": _daily(-78.0, 6.0),
        "clock_offset": _constant(0),  # a meter knows of no clock beside its own
        "battery_voltage_clock": _constant(3.6),
        "battery_voltage_reading": _constant(6.0),
        "humidity": _daily(55.0, -10.0),
        "volt_squared_hours_total": _volt_squared_hours,
        "relay_closed": lambda meter, at: meter.supplied(at),
        "meter_time": lambda meter, at: meter.shown_time(at),
        "tariff_active": lambda _, at: tariff_at(at),
        "serial_number": lambda meter, _: meter.serial,
        "logical_device_name": lambda meter, _: meter.logical_device_name,
        "firmware_version": lambda meter, _: meter.kind.firmware,
        "manufacturer": lambda meter, _: meter.profile.vendor,
        "meter_model": lambda meter, _: meter.profile.model,
        "meter_name": lambda meter, _: meter.profile.model,
        "meter_code": _constant(1),
        "uptime": lambda meter, at: max(0, at - meter.booted_at) // 1000,
    }
)

_LOADED: Final[Mapping[str, Callable[[str], Evaluator]]] = MappingProxyType(
    {
        "current_sum": phases.amperes_sum,
        "current_phase_avg": phases.amperes,
        "charge_total": charge,
        "ampere_squared_hours_total": charge,
        "credit_energy": _prepaid(1.0),
        "credit_balance": _prepaid(0.00056),
    }
)
"""what a quantity is that follows from the load as a whole"""

_ENERGY = "(active|reactive|apparent)"
_PHASED_KEYS = "|".join(sorted(_PHASED, key=len, reverse=True))
_FAMILIES: Final[tuple[tuple[re.Pattern[str], Callable[..., Evaluator]], ...]] = (
    (
        re.compile(rf"{_ENERGY}_({'|'.join(PROCESSINGS)})_(import|export|q[1-4]|abs|net)_(total|l[123]|t[1-8])"),
        channel_value,
    ),
    (
        re.compile(r"(active|reactive)_power_(total|l[123])"),
        lambda load, one, which: channel_value(load, one, "power", "net", which),
    ),
    (
        re.compile(r"apparent_power_(total|l[123])"),
        lambda load, which: channel_value(load, "apparent", "power", "abs", which),
    ),
    (
        re.compile(rf"{_ENERGY}_(demand_present|demand_max)_total"),
        lambda load, energy, processing: channel_value(load, energy, processing, "abs", "total"),
    ),
    (
        re.compile(rf"{_ENERGY}_energy_since_reset_(import|export|abs)"),
        lambda load, energy, direction: channel_value(load, energy, "energy_billing", direction, "total"),
    ),
    (re.compile(r"phase_angle_([ui])_(l[123])_([ui])_(l[123])"), phases.vector_angle),
    (re.compile(r"voltage_thd_(l1l2|l2l3|l3l1|line_avg)"), _same(_distortion(1.5, 1.0))),
    (re.compile(r"voltage_(l1l2|l2l3|l3l1|line_avg)"), lambda _load, which: phases.line_volts(which)),
    (re.compile(rf"({_PHASED_KEYS})_(total|l[123]|neutral)"), _phased),
)
