"""How the items of a segment lie in the database; pure.

A segment is one octet that says the form, and a JSON text compressed by zlib:

```text
[[quantities, …], [item, …]]                           each different tuple of quantities once
item: [index of its quantities, meter, source, received_at, [value, …], measured_at or [measured_at, …],
       quality or [quality, …], [[ref, quantity, code, reason], …], load profile]
      [event type, severity, occurred_at, meter, {data}]
```

A column that is the same in all rows is one value. Form 0 is JSON as everybody writes it; form 1 holds what that has no words
for (nan, infinities, integers beyond 64 bits, halves of characters), as Python writes it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final

import orjson

from headend.model.event import Event, EventType, Severity
from headend.model.journal import Item
from headend.model.meter import NO_PARAMS
from headend.model.reading import Missing, ReadingBatch, Source

PLAIN: Final = 0
WIDE: Final = 1
LEVEL: Final = 1

_SOURCES: Final = {source.value: source for source in Source}


def encode_items(items: Sequence[Item]) -> bytes:
    """The octets of a segment; raises TypeError or ValueError for what is no value."""
    tuples: dict[tuple[str, ...], int] = {}
    rows = [_of_event(item) if isinstance(item, Event) else _of_batch(item, tuples) for item in items]
    content = [list(tuples), rows]
    try:
        text, form = orjson.dumps(content), PLAIN
    except orjson.JSONEncodeError:
        text = b"null"
    if b"null" in text:  # what is no finite number: nothing else here is null
        text, form = (
            json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"),
            WIDE,
        )
    return bytes((form,)) + zlib.compress(text, LEVEL)


def decode_items(content: bytes) -> list[Item]:
    """The items that were encoded."""
    text = zlib.decompress(content[1:])
    tuples, rows = orjson.loads(text) if content[0] == PLAIN else json.loads(text.decode("utf-8", "surrogatepass"))
    quantities = [tuple(each) for each in tuples]
    return [_to_event(row) if isinstance(row[0], str) else _to_batch(row, quantities) for row in rows]


def _of_batch(batch: ReadingBatch, tuples: dict[tuple[str, ...], int]) -> list[Any]:
    index = tuples.setdefault(tuple(batch.quantities), len(tuples))
    return [
        index,
        batch.meter_id,
        batch.source.value,
        batch.received_at,
        list(batch.values),
        _column(batch.measured_at),
        _column(batch.quality),
        [[gap.ref, gap.quantity, gap.code, gap.reason] for gap in batch.missing],
        batch.load_profile,
    ]


def _to_batch(row: list[Any], tuples: list[tuple[str, ...]]) -> ReadingBatch:
    quantities = tuples[row[0]]
    return ReadingBatch(
        meter_id=row[1],
        source=_SOURCES[row[2]],
        received_at=row[3],
        quantities=quantities,
        values=row[4],
        measured_at=_rows(row[5], len(quantities)),
        quality=_rows(row[6], len(quantities)),
        missing=tuple(
            Missing(ref=ref, quantity=quantity, code=code, reason=reason) for ref, quantity, code, reason in row[7]
        ),
        load_profile=row[8],
    )


def _column(column: Sequence[int]) -> int | list[int]:
    """Qualities may be flags, which JSON does not know."""
    first = column[0] if column else 0
    return int(first) if column and all(each == first for each in column) else list(map(int, column))


def _rows(column: int | list[int], count: int) -> list[int]:
    return column if isinstance(column, list) else [column] * count


def _of_event(event: Event) -> list[Any]:
    return [event.type.value, event.severity.value, event.occurred_at, event.meter_id, dict(event.data)]


def _to_event(row: list[Any]) -> Event:
    return Event(
        type=EventType(row[0]),
        severity=Severity(row[1]),
        occurred_at=row[2],
        meter_id=row[3],
        data=row[4] or NO_PARAMS,
    )
