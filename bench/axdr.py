"""How fast A-XDR data is decoded, against bare `struct` on the same octets: python bench/axdr.py.

A profile of 1,000 rows (date-time and five double-long-unsigned), as array and as compact-array; single values.
Processor time, best of nine; prints one JSON object a line. `floor` is `struct.iter_unpack` of the same rows, which checks
nothing: the share of it that a result reaches depends less on the machine than the figure itself.
"""

from __future__ import annotations

import json
import platform
import struct
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from headend.protocols.dlms.axdr import (
    Tag,
    TypeDescription,
    array,
    compact_array,
    decode_data,
    decode_typed,
    encode_data,
    octet_string,
    structure,
    uint32,
)
from headend.protocols.dlms.clock import CosemDateTime, EpochReader
from headend.protocols.dlms.rows import Row, RowStream, decode_rows, times

ROWS = 1000
ELEMENTS = [
    structure(
        octet_string(CosemDateTime.from_utc(datetime(2024, 1, 1, tzinfo=UTC) + row * timedelta(minutes=15)).to_bytes()),
        *(uint32(1000 * column + row) for column in range(5)),
    )
    for row in range(ROWS)
]
PROFILE = encode_data(array(*ELEMENTS))
DESCRIPTION = TypeDescription(Tag.STRUCTURE, (TypeDescription(Tag.OCTET_STRING), *[TypeDescription(Tag.UINT32)] * 5))
COMPACT = encode_data(compact_array(DESCRIPTION, [element.plain() for element in ELEMENTS]))
BARE = struct.Struct(">4x12sxIxIxIxIxI")
NUMBER = encode_data(uint32(1_234_567))
SCALER_UNIT = bytes.fromhex("02020ffe1623")
READER = EpochReader()


def timed() -> tuple[list[int | None], list[Row]]:
    rows, _ = decode_rows(PROFILE)
    return times([row[0] for row in rows], READER), rows


def with_datetimes() -> list[tuple[object, ...]]:
    moments, rows = timed()
    return [(datetime.fromtimestamp((at or 0) / 1000, UTC), *row[1:]) for at, row in zip(moments, rows, strict=True)]


def streamed() -> int:
    stream = RowStream()
    return sum(len(stream.feed(PROFILE[at : at + 1000])) for at in range(0, len(PROFILE), 1000))


def measure(name: str, work: Callable[[], object], rows: int = 1) -> None:
    number = max(1, int(0.05 / min(timeit.repeat(work, number=1, repeat=5, timer=time.process_time))))
    seconds = min(timeit.repeat(work, number=number, repeat=9, timer=time.process_time)) / number
    result = {"bench": name, "microseconds": round(seconds * 1e6, 3), "per_second": round(rows / seconds)}
    print(json.dumps(result), flush=True)


def main() -> None:
    print(json.dumps({"python": platform.python_version(), "machine": platform.machine()}))
    measure("floor", lambda: list(BARE.iter_unpack(memoryview(PROFILE)[4:])), ROWS)
    measure("rows", lambda: decode_rows(PROFILE), ROWS)
    measure("rows of a compact-array", lambda: decode_rows(COMPACT), ROWS)
    measure("rows and times", timed, ROWS)
    measure("rows with datetimes", with_datetimes, ROWS)
    measure("rows in blocks of 1,000 octets", streamed, ROWS)
    measure("generic decoder", lambda: decode_data(PROFILE), ROWS)
    measure("typed decoder", lambda: decode_typed(PROFILE), ROWS)
    measure("one number", lambda: decode_data(NUMBER))
    measure("scaler and unit", lambda: decode_data(SCALER_UNIT))
    measure("one date-time to milliseconds", lambda: READER.read(PROFILE, 8))


if __name__ == "__main__":
    main()
