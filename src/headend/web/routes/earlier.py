"""The paths of an earlier discovery platform, for its clients: thin aliases of what stands in `/api/v1`.

Its `id` of fingerprints, profiles, associations and vendors is that of a device here.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Path, Query, Response
from pydantic import Field

from headend.emulator.emulators import MOST_METERS, Template
from headend.errors import NotFound
from headend.model.device import Device, DeviceQuery
from headend.model.scan import ScanJob, ScanRequest, ScanState
from headend.services.discovery.normalise import normalise
from headend.services.discovery.report import matrix
from headend.web.access import ADMIN, OPERATOR, PUBLIC, VIEWER
from headend.web.encode import ready
from headend.web.routes import Asking, Parts, emulators, router, system
from headend.web.routes.devices import device_row
from headend.web.routes.scans import scan_row
from headend.web.schemas import discovery as schemas
from headend.web.schemas import emulators as emulator_schemas
from headend.web.schemas.base import In, Text
from headend.web.schemas.system import Health

api = router("earlier paths", "")

_MOST = 1000
DevicePath = Annotated[schemas.DeviceId, Path()]


class EarlierScan(In):
    """As its clients ask for a scan."""

    ip_range: schemas.Targets
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field([], max_length=1000)
    timeout_seconds: float | None = Field(None, gt=0, le=60)
    retries: int = Field(0, ge=0, description="without effect: what did not answer is found by the next scan")
    max_concurrency: int | None = Field(None, gt=0)


class EarlierTemplate(emulator_schemas.TemplateIn):
    """A template with its name in the body."""

    name: emulator_schemas.Label


class EarlierInstances(In):
    """Instances of one template."""

    template: emulator_schemas.Label
    count: int = Field(1, ge=1, le=MOST_METERS)
    group: Text | None = None


@api.get("/health", operation_id="earlierHealth", openapi_extra=PUBLIC)
async def health(parts: Parts) -> Health:
    """See `GET /api/v1/health`."""
    return await system.health(parts)


@api.get("/summary", operation_id="earlierSummary", openapi_extra=VIEWER)
async def summary(parts: Parts) -> Response:
    """Counts of templates, instances and profiles; more is in `GET /api/v1/summary`."""
    said = await system.summary(parts)
    return ready(
        {"templates": said.templates, "instances": said.instances, "profiles": said.devices, "meters": said.meters}
    )


@api.get("/emulators/templates", operation_id="earlierTemplates", openapi_extra=VIEWER)
async def list_templates(parts: Parts) -> emulator_schemas.TemplateList:
    """See `GET /api/v1/emulators/templates`."""
    return await emulators.list_templates(parts)


@api.post("/emulators/templates", operation_id="earlierPutTemplate", status_code=201, openapi_extra=ADMIN)
async def put_template(body: EarlierTemplate, parts: Parts) -> emulator_schemas.TemplateOut:
    """See `PUT /api/v1/emulators/templates/{name}`."""
    template = Template(name=body.name, profile=body.profile, settings=body.settings, note=body.note)
    await parts.emulators.put(template)
    return emulator_schemas.TemplateOut(name=body.name, **body.model_dump(exclude={"name"}))


@api.get("/emulators/instances", operation_id="earlierInstances", openapi_extra=VIEWER)
async def list_instances(parts: Parts) -> emulator_schemas.InstanceList:
    """See `GET /api/v1/emulators/instances`."""
    return await emulators.list_instances(parts)


@api.post("/emulators/instances", operation_id="earlierStart", status_code=201, openapi_extra=ADMIN)
async def start_instance(body: EarlierInstances, parts: Parts, response: Response) -> emulator_schemas.InstanceOut:
    """See `POST /api/v1/emulators/instances`."""
    return await emulators.start_instances(emulator_schemas.InstanceIn(**body.model_dump()), parts, response)


@api.post("/emulators/instances/bulk", operation_id="earlierStartMany", status_code=201, openapi_extra=ADMIN)
async def start_many(body: EarlierInstances, parts: Parts, response: Response) -> emulator_schemas.InstanceOut:
    """Many instances of one template: see `POST /api/v1/emulators/instances`."""
    return await start_instance(body, parts, response)


@api.post("/discovery/scan", operation_id="earlierScan", status_code=202, openapi_extra=OPERATOR)
async def start_scan(body: EarlierScan, parts: Parts, asking: Asking) -> Response:
    """See `POST /api/v1/scans`, which `Location` leads to."""
    request = ScanRequest(
        targets=body.ip_range,
        ports=",".join(map(str, body.ports)),
        timeout=body.timeout_seconds,
        window=body.max_concurrency,
    )
    job = await parts.discovery.start(request, actor=f"{asking.kind}:{asking.name}")
    response = ready(_log(job), 202)
    response.headers["Location"] = f"/api/v1/scans/{job.id}"
    return response


@api.get("/discovery/logs", operation_id="earlierLogs", openapi_extra=VIEWER)
async def list_logs(parts: Parts, limit: Annotated[int, Query(ge=1, le=_MOST)] = 100) -> Response:
    """See `GET /api/v1/scans`."""
    return ready([_log(job) for job in await parts.discovery.jobs(limit=limit)])


@api.get("/fingerprints", operation_id="earlierFingerprints", openapi_extra=VIEWER)
async def list_fingerprints(
    parts: Parts,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> Response:
    """See `GET /api/v1/devices`."""
    page = await parts.discovery.devices(DeviceQuery(after=after, limit=limit))
    return ready([_fingerprint(device) for device in page.items])


@api.get("/fingerprints/{device_id}", operation_id="earlierFingerprint", openapi_extra=VIEWER)
async def read_fingerprint(device_id: DevicePath, parts: Parts) -> Response:
    """See `GET /api/v1/devices/{device_id}`."""
    device, papers = await parts.discovery.device(device_id), await parts.discovery.papers(device_id)
    return ready({**_fingerprint(device), "facts": dict(papers.fingerprint.facts)})


@api.get("/profiles", operation_id="earlierProfiles", openapi_extra=VIEWER)
async def list_profiles(
    parts: Parts,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> Response:
    """The profiles of discovered meters, in short."""
    page = await parts.discovery.devices(DeviceQuery(after=after, limit=limit))
    return ready([_profile(device) for device in page.items])


@api.get("/profiles/{device_id}", operation_id="earlierProfile", openapi_extra=VIEWER)
async def read_profile(device_id: DevicePath, parts: Parts) -> Response:
    """The profile of a discovered meter, in short."""
    return ready(_profile(await parts.discovery.device(device_id)))


@api.get("/profiles/{device_id}/export", operation_id="earlierExport", openapi_extra=VIEWER)
async def export_profile(device_id: DevicePath, parts: Parts) -> Response:
    """See `GET /api/v1/profiles/{profile_id}/export`: the profile that fits, or that its draft became."""
    device = await parts.discovery.device(device_id)
    meter = parts.roster.find(device.meter_id) if device.meter_id else None
    profile_id = device.profile_id or (meter.meter.profile_id if meter else "")
    if not profile_id:
        raise NotFound(f"no profile is kept for the device {device_id}", hint="keep its draft first")
    return ready(await asyncio.to_thread(parts.profiles.document, profile_id))


@api.get("/associations/{device_id}", operation_id="earlierAssociations", openapi_extra=VIEWER)
async def read_associations(device_id: DevicePath, parts: Parts) -> Response:
    """The association report of a device."""
    return ready(matrix((await parts.discovery.papers(device_id)).examination).to_json())


@api.get("/associations/objects/{device_id}", operation_id="earlierObjects", openapi_extra=VIEWER)
async def list_objects(device_id: DevicePath, parts: Parts) -> Response:
    """The object list of a device, as the meter gave it."""
    fingerprint = (await parts.discovery.papers(device_id)).fingerprint
    return ready([{"class_id": each[0], "version": each[1], "obis": each[2]} for each in fingerprint.objects])


@api.get("/obis/normalize/{device_id}", operation_id="earlierNormalise", openapi_extra=VIEWER)
async def normalise_objects(device_id: DevicePath, parts: Parts) -> Response:
    """What the objects of a device stand for."""
    papers = await parts.discovery.papers(device_id)
    seen, flag = papers.examination, papers.classification.flag
    return ready(await asyncio.to_thread(lambda: normalise(seen.protocol, seen.objects, vendor=flag).to_json()))


@api.get("/vendors/classify/{device_id}", operation_id="earlierClassify", openapi_extra=VIEWER)
async def classify(device_id: DevicePath, parts: Parts) -> Response:
    """Which meter it is, how sure that is, and why."""
    device = await parts.discovery.device(device_id)
    found = (await parts.discovery.papers(device_id)).classification
    return ready(
        {
            **{name: value for name, value in device_row(device).items() if name in _VENDOR},
            "reasons": [{"text": each.text, "fact": each.fact, "weight": each.weight} for each in found.reasons],
            "against": [{"text": each.text, "fact": each.fact, "weight": each.weight} for each in found.against],
        }
    )


_VENDOR = frozenset({"id", "vendor", "model", "firmware", "confidence", "method", "profile_id"})


def _log(job: ScanJob) -> dict[str, Any]:
    row = scan_row(job)
    return {
        "scan_id": job.id,
        "ip_range": job.request.targets,
        "ports": job.request.ports,
        "state": job.state.value,
        "target_count": job.progress.targets,
        "discovered_count": job.progress.devices,
        "started_at": row["started_at"],
        "finished_at": row["ended_at"],
        "done": job.state is ScanState.FINISHED,
    }


def _fingerprint(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "fingerprint": device.digest,
        "vendor": device.vendor,
        "model": device.model,
        "obis_count": device.objects,
        "address": f"{device.host}:{device.port}",
        "changed_at": device.changed_at,
    }


def _profile(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "profile_id": device.profile_id,
        "vendor": device.vendor,
        "model": device.model,
        "firmware": device.firmware,
        "serial": device.serial,
        "url": device.url,
        "meter_id": device.meter_id,
    }
