"""The measurements of mbmd (github.com/volkszaehler/mbmd): what our quantities are called there, in which unit. Pure.

A meter of one phase has `Voltage` and `Current` there, one of three has `VoltageL1`: so names are given to all quantities of a
meter together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from headend.model.reading import Value


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement: what it is called for people, its unit, and which quantities it may come from, the best first."""

    description: str
    unit: str
    quantities: tuple[str, ...]


_ENERGY: Final = (("t1", "T1", "Tariff 1 "), ("t2", "T2", "Tariff 2 "))
_LINES: Final = (("l1", "L1", "L1 "), ("l2", "L2", "L2 "), ("l3", "L3", "L3 "))
# name, description, unit, stem of the quantity, quantities of the total
_PHASED: Final = (
    ("Current", "Current", "A", "current", ("current_total", "current_sum", "current_phase_avg")),
    ("Voltage", "Voltage", "V", "voltage", ("voltage_total", "voltage_phase_avg")),
    ("Power", "Power", "W", "active_power", ("active_power_total",)),
    ("ImportPower", "Import Power", "W", "active_power_import", ("active_power_import_total",)),
    ("ExportPower", "Export Power", "W", "active_power_export", ("active_power_export_total",)),
    ("ReactivePower", "Reactive Power", "var", "reactive_power", ("reactive_power_total",)),
    (
        "ApparentPower",
        "Apparent Power",
        "VA",
        "apparent_power",
        ("apparent_power_total", "apparent_power_import_total"),
    ),
    ("Cosphi", "Cosphi", "", "power_factor", ("power_factor_total",)),
    ("THD", "Voltage to neutral THD", "%", "voltage_thd", ("voltage_thd_total",)),
)
_ENERGIES: Final = (
    ("Sum", "Sum", "kWh", "active_energy_abs"),
    ("Import", "Import", "kWh", "active_energy_import"),
    ("Export", "Export", "kWh", "active_energy_export"),
    ("ReactiveSum", "Reactive", "kvarh", "reactive_energy_abs"),
    ("ReactiveImport", "Reactive Import", "kvarh", "reactive_energy_import"),
    ("ReactiveExport", "Reactive Export", "kvarh", "reactive_energy_export"),
)
_TOPIC: Final = re.compile(r"(\w+?)([LTS]\d)")
_NO_ID: Final = re.compile(r"[^a-zA-Z0-9.]+")


def _rows() -> Iterator[tuple[str, Measurement]]:
    yield "Frequency", Measurement("Frequency", "Hz", ("frequency",))
    yield "PhaseAngle", Measurement("Phase Angle", "°", ("phase_angle_total",))
    for name, words, unit, stem, totals in _PHASED:
        yield name, Measurement("Average voltage to neutral THD" if name == "THD" else words, unit, totals)
        for end, suffix, prefix in _LINES:
            yield name + suffix, Measurement(prefix + words, unit, (f"{stem}_{end}",))
    for name, words, unit, stem in _ENERGIES:
        yield name, Measurement(f"Total {words}", unit, (f"{stem}_total",))
        for end, suffix, prefix in (*_ENERGY, *_LINES):
            yield name + suffix, Measurement(prefix + words, unit, (f"{stem}_{end}",))


MEASUREMENTS: Final[Mapping[str, Measurement]] = MappingProxyType(dict(_rows()))
"""All measurements by name."""


def names(quantities: Collection[str]) -> dict[str, str]:
    """The measurement of each quantity that a meter has, as far as there is one; none is given twice."""
    there = set(quantities)
    is_single = not any(key.endswith(("_l2", "_l3")) for key in there)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, measurement in MEASUREMENTS.items():
        key = next((each for each in measurement.quantities if each in there), None)
        plain = name.removesuffix("L1")
        if key is not None:
            found[key] = plain if is_single and plain not in taken else name
            taken.add(found[key])
    return found


def amount(name: str, value: Value | None) -> float | None:
    """A reading in the unit of its measurement; None for what is no number."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return value / 1000 if MEASUREMENTS[name].unit.startswith("k") else float(value)


def device_id(meter_id: str) -> str:
    """A meter's id as mbmd allows it in its interface: letters, digits and dots."""
    return _NO_ID.sub(".", meter_id)


def device_topic(meter_id: str) -> str:
    """A meter's level in topics: small letters, without #, dots as dashes."""
    return re.sub(r"[+/]", "_", meter_id.lower().replace("#", "").replace(".", "-"))


def measurement_topic(name: str) -> str:
    """The levels of a measurement: `PowerL1` is `Power/L1`."""
    found = _TOPIC.fullmatch(name)
    return f"{found[1]}/{found[2]}" if found else name
