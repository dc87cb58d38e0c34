"""Meters: list, add, read, change, remove; and their secrets, which go in and never come out."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi.responses import Response

from headend.errors import ConfigError, Conflict
from headend.model.audit import Action
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.url import SECRET_PARAMS, format_url, parse_url
from headend.services.acquisition.plan import said_by_tags
from headend.storage.records import StoredMeter
from headend.web.access import ADMIN, VIEWER, Principal
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import meters as schemas

api = router("meters")

IfMatch = Annotated[str | None, Header(alias="If-Match", description="the revision that was read")]
_PLAIN_FIELDS = ("name", "profile_id", "poll_seconds", "enabled")
_REACH_FIELDS = ("protocol", "framing", "endpoint", "params")


@api.get("/meters", operation_id="listMeters", response_model=schemas.MeterPage, openapi_extra=VIEWER)
async def list_meters(
    parts: Parts,
    cursor: Annotated[str, Query(max_length=64, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    search: Annotated[str, Query(max_length=100, description="part of id, name, serial number or host")] = "",
    tag: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Meters by id, page by page."""

    def page() -> tuple[Sequence[StoredMeter], int]:
        meters = parts.store.meters
        return meters.list(after=cursor, limit=limit, search=search, tag=tag), meters.count(search=search, tag=tag)

    found, total = await asyncio.to_thread(page)
    return ready(
        {
            "items": [_row(parts, stored) for stored in found],
            "total": total,
            "next": found[-1].meter.id if len(found) == limit else None,
        }
    )


@api.get("/meters/{meter_id}", operation_id="readMeter", response_model=schemas.MeterOut, openapi_extra=VIEWER)
async def read_meter(meter_id: str, parts: Parts) -> Response:
    """One meter; the ETag is its revision."""
    return _answer(parts, await asyncio.to_thread(parts.store.meters.get, meter_id))


@api.post("/meters", operation_id="createMeter", status_code=201, response_model=schemas.MeterOut, openapi_extra=ADMIN)
async def create_meter(body: schemas.MeterIn, parts: Parts) -> Response:
    """Add a meter by its URL or by fields; it is polled at once, unless it is disabled."""
    return created(parts, await add_meter(parts, body))


@api.put("/meters/{meter_id}", operation_id="replaceMeter", response_model=schemas.MeterOut, openapi_extra=ADMIN)
async def replace_meter(meter_id: str, body: schemas.MeterFields, parts: Parts, if_match: IfMatch = None) -> Response:
    """Replace all that can be set; what is absent gets its default. What the meter said about itself stays."""
    return await _update(parts, meter_id, body, if_match, keep=False)


@api.patch("/meters/{meter_id}", operation_id="changeMeter", response_model=schemas.MeterOut, openapi_extra=ADMIN)
async def change_meter(meter_id: str, body: schemas.MeterFields, parts: Parts, if_match: IfMatch = None) -> Response:
    """Change what is given; what is absent stays."""
    return await _update(parts, meter_id, body, if_match, keep=True)


@api.delete("/meters/{meter_id}", operation_id="removeMeter", status_code=204, openapi_extra=ADMIN)
async def remove_meter(
    meter_id: str,
    parts: Parts,
    if_match: IfMatch = None,
    keep_history: Annotated[bool, Query(description="keep its readings")] = False,  # noqa: FBT002 # a query parameter
) -> None:
    """Remove a meter, its secrets, its access tokens and its readings."""
    revision = _revision(if_match)
    await asyncio.to_thread(_preconditioned, parts.store.meters.delete, meter_id, revision, keep_history=keep_history)
    parts.roster.remove(meter_id)
    await asyncio.to_thread(parts.deliveries.drop_tokens, meter_id)


@api.get("/meters/{meter_id}/secrets", operation_id="listSecrets", openapi_extra=ADMIN)
async def list_secrets(meter_id: str, parts: Parts) -> schemas.SecretNames:
    """Which secrets a meter has."""
    parts.roster.state(meter_id)
    names = await asyncio.to_thread(parts.store.secrets.names, meter_id)
    return schemas.SecretNames(names=list(names))


@api.put("/meters/{meter_id}/secrets/{name}", operation_id="putSecret", status_code=204, openapi_extra=ADMIN)
async def put_secret(meter_id: str, name: str, body: schemas.SecretIn, parts: Parts, asking: Asking) -> None:
    """Set a secret of a meter; the next session uses it, even if the meter has refused it before."""
    meter = parts.roster.state(meter_id).meter
    await asyncio.to_thread(parts.store.secrets.put, meter_id, name, secret_octets(body.value, name))
    await asyncio.to_thread(_keep, parts, asking, meter_id, name)
    await parts.lanes.release(meter)
    parts.roster.update(meter)


