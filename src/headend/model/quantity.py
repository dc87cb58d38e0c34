"""The catalogue of quantities: what a reading can be a reading of.

A key is `<quantity>[_<processing>]_<direction>[_<phase>|_total][_tN]`, for example `active_energy_import_total`,
`active_energy_import_t1`, `active_power_export_l2`, `voltage_l1`, `frequency`. The electricity quantities follow from
groups C, D and E of their OBIS codes (IEC 62056-6-1, 5.4), so families of them are written as one row each. A quantity
without an OBIS code of its own (what only meters of other protocols give) has a row in `_PLAIN`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from headend.errors import ConfigError, NotFound
from headend.standards.obis import Obis


class Kind(enum.Enum):
    """How the values of a quantity behave in time."""

    CUMULATIVE = "cumulative"
    """grows, or is reset: energy totals"""
    INSTANT = "instant"
    DEMAND = "demand"
    """an average or extreme over a period"""
    STATUS = "status"
    """texts and states"""
    COUNTER = "counter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One quantity. `unit` is its base unit, in which every reading of it is kept; `obis` is the code of the standard."""

    key: str
    unit: str
    kind: Kind
    label: str
    phase: str = ""
    tariff: int = 0
    obis: str = ""


# unit symbol -> (base unit, power of ten to it)
_PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "m": -3}
_PREFIXED = ("W", "Wh", "var", "varh", "VA", "VAh", "V", "A", "Hz", "Ah", "Ohm")
_UNITS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {prefix + base: (base, power) for base in _PREFIXED for prefix, power in _PREFIXES.items()}
    | {
        unit: (unit, 0)
        for unit in ("", "1", "%", "s", "deg", "°C", "m3", "m3/h", "Pa", "count", "A2h", "V2h", "bar", "dBm")
    }
    | {"l": ("m3", -3), "ms": ("s", -3), "kPa": ("Pa", 3), "hPa": ("Pa", 2), "mbar": ("bar", -3)}
)


def base_unit(symbol: str) -> tuple[str, int]:
    """The base unit of a unit symbol and the power of ten to it: `kWh` is ("Wh", 3). Raises ConfigError."""
    try:
        return _UNITS[symbol]
    except KeyError:
        raise ConfigError(f"unknown unit {symbol!r}", hint="one of " + ", ".join(sorted(_UNITS))) from None


