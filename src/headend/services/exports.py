"""Exports: the stored readings of meters as files of a format, made piece by piece as they are taken.

A format is a pure function from series of intervals to octets; `headend.northbound.exports` has them. What is here chooses
meters, quantities and periods, and reads the store a day at a time, so that an export of years needs no more memory than one of
hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from headend.errors import ConfigError
from headend.model.interval import Channel, Form, Interval, Series, form_of
from headend.model.meter import Meter
from headend.model.profile import MeterProfile
from headend.model.quantity import Quantity, find_quantity, quantity
from headend.model.reading import from_millis
from headend.services.intervals import Row, differences, given, moments
from headend.services.roster import Clock
from headend.storage.readings import Readings

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
PERIOD_MINUTES: Final = 15
PERIODS: Final = (1, 5, 10, 15, 20, 30, 60)
"""minutes"""
LIMIT_KW: Final = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What an export is asked for: from when to when, and what formats want to know besides."""

    start: int
    end: int
    created_at: int
    meters: Sequence[str] = ()
    """none: all"""
    quantities: Sequence[str] = ()
    """keys; none: what the format is made for"""
    period_minutes: int = 0
    """0: as the load profile of the meter that has the quantity, else a quarter of an hour"""
    zone: str = ""
    """an IANA name or an offset as `+10:00`; empty: what the format has by custom"""
    sender: str = ""
    receiver: str = ""
    limit_kw: float = LIMIT_KW
    """registers that grow faster belong to another meter"""


