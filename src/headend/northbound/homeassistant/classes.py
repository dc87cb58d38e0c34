"""How Home Assistant is to take each quantity: platform, device class, unit, state class, decimals. Pure.

The rules are those of Home Assistant's sensor entity: a device class allows some units and some state classes only; a state
class makes it keep statistics for ever, so what is no present value (the last period, a threshold) has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from headend.model.quantity import Kind, Quantity

MEASUREMENT: Final = "measurement"
ANGLE: Final = "measurement_angle"
INCREASING: Final = "total_increasing"
TOTAL: Final = "total"
DIAGNOSTIC: Final = "diagnostic"


@dataclass(frozen=True, slots=True)
class Units:
    """In which of two units energies and powers are shown."""

    kilo_energy: bool = True
    kilo_power: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """How a quantity is shown. A reading divided by 10**`exponent` is in `unit`; `decimals` None: it is no number."""

    platform: str = "sensor"
    device_class: str = ""
    unit: str = ""
    state_class: str = ""
    exponent: int = 0
    decimals: int | None = None
    category: str = ""


_TEXT: Final = Presentation(category=DIAGNOSTIC)
_OWN: Mapping[str, Presentation] = MappingProxyType(
    {
        "relay_closed": Presentation(platform="binary_sensor"),
        "meter_time": Presentation(device_class="timestamp", category=DIAGNOSTIC),
        "tariff_active": Presentation(),
        "credit_balance": Presentation(state_class=MEASUREMENT, decimals=2),
        "humidity": Presentation(device_class="humidity", unit="%", state_class=MEASUREMENT, decimals=1),
    }
)
# base unit -> (device class, unit as it is written there, state class, decimals)
_BY_UNIT: Mapping[str, tuple[str, str, str, int]] = MappingProxyType(
    {
        "Wh": ("energy", "Wh", INCREASING, 0),
        "varh": ("reactive_energy", "varh", INCREASING, 0),
        "VAh": ("", "VAh", INCREASING, 0),
        "Ah": ("", "Ah", INCREASING, 1),
        "A2h": ("", "A²h", INCREASING, 0),
        "V2h": ("", "V²h", INCREASING, 0),
        "count": ("", "", INCREASING, 0),
        "W": ("power", "W", MEASUREMENT, 0),
        "var": ("reactive_power", "var", MEASUREMENT, 0),
        "VA": ("apparent_power", "VA", MEASUREMENT, 0),
        "V": ("voltage", "V", MEASUREMENT, 1),
        "A": ("current", "A", MEASUREMENT, 2),
        "Hz": ("frequency", "Hz", MEASUREMENT, 2),
        "1": ("power_factor", "", MEASUREMENT, 3),
        "%": ("", "%", MEASUREMENT, 1),
        "deg": ("", "°", ANGLE, 1),
        "°C": ("temperature", "°C", MEASUREMENT, 1),
        "s": ("duration", "s", MEASUREMENT, 0),
        "dBm": ("signal_strength", "dBm", MEASUREMENT, 0),
    }
)
_KILO_ENERGY: Final = ("Wh", "varh", "VAh")
_KILO_POWER: Final = ("W", "var", "VA")
_OF_A_PERIOD: Final = ("_demand_last_", "_demand_cum_max_", "_energy_interval_", "_avg_last_")
"""what tells of a period that is over: the graph of the present has no place for it"""


def present(quantity: Quantity, units: Units) -> Presentation:
    """How a quantity is shown; what is in no table is a plain text or number."""
    own = _OWN.get(quantity.key)
    if own is not None:
        return own
    if not quantity.unit:
        return _TEXT
    device_class, unit, state_class, decimals = _BY_UNIT.get(quantity.unit, ("", quantity.unit, "", 3))
    key = quantity.key
    if any(part in f"{key}_" for part in _OF_A_PERIOD) or quantity.kind is Kind.STATUS:
        state_class = ""
    elif key.startswith("active_energy_net"):
        state_class = TOTAL
    elif key == "credit_energy":
        device_class, state_class = "energy_storage", MEASUREMENT
    kilo = (units.kilo_energy and quantity.unit in _KILO_ENERGY) or (units.kilo_power and quantity.unit in _KILO_POWER)
    return Presentation(
        device_class=device_class,
        unit=f"k{unit}" if kilo else unit,
        state_class=state_class,
        exponent=3 if kilo else 0,
        decimals=decimals + 2 if kilo else decimals,
        category=DIAGNOSTIC if quantity.kind is Kind.STATUS or quantity.unit == "dBm" else "",
    )


def decided(quantity: Quantity) -> bool:
    """Whether it is in a table: what a new row of the catalogue needs."""
    return quantity.key in _OWN or quantity.unit in _BY_UNIT or (not quantity.unit and quantity.kind is Kind.STATUS)
