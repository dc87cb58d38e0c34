"""Parquet: the columns of the CSV file with their types, for data frames and lakes. Needs the extra `headend[parquet]`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from headend.errors import ConfigError
from headend.model.interval import Interval, Series
from headend.northbound.exports.text import COLUMNS, quality_names
from headend.services.exports import Document, ExportFormat, MeterSeries

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Final = 50_000
"""of a row group: what is held in memory"""
DIGITS: Final = 3


def check(_document: Document) -> None:
    """Raise ConfigError where the library is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError("Parquet needs the library pyarrow", hint="pip install 'headend[parquet]'")


def schema() -> pa.Schema:
    """The types of the columns: amounts are exact decimals, times are microseconds of UTC."""
    import pyarrow as pa  # noqa: PLC0415 # an extra: loaded where it is used

    at, names = pa.timestamp("us", tz="UTC"), pa.dictionary(pa.int32(), pa.string())
    types = {
        "interval_start_utc": at,
        "interval_end_utc": at,
        "read_at_utc": at,
        "value": pa.decimal128(38, DIGITS),
        "status_hex": pa.int32(),
    }
    return pa.schema([(name.replace("_hex", ""), types.get(name, names)) for name in COLUMNS])


class _Pipe:
    """A file that is read while it is written."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def write(self, octets: Any) -> int:  # noqa: ANN401 # anything with octets in it
        piece = bytes(octets)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def write(meters: Iterable[MeterSeries], _document: Document) -> Iterator[bytes]:
    """The file, in pieces of a row group."""
    import pyarrow as pa  # noqa: PLC0415 # see above
    import pyarrow.parquet as pq  # noqa: PLC0415 # see above

    pipe, columns = _Pipe(), schema()
    rows = _rows(meters)
    with pq.ParquetWriter(pa.PythonFile(pipe, mode="w"), columns, compression="zstd") as out:
        while group := list(islice(rows, ROWS)):
            by_column = zip(*group, strict=True)
            arrays = [pa.array(cells, field.type) for cells, field in zip(by_column, columns, strict=True)]
            out.write_table(pa.table(arrays, schema=columns))
            yield pipe.take()
    yield pipe.take()


def _rows(meters: Iterable[MeterSeries]) -> Iterator[tuple[object, ...]]:
    for _, all_series in meters:
        for series in all_series:
            for interval in series.intervals:
                yield _row(series, interval)


def _row(series: Series, interval: Interval) -> tuple[object, ...]:
    channel = series.channel
    return (
        channel.meter.id,
        channel.code,
        interval.start * 1000,
        interval.end * 1000,
        Decimal(interval.value),
        channel.quantity.unit,
        quality_names(interval.quality),
        interval.status,
        interval.read_at * 1000,
        interval.source.name.lower(),
    )


PARQUET: Final = ExportFormat(
    name="parquet",
    label="Parquet",
    media_type="application/vnd.apache.parquet",
    suffix=".parquet",
    write=write,
    digits=DIGITS,
    check=check,
)
