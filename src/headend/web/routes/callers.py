"""Meters that dial in: their connections, and the quarantine of callers that nobody knows."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from headend.errors import HeadendError, NotFound
from headend.model.audit import Action
from headend.model.caller import UnknownCaller
from headend.model.reading import Value
from headend.model.url import address_param
from headend.services.gateway.caller import Caller, Stage
from headend.transport.deadline import NEVER
from headend.web.access import ADMIN, OPERATOR, VIEWER, Principal
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.routes.meters import add_meter, created
from headend.web.schemas import callers as schemas
from headend.web.schemas.meters import MeterIn, MeterOut

api = router("callers")

_OPEN = [stage.value for stage in Stage if stage is not Stage.GONE]


@api.get("/connections", operation_id="listConnections", response_model=schemas.ConnectionPage, openapi_extra=VIEWER)
async def list_connections(
    parts: Parts,
    cursor: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    stage: Annotated[str, Query(max_length=100, description="only these stages, with commas between")] = "",
    search: Annotated[str, Query(max_length=100, description="part of meter id, number or address")] = "",
) -> Response:
    """Open connections of meters that dial in, by id, page by page."""
    wanted = set(filter(None, stage.split(",")))
    if not wanted <= set(_OPEN):
        raise Refused("invalid-request", f"some of {', '.join(_OPEN)}", field="query.stage")
    found = [each for each in parts.gateway.callers.values() if _matches(each, wanted, search.casefold())]
    page = [each for each in found if each.number > cursor][:limit]
    return ready(
        {
            "items": [_connection(parts, each) for each in page],
            "total": len(found),
            "next": page[-1].number if len(page) == limit else None,
        }
    )


@api.delete("/connections/{number}", operation_id="closeConnection", status_code=204, openapi_extra=OPERATOR)
async def close_connection(number: int, parts: Parts) -> None:
    """Close a connection; the meter may dial in again."""
    if not parts.gateway.close(number):
        raise NotFound(f"no connection {number}")


@api.get("/callers", operation_id="listCallers", response_model=schemas.CallerPage, openapi_extra=VIEWER)
async def list_callers(
    parts: Parts,
    cursor: Annotated[str, Query(max_length=64, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    blocked: Annotated[bool | None, Query(description="only those that are blocked, or are not")] = None,
    search: Annotated[str, Query(max_length=100, description="part of number, name, address or label")] = "",
) -> Response:
    """Who dials in and is no known meter, the one that was seen last first."""
    text = search.casefold()
    found = [
        each
        for each in parts.gateway.quarantine.all()
        if (blocked is None or each.blocked is blocked)
        and text in f"{each.key} {each.address} {each.label} {each.registration}".casefold()
    ]
    start = _after(found, cursor) if cursor else 0
    page = found[start : start + limit]
    return ready(
        {
            "items": [_caller(parts, each) for each in page],
            "total": len(found),
            "next": f"{page[-1].last_seen}:{page[-1].id}" if len(page) == limit else None,
        }
    )


@api.get("/callers/{caller_id}", operation_id="readCaller", response_model=schemas.CallerOut, openapi_extra=VIEWER)
async def read_caller(caller_id: str, parts: Parts) -> Response:
    """One caller in quarantine."""
    return ready(_caller(parts, parts.gateway.quarantine.find(caller_id)))


@api.post("/callers/adopt", operation_id="adoptCallers", response_model=schemas.AdoptedMany, openapi_extra=ADMIN)
async def adopt_callers(body: schemas.AdoptManyIn, parts: Parts, asking: Asking) -> Response:
    """Make meters of callers, as many as can be; each that cannot is told with its problem."""
    items = []
    for caller_id in dict.fromkeys(body.callers):
        one = schemas.AdoptIn(id=None, name="", **body.model_dump(exclude={"callers"}))
        try:
            meter_id, problem = await _adopt(parts, caller_id, one, asking), ""
        except (HeadendError, Refused) as error:
            meter_id, problem = "", str(error)
        items.append({"caller": caller_id, "meter_id": meter_id, "problem": problem})
    return ready({"items": items})


@api.post(
    "/callers/{caller_id}/adopt",
    operation_id="adoptCaller",
    status_code=201,
    response_model=MeterOut,
    openapi_extra=ADMIN,
)
async def adopt_caller(caller_id: str, body: schemas.AdoptIn, parts: Parts, asking: Asking) -> Response:
    """Make a meter of a caller; the connection that it has open is the meter's at once."""
    return created(parts, await _adopt(parts, caller_id, body, asking))


