"""CSV: one line an interval, for any tool."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from headend.model.interval import Channel, Interval, written
from headend.model.reading import Quality
from headend.services.exports import Document, ExportFormat, MeterSeries

COLUMNS: Final = (
    "meter_id",
    "obis",
    "interval_start_utc",
    "interval_end_utc",
    "value",
    "unit",
    "quality",
    "status_hex",
    "read_at_utc",
    "source",
)
CHUNK: Final = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(millis: int) -> str:
    """A time as ISO 8601 in UTC; milliseconds only where there are some."""
    spec = "milliseconds" if millis % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=millis)).isoformat(timespec=spec).replace("+00:00", "Z")


@cache
def quality_names(quality: Quality) -> str:
    """`good`, or the names of the flags with `|` between."""
    return "|".join(str(flag.name).lower() for flag in quality) or "good"


def row(channel: Channel, interval: Interval) -> tuple[str, ...]:
    """The fields of a line."""
    return (
        channel.meter.id,
        channel.code,
        utc(interval.start),
        utc(interval.end),
        written(interval.value),
        channel.quantity.unit,
        quality_names(interval.quality),
        f"{interval.status:04x}",
        utc(interval.read_at),
        interval.source.name.lower(),
    )


def write(meters: Iterable[MeterSeries], _document: Document) -> Iterator[bytes]:
    """The file, in pieces."""
    buffer = io.StringIO()
    out = csv.writer(buffer)  # lines end as in RFC 4180
    out.writerow(COLUMNS)
    for _, all_series in meters:
        for series in all_series:
            for interval in series.intervals:
                out.writerow(row(series.channel, interval))
                if buffer.tell() >= CHUNK:
                    yield buffer.getvalue().encode()
                    buffer.seek(0)
                    buffer.truncate()
    yield buffer.getvalue().encode()


CSV: Final = ExportFormat(name="csv", label="CSV", media_type="text/csv; charset=utf-8", suffix=".csv", write=write)
