"""The ReadingType of IEC 61968-9: eighteen numbers that say what a value is of (annex C of the standard).

macroPeriod.aggregate.measuringPeriod.accumulation.flowDirection.commodity.kind.(interharmonic 2).(argument 2).tou.cpp.tier.phases.
multiplier.unit.currency
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from headend.model.interval import Channel, Form
from headend.model.quantity import Kind

PERIODS: Final[Mapping[int, int]] = MappingProxyType({10: 1, 15: 2, 1: 3, 30: 5, 5: 6, 60: 7, 20: 31})
"""minutes -> measuringPeriod"""
_AVERAGE, _MAXIMUM, _MINIMUM = 2, 8, 9
_SUMMATION, _DELTA, _INDICATING, _INSTANTANEOUS = 9, 4, 6, 12
_FLOWS = {"import": 1, "export": 19, "net": 4, "abs": 20, "q1": 15, "q2": 16, "q3": 17, "q4": 18}
_ELECTRICITY = 1
_UNITS = {
    # base unit -> (measurementKind, unit)
    "Wh": (12, 72),
    "varh": (12, 73),
    "VAh": (12, 71),
    "W": (37, 38),
    "var": (37, 63),
    "VA": (37, 61),
    "V": (54, 29),
    "A": (4, 5),
    "Hz": (15, 33),
}
_DEMAND, _POWER_FACTOR, _COS = 8, 38, 65
_PHASES = {"": 0, "l1": 128, "l2": 64, "l3": 32}
MEANT: Final = frozenset(_UNITS)


def reading_type(channel: Channel) -> str:
    """The code of a channel; empty for what there is no code of here."""
    quantity = channel.quantity
    words = quantity.key.split("_")
    if quantity.unit in _UNITS:
        kind, unit = _UNITS[quantity.unit]
    elif words[:2] == ["power", "factor"]:
        kind, unit = _POWER_FACTOR, _COS
    else:
        return ""
    if quantity.kind is Kind.DEMAND and kind == _UNITS["W"][0]:
        kind = _DEMAND
    aggregate = _MAXIMUM if "max" in words else _MINIMUM if "min" in words else 0
    if channel.form is Form.MOMENT:
        accumulation = _SUMMATION if quantity.kind is Kind.CUMULATIVE else _INSTANTANEOUS
        accumulation = _INDICATING if quantity.kind is Kind.DEMAND else accumulation
    elif unit in (71, 72, 73):
        accumulation = _DELTA
    else:
        aggregate, accumulation = _AVERAGE, _INDICATING
    period = PERIODS.get(channel.period // 60_000, 0)
    flow = next((code for word, code in _FLOWS.items() if word in words), 0)
    numbers = (0, aggregate, period, accumulation, flow, _ELECTRICITY, kind, 0, 0, 0, 0, quantity.tariff)
    return ".".join(map(str, (*numbers, 0, 0, _PHASES[quantity.phase], 0, unit, 0)))
