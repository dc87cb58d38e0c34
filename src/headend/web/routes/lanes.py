"""How wires and meters are recovering: circuits, reopened sessions, last errors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response

from headend.web.access import VIEWER
from headend.web.encode import ready
from headend.web.routes import Parts, router
from headend.web.schemas import lanes as schemas

api = router("acquisition")


@api.get("/lanes", operation_id="listLanes", response_model=schemas.LanePage, openapi_extra=VIEWER)
async def list_lanes(
    parts: Parts,
    after: Annotated[str, Query(max_length=300, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    *,
    troubled: Annotated[bool, Query(description="only wires that have trouble, or meters with trouble")] = False,
) -> Response:
    """The wires that were used since the start, by name, each with its circuit and with its meters that have trouble."""
    found = parts.lanes.states(after=after, limit=limit, troubled=troubled)
    return ready(
        {"items": [asdict(each) for each in found], "next": found[-1].wire.name if len(found) == limit else None}
    )
