"""The interface of mbmd (github.com/volkszaehler/mbmd), for its clients: last values, means of a minute, status, and a WebSocket.

Served where the setting `web.mbmd` is on. Names and units are mbmd's: energies in kWh, powers in W. A device is the id of a meter,
with dots for what mbmd does not allow there. What is stale is left out, so that a meter that is away has nothing.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Mapping
from statistics import fmean
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Path, WebSocket
from fastapi.responses import PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.websockets import WebSocketDisconnect

from headend.model.jsontext import dumps
from headend.model.mbmd import MEASUREMENTS, amount, device_id, names
from headend.model.meter import Meter
from headend.model.reading import ReadingBatch, from_millis
from headend.web.access import VIEWER
from headend.web.encode import ready
from headend.web.guard import check_host, check_origin
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.routes.readings import latest_rows

MINUTE_MS: Final = 60_000
MOST_CLIENTS: Final = 50
STATUS_SECONDS: Final = 1.0
NOTHING: Final = "no data available"
POLICY_VIOLATION: Final = 1008
TRY_AGAIN: Final = 1013

Values: TypeAlias = dict[str, float]
Device = Annotated[str, Path(pattern="^[a-zA-Z0-9.]+$", max_length=200)]


def mbmd(started_at: int) -> APIRouter:
    """The routes; `started_at` is when the server began."""
    api = router("mbmd", "")

    @api.get("/api/last", operation_id="mbmdLast", openapi_extra=VIEWER)
    async def last(parts: Parts) -> Response:
        return _all(await asyncio.to_thread(_last, parts))

    @api.get("/api/last/{device}", operation_id="mbmdLastOf", openapi_extra=VIEWER)
    async def last_of(device: Device, parts: Parts) -> Response:
        return _one(await asyncio.to_thread(_last, parts, device), device)

    @api.get("/api/avg", operation_id="mbmdMean", openapi_extra=VIEWER)
    async def mean(parts: Parts) -> Response:
        return _all(await asyncio.to_thread(_mean, parts))

    @api.get("/api/avg/{device}", operation_id="mbmdMeanOf", openapi_extra=VIEWER)
    async def mean_of(device: Device, parts: Parts) -> Response:
        return _one(await asyncio.to_thread(_mean, parts, device), device)

    @api.get("/api/status", operation_id="mbmdStatus", openapi_extra=VIEWER)
    async def status(parts: Parts) -> Response:
        return ready(_status(parts, started_at))

    feed = _Feed(started_at)
    api.add_api_websocket_route("/ws", feed.serve)
    return api


def _all(found: Mapping[str, dict[str, Any]]) -> Response:
    return ready(found) if found else PlainTextResponse(NOTHING, 400)


def _one(found: Mapping[str, dict[str, Any]], device: str) -> Response:
    return ready(found[device]) if device in found else PlainTextResponse(NOTHING, 400)


def _chosen(parts: WebParts, device: str) -> dict[str, str]:
    """Ids of meters, with the names that they have as devices."""
    found = {state.meter.id: device_id(state.meter.id) for state in parts.roster}
    return {meter: name for meter, name in found.items() if not device or name == device}


def _said(values: Values, at: int) -> dict[str, Any]:
    """What mbmd says of a device: the time, and its measurements by their names."""
    stamp = from_millis(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"Timestamp": stamp, "Unix": at // 1000, **dict(sorted(values.items()))}


def _last(parts: WebParts, device: str = "") -> dict[str, dict[str, Any]]:
    chosen = _chosen(parts, device)
    rows: dict[str, dict[str, tuple[Any, int]]] = {}
    for meter, key, value, at, _, _, _, stale in latest_rows(parts, parts.store.readings.latest(list(chosen))):
        if not stale:
            rows.setdefault(meter, {})[key] = (value, at)
    found = {}
    for meter, values in rows.items():
        known = names(values)
        said = {name: amount(name, values[key][0]) for key, name in known.items()}
        clean = {name: value for name, value in said.items() if value is not None}
        if clean:
            found[chosen[meter]] = _said(clean, max(at for _, at in values.values()))
    return found


def _mean(parts: WebParts, device: str = "") -> dict[str, dict[str, Any]]:
    """Means of the last minute."""
    now, chosen, found = parts.millis(), _chosen(parts, device), {}
    latest = parts.store.readings.latest(list(chosen))
    recent: dict[str, list[str]] = {}
    for meter, key, at in zip(latest.meter_ids, latest.quantities, latest.measured_at, strict=True):
        if at > now - MINUTE_MS:
            recent.setdefault(meter, []).append(key)
    for meter, keys in recent.items():
        values: Values = {}
        newest = 0
        named = names(keys)
        several = parts.store.readings.several(meter, list(named), now - MINUTE_MS, now + 1)
        for key, series in several.items():
            name = named[key]
            numbers = [number for value in series.values if (number := amount(name, value)) is not None]
            if numbers:
                values[name] = fmean(numbers)
                newest = max(newest, series.measured_at[-1])
        if values:
            found[chosen[meter]] = _said(values, newest)
    return found


def _status(parts: WebParts, started_at: int) -> dict[str, Any]:
    """As mbmd tells it; `Modbus` counts all protocols, `Goroutines` are tasks."""
    now, states = parts.millis(), list(parts.roster)
    minutes = max(now - started_at, 1) / MINUTE_MS
    requests, errors = sum(each.requests for each in states), sum(each.reads_failed for each in states)
    octets = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "StartTime": from_millis(started_at).isoformat().replace("+00:00", "Z"),
        "UpTime": (now - started_at) / 1000,
        "Goroutines": len(asyncio.all_tasks()),
        "Memory": {"Alloc": octets, "HeapAlloc": octets},
        "Modbus": {
            "TotalModbusRequests": requests,
            "ModbusRequestRatePerMinute": requests / minutes,
            "TotalModbusErrors": errors,
            "ModbusErrorRatePerMinute": errors / minutes,
        },
        "ConfiguredMeters": [
            {
                "Id": device_id(each.meter.id),
                "Type": each.meter.profile_id,
                "Status": "online" if each.online else "offline",
            }
            for each in states
        ],
    }


class _Feed:
    """The WebSocket: each reading as it comes, and the status once a second. Nothing is taken from clients."""

    def __init__(self, started_at: int) -> None:
        self._started_at = started_at
        self._clients = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one client until it goes."""
        parts: WebParts = socket.app.state.parts
        if not await _may_read(socket, parts):
            await socket.close(POLICY_VIOLATION)
            return
        if self._clients >= MOST_CLIENTS:
            await socket.close(TRY_AGAIN)
            return
        self._clients += 1
        readings = parts.bus.subscribe("mbmd-websocket", ReadingBatch)
        await socket.accept()
        tasks = [
            asyncio.create_task(work, name="mbmd-websocket")
            for work in (_tell(socket, parts, readings), self._tell_status(socket, parts), _listen(socket))
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            readings.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._clients -= 1

    async def _tell_status(self, socket: WebSocket, parts: WebParts) -> None:
        while True:
            await socket.send_text(dumps(_status(parts, self._started_at)).decode())
            await asyncio.sleep(STATUS_SECONDS)


async def _may_read(socket: WebSocket, parts: WebParts) -> bool:
    """The same checks that a request has: our host, our origin, somebody who may read."""
    headers = Headers(scope=socket.scope)
    scheme = "https" if socket.scope["scheme"] == "wss" else "http"
    scope = {**socket.scope, "type": "http", "method": "GET", "scheme": scheme}
    try:
        check_host(headers, parts.settings)
        check_origin(scope, headers, parts.settings.cors_origins)
        return await socket.app.state.authority.who(scope) is not None
    except Refused:
        return False


async def _tell(socket: WebSocket, parts: WebParts, readings: Any) -> None:  # noqa: ANN401 # a subscription
    async for batch in readings:
        state = parts.roster.find(batch.meter_id)
        for message in _messages(batch, state.meter if state else None, parts):
            await socket.send_text(dumps(message).decode())


def _messages(batch: ReadingBatch, meter: Meter | None, parts: WebParts) -> list[dict[str, Any]]:
    profile = parts.library.of(meter) if meter is not None else None
    there = {each.quantity for each in profile.objects} if profile else set()  # a name depends on what else there is
    known = names(there | set(batch.quantities))
    found = []
    for key, value, at in zip(batch.quantities, batch.values, batch.measured_at, strict=True):
        name = known.get(key)
        number = amount(name, value) if name else None
        if name and number is not None:
            description = MEASUREMENTS.get(name, MEASUREMENTS.get(name + "L1"))
            found.append(
                {
                    "Device": device_id(batch.meter_id),
                    "Value": number,
                    "IEC61850": name,
                    "Description": description.description if description else name,
                    "Timestamp": at,
                }
            )
    return found


async def _listen(socket: WebSocket) -> None:
    """Until the client goes; what it says is nothing to us."""
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return