@api.delete("/meters/{meter_id}/secrets/{name}", operation_id="removeSecret", status_code=204, openapi_extra=ADMIN)
async def remove_secret(meter_id: str, name: str, parts: Parts, asking: Asking) -> None:
    """Remove a secret of a meter."""
    meter = parts.roster.state(meter_id).meter
    await asyncio.to_thread(parts.store.secrets.delete, meter_id, name)
    await asyncio.to_thread(_keep, parts, asking, meter_id, name)
    parts.roster.update(meter)


def _keep(parts: WebParts, asking: Principal, meter_id: str, name: str) -> None:
    """Keep in the audit trail that the head-end has another secret of a meter, or none."""
    actor = f"{asking.kind}:{asking.name}"
    parts.store.audit.append(actor, Action.SECRET_CHANGED, f"meter:{meter_id}", {"secret": name})


def meter_of(parts: WebParts, body: schemas.MeterIn) -> tuple[Meter, Mapping[str, Secret]]:
    """The meter that a body describes, checked, and its secrets; raises Refused, ConfigError or NotFound."""
    meter, secrets = _changed(None, body)
    secrets = {**secrets, **{name: secret_octets(text, name) for name, text in body.secrets.items()}}
    meter = dataclasses.replace(meter, id=body.id or _invent_id(parts, meter))
    _check(parts, meter)
    return meter, secrets


async def add_meter(parts: WebParts, body: schemas.MeterIn) -> str:
    """Add a meter; its id."""
    meter, secrets = meter_of(parts, body)
    await asyncio.to_thread(_put_new, parts, meter, secrets)
    parts.roster.add(meter)
    return meter.id


def created(parts: WebParts, meter_id: str) -> Response:
    """The answer for a meter that was added."""
    response = _answer(parts, StoredMeter(meter=parts.roster.state(meter_id).meter, revision=1), 201)
    response.headers["Location"] = f"/api/v1/meters/{meter_id}"
    return response


def secret_octets(text: str, name: str) -> Secret:
    """The secret of a meter that `hex:…` or `text:…` holds."""
    if name not in SECRET_PARAMS:
        raise ConfigError("unknown name of a secret", hint="one of " + ", ".join(SECRET_PARAMS))
    return read_secret(text, name)


def read_secret(text: str, name: str) -> Secret:
    """What `hex:…` or `text:…` holds. Files and variables of the server are out of a client's reach."""
    form, _, value = text.partition(":")
    try:
        octets = {"hex": bytes.fromhex, "text": str.encode}[form](value)
    except (KeyError, ValueError):
        raise ConfigError(f"secret {name!r}: expected hex:… or text:…") from None
    if not octets:
        raise ConfigError(f"secret {name!r} is empty")
    return Secret(octets)


async def _update(
    parts: WebParts, meter_id: str, body: schemas.MeterFields, if_match: str | None, *, keep: bool
) -> Response:
    revision = _revision(if_match)
    old = (await asyncio.to_thread(parts.store.meters.get, meter_id)).meter
    base = old if keep else dataclasses.replace(_blank(old), identity=old.identity)
    meter, secrets = _changed(base, body)
    if secrets:
        raise Refused("invalid-request", "a URL without secrets", hint="set them under /secrets", field="body.url")
    if not keep and body.url is None and (body.protocol is None or body.framing is None or body.endpoint is None):
        raise Refused("invalid-request", "url, or protocol, framing and endpoint", field="body.url")
    _check(parts, meter)
    new = await asyncio.to_thread(_preconditioned, parts.store.meters.put, meter, revision)
    parts.roster.update(meter)
    return _answer(parts, StoredMeter(meter=meter, revision=new))


def _blank(old: Meter) -> Meter:
    return Meter(id=old.id, protocol=old.protocol, framing=old.framing, endpoint=old.endpoint)


