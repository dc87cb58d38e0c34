"""A store with readings of meters, and what exports of it must say, reckoned in the plainest way."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from headend.drivers.library import load_profile
from headend.errors import NotFound
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.profile import MeterProfile
from headend.model.reading import Quality, ReadingBatch, Source, Value, to_millis
from headend.northbound.exports.formats import FORMATS
from headend.services.exports import Document, Exports
from headend.storage.store import Store

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
QUARTER = 15 * MINUTE
IMPORT, EXPORT = "active_energy_import_total", "active_energy_export_total"
PROFILED = load_profile(
    """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "DRAFT"
source = "this test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[object]]
ref = "3/1-0:1.29.0.255/2"
quantity = "active_energy_interval_import_total"
unit = "Wh"
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 1800
capacity = 1000
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2", "3/1-0:1.29.0.255/2"]
""",
    "acme",
)


def utc(*parts: int) -> int:
    return to_millis(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type] # the parts of a date


def meter(name: str, **said: Any) -> Meter:
    endpoint = Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=4059)
    said.setdefault("identity", MeterIdentity(serial=f"S-{name}"))
    return Meter(id=name, protocol="dlms", framing="wrapper", endpoint=endpoint, **said)


def put(
    store: Store,
    name: str,
    quantity: str,
    points: Sequence[tuple[int, Value]],
    *,
    quality: Quality = Quality.GOOD,
    source: Source = Source.HISTORY,
    received_at: int | None = None,
) -> None:
    batch = ReadingBatch(
        meter_id=name,
        source=source,
        received_at=points[-1][0] + 5000 if received_at is None else received_at,
        quantities=[quantity] * len(points),
        values=[value for _, value in points],
        measured_at=[at for at, _ in points],
        quality=[quality] * len(points),
    )
    store.readings.write([batch])


def register(
    start: int, end: int, *, period: int = QUARTER, first: int = 1_000_000, seed: int = 1
) -> list[tuple[int, Value]]:
    """A register read at each time of the grid, from start to end inclusive."""
    chance, value, points = random.Random(seed), first, []
    for at in range(start, end + 1, period):
        points.append((at, value))
        value += chance.randrange(0, 900)
    return points


def exports(store: Store, *meters: Meter, profile: MeterProfile | None = None, now: int = 0) -> Exports:
    def chosen(ids: Sequence[str]) -> Sequence[Meter]:
        missing = set(ids) - {each.id for each in meters}
        if missing:
            raise NotFound(f"no meter {min(missing)!r}")
        return [each for each in meters if not ids or each.id in ids]

    return Exports(FORMATS, store.readings, chosen, lambda _meter: profile, lambda: now)


def made(found: Exports, name: str, start: int, end: int, **asked: Any) -> bytes:
    return b"".join(pieces(found, name, start, end, **asked))


def pieces(found: Exports, name: str, start: int, end: int, **asked: Any) -> Iterator[bytes]:
    asked.setdefault("created_at", end)
    return found.write(name, Document(start=start, end=end, **asked))
