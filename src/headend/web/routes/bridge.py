"""The paths of an earlier bridge from DLMS to ThingsBoard, for its clients: thin aliases of what stands in `/api/v1`.

Its meters speak HDLC over TCP. A list of measurements becomes a meter file, shared by all meters with the same list.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from headend.errors import CapabilityError, ConfigError, Conflict
from headend.model.alarm import Alarm
from headend.model.delivery import TakesTokens
from headend.model.meter import EndpointKind, Meter, Secret
from headend.model.reading import from_millis
from headend.model.statistics import total
from headend.services.profiles.measurements import PREFIX, Measurement, file_of, measurement, measurements_of
from headend.services.roster import MeterState
from headend.web.access import ADMIN, OPERATOR, PUBLIC, VIEWER, Principal
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, meters, router, system
from headend.web.routes.alarms import Number
from headend.web.routes.statistics import DAY_MS
from headend.web.schemas import bridge as schemas
from headend.web.schemas.meters import MeterFields, MeterIn, SecretIn
from headend.web.schemas.system import Health, Status

api = router("paths of the bridge", "/api")

POLL_SECONDS: Final = 2.0
"""as the bridge did"""
ALARMS: Final = 1000
_DEVICE: Final = "tb-device:"
"""begins the tag that keeps the name of the device at ThingsBoard"""


@api.get("/meters", operation_id="bridgeMeters", response_model=list[schemas.BridgeMeter], openapi_extra=VIEWER)
async def list_meters(parts: Parts) -> Response:
    """All meters; see `GET /api/v1/meters`."""
    return ready([_row(parts, state) for state in sorted(parts.roster, key=lambda each: each.meter.id)])


@api.get("/meters/{meter_id}", operation_id="bridgeMeter", response_model=schemas.BridgeMeter, openapi_extra=VIEWER)
async def read_meter(meter_id: str, parts: Parts) -> Response:
    """One meter; see `GET /api/v1/meters/{meter_id}`."""
    return ready(_row(parts, parts.roster.state(meter_id)))


@api.post(
    "/meters",
    operation_id="bridgeAddMeter",
    status_code=201,
    response_model=schemas.BridgeMeter,
    openapi_extra=ADMIN,
)
async def add_meter(body: schemas.BridgeMeterIn, parts: Parts, asking: Asking) -> Response:
    """Add a meter with HDLC over TCP; it is read at once. `tb_token` goes to the sink that has a token for each meter."""
    sink = _sink(parts) if body.tb_token else None
    asked = [
        measurement(each) if isinstance(each, str) else measurement(each.name, each.obis) for each in body.measurements
    ]
    profile_id = await _keep(parts, asked, asking)
    wanted = MeterIn.model_validate(
        {
            "name": body.name,
            "protocol": "dlms",
            "framing": "hdlc",
            "endpoint": {"host": body.ip_address, "port": body.port},
            "params": {
                "client": str(body.client_id),
                "server": str(body.server_id),
                "auth": "lls" if body.password else "none",
            },
            "profile_id": profile_id,
            "poll_seconds": POLL_SECONDS,
            "tags": _tags([], body.tb_device_name),
            "secrets": {"secret": f"text:{body.password}"} if body.password else {},
        }
    )
    wanted.id = meters.meter_of(parts, wanted)[0].id
    if sink is not None and body.tb_token:
        await asyncio.to_thread(sink.keep_token, wanted.id, Secret(body.tb_token.encode()))
    meter_id = await meters.add_meter(parts, wanted)
    response = ready(_row(parts, parts.roster.state(meter_id)), 201)
    response.headers["Location"] = f"/api/meters/{meter_id}"
    return response


@api.put(
    "/meters/{meter_id}", operation_id="bridgeChangeMeter", response_model=schemas.BridgeMeter, openapi_extra=ADMIN
)
async def change_meter(meter_id: str, body: schemas.BridgeMeterChange, parts: Parts, asking: Asking) -> Response:
    """Change what is given of a meter; takes effect at once."""
    sink = _sink(parts) if body.tb_token else None
    meter = parts.roster.state(meter_id).meter
    changes: dict[str, Any] = {}
    if body.name is not None:
        changes["name"] = body.name
    if body.status is not None:
        changes["enabled"] = body.status == "active"
    if body.ip_address is not None or body.port is not None:
        if meter.endpoint.kind not in (EndpointKind.TCP, EndpointKind.UDP):
            raise Conflict(f"the meter {meter_id!r} has no address in a network", hint="change it by /api/v1/meters")
        host, port = body.ip_address or meter.endpoint.host, body.port or meter.endpoint.port
        changes["endpoint"] = {"kind": meter.endpoint.kind.value, "host": host, "port": port}
    told = {"client": body.client_id, "server": body.server_id}
    params = {name: str(value) for name, value in told.items() if value is not None}
    if body.password is not None and meter.params.get("auth", "none") == "none":
        params["auth"] = "lls"
    if params:
        changes["params"] = {**meter.params, **params}
    if body.tb_device_name is not None:
        changes["tags"] = _tags(meter.tags, body.tb_device_name)
    if body.password is not None:
        await meters.put_secret(meter_id, "secret", SecretIn(value=f"text:{body.password}"), parts, asking)
    if changes:
        await _change(parts, meter_id, changes)
    if sink is not None and body.tb_token:
        await asyncio.to_thread(sink.keep_token, meter_id, Secret(body.tb_token.encode()))
    return ready(_row(parts, parts.roster.state(meter_id)))


@api.delete("/meters/{meter_id}", operation_id="bridgeRemoveMeter", status_code=204, openapi_extra=ADMIN)
async def remove_meter(meter_id: str, parts: Parts) -> None:
    """Remove a meter, its secrets, its readings and its access token."""
    revision = (await asyncio.to_thread(parts.store.meters.get, meter_id)).revision
    await meters.remove_meter(meter_id, parts, f'"{revision}"')


@api.get("/config/{meter_id}", operation_id="bridgeConfig", response_model=schemas.BridgeConfig, openapi_extra=VIEWER)
async def read_config(meter_id: str, parts: Parts) -> Response:
    """What is read of a meter, and how often."""
    return ready({"measurements": _config(parts, parts.roster.state(meter_id).meter)})


@api.put(
    "/config/{meter_id}", operation_id="bridgeChangeConfig", response_model=schemas.BridgeConfig, openapi_extra=ADMIN
)
async def change_config(meter_id: str, body: schemas.BridgeConfig, parts: Parts, asking: Asking) -> Response:
    """Replace what is read of a meter, and how often: takes effect at once.

    Refused for a meter whose meter file is another one, and for keys that are not those of the sink.
    """
    meter = parts.roster.state(meter_id).meter
    if not meter.profile_id.startswith(PREFIX):
        raise CapabilityError(
            f"what is read of {meter_id!r} is in the meter file {meter.profile_id!r}",
            hint="change that file, give the meter another one, or set poll.every",
        )
    spans = [row.sampling_interval for row in body.measurements if row.enabled and row.sampling_interval]
    unsaid = any(row.enabled and row.sampling_interval is None for row in body.measurements)
    period = min([*spans, *([meter.poll_seconds or POLL_SECONDS] if unsaid else [])], default=meter.poll_seconds)
    wanted: list[Measurement] = []
    for row in body.measurements:
        span = row.sampling_interval or 0.0
        found = measurement(row.measurement, row.obis)
        if row.tb_key and row.tb_key != _key(parts, found.quantity):
            raise ConfigError(
                f"the key of {found.name!r} is {_key(parts, found.quantity)!r}",
                hint="keys are for all meters: set `naming` or `keys` of the sink",
            )
        wanted.append(dataclasses.replace(found, enabled=row.enabled, every=span if span > period else 0.0))
    profile_id = await _keep(parts, wanted, asking)
    await _change(parts, meter_id, {"profile_id": profile_id, "poll_seconds": period})
    return ready({"measurements": _config(parts, parts.roster.state(meter_id).meter)})


@api.get(
    "/metrics/{meter_id}", operation_id="bridgeMetrics", response_model=schemas.BridgeMetrics, openapi_extra=VIEWER
)
async def read_metrics(meter_id: str, parts: Parts) -> Response:
    """How a meter was read in the last 24 hours; see `GET /api/v1/meters/{meter_id}/statistics`."""
    state, end = parts.roster.state(meter_id), parts.millis()
    await parts.statistics.flush()
    slots = await asyncio.to_thread(parts.store.statistics.of_meter, meter_id, end - DAY_MS, end)
    figures, sinks = total(each for _, each in slots), parts.deliveries.states()
    knowledge = state.knowledge
    return ready(
        {
            "meter_id": meter_id,
            "avg_read_time": _thousand(figures.mean),
            "min_read_time": _thousand(figures.fastest or None),
            "max_read_time": _thousand(figures.slowest or None),
            "total_reads": figures.reads_ok + figures.reads_failed,
            "successful_reads": figures.reads_ok,
            "failed_reads": figures.reads_failed,
            "success_rate": None if figures.success is None else round(100 * figures.success, 2),
            "messages_sent": figures.messages,
            "messages_buffered": figures.messages_late,
            "reconnects": figures.reconnections,
            "cache_hits": figures.scales_used - figures.scales_asked,
            "cache_hit_rate": None if figures.remembered is None else round(100 * figures.remembered, 2),
            "mqtt_reconnects": sum(max(0, each.connections - 1) for each in sinks),
            "requests": figures.requests,
            "requests_saved": max(0, knowledge.singles - knowledge.requests),
        }
    )


@api.get(
    "/network/metrics",
    operation_id="bridgeNetworkMetrics",
    response_model=schemas.NetworkMetrics,
    openapi_extra=VIEWER,
)
async def read_network(parts: Parts) -> Response:
    """What all meters said and were asked in the last 24 hours; see `GET /api/v1/statistics`."""
    end = parts.millis()
    await parts.statistics.flush()
    slots = await asyncio.to_thread(parts.store.statistics.of_fleet, end - DAY_MS, end)
    figures = total(each for _, each in slots)
    seconds = (end - slots[0][0]) / 1000 if slots else 0.0
    octets = figures.octets_in + figures.octets_out
    return ready(
        {
            "requests": figures.requests,
            "responses": figures.responses,
            "bytes_sent": figures.octets_out,
            "bytes_received": figures.octets_in,
            "bandwidth": round(octets / max(seconds, 1.0), 3),
            "mqtt_messages": sum(each.delivered for each in parts.deliveries.states()),
        }
    )


@api.get("/alarms", operation_id="bridgeAlarms", response_model=list[schemas.BridgeAlarm], openapi_extra=VIEWER)
async def list_alarms(parts: Parts) -> Response:
    """The newest alarms; see `GET /api/v1/alarms`."""
    found = await asyncio.to_thread(lambda: parts.store.alarms.list(limit=ALARMS))
    return ready([_alarm(each) for each in found])


@api.post(
    "/alarms/{number}/ack",
    operation_id="bridgeAcknowledge",
    response_model=schemas.BridgeAlarm,
    openapi_extra=OPERATOR,
)
async def acknowledge_alarm(number: Number, parts: Parts, asking: Asking) -> Response:
    """Say that an alarm was seen; see `POST /api/v1/alarms/{number}/acknowledge`."""
    return ready(_alarm(await parts.alarms.acknowledge(number, _actor(asking), "")))


@api.get("/system/health", operation_id="bridgeHealth", openapi_extra=PUBLIC)
async def health(parts: Parts) -> Health:
    """See `GET /api/v1/health`."""
    return await system.health(parts)


@api.get("/system/status", operation_id="bridgeStatus", openapi_extra=VIEWER)
async def status(request: Request, parts: Parts) -> Status:
    """See `GET /api/v1/status`."""
    return await system.status(request, parts)


def _actor(asking: Principal) -> str:
    return f"{asking.kind}:{asking.name}"


def _sink(parts: WebParts) -> TakesTokens:
    """The sink that takes access tokens; raises Refused."""
    if parts.deliveries.tokens is None:
        raise Refused(
            "config",
            "no sink takes access tokens of meters",
            hint="set up a sink of the kind thingsboard-device with a token_folder",
            field="body.tb_token",
        )
    return parts.deliveries.tokens


def _key(parts: WebParts, quantity: str) -> str:
    sink = parts.deliveries.tokens
    return quantity if sink is None else sink.key(quantity)


async def _keep(parts: WebParts, wanted: Sequence[Measurement], asking: Principal) -> str:
    """The id of the meter file of these measurements, kept if it is new."""
    profile_id, text = file_of(wanted)
    if profile_id not in parts.library.ids():
        await asyncio.to_thread(parts.profiles.create, profile_id, text, actor=_actor(asking))
    return profile_id


async def _change(parts: WebParts, meter_id: str, changes: Mapping[str, Any]) -> None:
    revision = (await asyncio.to_thread(parts.store.meters.get, meter_id)).revision
    fields = MeterFields.model_validate(changes)
    await meters.change_meter(meter_id, fields, parts, f'"{revision}"')


def _tags(old: Sequence[str], device: str | None) -> list[str]:
    """The tags of a meter, with the name of its device: a tag has no spaces, and such a name no ~."""
    others = [tag for tag in old if not tag.startswith(_DEVICE)]
    return [*others, _DEVICE + device.replace(" ", "~")] if device else others


def _config(parts: WebParts, meter: Meter) -> list[dict[str, Any]]:
    if not meter.profile_id:
        return []
    return [
        {
            "measurement": each.name,
            "obis": each.obis,
            "enabled": each.enabled,
            "sampling_interval": max(each.every, meter.poll_seconds) or None,
            "tb_key": _key(parts, each.quantity),
        }
        for each in measurements_of(parts.library.get(meter.profile_id))
    ]


def _row(parts: WebParts, state: MeterState) -> dict[str, Any]:
    meter, sink = state.meter, parts.deliveries.tokens
    device = next((tag for tag in meter.tags if tag.startswith(_DEVICE)), None)
    return {
        "id": meter.id,
        "name": meter.name,
        "ip_address": meter.endpoint.host or meter.endpoint.path,
        "port": meter.endpoint.port,
        "client_id": _number(meter, "client"),
        "server_id": _number(meter, "server"),
        "status": "inactive" if not meter.enabled else "error" if state.online is False else "active",
        "last_seen": _time(state.last_seen),
        "last_error": state.last_error_text or None,
        "error_count": state.reads_failed,
        "tb_host": sink.host if sink else None,
        "tb_port": sink.port if sink else None,
        "tb_device_name": device.removeprefix(_DEVICE).replace("~", " ") if device else None,
        "model": meter.identity.model,
        "serial_number": meter.identity.serial,
        "firmware_version": meter.identity.firmware,
    }


def _number(meter: Meter, name: str) -> int:
    text = meter.params.get(name, "")
    return int(text) if text.isdecimal() else 0


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "id": alarm.number,
        "meter_id": alarm.meter_id,
        "severity": alarm.severity.value,
        "category": alarm.kind.value,
        "message": _message(alarm),
        "timestamp": _time(alarm.raised_at),
        "active": alarm.cleared_at is None,
        "acknowledged": alarm.acknowledged_at is not None,
        "acknowledged_by": alarm.acknowledged_by or None,
        "acknowledged_at": _time(alarm.acknowledged_at),
    }


def _message(alarm: Alarm) -> str:
    if alarm.value is None or not alarm.quantity:
        return alarm.label
    return f"{alarm.label}: {alarm.quantity} {alarm.value} {alarm.unit}".rstrip()


def _thousand(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _time(at: int | None) -> str | None:
    return None if at is None else from_millis(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