@api.post(
    "/callers/{caller_id}/block", operation_id="blockCaller", response_model=schemas.CallerOut, openapi_extra=ADMIN
)
async def block_caller(caller_id: str, parts: Parts, asking: Asking) -> Response:
    """Close its connections, now and whenever it comes again."""
    blocked = parts.gateway.block(caller_id)
    await _keep(parts, asking, Action.CALLER_BLOCKED, f"caller:{blocked.key}", {})
    return ready(_caller(parts, blocked))


@api.delete("/callers/{caller_id}", operation_id="forgetCaller", status_code=204, openapi_extra=ADMIN)
async def forget_caller(caller_id: str, parts: Parts) -> None:
    """Close its connections and forget it, also that it was blocked; it may come again."""
    parts.gateway.forget(caller_id)


async def _adopt(parts: WebParts, caller_id: str, body: schemas.AdoptIn, asking: Principal) -> str:
    """The id of the new meter."""
    entry = parts.gateway.quarantine.find(caller_id)
    profile = parts.library.get(body.profile_id) if body.profile_id else None
    protocol = body.protocol or (profile.protocol if profile else entry.protocol)
    if not protocol:
        raise Refused("invalid-request", "a protocol, or a profile that has one", field="body.protocol")
    params = dict(body.params)
    name = address_param(protocol)
    if name and entry.identity.meter_address:
        params.setdefault(name, entry.identity.meter_address)
    host = entry.key.partition(" ")[2]
    meter = {
        **body.model_dump(),
        "protocol": protocol,
        "framing": entry.framing if body.framing is None else body.framing,
        "endpoint": {"kind": "inbound", "host": host},
        "params": params,
        "name": body.name or host,
    }
    meter_id = await add_meter(parts, MeterIn.model_validate(meter))
    parts.gateway.adopted(caller_id)
    await _keep(parts, asking, Action.CALLER_ADOPTED, f"caller:{entry.key}", {"meter": meter_id})
    return meter_id


async def _keep(parts: WebParts, asking: Principal, action: Action, subject: str, data: dict[str, Value]) -> None:
    """Keep in the audit trail what was made of a caller."""
    await asyncio.to_thread(parts.store.audit.append, f"{asking.kind}:{asking.name}", action, subject, data)


def _matches(caller: Caller, stages: set[str], text: str) -> bool:
    if stages and caller.stage.value not in stages:
        return False
    meters = " ".join(state.meter.id for state in caller.states)
    return not text or text in f"{meters} {caller.said} {caller.peer} {caller.label}".casefold()


def _after(found: list[UnknownCaller], cursor: str) -> int:
    """Where the page begins that follows a cursor."""
    last_seen, _, caller_id = cursor.partition(":")
    if not (last_seen.isascii() and last_seen.isdigit() and len(last_seen) < 20):
        raise Refused("invalid-request", "`next` of the page before", field="query.cursor")
    key = -int(last_seen), caller_id
    return next((at for at, each in enumerate(found) if (-each.last_seen, each.id) > key), len(found))


def _connection(parts: WebParts, caller: Caller) -> dict[str, Any]:
    gateway = parts.gateway

    def wall(at: float) -> int | None:
        return None if at == NEVER else gateway.millis() - round((gateway.time() - at) * 1000)

    return {
        "id": caller.number,
        "stage": caller.stage.value,
        "meters": [state.meter.id for state in caller.states],
        "caller": caller.entry_id,
        "peer": caller.peer,
        "local": caller.local,
        "label": caller.label,
        "protocol": caller.protocol,
        "framing": caller.framing,
        "registration": caller.registration,
        "number": caller.said,
        "trusted": caller.trusted,
        "since": wall(caller.since),
        "last_heard": wall(caller.heard_at),
        "last_heartbeat": wall(caller.beat_at),
        "octets_in": caller.octets_in,
        "octets_out": caller.octets_out,
        "busy": caller.lane is not None and caller.lane.busy,
        "held": caller.held,
    }


def _caller(parts: WebParts, entry: UnknownCaller) -> dict[str, Any]:
    waiting = parts.gateway.quarantine.waiting(entry.id)
    return {**dataclasses.asdict(entry), "connections": [each.number for each in waiting]}
