"""Captures: what goes over the wire of a meter, into a file for an analyser or live on the screen. Secrets are masked."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from headend.drivers.base import NO_SECRETS
from headend.drivers.decoding import to_document
from headend.drivers.masking import Piece
from headend.drivers.pasted import explain_any
from headend.errors import NotFound
from headend.model.jsontext import dumps
from headend.services.captures import CaptureInfo, Captures, Target
from headend.services.taps import Watch
from headend.web.access import OPERATOR
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.schemas import captures as schemas

HEARTBEAT_SECONDS: Final = 15.0
LIFETIME_SECONDS: Final = 3600.0
EXPLAINED_OCTETS: Final = 4096
"""of a piece; longer ones are shown as they are"""
WATCHERS: Final = 20

api = router("captures")


@api.post("/captures", operation_id="startCapture", status_code=201, openapi_extra=OPERATOR)
async def start_capture(body: schemas.CaptureIn, parts: Parts, response: Response) -> schemas.Capture:
    """Begin to capture what goes over the wire of a meter (of all who share it), or over a connection that somebody opened."""
    if bool(body.meter_id) is (body.connection is not None):
        raise Refused("invalid-request", "a meter or a connection", field="body.meter_id")
    target = await (
        parts.captures.target(body.meter_id) if body.connection is None else _connection(parts, body.connection)
    )
    info = parts.captures.start(target, seconds=body.seconds, octets=body.octets)
    response.headers["Location"] = f"/api/v1/captures/{info.id}"
    return _shown(info)


@api.get("/captures", operation_id="listCaptures", response_model=schemas.Captures, openapi_extra=OPERATOR)
async def list_captures(parts: Parts) -> Response:
    """All captures, newest first."""
    return ready({"items": [dataclasses.asdict(info) for info in parts.captures.known()]})


@api.get("/captures/{capture_id}", operation_id="getCapture", openapi_extra=OPERATOR)
async def get_capture(capture_id: str, parts: Parts) -> schemas.Capture:
    """One capture."""
    return _shown(parts.captures.get(capture_id))


@api.get(
    "/captures/{capture_id}/file",
    operation_id="downloadCapture",
    response_class=Response,
    responses={200: {"description": "The capture", "content": {"application/x-pcapng": {}}}},
    openapi_extra=OPERATOR,
)
async def download_capture(capture_id: str, parts: Parts) -> StreamingResponse:
    """All of a capture that is kept, as one pcapng file."""
    name = f'attachment; filename="{capture_id}.pcapng"'
    return StreamingResponse(
        _octets(parts.captures.files(capture_id)),
        media_type="application/x-pcapng",
        headers={"Content-Disposition": name},
    )


@api.post("/captures/{capture_id}/stop", operation_id="stopCapture", openapi_extra=OPERATOR)
async def stop_capture(capture_id: str, parts: Parts) -> schemas.Capture:
    """End a capture; what it has taken is kept."""
    return _shown(parts.captures.stop(capture_id))


@api.delete("/captures/{capture_id}", operation_id="removeCapture", status_code=204, openapi_extra=OPERATOR)
async def remove_capture(capture_id: str, parts: Parts) -> Response:
    """End a capture and delete it."""
    parts.captures.remove(capture_id)
    return Response(status_code=204)


@api.get(
    "/meters/{meter_id}/packets",
    operation_id="followPackets",
    response_class=Response,
    responses={200: {"description": "A stream of events", "content": {"text/event-stream": {}}}},
    openapi_extra=OPERATOR,
)
async def follow_packets(meter_id: str, request: Request, parts: Parts) -> Response:
    """Follow what goes over the wire of a meter, in octets and in words, as it goes.

    `event: packet` has `at`, `sent`, `octets` (hexadecimal), `masked` and, for up to 4096 octets, `layer` as `decode` gives
    it, deciphered with the keys that are kept of the meter. `event: lost` counts pieces that came too fast.
    """
    return await _follow(request, parts, await parts.captures.target(meter_id), meter_id)


@api.get(
    "/connections/{number}/packets",
    operation_id="followConnection",
    response_class=Response,
    responses={200: {"description": "A stream of events", "content": {"text/event-stream": {}}}},
    openapi_extra=OPERATOR,
)
async def follow_connection(number: int, request: Request, parts: Parts) -> Response:
    """Follow what goes over a connection that somebody opened, like the wire of a meter."""
    target = await _connection(parts, number)
    return await _follow(request, parts, target, target.name if target.name in parts.roster else "")


async def _connection(parts: WebParts, number: int) -> Target:
    """What is captured of an open connection: the wire of the meter that it is, or itself while nobody knows whose it is."""
    caller = parts.gateway.callers.get(number)
    if caller is None:
        raise NotFound(f"no connection {number}")
    if caller.states:
        return await parts.captures.target(caller.states[0].meter.id)
    driver = parts.driver(caller.protocol) if caller.protocol else None
    return Target(name=f"connection-{number}", wire=f"connection://{number}", link=caller.link, driver=driver)


async def _follow(request: Request, parts: WebParts, target: Target, meter_id: str) -> Response:
    """The stream of a wire, deciphered with the keys of one meter on it."""
    if parts.captures.watchers >= WATCHERS:
        raise Refused("too-many-requests", f"{WATCHERS} clients follow wires already", headers={"Retry-After": "30"})

    async def known() -> bool:
        try:
            return await request.app.state.authority.who(request.scope) is not None
        except Refused:
            return False

    keys = await parts.captures.secrets(parts.roster.state(meter_id).meter) if meter_id else NO_SECRETS

    def explain(octets: bytes) -> object:
        return to_document(explain_any(octets, [target.driver], keys)[1]) if target.driver is not None else None

    return PacketStream(parts.captures, parts.captures.watch(target), explain, known)


class PacketStream(Response):
    """The response that follows a wire."""

    media_type = "text/event-stream"

    def __init__(
        self,
        captures: Captures,
        watch: Watch,
        explain: Callable[[bytes], object],
        known: Callable[[], Awaitable[bool]],
    ) -> None:
        """`known` says whether who asked may still do so."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._captures = captures
        self._watch = watch
        self._explain = explain
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client is gone or no longer known, or an hour has passed."""
        request = Request(scope, receive)
        loop = asyncio.get_running_loop()
        end = loop.time() + LIFETIME_SECONDS
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            piece = b"retry: 2000\n\n"
            while loop.time() < end and not await request.is_disconnected() and await self._known():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                pieces = await self._watch.next(HEARTBEAT_SECONDS)
                piece = b"".join([self._lost(), *map(self._frame, pieces)]) or b": \n\n"
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._captures.unwatch(self._watch)

    def _lost(self) -> bytes:
        lost, self._watch.lost = self._watch.lost, 0
        return b"event: lost\ndata: %d\n\n" % lost if lost else b""

    def _frame(self, taken: tuple[Piece, int]) -> bytes:
        piece, at = taken
        data: dict[str, object] = {
            "at": at,
            "sent": piece.sent,
            "octets": piece.octets.hex(),
            "masked": piece.masked,
            "layer": self._explain(piece.octets) if len(piece.octets) <= EXPLAINED_OCTETS else None,
        }
        return b"event: packet\ndata: " + dumps(data) + b"\n\n"


async def _octets(paths: Sequence[Path]) -> AsyncIterator[bytes]:
    for path in paths:
        yield await asyncio.to_thread(path.read_bytes)


def _shown(info: CaptureInfo) -> schemas.Capture:
    return schemas.Capture(**dataclasses.asdict(info))
