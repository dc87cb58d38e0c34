"""Devices: who was found by scans, what they showed, and how they become meters."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from fastapi.responses import PlainTextResponse, Response

from headend.errors import NotFound
from headend.model.device import Device, DeviceQuery, DeviceState
from headend.model.discovery import Evidence
from headend.model.meter import Secret
from headend.services.discovery.adopting import Adoption
from headend.services.discovery.discoverer import Seen
from headend.services.discovery.fingerprint import compare
from headend.services.discovery.identity_page import comparison_page, identity_page
from headend.web.access import ADMIN, OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.routes.meters import secret_octets
from headend.web.schemas import discovery as schemas

api = router("discovery")

MOST: Final = 20_000
"""devices that are changed at once"""
_PAGE: Final = 1000
DevicePath = Annotated[schemas.DeviceId, Path()]


@api.get("/devices", operation_id="listDevices", response_model=schemas.DevicePageOut, openapi_extra=VIEWER)
async def list_devices(
    parts: Parts,
    state: Annotated[Literal["new", "adopted", "ignored"] | None, Query()] = None,
    vendor: Annotated[str | None, Query(max_length=100, description="empty: of an unknown vendor")] = None,
    protocol: Annotated[str | None, Query(max_length=32)] = None,
    scan: Annotated[str | None, Query(max_length=64)] = None,
    search: Annotated[str, Query(max_length=100, description="in URL, serial number, vendor, model, names")] = "",
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=_PAGE)] = 100,
) -> Response:
    """Who was found, in the order of finding."""
    page = await parts.discovery.devices(
        DeviceQuery(
            state=None if state is None else DeviceState(state),
            vendor=vendor,
            protocol=protocol,
            scan=scan,
            search=search,
            after=after,
            limit=limit,
        )
    )
    return ready({"items": [device_row(each) for each in page.items], "total": page.total, "next": page.next})


@api.get(
    "/devices/difference",
    operation_id="compareDevices",
    response_model=schemas.ComparisonOut,
    openapi_extra=VIEWER,
)
async def compare_devices(
    parts: Parts,
    a: Annotated[schemas.DeviceId, Query()],
    b: Annotated[schemas.DeviceId | None, Query(description="without it: `a` as it was before")] = None,
    at: Annotated[int | None, Query(description="the fingerprint that `a` had at that time, in milliseconds")] = None,
) -> Response:
    """What differs between the fingerprints of two devices, or between those of one at two times."""
    if b is not None:
        first, second = await parts.discovery.papers(a), await parts.discovery.papers(b)
        return ready(comparison_page(compare(first.fingerprint, second.fingerprint)))
    history = await parts.discovery.history(a)
    before = [each for each in history[:-1] if at is None or each.at <= at]
    if not before:
        raise NotFound(f"the device {a} had no other fingerprint before")
    return ready(comparison_page(compare(before[-1].fingerprint, history[-1].fingerprint)))


@api.get("/devices/{device_id}", operation_id="readDevice", response_model=schemas.DeviceDetail, openapi_extra=VIEWER)
async def read_device(device_id: DevicePath, parts: Parts) -> Response:
    """One device: who it is and why, how it may be associated with, what its objects stand for."""
    device, papers = await parts.discovery.device(device_id), await parts.discovery.papers(device_id)
    known = device.profile_id in parts.library.ids()

    def answer() -> Response:
        seen, found = papers.examination, papers.classification
        profile = parts.library.get(device.profile_id) if known else None
        return ready(
            {
                **device_row(device),
                "identity": dataclasses.asdict(seen.identity),
                "params": dict(seen.params),
                "classification": dataclasses.asdict(found),
                "page": identity_page(seen, fingerprint=papers.fingerprint, profile=profile),
                "values": dict(seen.values),
                "associations": seen.associations,
                "drafted": bool(papers.draft),
            }
        )

    return await asyncio.to_thread(answer)


@api.get(
    "/devices/{device_id}/evidence",
    operation_id="readEvidence",
    response_model=schemas.EvidenceList,
    openapi_extra=VIEWER,
)
async def read_evidence(device_id: DevicePath, parts: Parts) -> Response:
    """What went over the wire when it was examined, step by step: facts and trials name the steps that prove them."""
    papers = await parts.discovery.papers(device_id)
    return ready({"items": _evidence(papers.examination.evidence)})


@api.get(
    "/devices/{device_id}/history",
    operation_id="readFingerprints",
    response_model=schemas.PastList,
    openapi_extra=VIEWER,
)
async def read_history(device_id: DevicePath, parts: Parts) -> Response:
    """The fingerprints that it had."""
    known = await parts.discovery.history(device_id)
    items = [{"at": one.at, "digest": one.fingerprint.digest, "facts": dict(one.fingerprint.facts)} for one in known]
    return ready({"items": items})


@api.get("/devices/{device_id}/draft", operation_id="readDraft", response_class=PlainTextResponse, openapi_extra=VIEWER)
async def read_draft(device_id: DevicePath, parts: Parts) -> str:
    """The meter file that was drafted for it, in TOML."""
    draft = (await parts.discovery.papers(device_id)).draft
    if not draft:
        raise NotFound(f"there is no draft for the device {device_id}")
    return draft


@api.post("/devices/{device_id}/profile", operation_id="keepDraft", status_code=201, openapi_extra=ADMIN)
async def keep_draft(
    device_id: DevicePath, body: schemas.ProfileFromDevice, parts: Parts, asking: Asking, response: Response
) -> schemas.ProfileKept:
    """Make a profile of its draft; one with the same fingerprint is not kept twice."""
    draft = await read_draft(device_id, parts)
    chosen = await asyncio.to_thread(parts.profiles.take_draft, draft, actor=_actor(asking), profile_id=body.id)
    response.headers["Location"] = f"/api/v1/profiles/{chosen}"
    return schemas.ProfileKept(id=chosen)


@api.post("/devices/examine", operation_id="examinePlace", response_model=schemas.SeenOut, openapi_extra=OPERATOR)
async def examine_place(body: schemas.PlaceIn, parts: Parts, asking: Asking) -> Response:
    """Look into one place now: who is there? Answers when that is found out, within the time that discovery may take."""
    return await _examine(body.target, body, parts, asking)


@api.post(
    "/devices/{device_id}/examine", operation_id="examineDevice", response_model=schemas.SeenOut, openapi_extra=OPERATOR
)
async def examine_device(device_id: DevicePath, body: schemas.ExamineIn, parts: Parts, asking: Asking) -> Response:
    """Look again, deeper where secrets are given. A secret that is refused is not tried again."""
    return await _examine(device_id, body, parts, asking)


@api.post("/devices/adopt", operation_id="adoptDevices", response_model=schemas.AdoptedList, openapi_extra=ADMIN)
async def adopt_devices(body: schemas.AdoptIn, parts: Parts, asking: Asking) -> Response:
    """Devices become meters, which are read from now on; one that is a meter already stays as it is."""
    adoption = Adoption(
        name=body.name,
        tags=tuple(body.tags),
        poll_seconds=body.poll_seconds,
        enabled=body.enabled,
        profile_id=body.profile_id,
        drafts=body.drafts,
        credentials=body.credentials,
    )
    done = await parts.discovery.adopt(await _chosen(body, parts), adoption, actor=_actor(asking))
    return ready({"items": [dataclasses.asdict(each) for each in done]})


@api.post("/devices/ignore", operation_id="ignoreDevices", openapi_extra=OPERATOR)
async def ignore_devices(body: schemas.ChosenIn, parts: Parts, asking: Asking) -> schemas.CountOut:
    """Show them no more among the new ones."""
    changed = await parts.discovery.ignore(await _chosen(body, parts), actor=_actor(asking))
    return schemas.CountOut(devices=changed)


@api.post("/devices/unignore", operation_id="unignoreDevices", openapi_extra=OPERATOR)
async def unignore_devices(body: schemas.ChosenIn, parts: Parts, asking: Asking) -> schemas.CountOut:
    """Show them among the new ones again."""
    ids = await _chosen(body, parts, DeviceState.IGNORED)
    return schemas.CountOut(devices=await parts.discovery.ignore(ids, actor=_actor(asking), ignored=False))


@api.post("/devices/forget", operation_id="forgetDevices", openapi_extra=ADMIN)
async def forget_devices(body: schemas.ChosenIn, parts: Parts, asking: Asking) -> schemas.CountOut:
    """Remove them with all that they showed; not the meters that they became."""
    ids = await _chosen(body, parts)
    await parts.discovery.forget(ids, actor=_actor(asking))
    return schemas.CountOut(devices=len(ids))


@api.post("/devices/reclassify", operation_id="reclassifyDevices", openapi_extra=OPERATOR)
async def reclassify_devices(body: schemas.ChosenIn, parts: Parts) -> schemas.CountOut:
    """Run the rules as they are now over what is stored, without a network: of those chosen, or of all."""
    return schemas.CountOut(devices=await parts.discovery.reclassify(body.ids or None))


@api.get("/credentials", operation_id="listCredentials", openapi_extra=ADMIN)
async def list_credentials(parts: Parts) -> schemas.CredentialsList:
    """What is kept for the meters of networks and tags: of secrets the names alone."""
    known = await asyncio.to_thread(parts.discovery.keys.groups)
    return schemas.CredentialsList(
        items=[
            schemas.CredentialsOut(name=each.name, params=dict(each.params), secrets=list(each.secrets))
            for each in known
        ]
    )


@api.put("/credentials/{name:path}", operation_id="putCredentials", status_code=204, openapi_extra=ADMIN)
async def put_credentials(
    name: Annotated[str, Path(max_length=64, description="a network in CIDR notation, or a tag")],
    body: schemas.CredentialsIn,
    parts: Parts,
    asking: Asking,
) -> None:
    """Keep secrets, and what goes with them, for the meters of a network or with a tag."""
    await asyncio.to_thread(parts.discovery.keys.put_group, name, body.params, _secrets(body.secrets), _actor(asking))


@api.delete("/credentials/{name:path}", operation_id="removeCredentials", status_code=204, openapi_extra=ADMIN)
async def remove_credentials(name: Annotated[str, Path(max_length=64)], parts: Parts, asking: Asking) -> None:
    """Keep them no more."""
    await asyncio.to_thread(parts.discovery.keys.remove_group, name, _actor(asking))


def device_row(device: Device) -> dict[str, Any]:
    """A device as JSON's own types."""
    fields = {each.name: getattr(device, each.name) for each in dataclasses.fields(device)}
    return {**fields, "state": device.state.value}


