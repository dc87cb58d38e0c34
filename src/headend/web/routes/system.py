"""What the head-end is and knows: health, version, catalogue, library."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headend import telemetry
from headend.errors import NotFound, StorageError
from headend.model.delivery import SinkState
from headend.model.device import DeviceState
from headend.model.quantity import quantities
from headend.model.scan import ScanState
from headend.web.access import PUBLIC, VIEWER
from headend.web.live import LiveFeed
from headend.web.problems import KINDS
from headend.web.pulse import Pulse
from headend.web.routes import Parts, router
from headend.web.schemas import system as schemas
from headend.web.schemas.discovery import Ready, SummaryOut

api = router("system")
root = router("system", "")


@api.get("/health", operation_id="health", openapi_extra=PUBLIC)
async def health(parts: Parts) -> schemas.Health:
    """Whether the head-end works: `degraded` when its database does not take readings or does not answer."""
    if parts.writer.stuck or parts.bus.pressure() >= 1.0:
        return schemas.Health(status="degraded")
    try:
        await asyncio.to_thread(parts.store.meters.count)
    except StorageError:
        return schemas.Health(status="degraded")
    return schemas.Health(status="ok")


@api.get("/status", operation_id="status", openapi_extra=VIEWER)
async def status(request: Request, parts: Parts) -> schemas.Status:
    """The head-end at a glance. What is counted is counted since its start."""
    states = Counter(state.online for state in parts.roster)
    pulse: Pulse = request.app.state.pulse
    feed: LiveFeed = request.app.state.feed
    return schemas.Status(
        version=parts.version,
        uptime_seconds=pulse.uptime,
        meters=len(parts.roster),
        online=states[True],
        offline=states[False],
        untried=states[None],
        readings_stored=parts.writer.acknowledged,
        readings_per_second=round(pulse.rate(), 1),
        readings_waiting=parts.writer.waiting,
        pressure=round(parts.bus.pressure(), 3),
        live_clients=len(feed),
    )


@api.get("/summary", operation_id="summary", openapi_extra=VIEWER)
async def summary(parts: Parts) -> SummaryOut:
    """How much there is of everything, and whether each part is ready."""
    states = Counter(state.online for state in parts.roster)
    online, offline = states[True], states[False]
    fleet, sinks = await parts.emulators.state(), parts.deliveries.states()

    def count() -> SummaryOut:
        devices = parts.store.devices.counts()
        active, _ = parts.store.alarms.counts()
        last = parts.store.scans.list(limit=1)
        scans = len(parts.store.scans.unfinished())
        new = sum(row[-1] for row in devices if DeviceState.NEW in row)
        instances = sum(each.meters for each in parts.emulators.instances())
        return SummaryOut(
            templates=len(parts.emulators.templates()),
            instances=instances,
            meters=len(parts.roster),
            online=online,
            devices=sum(row[-1] for row in devices),
            new_devices=new,
            profiles=len(parts.library.ids()),
            kept_profiles=len(parts.profiles.kept()),
            alarms=sum(active.values()),
            scans_running=scans,
            parts=[
                Ready(
                    part="database",
                    ready=not parts.writer.stuck,
                    text=f"{parts.writer.acknowledged} readings stored since the start, {parts.writer.waiting} wait",
                ),
                Ready(part="bus", ready=parts.bus.pressure() < 1.0, text=f"{parts.bus.pressure():.0%} full"),
                Ready(
                    part="acquisition",
                    ready=not offline or offline < len(parts.roster),
                    text=f"{online} of {len(parts.roster)} meters online",
                ),
                _delivery(sinks),
                Ready(
                    part="discovery",
                    ready=not last or last[0].state is not ScanState.FAILED,
                    text=f"{scans} scans under way, {new} devices are new",
                ),
                Ready(
                    part="virtual meters",
                    ready=fleet is not None or not instances,
                    text=f"{instances} started" if instances else "none started",
                ),
            ],
        )

    return await asyncio.to_thread(count)


def _delivery(sinks: Sequence[SinkState]) -> Ready:
    """Ready while no sink is away."""
    away = [each.name for each in sinks if each.enabled and not each.connected_since]
    waiting = sum(each.backlog for each in sinks)
    text = f"sinks: {len(sinks)}, entries that wait: {waiting}" if sinks else "no sink is set"
    return Ready(part="delivery", ready=not away, text=f"{text}; away: {', '.join(away)}" if away else text)


@api.get("/version", operation_id="version", openapi_extra=VIEWER)
def version(parts: Parts) -> schemas.Version:
    """Which Headend this is."""
    return schemas.Version(version=parts.version)


@api.get("/quantities", operation_id="listQuantities", openapi_extra=VIEWER)
def list_quantities() -> schemas.Quantities:
    """The catalogue of quantities, with the unit in which readings of each are kept."""
    return schemas.Quantities(
        items=[
            schemas.QuantityOut(
                key=row.key,
                unit=row.unit,
                kind=row.kind.value,
                label=row.label,
                phase=row.phase,
                tariff=row.tariff,
                obis=row.obis,
            )
            for row in quantities().values()
        ]
    )


@root.get("/problems/{code}", operation_id="explainProblem", response_class=PlainTextResponse, openapi_extra=PUBLIC)
def explain_problem(code: str) -> str:
    """What a problem code means."""
    if code not in KINDS:
        raise NotFound(f"no problem {code[:50]!r}")
    return f"{code} (status {KINDS[code].status}): {KINDS[code].meaning}\n"


@root.get("/metrics", operation_id="metrics", response_class=PlainTextResponse, openapi_extra=VIEWER)
async def metrics(parts: Parts) -> Response:
    """Metrics of the head-end, for Prometheus."""
    telemetry.INFO.labels(parts.version).set(1)
    states = Counter(state.online for state in parts.roster)
    for name, online in (("online", True), ("offline", False), ("untried", None)):
        telemetry.METERS.labels(name).set(states[online])
    telemetry.LAST_READ.set(max((state.last_seen or 0 for state in parts.roster), default=0) / 1000)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
