"""How meters are polled: wire by wire, and what was learned of each meter."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response

from headend.services.acquisition.overview import meter_figures, wire_figures, wires_named
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.routes import Parts, router
from headend.web.schemas import acquisition as schemas

MOST_WIRES = 100_000

api = router("acquisition")


@api.get("/acquisition", operation_id="acquisition", response_model=schemas.Acquisition, openapi_extra=VIEWER)
async def acquisition(
    parts: Parts,
    limit: Annotated[int, Query(ge=0, le=10_000, description="wires that are told one by one")] = 100,
    search: Annotated[str, Query(max_length=300, description="of those, only wires and meters that hold this")] = "",
    *,
    troubled: Annotated[
        bool, Query(description="of those, only wires that have trouble, or meters with trouble")
    ] = False,
) -> Response:
    """Wires, how busy and how late they are, and how many round trips were saved; those with trouble come first."""
    poller = parts.poller
    found = wire_figures(poller, parts.lanes, poller.elapsed)
    bad = {each.wire.name for each in parts.lanes.states(limit=MOST_WIRES, troubled=True)}
    bad |= {each.wire for each in found if each.failing or each.circuit != "closed"}
    named = wires_named(poller, search) if search else {each.wire for each in found}
    chosen = [each for each in found if each.wire in named and (not troubled or each.wire in bad)]
    chosen.sort(key=lambda each: each.wire not in bad)
    requests, singles = sum(each.requests for each in found), sum(each.singles for each in found)
    return ready(
        {
            "meters": len(poller.polled),
            "wires": len(found),
            "in_flight": poller.in_flight,
            "requests": requests,
            "singles": singles,
            "saved_ratio": 1 - requests / singles if singles else 0.0,
            "troubled": sum(each.wire in bad for each in found),
            "found": len(chosen),
            "items": list(map(asdict, chosen[:limit])),
        }
    )


@api.get("/meters/{meter_id}/plan", operation_id="meterPlan", response_model=schemas.MeterPlan, openapi_extra=VIEWER)
async def meter_plan(meter_id: str, parts: Parts) -> Response:
    """What is read when, in how many requests, and what was learned of the meter."""
    return ready(asdict(meter_figures(parts.poller, meter_id)))


@api.delete("/meters/{meter_id}/plan", operation_id="forgetMeterPlan", status_code=204, openapi_extra=OPERATOR)
async def forget_meter_plan(meter_id: str, parts: Parts) -> None:
    """Learn anew how the meter is read."""
    parts.lanes.forget(meter_id)
