"""Intervals: what one quantity of one meter came to between two times. The one form that all exports are made from.

A channel is what a row of intervals is of; an interval holds only what changes from one to the next. Values are exact: an int
where the register gives whole base units, otherwise a Decimal. Times are milliseconds since the epoch. An interval that ends
where it starts is a momentary value.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from headend.model.meter import Meter
from headend.model.quantity import Kind, Quantity
from headend.model.reading import Quality, Source

Amount: TypeAlias = int | Decimal


class Derivation(enum.IntFlag):
    """How an interval was made, in the upper octet of its status; the lower octet is the quality of its readings."""

    MEASURED = 0
    INTERPOLATED = 0x0100
    """a register at its start or end lies between two readings"""
    ROLLED_OVER = 0x0200
    """the register went from its highest value to zero within it"""
    OFF_GRID = 0x0400
    """it does not start and end at multiples of its period"""


class Form(enum.Enum):
    """How the readings of a channel become intervals."""

    REGISTER = "register"
    """differences of a register that only grows"""
    INTERVAL = "interval"
    """the meter itself gives what an interval came to, at its end"""
    MOMENT = "moment"
    """values of the moment, as they are"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One quantity of one meter, and the length of its intervals in milliseconds (0: moments)."""

    meter: Meter
    quantity: Quantity
    form: Form
    period: int

    @property
    def code(self) -> str:
        """The OBIS code, or the key of a quantity that has none."""
        return self.quantity.obis or self.quantity.key


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of a channel: start <= time < end; `read_at` is when the head-end had the reading at its end."""

    start: int
    end: int
    value: Amount
    quality: Quality
    status: int
    read_at: int
    source: Source


@dataclass(frozen=True, slots=True)
class Series:
    """A channel and its intervals in the order of time; they are made while they are taken."""

    channel: Channel
    intervals: Iterator[Interval]


_INTERVAL_KEYS = ("_energy_interval_", "_power_avg", "_demand_last_", "voltage_avg", "current_avg", "_avg_last_")


def form_of(quantity: Quantity) -> Form | None:
    """How the readings of a quantity become intervals; None for texts, states and counters."""
    if quantity.kind is Kind.CUMULATIVE:
        return Form.MOMENT if "_billing_" in quantity.key else Form.REGISTER
    if quantity.kind is Kind.DEMAND and "_present" not in quantity.key and "_billing" not in quantity.key:
        return Form.INTERVAL if any(part in quantity.key for part in _INTERVAL_KEYS) else Form.MOMENT
    return Form.MOMENT if quantity.kind in (Kind.INSTANT, Kind.DEMAND) else None


def written(value: Amount) -> str:
    """A value as plain decimal digits, without an exponent."""
    return str(value) if isinstance(value, int) else f"{value:f}"
