"""Readings that are stored: the latest of all, series of one meter, and readings handed in."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import Response

from headend.errors import Busy
from headend.model.jsontext import dumps
from headend.model.quantity import Kind, find_quantity
from headend.model.reading import Quality, Reading, Source, from_millis
from headend.services.submit import submit
from headend.storage.records import LatestColumns, ReceivedColumns
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.schemas import readings as schemas
from headend.web.shared import Shared
from headend.web.times import parse_span, parse_time

api = router("readings")

DAY_MILLIS: Final = 86_400_000
MAX_BUCKETS: Final = 20_000
_SOURCES = {source: source.name.lower() for source in Source}
_LATEST_COLUMNS = ("meter_id", "quantity", "value", "measured_at", "quality", "received_at", "source", "stale")


def _names(text: str) -> list[str] | None:
    names = [name for name in text.split(",") if name]
    return names or None


@api.get("/readings/latest", operation_id="latestReadings", response_model=schemas.LatestOut, openapi_extra=VIEWER)
async def latest_readings(
    request: Request,
    parts: Parts,
    meters: Annotated[str, Query(max_length=20_000, description="only these ids, with commas between")] = "",
    quantities: Annotated[str, Query(max_length=20_000, description="only these keys, with commas between")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    *,
    stale: Annotated[bool, Query(description="also those that are not of the present any more")] = False,
) -> Response:
    """The newest reading of each series, ordered by meter and quantity. Who asks the same within a second gets the same.

    A reading is stale when its meter is offline, or when three more should have come since; by default it is left out.
    """

    def make() -> bytes:
        found = parts.store.readings.latest(_names(meters), _names(quantities), limit)
        rows = latest_rows(parts, found)
        return dumps({"columns": _LATEST_COLUMNS, "rows": rows if stale else [row for row in rows if not row[-1]]})

    shared: Shared = request.app.state.shared
    return Response(await shared.answer((meters, quantities, limit, stale), make), media_type="application/json")


def latest_rows(parts: WebParts, found: LatestColumns) -> list[tuple[Any, ...]]:
    """The rows of the latest readings; what came from a load profile is as old as it says itself."""
    now, find, is_stale = parts.millis(), parts.roster.find, parts.freshness.is_stale
    columns = zip(found.meter_ids, found.quantities, found.measured_at, found.received_at, found.sources, strict=True)
    stale = [
        is_stale(find(meter_id), quantity, measured_at if source is Source.HISTORY else received_at, now)
        for meter_id, quantity, measured_at, received_at, source in columns
    ]
    sources = [_SOURCES[source] for source in found.sources]
    return list(
        zip(
            found.meter_ids,
            found.quantities,
            found.values,
            found.measured_at,
            found.quality,
            found.received_at,
            sources,
            stale,
            strict=True,
        )
    )


@api.get(
    "/meters/{meter_id}/readings", operation_id="readSeries", response_model=schemas.SeriesOut, openapi_extra=VIEWER
)
async def read_series(
    meter_id: str,
    parts: Parts,
    quantity: Annotated[str, Query(max_length=100, examples=["voltage_l1"])],
    start: Annotated[str | None, Query(max_length=40, description="first time; default: a day before the end")] = None,
    end: Annotated[str | None, Query(max_length=40, description="first time beyond; default: now")] = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    bucket: Annotated[
        str | None, Query(max_length=12, description="minimum, maximum, mean … of each span: `15m`")
    ] = None,
    *,
    receipts: Annotated[
        bool, Query(description="also when each was received, and how; without effect on a summary")
    ] = False,
) -> Response:
    """Readings of one quantity with start <= measured_at < end, oldest first, or a summary of each `bucket`."""
    parts.roster.state(meter_id)
    unit = _unit(quantity)
    last = parse_time(end, "query.end") if end is not None else parts.millis() + 1
    first = parse_time(start, "query.start") if start is not None else max(0, last - DAY_MILLIS)
    head = {"meter_id": meter_id, "quantity": quantity, "unit": unit}
    if bucket is not None:
        return await _buckets(parts, head, first, last, parse_span(bucket, "query.bucket"))

    def answer() -> Response:
        read = parts.store.readings.received if receipts else parts.store.readings.series
        found = read(meter_id, quantity, first, last, limit)
        more = found.measured_at[-1] + 1 if len(found) == limit else None
        body = {**head, "measured_at": found.measured_at, "values": found.values, "quality": found.quality}
        if isinstance(found, ReceivedColumns):
            body |= {"received_at": found.received_at, "source": [_SOURCES[each] for each in found.sources]}
        return ready({**body, "next": more if more is not None and more < last else None})

    return await asyncio.to_thread(answer)


async def _buckets(parts: WebParts, head: dict[str, str], start: int, end: int, bucket: int) -> Response:
    if (end - start) // bucket > MAX_BUCKETS:
        raise Refused("invalid-request", f"at most {MAX_BUCKETS} buckets between start and end", field="query.bucket")

    def answer() -> Response:
        found = parts.store.readings.aggregate(head["meter_id"], head["quantity"], start, end, bucket)
        return ready(
            {
                **head,
                "measured_at": found.start,
                "minimum": found.minimum,
                "maximum": found.maximum,
                "mean": found.mean,
                "last": found.last,
                "count": found.count,
                "next": None,
            }
        )

    return await asyncio.to_thread(answer)


def _unit(quantity: str) -> str:
    known = find_quantity(quantity)
    if known is None:
        raise Refused(
            "invalid-request", "a key of the catalogue", hint="see /api/v1/quantities", field="query.quantity"
        )
    return known.unit


@api.post("/readings", operation_id="submitReadings", status_code=202, openapi_extra=OPERATOR)
async def submit_readings(body: schemas.Submission, parts: Parts) -> schemas.Accepted:
    """Hand in readings of known meters, all or none. A reading of the same meter, quantity and time is replaced."""
    by_meter: dict[str, list[Reading]] = {}
    for index, row in enumerate(body.readings):
        parts.roster.state(row.meter_id)
        by_meter.setdefault(row.meter_id, []).append(_reading(parts, row, f"body.readings.{index}"))
    await take_in(parts, by_meter)
    return schemas.Accepted(accepted=len(body.readings))


async def take_in(parts: WebParts, by_meter: dict[str, list[Reading]]) -> None:
    """Publish readings, when there is room for them within seconds."""
    try:
        async with asyncio.timeout(5):
            await parts.bus.room()
    except TimeoutError:
        raise Busy("the database does not keep up with the readings that wait already") from None
    for meter_id, readings in by_meter.items():
        submit(parts.roster, parts.bus, parts.millis, meter_id, readings)


def _reading(parts: WebParts, row: schemas.ReadingIn, place: str) -> Reading:
    known = find_quantity(row.quantity)
    if known is None:
        raise Refused("invalid-request", "a key of the catalogue", field=f"{place}.quantity")
    if isinstance(row.value, str | bool) and known.kind is not Kind.STATUS:
        raise Refused("invalid-request", "a number", field=f"{place}.value")
    at = parts.millis() if row.measured_at is None else parse_time(str(row.measured_at), f"{place}.measured_at")
    return Reading(
        meter_id=row.meter_id,
        quantity=row.quantity,
        value=row.value,
        measured_at=from_millis(at),
        quality=Quality(row.quality),
    )
