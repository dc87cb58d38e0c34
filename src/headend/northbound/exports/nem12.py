"""NEM12: interval data as the Australian market takes it (AEMO, Meter Data File Format Specification NEM12 & NEM13).

One record 200 for each channel of a connection point (NMI), below it a record 300 for each day in local standard time (of the
market: +10:00), with all values of the day; where their quality differs, records 400 say it range by range. The NMI of a meter is
its tag `nmi:NUMBER`, else its id. Energies are in kWh and kvarh with three decimals: registers are cut to whole Wh before they
are subtracted, so that days add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from types import MappingProxyType
from typing import Final, TypeAlias

from headend.errors import ConfigError
from headend.model.interval import Channel, Derivation, Form, Interval, Series
from headend.model.meter import Meter
from headend.model.reading import Quality
from headend.services.exports import MINUTE_MS, Document, ExportFormat, MeterSeries, standard_offset, zone_of

SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "active_energy_import_total": "E1",
        "active_energy_interval_import_total": "E1",
        "active_energy_export_total": "B1",
        "active_energy_interval_export_total": "B1",
        "reactive_energy_import_total": "Q1",
        "reactive_energy_interval_import_total": "Q1",
        "reactive_energy_export_total": "K1",
        "reactive_energy_interval_export_total": "K1",
    }
)
"""quantity -> suffix of the NMI; import is what the customer draws"""
MINUTES: Final = (5, 15, 30)
MARKET: Final = "+10:00"
DAY_MINUTES: Final = 1440
_UNITS = {"Wh": "kWh", "varh": "kVArh"}

Flag: TypeAlias = tuple[str, str, str]
"""Quality with its method, reason code, reason."""
_NULL: Flag = ("N", "", "")
_ACTUAL: Flag = ("A", "", "")
_LINEAR: Flag = ("S17", "0", "interpolated between readings")
_CALCULATED: Flag = ("S12", "0", "estimated by the meter or the head-end")
_DOUBTS = (
    (Quality.CLOCK_INVALID, "clock of the meter invalid"),
    (Quality.OUT_OF_RANGE, "value out of range"),
    (Quality.MANUAL, "read by hand"),
)


def flag_of(interval: Interval) -> Flag:
    """The quality of an interval as the market writes it."""
    if not interval.status:
        return _ACTUAL
    if interval.status & Derivation.INTERPOLATED:
        return _LINEAR
    if interval.quality & Quality.ESTIMATED:
        return _CALCULATED
    doubts = [text for doubt, text in _DOUBTS if interval.quality & doubt]
    return ("A", "0", " ".join(doubts)) if doubts else _ACTUAL


def nmi_of(meter: Meter) -> str:
    """The NMI of a meter; raises ConfigError where it has none."""
    tagged = [tag[4:] for tag in meter.tags if tag.lower().startswith("nmi:")]
    nmi = (tagged or [meter.id])[0].upper()
    if len(nmi) != 10 or not nmi.isalnum() or not nmi.isascii():
        raise ConfigError(
            f"meter {meter.id!r} has no NMI of ten letters and digits", hint="give the meter the tag nmi:NUMBER"
        )
    return nmi


def takes(channel: Channel) -> bool:
    """Whether a channel is energy that the market has a suffix for."""
    return channel.quantity.key in SUFFIXES and channel.form is not Form.MOMENT


def check(document: Document) -> None:
    """Raise ConfigError for what cannot be written."""
    if document.period_minutes and document.period_minutes not in MINUTES:
        raise ConfigError(f"intervals of NEM12 last 5, 15 or 30 minutes, not {document.period_minutes}")
    for name, text in (("sender", document.sender), ("receiver", document.receiver)):
        if len(text) > 10 or not all(each.isalnum() for each in text):
            raise ConfigError(f"the {name} of NEM12 is a participant of at most ten letters and digits")
    for key in document.quantities:
        if key not in SUFFIXES:
            raise ConfigError(f"NEM12 has no suffix for {key}", hint="one of " + ", ".join(SUFFIXES))


def write(meters: Iterable[MeterSeries], document: Document) -> Iterator[bytes]:
    """The file, in pieces of a day of a channel."""
    offset = standard_offset(zone_of(document.zone or MARKET), document.start)
    created = _local(document.created_at, offset)
    yield _line("100", "NEM12", f"{created:%Y%m%d%H%M}", document.sender or "HEADEND", document.receiver)
    for meter, all_series in meters:
        chosen = _one_each(all_series)
        configuration = "".join(sorted(chosen))
        for suffix in sorted(chosen):
            yield from _channel(nmi_of(meter), configuration, suffix, chosen[suffix], offset)
    yield _line("900")


def _one_each(all_series: Sequence[Series]) -> dict[str, Series]:
    """One series for each suffix: what the meter measured by intervals itself goes before differences of a register."""
    chosen: dict[str, Series] = {}
    for series in all_series:
        suffix = SUFFIXES[series.channel.quantity.key]
        if suffix not in chosen or series.channel.form is Form.INTERVAL:
            chosen[suffix] = series
    return chosen


def _channel(nmi: str, configuration: str, suffix: str, series: Series, offset: timedelta) -> Iterator[bytes]:
    channel = series.channel
    minutes = channel.period // MINUTE_MS
    if minutes not in MINUTES:
        raise ConfigError(
            f"meter {channel.meter.id!r} has intervals of {minutes} minutes; those of NEM12 last 5, 15 or 30",
            hint="ask for a period that its registers can be read in",
        )
    if offset % timedelta(minutes=minutes):
        raise ConfigError(f"days of this zone do not begin with an interval of {minutes} minutes")
    serial = "".join(each for each in channel.meter.identity.serial if each.isascii() and each.isalnum())[:12]
    yield _line("200", nmi, configuration, suffix, suffix, "", serial, _UNITS[channel.quantity.unit], str(minutes), "")
    whole = (each for each in series.intervals if not each.status & Derivation.OFF_GRID)
    for day, intervals in groupby(whole, key=lambda each: _local(each.start, offset).date()):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) - offset
        first = round(midnight.timestamp() * 1000)
        yield _day(f"{day:%Y%m%d}", list(intervals), first, channel.period, offset)


def _day(date: str, intervals: Sequence[Interval], first: int, period: int, offset: timedelta) -> bytes:
    count = DAY_MINUTES * MINUTE_MS // period
    values, flags = ["0"] * count, [_NULL] * count
    for each in intervals:
        place = (each.start - first) // period
        values[place] = f"{Decimal(each.value).scaleb(-3):f}"
        flags[place] = flag_of(each)
    updated = f"{_local(max(each.read_at for each in intervals), offset):%Y%m%d%H%M%S}"
    ranges = [(flag, len(list(run))) for flag, run in groupby(flags)]
    summary = ranges[0][0] if len(ranges) == 1 else ("V", "", "")
    lines = [_line("300", date, *values, *summary, updated, "")]
    if len(ranges) > 1:
        start = 1
        for flag, length in ranges:
            lines.append(_line("400", str(start), str(start + length - 1), *flag))
            start += length
    return b"".join(lines)


def _local(millis: int, offset: timedelta) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis) + offset


def _line(*fields: str) -> bytes:
    return (",".join(fields) + "\r\n").encode()


NEM12: Final = ExportFormat(
    name="nem12",
    label="NEM12 (AEMO)",
    media_type="text/csv; charset=utf-8; header=absent",
    suffix=".csv",
    write=write,
    digits=0,
    zone=MARKET,
    takes=takes,
    check=check,
    admit=nmi_of,
)
