"""Sinks: the systems that are delivered to."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from fastapi.responses import Response

from headend.errors import NotFound
from headend.model.audit import Action
from headend.model.event import Event
from headend.model.journal import DeadLetter
from headend.model.reading import Value
from headend.web.access import OPERATOR, VIEWER, Principal
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import sinks as schemas
from headend.web.times import parse_time

api = router("sinks")


@api.get("/sinks", operation_id="listSinks", response_model=schemas.SinkPage, openapi_extra=VIEWER)
async def list_sinks(parts: Parts) -> Response:
    """Every sink of the settings, and how it is doing."""
    return ready({"items": [dataclasses.asdict(state) for state in parts.deliveries.states()]})


@api.get("/sinks/{name}", operation_id="readSink", response_model=schemas.SinkOut, openapi_extra=VIEWER)
async def read_sink(name: str, parts: Parts) -> Response:
    """How a sink is doing."""
    for state in parts.deliveries.states():
        if state.name == name:
            return ready(dataclasses.asdict(state))
    raise NotFound(f"no sink {name!r}")


@api.get(
    "/sinks/{name}/refused", operation_id="listRefused", response_model=schemas.RefusedPage, openapi_extra=OPERATOR
)
async def list_refused(name: str, parts: Parts) -> Response:
    """What a sink will never take, and why, the newest first."""
    return ready({"items": [_letter(each) for each in await parts.deliveries.refused(name)]})


@api.post(
    "/sinks/{name}/refused/{entry_id}/retry", operation_id="retryRefused", status_code=202, openapi_extra=OPERATOR
)
async def retry_refused(name: str, entry_id: str, parts: Parts, asking: Asking) -> Response:
    """Try an entry once more; it stays in the list until the sink has taken it."""
    await parts.deliveries.retry(name, entry_id)
    await _audit(parts, asking, Action.DELIVERY_RETRIED, name, {"entry": entry_id})
    return Response(status_code=202)


@api.post(
    "/sinks/{name}/replay",
    operation_id="replaySink",
    status_code=202,
    response_model=schemas.ReplayOut,
    openapi_extra=OPERATOR,
)
async def replay_sink(name: str, body: schemas.ReplayIn, parts: Parts, asking: Asking) -> Response:
    """Deliver again what was stored in a span of time and is still in the journal, under the same ids, as late entries."""
    since, until = parse_time(body.since, "body.since"), parse_time(body.until, "body.until")
    entries = await parts.deliveries.replay(name, since, until)
    await _audit(parts, asking, Action.DELIVERY_REPLAYED, name, {"since": since, "until": until, "entries": entries})
    return ready({"entries": entries}, 202)


async def _audit(parts: WebParts, asking: Principal, action: Action, sink: str, data: dict[str, Value]) -> None:
    """Keep in the audit trail what somebody had delivered once more."""
    actor = f"{asking.kind}:{asking.name}"
    await asyncio.to_thread(parts.store.audit.append, actor, action, f"sink:{sink}", data)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    item = letter.entry.item
    return {
        "id": letter.entry.id,
        "reason": letter.reason,
        "at": letter.at,
        "what": item.type.value if isinstance(item, Event) else "readings",
        "meter_id": item.meter_id,
        "size": 0 if isinstance(item, Event) else len(item),
    }