# energy-like channels: (key of the channel, direction, group C of the total, energy unit)
_CHANNELS = (
    ("active", "import", 1, "W"),
    ("active", "export", 2, "W"),
    ("reactive", "import", 3, "var"),
    ("reactive", "export", 4, "var"),
    ("reactive", "q1", 5, "var"),
    ("reactive", "q2", 6, "var"),
    ("reactive", "q3", 7, "var"),
    ("reactive", "q4", 8, "var"),
    ("apparent", "import", 9, "VA"),
    ("apparent", "export", 10, "VA"),
    ("active", "abs", 15, "W"),
    ("active", "net", 16, "W"),
)
# processing of such a channel: (key, D, suffix of the unit, kind, label, has phases, highest tariff)
_PROCESSING = (
    ("energy", 8, "h", Kind.CUMULATIVE, "energy", True, 8),
    ("power", 7, "", Kind.INSTANT, "power", True, 0),
    ("demand_max", 6, "", Kind.DEMAND, "maximum demand", False, 8),
    ("demand_cum_max", 2, "", Kind.DEMAND, "cumulative maximum demand", False, 4),
    ("energy_billing", 9, "h", Kind.CUMULATIVE, "energy of the billing period", False, 4),
    ("demand_present", 4, "", Kind.DEMAND, "demand, current average", False, 0),
    ("demand_last", 5, "", Kind.DEMAND, "demand, last average", False, 0),
    ("energy_interval", 29, "h", Kind.DEMAND, "energy of the interval", False, 0),
    ("power_avg", 24, "", Kind.DEMAND, "power, average 1", False, 0),
    ("power_avg5", 27, "", Kind.DEMAND, "power, average 5", False, 0),
)
# per-phase measurements: (key, C of the total, D, E, unit, kind, label)
_PHASED = (
    ("current", 11, 7, 0, "A", Kind.INSTANT, "Current"),
    ("voltage", 12, 7, 0, "V", Kind.INSTANT, "Voltage"),
    ("power_factor", 13, 7, 0, "1", Kind.INSTANT, "Power factor"),
    ("power_factor_avg_billing", 13, 0, 0, "1", Kind.DEMAND, "Power factor, billing average"),
    ("voltage_avg", 12, 24, 0, "V", Kind.DEMAND, "Voltage, average 1"),
    ("current_avg", 11, 24, 0, "A", Kind.DEMAND, "Current, average 1"),
    ("voltage_avg5", 12, 27, 0, "V", Kind.DEMAND, "Voltage, average 5"),
    ("current_avg5", 11, 27, 0, "A", Kind.DEMAND, "Current, average 5"),
    ("voltage_avg_present", 12, 4, 0, "V", Kind.DEMAND, "Voltage, current average"),
    ("current_avg_present", 11, 4, 0, "A", Kind.DEMAND, "Current, current average"),
    ("voltage_avg_last", 12, 5, 0, "V", Kind.DEMAND, "Voltage, last average"),
    ("current_avg_last", 11, 5, 0, "A", Kind.DEMAND, "Current, last average"),
    ("voltage_max", 12, 6, 0, "V", Kind.DEMAND, "Voltage, maximum"),
    ("current_max", 11, 6, 0, "A", Kind.DEMAND, "Current, maximum"),
    ("voltage_min", 12, 3, 0, "V", Kind.DEMAND, "Voltage, minimum"),
    ("current_min", 11, 3, 0, "A", Kind.DEMAND, "Current, minimum"),
    ("voltage_thd", 12, 7, 124, "%", Kind.INSTANT, "Voltage, total harmonic distortion"),
    ("current_thd", 11, 7, 124, "%", Kind.INSTANT, "Current, total harmonic distortion"),
    ("voltage_sag_threshold", 12, 31, 0, "V", Kind.STATUS, "Voltage sag, threshold"),
    ("voltage_sag_count", 12, 32, 0, "count", Kind.COUNTER, "Voltage sags"),
    ("voltage_sag_duration", 12, 33, 0, "s", Kind.STATUS, "Voltage sag, duration"),
    ("voltage_sag_magnitude", 12, 34, 0, "V", Kind.STATUS, "Voltage sag, magnitude"),
    ("voltage_swell_threshold", 12, 35, 0, "V", Kind.STATUS, "Voltage swell, threshold"),
    ("voltage_swell_count", 12, 36, 0, "count", Kind.COUNTER, "Voltage swells"),
    ("voltage_swell_duration", 12, 37, 0, "s", Kind.STATUS, "Voltage swell, duration"),
    ("voltage_swell_magnitude", 12, 38, 0, "V", Kind.STATUS, "Voltage swell, magnitude"),
    ("voltage_missing_voltage_threshold", 12, 39, 0, "V", Kind.STATUS, "Missing voltage, threshold"),
)
# single quantities: key, OBIS code (or empty), unit, kind, label
_PLAIN = (
    ("frequency", "1-0:14.7.0.255", "Hz", Kind.INSTANT, "Frequency"),
    ("frequency_l1", "1-0:34.7.0.255", "Hz", Kind.INSTANT, "Frequency L1"),
    ("frequency_l2", "1-0:54.7.0.255", "Hz", Kind.INSTANT, "Frequency L2"),
    ("frequency_l3", "1-0:74.7.0.255", "Hz", Kind.INSTANT, "Frequency L3"),
    ("active_power_total", "1-0:16.7.0.255", "W", Kind.INSTANT, "Active power, net"),
    ("active_power_l1", "1-0:36.7.0.255", "W", Kind.INSTANT, "Active power, net, L1"),
    ("active_power_l2", "1-0:56.7.0.255", "W", Kind.INSTANT, "Active power, net, L2"),
    ("active_power_l3", "1-0:76.7.0.255", "W", Kind.INSTANT, "Active power, net, L3"),
    ("active_energy_q1_total", "1-0:17.8.0.255", "Wh", Kind.CUMULATIVE, "Active energy, quadrant I"),
    ("active_energy_q2_total", "1-0:18.8.0.255", "Wh", Kind.CUMULATIVE, "Active energy, quadrant II"),
    ("active_energy_q3_total", "1-0:19.8.0.255", "Wh", Kind.CUMULATIVE, "Active energy, quadrant III"),
    ("active_energy_q4_total", "1-0:20.8.0.255", "Wh", Kind.CUMULATIVE, "Active energy, quadrant IV"),
    ("current_sum", "1-0:90.7.0.255", "A", Kind.INSTANT, "Current, sum of the phases"),
    ("current_neutral", "1-0:91.7.0.255", "A", Kind.INSTANT, "Current, neutral"),
    ("voltage_neutral", "1-0:92.7.0.255", "V", Kind.INSTANT, "Voltage, neutral"),
    ("power_factor_export_total", "1-0:84.7.0.255", "1", Kind.INSTANT, "Power factor, export"),
    ("power_factor_export_l1", "1-0:85.7.0.255", "1", Kind.INSTANT, "Power factor, export, L1"),
    ("power_factor_export_l2", "1-0:86.7.0.255", "1", Kind.INSTANT, "Power factor, export, L2"),
    ("power_factor_export_l3", "1-0:87.7.0.255", "1", Kind.INSTANT, "Power factor, export, L3"),
    ("ampere_squared_hours_total", "1-0:88.8.0.255", "A2h", Kind.CUMULATIVE, "Ampere-squared hours"),
    ("volt_squared_hours_total", "1-0:89.8.0.255", "V2h", Kind.CUMULATIVE, "Volt-squared hours"),
    ("temperature_ambient", "0-0:96.9.0.255", "°C", Kind.INSTANT, "Ambient temperature"),
    ("humidity", "0-0:96.9.2.255", "%", Kind.INSTANT, "Relative humidity"),
    ("relay_closed", "0-0:96.3.10.255", "", Kind.STATUS, "Load relay closed"),
    ("serial_number", "0-0:96.1.0.255", "", Kind.STATUS, "Serial number"),
    ("meter_time", "0-0:1.0.0.255", "", Kind.STATUS, "Meter clock"),
    ("logical_device_name", "0-0:42.0.0.255", "", Kind.STATUS, "Logical device name"),
    ("firmware_version", "1-0:0.2.0.255", "", Kind.STATUS, "Firmware version"),
    ("tariff_active", "0-0:96.14.0.255", "", Kind.STATUS, "Active tariff"),
)
# angles of the vector diagram, by group E of 1-0:81.7.E: from the thing of its first digit to that of its second
_ANGLE_ENDS = {0: "u_l1", 1: "u_l2", 2: "u_l3", 4: "i_l1", 5: "i_l2", 6: "i_l3"}
_ANGLES = (1, 2, 12, 10, 20, 21, 4, 5, 6, 15, 26, 40, 51, 62)
# quantities without an OBIS code, given by Modbus and DL/T 645 meters: (stem, unit, kind, label, ends of the keys)
_ALL_PHASES = ("total", "l1", "l2", "l3")
_LINES = ("l1l2", "l2l3", "l3l1")
_UNCODED: tuple[tuple[str, str, Kind, str, tuple[str, ...]], ...] = (
    ("reactive_power", "var", Kind.INSTANT, "Reactive power, net", _ALL_PHASES),
    ("apparent_power", "VA", Kind.INSTANT, "Apparent power", _ALL_PHASES),
    ("reactive_energy_abs", "varh", Kind.CUMULATIVE, "Reactive energy, abs", (*_ALL_PHASES, "t1", "t2", "t3", "t4")),
    ("apparent_energy_abs", "VAh", Kind.CUMULATIVE, "Apparent energy, abs", ("total",)),
    ("active_energy_since_reset", "Wh", Kind.CUMULATIVE, "Active energy since reset", ("import", "export", "abs")),
    ("reactive_energy_since_reset", "varh", Kind.CUMULATIVE, "Reactive energy since reset", ("abs",)),
    ("charge", "Ah", Kind.CUMULATIVE, "Charge", ("total",)),
    ("active_demand_present", "W", Kind.DEMAND, "Active demand, current average", ("total",)),
    ("active_demand_max", "W", Kind.DEMAND, "Active maximum demand", ("total",)),
    ("apparent_demand_present", "VA", Kind.DEMAND, "Apparent demand, current average", ("total",)),
    ("apparent_demand_max", "VA", Kind.DEMAND, "Apparent maximum demand", ("total",)),
    ("current_avg_present", "A", Kind.DEMAND, "Current, current average", ("neutral",)),
    ("current_max", "A", Kind.DEMAND, "Current, maximum", ("neutral",)),
    ("voltage", "V", Kind.INSTANT, "Voltage between lines", _LINES),
    ("voltage_thd", "%", Kind.INSTANT, "Voltage between lines, total harmonic distortion", _LINES),
    ("voltage_thd_line", "%", Kind.INSTANT, "Voltage between lines, total harmonic distortion, mean", ("avg",)),
    ("voltage_line", "V", Kind.INSTANT, "Voltage between lines, mean", ("avg",)),
    ("voltage_phase", "V", Kind.INSTANT, "Voltage, mean of the phases", ("avg",)),
    ("current_phase", "A", Kind.INSTANT, "Current, mean of the phases", ("avg",)),
    ("phase_angle", "deg", Kind.INSTANT, "Angle from voltage to current", _ALL_PHASES),
    ("credit_balance", "", Kind.INSTANT, "Credit, money left", ("",)),
    ("credit_energy", "Wh", Kind.INSTANT, "Credit, energy left", ("",)),
    ("meter", "", Kind.STATUS, "Meter", ("model", "name", "code")),
    ("manufacturer", "", Kind.STATUS, "Manufacturer", ("",)),
    ("temperature_internal", "°C", Kind.INSTANT, "Temperature in the meter", ("",)),
    ("signal_strength", "dBm", Kind.INSTANT, "Signal strength of the modem", ("",)),
    ("clock_offset", "s", Kind.INSTANT, "Meter clock, ahead of the time of the head-end", ("",)),
    ("battery_voltage", "V", Kind.INSTANT, "Battery voltage", ("clock", "reading")),
)
_PHASES = (("total", 0), ("l1", 20), ("l2", 40), ("l3", 60))


