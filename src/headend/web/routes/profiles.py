"""Meter profiles: the library, drafts from discovery, revisions, trials, promotion, export and import."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from headend.errors import ConfigError
from headend.model.profile import MeterProfile
from headend.services.profiles.results import ProfileDiff
from headend.services.profiles.texts import line_of_error
from headend.services.profiles.trying import ProfileTrial
from headend.storage.profiles import ProfileRevision
from headend.web.access import ADMIN, OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import profiles as schemas

api = router("profiles")

ProfilePath = Annotated[schemas.ProfileId, Path()]
_NDJSON = "application/x-ndjson"
_OBJECT_FIELDS = ("quantity", "name", "unit", "poll", "every", "writable", "note")


@api.get("/profiles", operation_id="listProfiles", response_model=schemas.ProfileList, openapi_extra=VIEWER)
async def list_profiles(
    parts: Parts,
    search: Annotated[str, Query(max_length=64, description="in id, vendor and model")] = "",
    protocol: Annotated[str, Query(max_length=32)] = "",
    state: Annotated[Literal["", "DRAFT", "EMULATED", "FIELD_VERIFIED"], Query()] = "",
) -> Response:
    """The library: what came with the program, what lies in folders, what the head-end keeps."""
    used = Counter(each.meter.profile_id for each in parts.roster)
    wanted = search.lower()

    def answer() -> Response:
        kept = parts.profiles.kept()
        return ready(
            {
                "items": [
                    _row(profile, kept=profile.id in kept, meters=used[profile.id])
                    for profile in parts.profiles.list()
                    if wanted in f"{profile.id} {profile.vendor} {profile.model}".lower()
                    and protocol in ("", profile.protocol)
                    and state in ("", profile.state.value)
                ]
            }
        )

    return await asyncio.to_thread(answer)


@api.get(
    "/profiles/export",
    operation_id="exportProfiles",
    openapi_extra=VIEWER,
    response_class=StreamingResponse,
    responses={200: {"content": {_NDJSON: {}}}},
)
async def export_profiles(
    parts: Parts,
    ids: Annotated[str, Query(max_length=10_000, description="with commas between; all without any")] = "",
) -> StreamingResponse:
    """Many profiles for other systems: one line of JSON each, by the schema headend-profile/1."""
    chosen = [each for each in ids.split(",") if each] or None
    lines: Iterator[bytes] = await asyncio.to_thread(parts.profiles.export, chosen)
    headers = {"Content-Disposition": 'attachment; filename="profiles.ndjson"'}
    return StreamingResponse(lines, media_type=_NDJSON, headers=headers)


@api.post("/profiles/import", operation_id="importProfiles", response_model=schemas.ImportOut, openapi_extra=ADMIN)
async def import_profiles(
    request: Request,
    parts: Parts,
    asking: Asking,
    change: Annotated[bool, Query(description="also those that are there and differ")] = False,  # noqa: FBT002 - of the query
) -> Response:
    """Take in what was exported: one document, an array of them, or a line for each. Each is taken or refused for itself."""
    data = await request.body()

    def take() -> Response:
        done = parts.profiles.take_in(data, actor=_actor(asking), change=change)
        return ready({"items": [dataclasses.asdict(each) for each in done]})

    return await asyncio.to_thread(take)


@api.post("/profiles/check", operation_id="checkProfile", response_model=schemas.ProfileChecked, openapi_extra=VIEWER)
async def check_profile(body: schemas.ProfileTextIn, parts: Parts) -> Response:
    """What is wrong with a text, and where; or what it changes of the profile of its id, or of the nearest."""

    def check() -> dict[str, Any]:
        try:
            profile = parts.profiles.check(body.text, body.id)
        except ConfigError as error:
            return {"ok": False, "error": error.message, "hint": error.hint, "line": line_of_error(error)}
        return {"ok": True, "objects": len(profile.objects), **_diff(parts.profiles.diff_text(body.text, body.id))}

    return ready(schemas.ProfileChecked(**await asyncio.to_thread(check)).model_dump())


@api.post("/profiles", operation_id="createProfile", status_code=201, openapi_extra=ADMIN)
async def create_profile(
    body: schemas.ProfileIn, parts: Parts, asking: Asking, response: Response
) -> schemas.RevisionOut:
    """Keep a new profile; refused (409) for an id that is taken."""
    made = await asyncio.to_thread(parts.profiles.create, body.id, body.text, actor=_actor(asking))
    response.headers["Location"] = f"/api/v1/profiles/{body.id}"
    return schemas.RevisionOut(**_revision(made))


@api.get(
    "/profiles/{profile_id}", operation_id="readProfile", response_model=schemas.ProfileDetail, openapi_extra=VIEWER
)
async def read_profile(profile_id: ProfilePath, parts: Parts) -> Response:
    """One profile: its text, and what other systems get of it."""
    meters = sum(each.meter.profile_id == profile_id for each in parts.roster)

    def answer() -> Response:
        page, document = parts.profiles.get(profile_id), parts.profiles.document(profile_id)
        return ready(
            {
                **_row(page.profile, kept=page.kept, meters=meters),
                "note": page.profile.note,
                "objects": [
                    {**{name: getattr(entry, name) for name in _OBJECT_FIELDS}, "ref": str(entry.ref)}
                    for entry in page.profile.objects
                ],
                "load_profiles": document["load_profiles"],
                "original": page.original,
                "text": page.text,
                "document": document,
            }
        )

    return await asyncio.to_thread(answer)


@api.put("/profiles/{profile_id}", operation_id="changeProfile", openapi_extra=ADMIN)
async def change_profile(
    profile_id: ProfilePath, body: schemas.ProfileChangeIn, parts: Parts, asking: Asking
) -> schemas.RevisionOut:
    """A new revision; one that came with the program gets a copy that goes before it. It counts at once."""
    made = await asyncio.to_thread(
        parts.profiles.update, profile_id, body.text, actor=_actor(asking), revision=body.revision
    )
    return schemas.RevisionOut(**_revision(made))


@api.delete("/profiles/{profile_id}", operation_id="retireProfile", status_code=204, openapi_extra=ADMIN)
async def retire_profile(profile_id: ProfilePath, parts: Parts, asking: Asking) -> None:
    """Take a profile that is kept out of use; its revisions stay. Refused (409) while meters use it."""
    await asyncio.to_thread(parts.profiles.retire, profile_id, actor=_actor(asking))


@api.get(
    "/profiles/{profile_id}/revisions",
    operation_id="listProfileRevisions",
    response_model=schemas.RevisionList,
    openapi_extra=VIEWER,
)
async def list_revisions(profile_id: ProfilePath, parts: Parts) -> Response:
    """The revisions of a profile, oldest first, without their texts."""
    known = await asyncio.to_thread(parts.profiles.history, profile_id)
    return ready({"items": [{**_revision(each), "text": None} for each in known]})


@api.get("/profiles/{profile_id}/revisions/{number}", operation_id="readProfileRevision", openapi_extra=VIEWER)
async def read_revision(
    profile_id: ProfilePath, number: Annotated[int, Path(ge=0)], parts: Parts
) -> schemas.RevisionOut:
    """One revision with its text."""
    return schemas.RevisionOut(**_revision(await asyncio.to_thread(parts.profiles.revision, profile_id, number)))


@api.post(
    "/profiles/{profile_id}/revisions/{number}/restore", operation_id="restoreProfileRevision", openapi_extra=ADMIN
)
async def restore_revision(
    profile_id: ProfilePath, number: Annotated[int, Path(ge=0)], parts: Parts, asking: Asking
) -> schemas.RevisionOut:
    """An old revision becomes the newest one."""
    made = await asyncio.to_thread(parts.profiles.restore, profile_id, number, actor=_actor(asking))
    return schemas.RevisionOut(**_revision(made))


@api.get(
    "/profiles/{profile_id}/difference",
    operation_id="compareProfile",
    response_model=schemas.ProfileDiffOut,
    openapi_extra=VIEWER,
)
async def compare_profile(
    profile_id: ProfilePath,
    parts: Parts,
    other: Annotated[str, Query(max_length=64, description="the nearest of the library without one")] = "",
) -> Response:
    """What differs from another profile: objects, parameters, rules."""
    return ready(_diff(await asyncio.to_thread(parts.profiles.diff, profile_id, other)))


@api.get(
    "/profiles/{profile_id}/export",
    operation_id="exportProfile",
    openapi_extra=VIEWER,
    responses={200: {"content": {"application/json": {}, "text/csv": {}}}},
)
async def export_profile(
    profile_id: ProfilePath,
    parts: Parts,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002 - of the query
) -> Response:
    """The profile for other systems: JSON by the schema headend-profile/1, or its object map as CSV."""
    headers = {"Content-Disposition": f'attachment; filename="{profile_id}.{format}"'}
    if format == "csv":
        text = await asyncio.to_thread(parts.profiles.csv, profile_id)
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
    made = ready(await asyncio.to_thread(parts.profiles.document, profile_id))
    made.headers.update(headers)
    return made


@api.post(
    "/profiles/{profile_id}/test", operation_id="testProfile", response_model=schemas.TrialOut, openapi_extra=OPERATOR
)
async def test_profile(profile_id: ProfilePath, body: schemas.TrialIn, parts: Parts) -> Response:
    """Read every object of the profile from a meter, now: what answers, and what is plausible. It only reads."""
    return ready(_trial(await parts.profiles.test(profile_id, body.meter_id)))


@api.post(
    "/profiles/{profile_id}/promote",
    operation_id="promoteProfile",
    response_model=schemas.PromotionOut,
    openapi_extra=ADMIN,
)
async def promote_profile(profile_id: ProfilePath, body: schemas.PromoteIn, parts: Parts, asking: Asking) -> Response:
    """From DRAFT to EMULATED by a virtual meter, from there to FIELD_VERIFIED by a meter in the field.

    What stands against it is in the answer; then nothing was changed.
    """
    done = await parts.profiles.promote(profile_id, actor=_actor(asking), meter_id=body.meter_id or "")
    return ready(
        {
            "profile_id": done.profile_id,
            "state": done.state.value,
            "revision": done.revision,
            "promoted": done.promoted,
            "tests": done.tests,
            "mismatches": [{"ref": each.ref, "expected": each.expected, "got": each.got} for each in done.mismatches],
            "trial": None if done.trial is None else _trial(done.trial),
        }
    )


def _actor(asking: Asking) -> str:
    return f"{asking.kind}:{asking.name}"


def _row(profile: MeterProfile, *, kept: bool, meters: int) -> dict[str, Any]:
    return {
        "id": profile.id,
        "vendor": profile.vendor,
        "model": profile.model,
        "protocol": profile.protocol,
        "state": profile.state.value,
        "revision": profile.revision,
        "registration": profile.registration,
        "object_count": len(profile.objects),
        "kept": kept,
        "meters": meters,
        "source": profile.source,
    }


def _revision(revision: ProfileRevision) -> dict[str, Any]:
    return dataclasses.asdict(revision)


def _diff(found: ProfileDiff) -> dict[str, Any]:
    changes = [{**dataclasses.asdict(each), "kind": each.kind.value} for each in found.changes]
    return {"base": found.base, "changes": changes}


def _trial(trial: ProfileTrial) -> dict[str, Any]:
    return {
        **dataclasses.asdict(trial),
        "answered": trial.answered,
        "well": sum(each.well for each in trial.objects),
    }
