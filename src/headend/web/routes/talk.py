"""Talking to a meter now: its objects, values and load profiles. All of it passes through the lane of its wire."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from headend.drivers.base import Session
from headend.drivers.mapping import scale, to_batch
from headend.model.meter import Meter, MeterIdentity
from headend.model.objects import (
    HistoryColumn,
    HistoryRequest,
    ObjectEntry,
    ObjectInfo,
    ObjectRef,
    RawValue,
    ReadPlan,
    ReadResult,
)
from headend.model.profile import LoadProfile, event_log
from headend.model.quantity import find_quantity
from headend.model.reading import Missing, ReadingBatch, Source
from headend.services.acquisition.plan import poll_plan
from headend.web.access import ADMIN, OPERATOR
from headend.web.encode import plain, ready
from headend.web.parts import WebParts
from headend.web.routes import Parts, router
from headend.web.routes.meters import meter_of
from headend.web.schemas import talk as schemas
from headend.web.schemas.meters import Identity, MeterIn
from headend.web.times import parse_time

api = router("meter access")


@api.get(
    "/meters/{meter_id}/objects", operation_id="readObjects", response_model=schemas.Objects, openapi_extra=OPERATOR
)
async def read_objects(meter_id: str, parts: Parts) -> Response:
    """The object list that the meter itself gives, or its profile where the protocol has none."""

    async def work(session: Session) -> list[dict[str, Any]]:
        return [_object_row(info) for info in await session.objects()]

    return ready({"items": await parts.lanes.run_job(meter_id, work)})


@api.post(
    "/meters/{meter_id}/identify",
    operation_id="identifyMeter",
    response_model=Identity,
    openapi_extra=OPERATOR,
)
async def identify_meter(meter_id: str, parts: Parts) -> Response:
    """Ask a meter now who it is, and keep what it says: after an exchange it is another one."""

    async def work(session: Session) -> MeterIdentity:
        return await session.identify()

    identity = await parts.lanes.run_job(meter_id, work)
    await asyncio.to_thread(_keep_identity, parts, meter_id, identity)
    parts.roster.identified(meter_id, identity)
    return ready(dataclasses.asdict(identity))


@api.post("/meters/try", operation_id="tryMeter", response_model=schemas.TriedOut, openapi_extra=ADMIN)
async def try_meter(body: MeterIn, parts: Parts) -> Response:
    """Reach a meter as the body says, ask who it is and read once what its profile polls. Nothing is stored.

    With the id of a meter that is known, the secrets that the body does not give are those of that meter.
    """
    meter, secrets = meter_of(parts, body)
    if meter.id in parts.roster and meter.endpoint == parts.roster.state(meter.id).meter.endpoint:
        known = parts.store.secrets
        kept = await asyncio.to_thread(lambda: {name: known.get(meter.id, name) for name in known.names(meter.id)})
        secrets = {**kept, **secrets}
    tried = await parts.trials.attempt(meter, secrets)
    batch = tried.batch
    refs = _polled_refs(parts, meter) if batch is not None else {}
    rows = zip(batch.quantities, batch.values, batch.quality, strict=True) if batch is not None else ()
    return ready(
        {
            "identity": dataclasses.asdict(tried.identity),
            "seconds": round(tried.seconds, 3),
            "values": [_value(refs.get(key, ""), key, _base_unit(key), value, quality) for key, value, quality in rows],
            "missing": [_gap(each) for each in batch.missing] if batch is not None else [],
        }
    )


@api.post("/meters/{meter_id}/read", operation_id="readNow", response_model=schemas.ReadOut, openapi_extra=OPERATOR)
async def read_now(meter_id: str, body: schemas.ReadIn, parts: Parts) -> Response:
    """Read a meter now, all that is polled or the objects named; what is a reading is stored and goes to all sinks."""
    meter = parts.roster.state(meter_id).meter
    if body.refs is None:
        batch = await parts.poller.poll_now(meter_id)
        refs = _polled_refs(parts, meter)
        values = [
            _value(refs.get(quantity, ""), quantity, _base_unit(quantity), value, quality)
            for quantity, value, quality in zip(batch.quantities, batch.values, batch.quality, strict=True)
        ]
        return _read_answer(batch, values)
    plan = ReadPlan(entries=tuple(_entry(parts, meter, text) for text in body.refs))

    async def work(session: Session) -> ReadResult:
        return await session.read(plan)

    result = await parts.lanes.run_job(meter_id, work)
    batch = to_batch(meter_id, plan, result, parts.millis(), Source.POLL)
    if batch.quantities:
        parts.bus.publish(batch)
    return _read_answer(batch, _values(plan, result))


@api.get(
    "/meters/{meter_id}/history", operation_id="readHistory", response_model=schemas.HistoryOut, openapi_extra=OPERATOR
)
async def read_history(
    meter_id: str,
    parts: Parts,
    ref: Annotated[str, Query(max_length=200, examples=["dlms:7/1-0:99.1.0.255/2"])],
    start: Annotated[str | None, Query(max_length=40)] = None,
    end: Annotated[str | None, Query(max_length=40, description="first time beyond")] = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
) -> Response:
    """Rows of a load profile, read from the meter now, oldest first. Nothing is stored."""
    meter = parts.roster.state(meter_id).meter
    request = HistoryRequest(
        ref=_ref(parts, meter, ref),
        start=None if start is None else parse_time(start, "query.start"),
        end=None if end is None else parse_time(end, "query.end"),
    )

    log = event_log(parts.library.of(meter), request.ref)

    async def work(session: Session) -> dict[str, Any]:
        return await _collect(session, request, limit, log)

    found = await parts.lanes.run_job(meter_id, work, timeout=300.0)
    return ready({"meter_id": meter_id, "ref": str(request.ref), **found})


def _keep_identity(parts: WebParts, meter_id: str, identity: MeterIdentity) -> None:
    stored = parts.store.meters.get(meter_id)
    if stored.meter.identity != identity:
        parts.store.meters.put(dataclasses.replace(stored.meter, identity=identity), revision=stored.revision)


async def _collect(session: Session, request: HistoryRequest, limit: int, log: LoadProfile | None) -> dict[str, Any]:
    """At most `limit` rows of a load profile, as JSON will have them; of an event log also what they tell."""
    columns: tuple[HistoryColumn, ...] = ()
    times: list[int | None] = []
    rows: list[list[Any]] = []
    quality: list[int] = []
    events: list[str] = []
    async for block in session.read_history(request):
        columns = block.columns
        exponents = [column.exponent for column in columns]
        times += block.times
        quality += block.quality
        if log is not None:
            events += map(log.told_by, block.rows)
        rows += [[_scaled(raw, power) for raw, power in zip(row, exponents, strict=True)] for row in block.rows]
        if len(rows) >= limit:
            break
    return {
        "columns": [
            {"ref": str(each.ref), "quantity": each.quantity, "unit": _base_unit(each.quantity) or each.unit}
            for each in columns
        ],
        "times": times[:limit],
        "rows": rows[:limit],
        "quality": quality[:limit],
        "truncated": len(rows) >= limit,
        "events": events[:limit],
    }


def _ref(parts: WebParts, meter: Meter, text: str) -> ObjectRef:
    """A reference with or without the name of its protocol, checked by the driver."""
    return parts.driver(meter.protocol).parse_ref(text.removeprefix(f"{meter.protocol}:"))


def _entry(parts: WebParts, meter: Meter, text: str) -> ObjectEntry:
    """What is known of an object: from the profile, or from the meter when it is read."""
    ref = _ref(parts, meter, text)
    known = parts.library.get(meter.profile_id).objects if meter.profile_id else ()
    return next((entry for entry in known if entry.ref == ref), ObjectEntry(ref=ref, scaler=None))


def _polled_refs(parts: WebParts, meter: Meter) -> dict[str, str]:
    if not meter.profile_id:
        return {}
    return {entry.quantity: str(entry.ref) for entry in poll_plan(parts.library.get(meter.profile_id)).entries}


def _values(plan: ReadPlan, result: ReadResult) -> list[dict[str, Any]]:
    exponents = result.exponents or [entry.exponent for entry in plan.entries]
    units = result.units or [_base_unit(entry.quantity) for entry in plan.entries]
    return [
        _value(str(entry.ref), entry.quantity, unit, _scaled(raw, power), 0)
        for index, (entry, raw, power, unit) in enumerate(
            zip(plan.entries, result.values, exponents, units, strict=True)
        )
        if index not in result.errors
    ]


def _scaled(raw: RawValue, exponent: int) -> Any:  # noqa: ANN401 # whatever JSON can hold
    value = scale(raw, exponent)
    return plain(raw) if value is None else value


def _base_unit(quantity: str) -> str:
    known = find_quantity(quantity)
    return known.unit if known else ""


def _value(ref: str, quantity: str, unit: str, value: Any, quality: int) -> dict[str, Any]:  # noqa: ANN401 # ditto
    return {"ref": ref, "quantity": quantity, "unit": unit, "value": value, "quality": quality}


def _read_answer(batch: ReadingBatch, values: list[dict[str, Any]]) -> Response:
    at = batch.measured_at[0] if batch.measured_at else batch.received_at
    return ready(
        {"meter_id": batch.meter_id, "measured_at": at, "values": values, "missing": [_gap(m) for m in batch.missing]}
    )


def _gap(missing: Missing) -> dict[str, str]:
    return dataclasses.asdict(missing)


def _object_row(info: ObjectInfo) -> dict[str, Any]:
    return {
        "ref": str(info.ref),
        "name": info.name,
        "quantity": info.quantity,
        "unit": info.unit,
        "class_id": info.class_id,
        "class_name": info.class_name,
        "version": info.version,
        "history": info.history,
        "attributes": {str(number): access for number, access in info.attributes.items()},
        "methods": {str(number): access for number, access in info.methods.items()},
    }
