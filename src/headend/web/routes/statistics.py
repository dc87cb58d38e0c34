"""How well meters are reached: figures of a meter, or of the fleet, by slots of fifteen minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import Response

from headend.model.statistics import SLOT_MS, Figures, total
from headend.web.access import VIEWER
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.schemas import statistics as schemas
from headend.web.times import parse_time

api = router("statistics")

DAY_MS: Final = 86_400_000
MOST_MS: Final = 32 * DAY_MS
From = Annotated[str, Query(alias="from", max_length=40, description="milliseconds or ISO 8601; a day before `to`")]
To = Annotated[str, Query(max_length=40, description="milliseconds or ISO 8601; now")]


@api.get(
    "/meters/{meter_id}/statistics",
    operation_id="meterStatistics",
    response_model=schemas.StatisticsPage,
    openapi_extra=VIEWER,
)
async def of_meter(meter_id: str, parts: Parts, start: From = "", to: To = "") -> Response:
    """Reads, octets and times of one meter: the last 24 hours, or another time up to 32 days."""
    first, end = _times(parts, start, to)
    parts.roster.state(meter_id)
    await parts.statistics.flush()
    return _page(first, end, await asyncio.to_thread(parts.store.statistics.of_meter, meter_id, first, end))


@api.get("/statistics", operation_id="statistics", response_model=schemas.StatisticsPage, openapi_extra=VIEWER)
async def of_fleet(parts: Parts, start: From = "", to: To = "") -> Response:
    """Reads, octets and times of all meters together: the last 24 hours, or another time up to 32 days."""
    first, end = _times(parts, start, to)
    await parts.statistics.flush()
    return _page(first, end, await asyncio.to_thread(parts.store.statistics.of_fleet, first, end))


def _times(parts: WebParts, start: str, to: str) -> tuple[int, int]:
    """The first slot and the end."""
    end = parse_time(to, "to") if to else parts.millis()
    first = parse_time(start, "from") if start else end - DAY_MS
    if not 0 < end - first <= MOST_MS:
        raise Refused("invalid-request", "a time of up to 32 days, from before to", field="from")
    return first // SLOT_MS * SLOT_MS, end


def _page(start: int, end: int, slots: Sequence[tuple[int, Figures]]) -> Response:
    return ready(
        {
            "start": start,
            "end": end,
            "total": row(total(figures for _, figures in slots), end - start),
            "slots": [{"start": slot, **row(figures, SLOT_MS)} for slot, figures in slots],
        }
    )


def row(figures: Figures, millis: int) -> dict[str, Any]:
    """Figures over some time, as StatisticsOut has them."""
    names = (
        "reads_ok",
        "reads_failed",
        "requests",
        "responses",
        "readings",
        "octets_in",
        "octets_out",
        "sessions",
        "reconnections",
        "messages",
        "messages_late",
        "scales_used",
        "scales_asked",
    )
    times = {
        "mean": figures.mean,
        "fastest": figures.fastest or None,
        "slowest": figures.slowest or None,
        "p50": figures.percentile(0.5),
        "p90": figures.percentile(0.9),
        "p99": figures.percentile(0.99),
    }
    return {
        **{name: getattr(figures, name) for name in names},
        "success_ratio": figures.success,
        "cache_hit_ratio": figures.remembered,
        "octets_per_second": round((figures.octets_in + figures.octets_out) * 1000 / millis, 3),
        **{f"read_seconds_{name}": None if value is None else round(value, 6) for name, value in times.items()},
    }
