"""Dates and times of a meter: local, without a zone, often without some of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

EVERY: Final = 99
"""On the wire: every month, day, hour or minute."""

CENTURY: Final = 2000


class Field(NamedTuple):
    """Name, and greatest number on the wire, of a field of two digits."""

    name: str
    greatest: int

    @property
    def range(self) -> str:
        """The numbers that may be sent, in words."""
        return f"0 to {self.greatest}" + ("" if self.greatest == EVERY else " or 99")

    def takes(self, number: int) -> bool:
        """The number may stand there."""
        return number <= self.greatest or number == EVERY

    def from_wire(self, number: int) -> int | None:
        """The value of a number on the wire; None for "every"."""
        if self.name == "year":
            return CENTURY + number
        return None if number == EVERY and self.greatest != EVERY else number

    def to_wire(self, value: int | None) -> int | None:
        """The number on the wire, or None when the value cannot be sent."""
        if value is None:  # a year 99 is 2099, so there is no word for every year
            return None if self.name == "year" else EVERY
        number = value - CENTURY if self.name == "year" else value
        return number if number >= 0 and self.takes(number) else None


FIELDS: Final = {
    "YY": Field("year", EVERY),
    "MM": Field("month", 12),
    "DD": Field("day", 31),
    "WW": Field("weekday", 7),
    "hh": Field("hour", 24),
    "mm": Field("minute", 59),
    "ss": Field("second", 59),
    "NN": Field("number", EVERY),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What a meter says about when. None: not told, or every one. `weekday` counts from Sunday = 0.

    `number` is what some tables tell beside the time: the day table from a date on, the tariff from a time of day on.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    number: int | None = None

    @classmethod
    def from_datetime(cls, when: datetime) -> Moment:
        """All fields of a meter's local time but `number`; its zone, if any, is left to the caller."""
        weekday = when.isoweekday() % 7
        return cls(when.year, when.month, when.day, weekday, when.hour, when.minute, when.second)

    def to_datetime(self) -> datetime | None:
        """The meter's local time, without a zone; None when date or time are not told, or there is no such day.

        Minutes and seconds that are not told are 0, a date alone is its midnight, 24:00 is the midnight after.
        """
        if (
            self.year is None
            or self.month is None
            or self.day is None
            or (self.hour is None and self.minute is not None)
        ):
            return None
        try:
            midnight = datetime(self.year, self.month, self.day)  # noqa: DTZ001 - the meter knows no zone
        except ValueError:
            return None
        return midnight + timedelta(hours=self.hour or 0, minutes=self.minute or 0, seconds=self.second or 0)

    def __str__(self) -> str:
        """`2024-02-29 23:59:59`, `*` for what is not told."""
        date = "-".join("*" if part is None else f"{part:02}" for part in (self.year, self.month, self.day))
        time = ":".join("*" if part is None else f"{part:02}" for part in (self.hour, self.minute, self.second))
        return f"{date} {time}"