async def _examine(target: str, body: schemas.ExamineIn, parts: WebParts, asking: Asking) -> Response:
    seen: Seen = await parts.discovery.examine(
        target,
        actor=_actor(asking),
        reason=body.reason.strip(),
        params=body.params,
        secrets=_secrets(body.secrets),
        credentials=body.credentials,
        exhaustive=body.exhaustive,
        keep=body.keep,
    )
    rows = [device_row(each.device) for each in seen.devices]
    return ready({"devices": rows, "nothing": seen.nothing, "evidence": _evidence(seen.evidence)})


async def _chosen(body: schemas.ChosenIn, parts: WebParts, state: DeviceState = DeviceState.NEW) -> Sequence[str]:
    """The ids that a body gives, or those of all devices in a state that it chooses."""
    if body.all == bool(body.ids):
        raise Refused("invalid-request", "either ids or all", field="body.ids")
    if not body.all:
        return body.ids
    ids: list[str] = []
    after: int | None = 0
    while after is not None and len(ids) < MOST:
        page = await parts.discovery.devices(
            DeviceQuery(
                state=state,
                vendor=body.vendor,
                protocol=body.protocol,
                scan=body.scan,
                search=body.search,
                after=after,
                limit=_PAGE,
            )
        )
        ids += [device.id for device in page.items]
        after = page.next
    return ids[:MOST]


def _evidence(steps: Sequence[Evidence]) -> list[dict[str, Any]]:
    return [{**dataclasses.asdict(each), "sent": each.sent.hex(), "received": each.received.hex()} for each in steps]


def _secrets(said: schemas.Secrets) -> dict[str, Secret]:
    return {name: secret_octets(text, name) for name, text in said.items()}


def _actor(asking: Asking) -> str:
    return f"{asking.kind}:{asking.name}"