MeterSeries = tuple[Meter, Sequence[Series]]
Write = Callable[[Iterable[MeterSeries], Document], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """A format: what it takes, and how it is written. `digits` are decimals of base units that it keeps."""

    name: str
    label: str
    media_type: str
    suffix: str
    write: Write
    digits: int = 3
    zone: str = ""
    """whose days its files hold by custom; empty: UTC"""
    takes: Callable[[Channel], bool] = field(default=lambda _channel: True)
    """whether a channel can be said in it"""
    check: Callable[[Document], None] = field(default=lambda _document: None)
    """raises ConfigError for what it cannot say at all, before anything is written"""
    admit: Callable[[Meter], object] = field(default=lambda _meter: None)
    """raises ConfigError for a meter that it cannot name, before anything is written"""


class MetersOf(Protocol):
    """Where meters are found; the roster in a running head-end."""

    def __call__(self, ids: Sequence[str]) -> Sequence[Meter]:
        """Those of the ids, or all where there are none; raises NotFound."""
        ...


class Exports:
    """Makes exports of what a store holds. Everything blocks."""

    def __init__(
        self,
        formats: Iterable[ExportFormat],
        readings: Readings,
        meters: MetersOf,
        profile: Callable[[Meter], MeterProfile | None],
        clock: Clock,
    ) -> None:
        self.formats: Mapping[str, ExportFormat] = {each.name: each for each in formats}
        self.clock = clock
        self._readings = readings
        self._meters = meters
        self._profile = profile

    def format(self, name: str) -> ExportFormat:
        """The format of a name; raises ConfigError."""
        try:
            return self.formats[name]
        except KeyError:
            raise ConfigError(f"no export format {name!r}", hint="one of " + ", ".join(self.formats)) from None

    def check(self, form: ExportFormat, document: Document) -> None:
        """Raise ConfigError for what the format, or any, cannot say."""
        _check(document)
        form.check(document)

    def write(self, name: str, document: Document) -> Iterator[bytes]:
        """The octets of an export. What is asked for is checked now: raises ConfigError, NotFound."""
        form = self.format(name)
        self.check(form, document)
        meters = self._meters(document.meters)
        for meter in meters:
            form.admit(meter)
        return form.write(self._series(form, meters, document), document)

    def _series(self, form: ExportFormat, meters: Sequence[Meter], document: Document) -> Iterator[MeterSeries]:
        for meter in meters:
            channels = [each for each in self._channels(meter, document) if form.takes(each)]
            if channels:
                yield meter, [Series(each, self._intervals(each, document, form.digits)) for each in channels]

    def _channels(self, meter: Meter, document: Document) -> Iterator[Channel]:
        known = self._readings.latest([meter.id], list(document.quantities) or None).quantities
        periods = load_profile_periods(self._profile(meter))
        asked = document.period_minutes * MINUTE_MS
        for key in known:
            found = find_quantity(key)
            form = form_of(found) if found else None
            if found is None or form is None or (form is Form.MOMENT and not document.quantities):
                continue
            own = periods.get(key, 0)
            period = asked or own or PERIOD_MINUTES * MINUTE_MS
            if form is Form.INTERVAL and own:
                period = own
            yield Channel(meter=meter, quantity=found, form=form, period=0 if form is Form.MOMENT else period)

    def _intervals(self, channel: Channel, document: Document, digits: int) -> Iterator[Interval]:
        start, end, period = document.start, document.end, channel.period
        rows = self._rows(channel.meter.id, channel.quantity, start - period, end + period + 1)
        if channel.form is Form.REGISTER:
            limit = round(document.limit_kw * 1000)
            return differences(rows, start, end, period, digits=digits, limit=limit)
        if channel.form is Form.INTERVAL:
            return given(rows, start, end, period, digits=digits)
        return moments(rows, start, end, digits=digits)

    def _rows(self, meter_id: str, what: Quantity, start: int, end: int) -> Iterator[Row]:
        for day in range(start, end, DAY_MS):
            found = self._readings.received(meter_id, what.key, day, min(day + DAY_MS, end))
            yield from zip(
                found.measured_at, found.values, found.quality, found.received_at, found.sources, strict=True
            )


def load_profile_periods(profile: MeterProfile | None) -> dict[str, int]:
    """Milliseconds between the rows of the load profile that has a quantity, by its key; the shortest where several have it."""
    found: dict[str, int] = {}
    if profile is None:
        return found
    names = {entry.ref: entry.quantity for entry in profile.objects if entry.quantity}
    for each in profile.load_profiles:
        period = each.period_seconds * 1000
        if period and (period % MINUTE_MS == 0) and period // MINUTE_MS in PERIODS:
            for key in (names.get(ref) for ref in each.columns):
                if key:
                    found[key] = min(period, found.get(key, period))
    return found


def _check(document: Document) -> None:
    if document.end <= document.start:
        raise ConfigError("the end of an export comes after its start")
    if document.period_minutes and document.period_minutes not in PERIODS:
        raise ConfigError(f"intervals last {', '.join(map(str, PERIODS))} minutes, not {document.period_minutes}")
    if not 0 < document.limit_kw <= 10_000_000:
        raise ConfigError("the limit is between 0 and 10,000,000 kW")
    for key in document.quantities:
        if find_quantity(key) is None or form_of(quantity(key)) is None:
            raise ConfigError(f"{key!r} is no quantity with amounts", hint="see docs/reference/quantities.md")
    if document.zone:
        zone_of(document.zone)


def zone_of(text: str) -> tzinfo:
    """The zone of an IANA name or of an offset as `+10:00`; raises ConfigError."""
    if text[:1] in ("+", "-"):
        try:
            offset = datetime.strptime(text, "%z").utcoffset()
        except ValueError:
            offset = None
        if offset is not None:
            return timezone(offset)
    elif text in ("", "UTC"):
        return UTC
    else:
        try:
            return ZoneInfo(text)
        except (KeyError, ValueError, OSError):  # not found is a KeyError there
            pass
    raise ConfigError(f"no time zone {text!r}", hint="an IANA name as Australia/Sydney, or an offset as +10:00")


def standard_offset(zone: tzinfo, at: int) -> timedelta:
    """The offset from UTC without daylight saving, in the year around a time: the smaller one of January and July."""
    year = from_millis(at).year
    offsets = [datetime(year, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in (1, 7)]
    return min(each for each in offsets if each is not None)
