"""The plain readings API: voltage, current, power and energy of simple meters, at the root of the server.

For programs and pages that were written for a small energy monitor: `POST /readings/`, `GET /readings/`,
`GET /readings/{meter_id}`, `GET /meters/`. The same readings are under `/api/v1` as quantities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import Response

from headend.errors import NotFound
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.reading import Reading, Value, from_millis
from headend.storage.readings import Readings
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.routes.readings import take_in
from headend.web.schemas import readings as schemas
from headend.web.times import LAST_MILLIS, parse_time

api = router("plain readings", "")

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "voltage": ("voltage_total", "voltage_l1"),
    "current": ("current_total", "current_sum", "current_l1"),
    "power": ("active_power_total", "active_power_import_total", "active_power_l1"),
    "energy": ("active_energy_import_total", "active_energy_abs_total"),
}
"""field -> the quantities that it can be; what is posted becomes the first, what is shown is the first that there is"""

_ALL: Final = [quantity for candidates in _FIELDS.values() for quantity in candidates]
Time = Annotated[str | None, Query(max_length=40)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@api.post("/readings/", operation_id="postPlainReading", status_code=201, openapi_extra=OPERATOR)
async def post_reading(body: schemas.PlainReadingIn, parts: Parts) -> schemas.PlainReading:
    """Hand in a reading. An unknown meter is made when the settings allow it, otherwise it is an error."""
    meter_id = str(body.meter_id)
    values = {field: value for field in _FIELDS if (value := getattr(body, field)) is not None}
    if not values:
        raise Refused("invalid-request", f"some of {', '.join(_FIELDS)}", field="body")
    at = parts.millis() if body.timestamp is None else parse_time(str(body.timestamp), "body.timestamp")
    if meter_id not in parts.roster:
        await _make(parts, meter_id)
    measured_at = from_millis(at)
    readings = [
        Reading(meter_id=meter_id, quantity=_FIELDS[field][0], value=value, measured_at=measured_at)
        for field, value in values.items()
    ]
    await take_in(parts, {meter_id: readings})
    return schemas.PlainReading.model_validate(_shown(meter_id, at, values))


async def _make(parts: WebParts, meter_id: str) -> None:
    """A meter that nobody reads: it is reached by nothing but what is posted for it."""
    if not parts.settings.accept_unknown_meters:
        raise NotFound(
            f"no meter {meter_id!r}", hint="add the meter first, or turn on the setting web.accept_unknown_meters"
        )
    endpoint = Endpoint(kind=EndpointKind.INBOUND, host=meter_id)
    meter = Meter(id=meter_id, protocol="", framing="", endpoint=endpoint, name=meter_id, poll_seconds=0)
    await asyncio.to_thread(parts.store.meters.put, meter, revision=0)
    parts.roster.add(meter)


@api.get(
    "/readings/", operation_id="listPlainReadings", response_model=list[schemas.PlainReading], openapi_extra=VIEWER
)
async def list_readings(
    parts: Parts,
    meter_id: Annotated[str | None, Query(max_length=64)] = None,
    start: Time = None,
    end: Time = None,
    limit: Limit = 100,
) -> Response:
    """Readings of one meter or of all, newest first; start <= timestamp < end, by default the last day."""
    if meter_id is not None:
        parts.roster.state(meter_id)
    return await _answer(parts, meter_id, start, end, limit)


@api.get(
    "/readings/{meter_id}",
    operation_id="readPlainReadings",
    response_model=list[schemas.PlainReading],
    openapi_extra=VIEWER,
)
async def read_readings(
    meter_id: str, parts: Parts, start: Time = None, end: Time = None, limit: Limit = 100
) -> Response:
    """Readings of one meter, newest first."""
    parts.roster.state(meter_id)
    return await _answer(parts, meter_id, start, end, limit)


@api.get("/meters/", operation_id="listPlainMeters", response_model=list[schemas.PlainMeter], openapi_extra=VIEWER)
async def list_meters(parts: Parts) -> Response:
    """All meters."""
    return ready(
        [{"meter_id": s.meter.id, "name": s.meter.name or s.meter.id, "online": s.online} for s in parts.roster]
    )


async def _answer(parts: WebParts, meter_id: str | None, start: str | None, end: str | None, limit: int) -> Response:
    last = LAST_MILLIS if end is None else parse_time(end, "query.end")
    first = None if start is None else parse_time(start, "query.start")

    def answer() -> Response:
        return ready(_newest(parts.store.readings, meter_id, first, last, limit))

    return await asyncio.to_thread(answer)


def _newest(readings: Readings, meter_id: str | None, start: int | None, end: int, limit: int) -> list[dict[str, Any]]:
    """The newest rows. Only the meters that were heard of last can have them: at most one for each row wanted."""
    latest = readings.latest(None if meter_id is None else [meter_id], _ALL)
    heard: dict[str, int] = {}
    known: dict[str, set[str]] = {}
    for meter, quantity, at in zip(latest.meter_ids, latest.quantities, latest.measured_at, strict=True):
        heard[meter] = max(heard.get(meter, 0), at)
        known.setdefault(meter, set()).add(quantity)
    meters = sorted(heard, key=heard.__getitem__, reverse=True)[: limit if end == LAST_MILLIS else None]
    rows = [
        row
        for meter in meters
        for row in _rows(readings, meter, known[meter], start, min(end, heard[meter] + 1), limit)
    ]
    rows.sort(key=lambda row: row[1], reverse=True)
    return [_shown(*row) for row in rows[:limit]]


def _rows(
    readings: Readings, meter_id: str, known: set[str], start: int | None, end: int, limit: int
) -> Sequence[tuple[str, int, dict[str, Value]]]:
    """The newest rows of one meter, by default of the day before `end`."""
    fields = {
        field: quantity
        for field, candidates in _FIELDS.items()
        if (quantity := next((each for each in candidates if each in known), None)) is not None
    }
    first = end - 86_400_000 if start is None else start
    found = readings.several(meter_id, list(fields.values()), first, end)
    rows: dict[int, dict[str, Value]] = {}
    for field, quantity in fields.items():
        series = found[quantity]
        for at, value in zip(series.measured_at[-limit:], series.values[-limit:], strict=True):
            rows.setdefault(at, {})[field] = value
    return [(meter_id, at, rows[at]) for at in sorted(rows, reverse=True)[:limit]]


def _shown(meter_id: str, at: int, values: Mapping[str, Value]) -> dict[str, Any]:
    return {
        "meter_id": meter_id,
        "timestamp": from_millis(at).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **{field: values.get(field) for field in _FIELDS},
    }
