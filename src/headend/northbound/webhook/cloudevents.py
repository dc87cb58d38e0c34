"""CloudEvents 1.0 of entries: one event for a batch of readings, or for an event. Pure.

`source` and `id` together are the same whenever an entry is sent again. `time` is when it was measured (the newest of a batch),
`recordedtime` when it was received, `partitionkey` the meter, `sequence` orders all events of a source as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from headend.model.event import Event
from headend.model.journal import Entry
from headend.model.jsontext import dumps
from headend.model.quantity import find_quantity
from headend.model.reading import Quality, ReadingBatch

STRUCTURED: Final = "application/cloudevents+json; charset=utf-8"
BATCH: Final = "application/cloudevents-batch+json; charset=utf-8"
JSON: Final = "application/json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def attributes(entry: Entry, *, source: str, prefix: str) -> dict[str, str]:
    """The context attributes of an event."""
    item = entry.item
    if isinstance(item, Event):
        kind, at, recorded, meter = (
            f"event.{item.type.value.lower()}",
            item.occurred_at,
            item.occurred_at,
            item.meter_id,
        )
    else:
        kind, recorded, meter = "readings", item.received_at, item.meter_id
        at = max(item.measured_at, default=recorded)
    said = {
        "specversion": "1.0",
        "id": entry.id,
        "source": source,
        "type": f"{prefix}.{kind}",
        "time": moment(at),
        "recordedtime": moment(recorded),
        "sequence": f"{entry.number:020d}",
        "datacontenttype": JSON,
        "partitionkey": meter or source,
    }
    return said | ({"subject": meter} if meter else {}) | ({"severitytext": _severity(item)} if _severity(item) else {})


def _severity(item: ReadingBatch | Event) -> str:
    return item.severity.value if isinstance(item, Event) else ""


def data(entry: Entry) -> dict[str, Any]:
    """What happened."""
    item = entry.item
    if isinstance(item, Event):
        said = dict(item.data)
        return {"type": item.type.value, "severity": item.severity.value, "meter_id": item.meter_id, "data": said}
    rows = zip(item.quantities, item.values, item.measured_at, item.quality, strict=True)
    return {
        "meter_id": item.meter_id,
        "origin": item.source.name.lower(),
        "readings": [_reading(*row) for row in rows],
        "missing": [{"quantity": each.quantity, "ref": each.ref, "code": each.code} for each in item.missing],
    }


def _reading(key: str, value: object, at: int, quality: int) -> dict[str, Any]:
    known = find_quantity(key)
    return {
        "quantity": key,
        "obis": known.obis if known else "",
        "value": value,
        "unit": known.unit if known else "",
        "measured_at": moment(at),
        "quality": [str(flag.name).lower() for flag in Quality(quality)],
    }


def structured(entry: Entry, *, source: str, prefix: str) -> dict[str, Any]:
    """The event as one JSON object."""
    return {**attributes(entry, source=source, prefix=prefix), "data": data(entry)}


def batched(entries: Sequence[Entry], *, source: str, prefix: str) -> bytes:
    """Events in the JSON batch format."""
    return dumps([structured(entry, source=source, prefix=prefix) for entry in entries])


def binary_headers(said: Mapping[str, str]) -> dict[str, str]:
    """The attributes as headers of the binary mode (HTTP binding, 3.1.3): what is not plain ASCII is percent-encoded."""
    safe = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    headers = {f"ce-{name}": quote(value, safe=safe) for name, value in said.items() if name != "datacontenttype"}
    return headers | {"content-type": said["datacontenttype"]}


def moment(millis: int) -> str:
    """RFC 3339 in UTC, whatever the year of a meter's clock."""
    at = _EPOCH + timedelta(milliseconds=min(max(millis, -62_135_596_800_000), 253_402_300_799_999))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