def _changed(base: Meter | None, body: schemas.MeterFields) -> tuple[Meter, Mapping[str, Secret]]:
    """The meter that a body makes of `base`, and the secrets in its URL."""
    fields: dict[str, Any] = {name: value for name in _PLAIN_FIELDS if (value := getattr(body, name)) is not None}
    if body.tags is not None:
        fields["tags"] = tuple(dict.fromkeys(body.tags))
    if body.url is not None:
        if any(getattr(body, name) is not None for name in _REACH_FIELDS):
            raise Refused("invalid-request", "url, or protocol, framing, endpoint and params", field="body.url")
        url = parse_url(body.url)
        secrets = {name: secret_octets(text, name) for name, text in url.secrets.items()}
        fields = {
            "protocol": url.protocol,
            "framing": url.framing,
            "endpoint": url.endpoint,
            "params": url.params,
        } | fields
        if url.profile_id:
            fields.setdefault("profile_id", url.profile_id)
    else:
        secrets = {}
        fields |= {name: value for name in ("protocol", "framing") if (value := getattr(body, name)) is not None}
        if body.params is not None:
            fields["params"] = body.params
        if body.endpoint is not None:
            values = body.endpoint.model_dump()
            fields["endpoint"] = Endpoint(**values | {"kind": EndpointKind(values["kind"])})
    if base is not None:
        return dataclasses.replace(base, **fields), secrets
    if not {"protocol", "framing", "endpoint"} <= fields.keys():
        raise Refused("invalid-request", "url, or protocol, framing and endpoint", field="body.url")
    return Meter(id="", **fields), secrets


def _check(parts: WebParts, meter: Meter) -> None:
    """Raise ConfigError or NotFound for what its driver or the library does not know."""
    if meter.protocol or meter.endpoint.kind is not EndpointKind.INBOUND:
        parts.driver(meter.protocol).check_params(meter.params)
    if meter.profile_id and parts.library.get(meter.profile_id).protocol != meter.protocol:
        raise ConfigError(f"the profile {meter.profile_id!r} is not for {meter.protocol}")
    parse_url(format_url(meter))
    said_by_tags(meter.tags)


def _invent_id(parts: WebParts, meter: Meter) -> str:
    """An id from name or address that no meter has yet."""
    stem = re.sub(r"[^a-z0-9]+", "-", (meter.name or format_url(meter).partition("?")[0]).lower()).strip("-")[:48]
    stem = stem or "meter"
    taken, number = stem, 1
    while taken in parts.roster:
        number += 1
        taken = f"{stem}-{number}"
    return taken


def _put_new(parts: WebParts, meter: Meter, secrets: Mapping[str, Secret]) -> None:
    parts.store.meters.put(meter, revision=0)
    try:
        for name, secret in secrets.items():
            parts.store.secrets.put(meter.id, name, secret)
    except BaseException:
        parts.store.meters.delete(meter.id, keep_history=True)
        raise


def _preconditioned(change: Any, subject: Any, revision: int, **more: bool) -> Any:  # noqa: ANN401 # put or delete
    try:
        return change(subject, revision=revision, **more)
    except Conflict as error:
        raise Refused("precondition-failed", error.message, hint=error.hint) from None


def _revision(if_match: str | None) -> int:
    """The revision in If-Match."""
    if if_match is None:
        raise Refused("precondition-required", "a change needs If-Match", hint="send the ETag of the meter as If-Match")
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused("precondition-failed", "If-Match does not hold a revision")
    return int(text)


def _answer(parts: WebParts, stored: StoredMeter, status: int = 200) -> Response:
    response = ready(_row(parts, stored), status)
    response.headers["ETag"] = f'"{stored.revision}"'
    return response


def _row(parts: WebParts, stored: StoredMeter) -> dict[str, Any]:
    meter = stored.meter
    state = parts.roster.state(meter.id) if meter.id in parts.roster else None
    return {
        "id": meter.id,
        "revision": stored.revision,
        "name": meter.name,
        "url": format_url(meter),
        "protocol": meter.protocol,
        "framing": meter.framing,
        "endpoint": {**dataclasses.asdict(meter.endpoint), "kind": meter.endpoint.kind.value},
        "params": dict(meter.params),
        "profile_id": meter.profile_id,
        "identity": dataclasses.asdict(meter.identity),
        "poll_seconds": meter.poll_seconds,
        "enabled": meter.enabled,
        "tags": list(meter.tags),
        "state": {
            "online": state.online if state else None,
            "last_seen": state.last_seen if state else None,
            "last_error_code": state.last_error_code if state else "",
            "last_error_text": state.last_error_text if state else "",
            "last_error_at": state.last_error_at if state else None,
            "reads_ok": state.reads_ok if state else 0,
            "reads_failed": state.reads_failed if state else 0,
        },
    }