def _rows() -> Iterator[Quantity]:
    for energy, direction, c, unit in _CHANNELS:
        for key, d, suffix, kind, text, phased, tariffs in _PROCESSING:
            stem = f"{energy}_{key}_{direction}"
            label = f"{energy.capitalize()} {text}, {direction}"
            if (energy, key, direction) == ("active", "power", "net"):
                continue  # written `active_power_total`, as most meters and platforms do
            for phase, offset in _PHASES if phased else _PHASES[:1]:
                shown = label if phase == "total" else f"{label}, {phase.upper()}"
                obis = f"1-0:{c + offset}.{d}.0.255"
                yield Quantity(
                    key=f"{stem}_{phase}", unit=unit + suffix, kind=kind, label=shown, phase=_phase(phase), obis=obis
                )
            for tariff in range(1, tariffs + 1):
                yield Quantity(
                    key=f"{stem}_t{tariff}",
                    unit=unit + suffix,
                    kind=kind,
                    label=f"{label}, tariff {tariff}",
                    tariff=tariff,
                    obis=f"1-0:{c}.{d}.{tariff}.255",
                )
    for stem, c, d, e, unit, kind, label in _PHASED:
        for phase, offset in _PHASES:
            shown = label if phase == "total" else f"{label}, {phase.upper()}"
            yield Quantity(
                key=f"{stem}_{phase}",
                unit=unit,
                kind=kind,
                label=shown,
                phase=_phase(phase),
                obis=f"1-0:{c + offset}.{d}.{e}.255",
            )
    for e in _ANGLES:
        start, end = (_ANGLE_ENDS[digit] for digit in divmod(e, 10))
        words = f"Angle from {start[0].upper()}({start[2:].upper()}) to {end[0].upper()}({end[2:].upper()})"
        yield Quantity(
            key=f"phase_angle_{end}_{start}", unit="deg", kind=Kind.INSTANT, label=words, obis=f"1-0:81.7.{e}.255"
        )
    for stem, unit, kind, label, ends in _UNCODED:
        for end in ends:
            shown = label if end in ("", "total", "avg") else f"{label}, {end.upper() if end[1:2].isdigit() else end}"
            tariff = int(end[1]) if end.startswith("t") and end[1:].isdigit() else 0
            key = f"{stem}_{end}" if end else stem
            yield Quantity(key=key, unit=unit, kind=kind, label=shown, phase=_phase(end), tariff=tariff)
    for key, obis, unit, kind, label in _PLAIN:
        yield Quantity(key=key, unit=unit, kind=kind, label=label, obis=obis, phase=_phase(key.rpartition("_")[2]))


def _phase(suffix: str) -> str:
    return suffix if suffix in ("l1", "l2", "l3") else ""


@cache
def quantities() -> Mapping[str, Quantity]:
    """All quantities by key, in the order of the catalogue."""
    return MappingProxyType({row.key: row for row in _rows()})


@cache
def _by_obis() -> Mapping[str, Quantity]:
    return {row.obis: row for row in quantities().values() if row.obis}


def find_quantity(key: str) -> Quantity | None:
    """The quantity of a key, or None."""
    return quantities().get(key)


def quantity(key: str) -> Quantity:
    """The quantity of a key; raises NotFound."""
    found = find_quantity(key)
    if found is None:
        raise NotFound(f"no quantity {key!r} in the catalogue")
    return found


def for_obis(obis: Obis) -> Quantity | None:
    """The quantity that an OBIS code names.

    Any channel B of a medium is taken, as some meters put their values on channel 1. Abstract objects (A is 0) of a channel are
    those of another meter behind this one: its serial number is not ours.
    """
    channel = 0 if obis.a else obis.b
    return _by_obis().get(f"{obis.a}-{channel}:{obis.c}.{obis.d}.{obis.e}.{obis.f}")
