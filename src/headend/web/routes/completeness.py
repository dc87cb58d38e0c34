"""Completeness: what there is of load profiles, what is not and why, and asking for it again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Query
from fastapi.responses import Response

from headend.model.intervals import Tally
from headend.services.history.completeness import (
    HEADINGS,
    MOST_DAYS,
    Completeness,
    as_csv,
    day_of,
    figures,
    rows_of_fleet,
    rows_of_meter,
)
from headend.storage.ledger import Line
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import completeness as schemas
from headend.web.times import LAST_MILLIS, parse_time

api = router("completeness")
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="the newest days")]
Format = Annotated[Literal["json", "csv"], Query()]
_BOTH: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}, "text/csv": {}}}}
_MOST_METERS = 100
_MOST_MS = MOST_DAYS * 86_400_000


@api.get(
    "/completeness",
    operation_id="fleetCompleteness",
    response_model=schemas.FleetCompleteness,
    responses=_BOTH,
    openapi_extra=VIEWER,
)
async def fleet_completeness(
    parts: Parts,
    days: Days = 31,
    worst: Annotated[int, Query(ge=0, le=1000, description="of so many meters")] = 20,
    format: Format = "json",  # noqa: A002 - of the query
) -> Response:
    """How much there is of all meters, day by day (UTC), and the meters of which the least is there."""
    if format == "csv":
        return _file(await asyncio.to_thread(lambda: as_csv(rows_of_fleet(parts.completeness, days))), "completeness")
    lines = await asyncio.to_thread(parts.completeness.fleet, days)
    meters = await asyncio.to_thread(parts.completeness.worst, days, worst)
    return ready(
        {
            "days": [{"day": day_of(line), **_figures(line)} for line in lines],
            "worst": [{"meter_id": line.key, **_figures(line)} for line in meters],
        }
    )


@api.get(
    "/completeness/meters",
    operation_id="completenessOfMeters",
    response_model=schemas.MetersCompleteness,
    openapi_extra=VIEWER,
)
async def completeness_of_meters(
    parts: Parts,
    meters: Annotated[str, Query(max_length=10_000, description="ids, with commas between; at most 100")],
    days: Days = 31,
) -> Response:
    """How much there is of some meters, calendar day by calendar day; those that are not there are left out."""
    wanted = [meter_id for meter_id in dict.fromkeys(meters.split(",")) if meter_id in parts.roster]
    if len(wanted) > _MOST_METERS:
        raise Refused("invalid-request", f"at most {_MOST_METERS} meters", field="query.meters")

    def rows() -> list[dict[str, Any]]:
        return [{"meter_id": each, "load_profiles": _meter(parts.completeness, each, days)} for each in wanted]

    return ready({"items": await asyncio.to_thread(rows)})


@api.get(
    "/meters/{meter_id}/completeness",
    operation_id="meterCompleteness",
    response_model=schemas.MeterCompleteness,
    responses=_BOTH,
    openapi_extra=VIEWER,
)
async def meter_completeness(
    meter_id: str,
    parts: Parts,
    days: Days = 31,
    format: Format = "json",  # noqa: A002 - of the query
) -> Response:
    """How much there is of a meter, calendar day by calendar day of where it stands."""
    parts.roster.state(meter_id)
    if format == "csv":
        text = await asyncio.to_thread(lambda: as_csv(rows_of_meter(parts.completeness, meter_id, days)))
        return _file(text, f"completeness-{meter_id}")
    return ready(
        {"meter_id": meter_id, "load_profiles": await asyncio.to_thread(_meter, parts.completeness, meter_id, days)}
    )


@api.get("/meters/{meter_id}/gaps", operation_id="listGaps", response_model=schemas.GapList, openapi_extra=VIEWER)
async def list_gaps(
    meter_id: str,
    parts: Parts,
    start: Annotated[str | None, Query(max_length=40)] = None,
    end: Annotated[str | None, Query(max_length=40, description="first time beyond")] = None,
) -> Response:
    """What is not there of a meter, and why it never will be; without a start the last 31 days."""
    parts.roster.state(meter_id)
    first, last = _span(start or str(parts.millis() - 31 * 86_400_000), end or str(parts.millis()), "query")
    return ready({"items": await asyncio.to_thread(_gaps, parts.completeness, meter_id, first, last)})


@api.post(
    "/meters/{meter_id}/gaps/refill",
    operation_id="refillGaps",
    response_model=schemas.RefillOut,
    openapi_extra=OPERATOR,
)
async def refill_gaps(meter_id: str, body: schemas.RefillIn, parts: Parts, asking: Asking) -> Response:
    """Ask the meter at once for what is not there in a span, even if it was given up."""
    del asking
    parts.roster.state(meter_id)
    first, last = _span(body.start, body.end, "body")
    return ready({"intervals": await parts.completeness.refill(meter_id, first, last)})


def _span(start: str, end: str, where: str) -> tuple[int, int]:
    first, last = parse_time(start, f"{where}.start"), parse_time(end, f"{where}.end")
    if not first < last <= min(first + _MOST_MS, LAST_MILLIS):
        raise Refused("invalid-request", f"a time behind the start, by at most {MOST_DAYS} days", field=f"{where}.end")
    return first, last


def _meter(completeness: Completeness, meter_id: str, days: int) -> list[dict[str, Any]]:
    return [
        {
            "load_profile": book.load_profile,
            "name": book.name,
            "period": book.grid.period,
            "time_zone": book.grid.zone,
            "since": book.since,
            "days": [
                {
                    "day": each.day.isoformat(),
                    **_figures(each.tally),
                    "reasons": {reason.value: count for reason, count in each.tally.void.items()},
                }
                for each in completeness.days(book, days)
            ],
        }
        for book in completeness.books(meter_id)
    ]


def _gaps(completeness: Completeness, meter_id: str, start: int, end: int) -> list[dict[str, Any]]:
    return [
        {
            "load_profile": book.load_profile,
            "first": gap.first,
            "last": gap.last,
            "count": gap.count,
            "reason": gap.reason.value if gap.reason is not None else "",
        }
        for book in completeness.books(meter_id)
        for gap in completeness.gaps(book, start, end)
    ]


def _figures(counted: Line | Tally) -> dict[str, Any]:
    return dict(zip(HEADINGS, figures(counted), strict=True))


def _file(text: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
