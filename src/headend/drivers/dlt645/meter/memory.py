"""What a virtual meter keeps of what was done to it, and the times at which it keeps its registers by itself. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.parameters import password_of, read_params
from headend.model.reading import from_millis, to_millis
from headend.protocols.dlt645.frame import Address
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headend.drivers.base import MeterModel
    from headend.protocols.dlt645.moment import Moment

KEPT_FREEZES: Final = 3
"""Freezes by command that a meter keeps."""
_NO_PASSWORD: Final = b"\0\0\0"


class Event(enum.IntEnum):
    """What a meter counts, and keeps a record of: DI1 of 0330xxnn."""

    PROGRAMMING = 0x00
    METER_CLEAR = 0x01
    DEMAND_CLEAR = 0x02
    EVENT_CLEAR = 0x03
    CLOCK_SET = 0x04


@dataclass(frozen=True, slots=True)
class Record:
    """One event: when, by whom, and what else its record holds as octets."""

    at: int
    operator: bytes
    more: bytes = b""


@dataclass(slots=True)
class Memory:
    """Of one meter."""

    passwords: dict[int, bytes]
    """by level, as they travel"""
    address: Address
    version: Version
    zone: tzinfo
    events: dict[int, list[Record]] = field(default_factory=dict)
    """by kind, the last first"""
    freezes: list[int] = field(default_factory=list)
    """when the registers were frozen by command, the last first"""
    timed: Moment | None = None
    cleared_at: int | None = None
    demand_reset_at: int | None = None
    armed: bool = False
    """the customer may close the relay by the button"""
    alarm: bool = False
    kept: bool = False
    """the supply must not be switched off"""
    output: int = 0
    baud: int = 2400

    def note(self, event: Event, record: Record) -> None:
        """Something happened."""
        self.events.setdefault(event, []).insert(0, record)


def memory_of(model: MeterModel) -> Memory:
    """What a meter remembers, made when it is first needed: its parameters over those of its file, the password, nothing else."""
    if not isinstance(model.memory, Memory):
        profile = model.profile
        said = read_params({**profile.link, **profile.association, **model.params})
        address = said.address
        if address.has_wildcard or address.is_broadcast:
            address = Address.parse(model.identity.meter_address)
        password = password_of(model.secrets, said.level)
        level, octets = (password.level, password.octets) if password else (said.level, _NO_PASSWORD)
        model.memory = Memory({level: octets}, address, said.version or Version.V2007, said.zone)
    return model.memory


def local(at: int, zone: tzinfo) -> datetime:
    """A time as the meter shows it, without its zone."""
    return from_millis(at).astimezone(zone).replace(tzinfo=None)


def millis(shown: datetime, zone: tzinfo) -> int:
    """The time that a meter shows so."""
    return to_millis(shown.replace(tzinfo=zone))


def settlement(count: int, now: datetime) -> datetime:
    """When the settlement before was made that lies so many back (1: the last): at the begin of a month."""
    months = now.year * 12 + now.month - count
    return datetime(months // 12, months % 12 + 1, 1)  # noqa: DTZ001 - local time of the meter


def last_times(pattern: Moment, now: datetime) -> Iterator[datetime]:
    """When a pattern (None: every month, day, hour) was met, the last time first; never where it names no such day."""
    shown = now.replace(second=0, microsecond=0, minute=pattern.minute or 0)
    for _ in range(_MOST_STEPS):
        met = all(
            wanted in (None, getattr(shown, name))
            for name, wanted in (("month", pattern.month), ("day", pattern.day), ("hour", pattern.hour))
        )
        if met and shown <= now:
            yield shown
        shown -= timedelta(hours=1)


_MOST_STEPS: Final = 24 * 366 * 2
