"""The meter's clock: where it is, and moments in the form in which the meter itself writes them. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.refs import CosemRef
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from headend.model.objects import RawValue

CLOCK_CLASS: Final = 8
CLOCK: Final = CosemRef(CLOCK_CLASS, Obis(0, 0, 1, 0, 0, 255), 2)
DATE_TIME_LENGTH: Final = 12


@lru_cache(maxsize=64)
def epoch_reader(zone: tzinfo | None) -> EpochReader:
    """The reader for meters in a zone: they all share what it remembers."""
    return EpochReader(zone)


def date_time_of(raw: object) -> CosemDateTime | None:
    """The date-time in an octet-string of twelve octets; None for anything else."""
    if isinstance(raw, bytes) and len(raw) == DATE_TIME_LENGTH:
        return CosemDateTime.from_bytes(raw)
    return None


def as_meter_writes(moment: datetime, shown: CosemDateTime | None, zone: tzinfo) -> bytes:
    """A moment in whole seconds, with the deviation that the meter's clock shows, or as local time without one."""
    moment = moment.replace(microsecond=0)
    if shown is not None and shown.deviation is not None:
        return CosemDateTime.from_utc(moment, -shown.deviation).to_bytes()
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return replace(CosemDateTime.from_utc(moment, offset // timedelta(minutes=1)), deviation=None).to_bytes()


def clock_text(raw: RawValue) -> RawValue:
    """A date-time as text; anything else as it is."""
    found = date_time_of(raw)
    return raw if found is None else str(found)
