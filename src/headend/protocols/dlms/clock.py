"""COSEM date, time and date-time (IEC 62056-6-2, 4.1.6.1): 5, 4 and 12 octets, with wildcards.

```text
octet  0-1   2      3    4        5     6       7       8           9-10       11
       year  month  day  weekday  hour  minute  second  hundredths  deviation  status
none   FFFF  FF     FF   FF       FF    FF      FF      FF          8000       FF
```

Weekday 1 is Monday. Month FE and FD mean the beginning and the end of daylight saving time, day FE and FD the last
and the second last day of the month. Deviation counts the minutes from local time to UTC, daylight saving included:
UTC = local + deviation, so Central European Time has -60. The status says whether the clock can be trusted and whether
daylight saving time was in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import IntEnum, IntFlag
from functools import partial
from operator import add
from struct import Struct, unpack
from struct import error as StructError  # noqa: N812 - reads as what it is
from typing import TYPE_CHECKING, Any, Final

from headend.errors import DecodeError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

DST_BEGIN: Final = 0xFE
DST_END: Final = 0xFD
LAST_DAY: Final = 0xFE
SECOND_LAST_DAY: Final = 0xFD

_ANY_YEAR: Final = 0xFFFF
_ANY: Final = 0xFF
_NO_DEVIATION: Final = -0x8000
_DATE: Final = Struct(">HBBB")
_TIME: Final = Struct(">BBBB")
_DATE_TIME: Final = Struct(">5s4shB")
_WORDS: Final = Struct(">III")
_MINUTE: Final = 60_000
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ORDINAL_1970: Final = _EPOCH.toordinal()


class ClockStatus(IntFlag):
    """Bits of the clock status octet."""

    INVALID_VALUE = 0x01
    DOUBTFUL_VALUE = 0x02
    DIFFERENT_CLOCK_BASE = 0x04
    INVALID_CLOCK_STATUS = 0x08
    DST = 0x80


class Deviation(IntEnum):
    """How a meter fills the deviation: as the standard says, with the opposite sign, or so that it must be ignored."""

    STANDARD = 1
    INVERTED = -1
    IGNORED = 0


@dataclass(frozen=True, slots=True)
class CosemDate:
    """A date or a rule for dates; None where anything goes."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None

    @classmethod
    def from_bytes(cls, octets: bytes) -> CosemDate:
        """Read 5 octets."""
        year, month, day, weekday = _unpack(_DATE, octets, 0)
        return cls(None if year == _ANY_YEAR else year, _specified(month), _specified(day), _specified(weekday))

    def to_bytes(self) -> bytes:
        """The 5 octets."""
        year = _ANY_YEAR if self.year is None else self.year
        return _pack(_DATE, year, _octet(self.month), _octet(self.day), _octet(self.weekday))

    def __str__(self) -> str:
        month = {DST_BEGIN: "dst-begin", DST_END: "dst-end"}.get(self.month or 0, _digits(self.month))
        day = {LAST_DAY: "last", SECOND_LAST_DAY: "second-last"}.get(self.day or 0, _digits(self.day))
        return f"{_digits(self.year, 4)}-{month}-{day}"


@dataclass(frozen=True, slots=True)
class CosemTime:
    """A time of day or a rule for times; None where anything goes."""

    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    hundredths: int | None = None

    @classmethod
    def from_bytes(cls, octets: bytes) -> CosemTime:
        """Read 4 octets."""
        return cls(*(_specified(octet) for octet in _unpack(_TIME, octets, 0)))

    def to_bytes(self) -> bytes:
        """The 4 octets."""
        return _pack(_TIME, _octet(self.hour), _octet(self.minute), _octet(self.second), _octet(self.hundredths))

    def __str__(self) -> str:
        fraction = f".{self.hundredths:02d}" if self.hundredths else ""
        return f"{_digits(self.hour)}:{_digits(self.minute)}:{_digits(self.second)}{fraction}"


@dataclass(frozen=True, slots=True)
class CosemDateTime:
    """The 12 octets without loss: a moment when date and time are specified, otherwise a rule for moments."""

    date: CosemDate
    time: CosemTime
    deviation: int | None = None
    status: int | None = None

    @classmethod
    def from_bytes(cls, octets: bytes, offset: int = 0) -> CosemDateTime:
        """Read 12 octets at `offset`; fewer raise DecodeError."""
        day, time, deviation, status = _unpack(_DATE_TIME, octets, offset)
        return cls(
            CosemDate.from_bytes(day),
            CosemTime.from_bytes(time),
            None if deviation == _NO_DEVIATION else deviation,
            _specified(status),
        )

    @classmethod
    def from_utc(cls, moment: datetime, offset: int = 0, *, status: int | None = 0) -> CosemDateTime:
        """A moment as a meter `offset` minutes east of UTC writes it; set the DST bit of `status` in summer."""
        local = moment.astimezone(timezone(timedelta(minutes=offset)))
        return cls(
            CosemDate(local.year, local.month, local.day, local.isoweekday()),
            CosemTime(local.hour, local.minute, local.second, local.microsecond // 10_000),
            -offset,
            status,
        )

    def to_bytes(self) -> bytes:
        """The 12 octets."""
        deviation = _NO_DEVIATION if self.deviation is None else self.deviation
        return _pack(_DATE_TIME, self.date.to_bytes(), self.time.to_bytes(), deviation, _octet(self.status))

    def to_utc(self, zone: tzinfo | None = None, deviation: Deviation = Deviation.STANDARD) -> datetime | None:
        """The moment in UTC; `zone` holds where the deviation is not specified (or ignored).

        None when this is no moment: a wildcard in date, hour or minute, no such date, neither deviation nor zone.
        """
        milliseconds = EpochReader(zone, deviation).read(self.to_bytes())
        return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)

    def __str__(self) -> str:
        """For people: `2019-12-16 07:59:40+01:00`, with `*` for what is not specified."""
        zone = ""
        if self.deviation is not None:
            hours, minutes = divmod(abs(self.deviation), 60)
            zone = f"{'-' if self.deviation > 0 else '+'}{hours:02d}:{minutes:02d}"
        return f"{self.date} {self.time}{zone}"


