"""Events that are kept: what happened to meters and to the head-end, and who has seen it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from headend.model.event import EventType
from headend.storage.records import StoredEvent
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.live import event_row
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import system as schemas
from headend.web.times import parse_time

api = router("events")


@api.get("/events", operation_id="listEvents", response_model=schemas.EventPage, openapi_extra=VIEWER)
async def list_events(
    parts: Parts,
    meter_id: Annotated[str | None, Query(max_length=64)] = None,
    types: Annotated[str, Query(max_length=1000, description="only these, with commas between")] = "",
    start: Annotated[str | None, Query(max_length=40)] = None,
    end: Annotated[str | None, Query(max_length=40, description="first time beyond")] = None,
    cursor: Annotated[int | None, Query(ge=0, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Events, newest first."""
    try:
        wanted = [EventType(name) for name in types.split(",") if name]
    except ValueError:
        raise Refused(
            "invalid-request", f"some of {', '.join(kind.value for kind in EventType)}", field="query.types"
        ) from None
    found = await asyncio.to_thread(
        parts.store.events.list,
        meter_id=meter_id,
        types=wanted or None,
        since=None if start is None else parse_time(start, "query.start"),
        until=None if end is None else parse_time(end, "query.end"),
        before=cursor,
        limit=limit,
    )
    return ready({"items": [_row(each) for each in found], "next": found[-1].number if len(found) == limit else None})


@api.post(
    "/events/{number}/acknowledge",
    operation_id="acknowledgeEvent",
    response_model=schemas.EventOut,
    openapi_extra=OPERATOR,
)
async def acknowledge_event(number: int, parts: Parts, asking: Asking) -> Response:
    """Say that the event was seen; the first one to say so stays."""
    if not 0 <= number < 2**63:
        raise Refused("invalid-request", "a number of an event", field="path.number")
    seen = await asyncio.to_thread(parts.store.events.acknowledge, number, f"{asking.kind}:{asking.name}")
    return ready(_row(seen))


def _row(stored: StoredEvent) -> dict[str, Any]:
    return {
        "number": stored.number,
        **event_row(stored.event),
        "recorded_at": stored.recorded_at,
        "acknowledged_by": stored.acknowledged_by,
        "acknowledged_at": stored.acknowledged_at,
    }
