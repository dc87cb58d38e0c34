"""Scans: begin one, follow it, see what it found."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response

from headend.model.scan import ScanJob, ScanProgress, ScanRequest
from headend.web.access import OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import discovery as schemas

api = router("discovery")

ScanPath = Annotated[str, Path(max_length=64)]


@api.post("/scans", operation_id="startScan", status_code=202, response_model=schemas.ScanOut, openapi_extra=OPERATOR)
async def start_scan(body: schemas.ScanIn, parts: Parts, asking: Asking) -> Response:
    """Look for meters in networks. The scan is queued; `Location` tells how far it is, and so do the live events."""
    fields = body.model_dump(exclude={"reason"})
    job = await parts.discovery.start(
        ScanRequest(**fields), actor=f"{asking.kind}:{asking.name}", reason=body.reason.strip()
    )
    response = ready(scan_row(job), 202)
    response.headers["Location"] = f"/api/v1/scans/{job.id}"
    return response


@api.get("/scans", operation_id="listScans", response_model=schemas.ScanList, openapi_extra=VIEWER)
async def list_scans(
    parts: Parts,
    before: Annotated[str, Query(max_length=64, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Scans, newest first."""
    found = await parts.discovery.jobs(before=before, limit=limit)
    return ready({"items": [scan_row(job) for job in found], "next": found[-1].id if len(found) == limit else None})


@api.get("/scans/{scan_id}", operation_id="readScan", response_model=schemas.ScanOut, openapi_extra=VIEWER)
async def read_scan(scan_id: ScanPath, parts: Parts) -> Response:
    """How far a scan is, or how it ended."""
    return ready(scan_row(await parts.discovery.job(scan_id)))


@api.post("/scans/{scan_id}/cancel", operation_id="cancelScan", response_model=schemas.ScanOut, openapi_extra=OPERATOR)
async def cancel_scan(scan_id: ScanPath, parts: Parts, asking: Asking) -> Response:
    """End a scan; what it has found stays. Refused (409) for one that has ended."""
    return ready(scan_row(await parts.discovery.cancel(scan_id, actor=f"{asking.kind}:{asking.name}")))


@api.get("/scans/{scan_id}/hits", operation_id="listHits", response_model=schemas.HitPage, openapi_extra=VIEWER)
async def list_hits(
    scan_id: ScanPath,
    parts: Parts,
    after: Annotated[str, Query(max_length=100, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    outcome: Annotated[Literal["identified", "nobody", "skipped", "waiting"] | None, Query()] = None,
) -> Response:
    """Open places of a scan, and what became of them."""
    host, _, port = after.rpartition(" ")
    if after and not port.isdecimal():
        raise Refused("invalid-request", "`next` of the page before", field="query.after")
    wanted = "" if outcome == "waiting" else outcome
    start = (host, int(port)) if after else ("", 0)
    found = await parts.discovery.hits(scan_id, after=start, limit=limit, outcome=wanted)
    rows = [{**dataclasses.asdict(hit), "banner": hit.banner.hex()} for hit in found]
    last = f"{found[-1].host} {found[-1].port}" if len(found) == limit else None
    return ready({"items": rows, "next": last})


@api.get(
    "/scans/{scan_id}/report", operation_id="readScanReport", response_model=schemas.ReportOut, openapi_extra=VIEWER
)
async def read_report(scan_id: ScanPath, parts: Parts) -> Response:
    """All that a scan found, target by target."""
    report = await parts.discovery.report(scan_id)
    return ready(
        {
            "scan": scan_row(report.job),
            "networks": [
                {
                    "target": network.target,
                    "states": {state.value: count for state, count in network.states.items()},
                    "devices": network.devices,
                    "vendors": dict(network.vendors),
                }
                for network in report.networks
            ],
            "vendors": dict(report.vendors),
            "protocols": dict(report.protocols),
            "nobody": dict(report.nobody),
        }
    )


def scan_row(job: ScanJob) -> dict[str, Any]:
    """A scan as JSON's own types."""
    return {
        "id": job.id,
        "state": job.state.value,
        "request": dataclasses.asdict(job.request),
        "actor": job.actor,
        "reason": job.reason,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "progress": _progress(job.progress),
        "error": job.error,
    }


def _progress(progress: ScanProgress) -> dict[str, Any]:
    fields = {each.name: getattr(progress, each.name) for each in dataclasses.fields(progress)}
    return {**fields, "states": {state.value: count for state, count in progress.states.items()}}