def decode_date_time(buf: bytes, offset: int = 0) -> CosemDateTime:
    """Read the 12 octets at `offset`; fewer raise DecodeError."""
    return CosemDateTime.from_bytes(buf, offset)


class EpochReader:
    """Turns date-times into milliseconds since 1970, fast: days, times of day and deviations are computed once each.

    `zone` is where the meter stands, for date-times without a deviation; without it they have no moment. In the hour
    that a zone repeats in autumn the DST bit of the status decides.
    """

    __slots__ = ("_tails", "_zone")

    def __init__(self, zone: tzinfo | None = None, deviation: Deviation = Deviation.STANDARD) -> None:
        self._zone = zone
        self._tails = _Cache(partial(_tail, zone, deviation))

    def read(self, octets: bytes, offset: int = 0) -> int | None:
        """Milliseconds of the 12 octets at `offset`, None when they are no moment; fewer octets raise DecodeError."""
        try:
            day, time, tail = _WORDS.unpack_from(octets, offset)
            return _DAYS[day] + _TIMES[time] + self._tails[tail]
        except StructError:
            raise _cut_short(_WORDS, octets, offset) from None
        except _NotPlain:
            return self._read_words(day, time, tail)

    def read_all(self, octets: bytes) -> list[int | None]:
        """Milliseconds of many date-times of 12 octets, one after the other."""
        words = unpack(f">{len(octets) // 12 * 3}I", octets)
        days = map(_DAYS.__getitem__, words[0::3])
        times = map(_TIMES.__getitem__, words[1::3])
        tails = map(self._tails.__getitem__, words[2::3])
        try:
            return list(map(add, map(add, days, times), tails))
        except _NotPlain:
            return [self._read_words(*words[at : at + 3]) for at in range(0, len(words), 3)]

    def _read_words(self, day: int, time: int, tail: int) -> int | None:
        try:
            local = _DAYS[day] + _TIMES[time]
        except _NotPlain:
            return None
        try:
            return local + self._tails[tail]
        except _NotPlain:
            return None if self._zone is None else _in_zone(local, self._zone, tail)


class _NotPlain(LookupError):
    """These octets need more thought, or are no moment."""


class _Cache(dict[int, int]):
    """Remembers what was computed, up to a bound, so that a peer cannot make it grow for ever."""

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[int], int]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: int) -> int:
        if len(self) >= 4096:
            self.clear()
        self[key] = value = self._compute(key)
        return value


def _day(word: int) -> int:
    """Year, month, day to milliseconds from 1970 to midnight."""
    year, month, day = word >> 16, word >> 8 & 0xFF, word & 0xFF
    if not 1900 <= year < 9999:
        raise _NotPlain
    try:
        return (date(year, month, day).toordinal() - _ORDINAL_1970) * 86_400_000
    except ValueError:
        raise _NotPlain from None


def _time(word: int) -> int:
    """Weekday, hour, minute, second to milliseconds from midnight; a second that is not specified is the first one."""
    hour, minute, second = word >> 16 & 0xFF, word >> 8 & 0xFF, word & 0xFF
    if second == _ANY:
        second = 0
    if hour > 23 or minute > 59 or second > 59:
        raise _NotPlain
    return (hour * 3600 + minute * 60 + second) * 1000


def _tail(zone: tzinfo | None, deviation: Deviation, word: int) -> int:
    """Hundredths, deviation, status to milliseconds that lead from local time in whole seconds to UTC."""
    minutes = (word >> 8 & 0xFFFF ^ 0x8000) - 0x8000
    if deviation is not Deviation.IGNORED and abs(minutes) <= 1440:
        return _hundredths(word) + deviation * minutes * _MINUTE
    if not isinstance(zone, timezone):
        raise _NotPlain
    return _hundredths(word) - zone.utcoffset(None) // _MILLISECOND


_DAYS: Final = _Cache(_day)
_TIMES: Final = _Cache(_time)


def _hundredths(tail: int) -> int:
    hundredths = tail >> 24
    return hundredths * 10 if hundredths < 100 else 0


def _in_zone(local: int, zone: tzinfo, tail: int) -> int:
    """Milliseconds of a local time in a zone whose offset changes over the year."""
    moment = _EPOCH.replace(tzinfo=zone) + timedelta(milliseconds=local)
    status = tail & 0xFF
    summer = status == _ANY or status & ClockStatus.DST
    offset = moment.replace(fold=0 if summer else 1).utcoffset() or timedelta()
    return local + _hundredths(tail) - offset // _MILLISECOND


def _unpack(layout: Struct, octets: bytes, offset: int) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(octets, offset)
    except StructError:
        raise _cut_short(layout, octets, offset) from None


def _cut_short(layout: Struct, octets: bytes, offset: int) -> DecodeError:
    left = len(octets) - offset
    return DecodeError("date and time", offset=offset, expected=f"{layout.size} octets", got=str(left))


def _pack(layout: Struct, *fields: int | bytes) -> bytes:
    try:
        return layout.pack(*fields)
    except StructError as error:
        raise LocalProtocolError("a field of a date or time does not fit its octets") from error


def _specified(octet: int) -> int | None:
    return None if octet == _ANY else octet


def _octet(field: int | None) -> int:
    return _ANY if field is None else field


def _digits(field: int | None, width: int = 2) -> str:
    return "*" if field is None else f"{field:0{width}d}"
