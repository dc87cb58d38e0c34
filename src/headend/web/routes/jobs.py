"""Commands and their jobs. What switches supply, clears or changes secrets is confirmed by a second request.

Progress comes as `JOB_CHANGED` among the events of `/live`.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi.responses import Response

from headend.model.access import Actor
from headend.model.job import Command, Job, JobState
from headend.model.meter import Secret
from headend.model.reading import Value
from headend.web.access import SIGNED_IN, VIEWER, Principal
from headend.web.encode import ready
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.routes.meters import secret_octets
from headend.web.schemas import jobs as schemas

MAX_WAIT_SECONDS = 60.0

api = router("commands")


@api.post(
    "/meters/{meter_id}/commands",
    operation_id="command",
    status_code=202,
    response_model=schemas.JobOut,
    responses={200: {"model": schemas.JobOut, "description": "It has ended within the time that the request waits"}},
    openapi_extra=SIGNED_IN,
)
async def command(
    meter_id: str,
    body: schemas.CommandIn,
    parts: Parts,
    asking: Asking,
    idempotency_key: Annotated[str, Header(max_length=200)] = "",
    prefer: Annotated[str, Header(max_length=100, description="`wait=SECONDS`, at most 60, to wait for its end")] = "",
) -> Response:
    """Ask for a command; its job says how it goes on. A job that is `proposed` begins when it is confirmed.

    It is carried out once, however often a request with the same `Idempotency-Key` is repeated.
    """
    if body.confirm not in (None, meter_id):
        raise Refused("invalid-request", "the id of the meter, again", field="body.confirm")
    asked = Command(kind=body.kind, params=_params(body.params), secret=_secret(body.secret))
    job = await parts.commands.submit(meter_id, asked, actor(asking), key=idempotency_key, seconds=body.deadline)
    return await _answer(parts, job, MAX_WAIT_SECONDS if body.confirm else _wait(prefer))


@api.get("/jobs", operation_id="listJobs", response_model=schemas.JobPage, openapi_extra=VIEWER)
async def list_jobs(
    parts: Parts,
    meter_id: Annotated[str | None, Query(max_length=64)] = None,
    states: Annotated[str, Query(max_length=200, description="only these, with commas between")] = "",
    before: Annotated[str | None, Query(max_length=64, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Jobs, newest first."""
    try:
        wanted = [JobState(state) for state in states.split(",") if state]
    except ValueError:
        known = ", ".join(state.value for state in JobState)
        raise Refused("invalid-request", f"some of {known}", field="query.states") from None
    found = await asyncio.to_thread(
        parts.store.jobs.list, meter_id=meter_id, states=wanted or None, before=before, limit=limit
    )
    return ready({"items": [_row(job) for job in found], "next": found[-1].id if len(found) == limit else None})


@api.get("/jobs/{job_id}", operation_id="getJob", response_model=schemas.JobOut, openapi_extra=VIEWER)
async def get_job(job_id: str, parts: Parts) -> Response:
    """A job as it is now."""
    return ready(_row(await parts.commands.get(job_id)))


@api.post(
    "/jobs/{job_id}/confirm",
    operation_id="confirmJob",
    status_code=202,
    response_model=schemas.JobOut,
    responses={200: {"model": schemas.JobOut, "description": "It has ended within the time that the request waits"}},
    openapi_extra=SIGNED_IN,
)
async def confirm_job(
    job_id: str,
    body: schemas.ConfirmIn,
    parts: Parts,
    asking: Asking,
    prefer: Annotated[str, Header(max_length=100, description="`wait=SECONDS`, at most 60, to wait for its end")] = "",
) -> Response:
    """Confirm a proposal: its actor with the code, or somebody else who has the right."""
    return await _answer(parts, await parts.commands.confirm(job_id, actor(asking), body.code), _wait(prefer))


@api.delete("/jobs/{job_id}", operation_id="cancelJob", response_model=schemas.JobOut, openapi_extra=SIGNED_IN)
async def cancel_job(job_id: str, parts: Parts, asking: Asking) -> Response:
    """Take a job back that was not begun."""
    return ready(_row(await parts.commands.cancel(job_id, actor(asking))))


def actor(asking: Principal) -> Actor:
    """Who asks, as commands and the audit trail name them."""
    return Actor(f"{asking.kind}:{asking.name}", asking.role)


async def _answer(parts: Parts, job: Job, wait: float) -> Response:
    code = job.code
    if wait and job.state in (JobState.QUEUED, JobState.RUNNING):
        job = await parts.commands.wait(job.id, wait)
    over = job.state not in (JobState.PROPOSED, JobState.QUEUED, JobState.RUNNING)
    response = ready(_row(job, code), 200 if over else 202)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return response


def _params(given: dict[str, Value | list[str]]) -> dict[str, Value]:
    return {name: " ".join(value) if isinstance(value, list) else value for name, value in given.items()}


def _secret(text: str | None) -> Secret | None:
    return None if text is None else secret_octets(text, "secret")


def _wait(prefer: str) -> float:
    """The seconds of `Prefer: wait=…`; other preferences are left aside."""
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,6})", prefer)
    return min(float(found[1]), MAX_WAIT_SECONDS) if found else 0.0


def _row(job: Job, code: str = "") -> dict[str, Any]:
    outcome = job.outcome
    row: dict[str, Any] = {
        "id": job.id,
        "meter_id": job.meter_id,
        "kind": job.command.kind.value,
        "params": dict(job.command.params),
        "actor": job.actor,
        "state": job.state.value,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "deadline": job.deadline,
        "confirm_by": job.confirm_by,
        "confirmed_by": job.confirmed_by,
        "started_at": job.started_at,
        "verify_by": job.verify_by,
        "note": job.note,
        "verdict": outcome.verdict.value if outcome else None,
        "detail": outcome.detail if outcome else "",
        "observed": outcome.observed if outcome else None,
        "result": list(job.result),
    }
    return row | {"code": code} if code else row
