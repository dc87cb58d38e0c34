"""Virtual meters: start one or a thousand from a template, look at them, break and mend them, all while they are being read."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import Path, Query, Response

from headend.emulator.control import MeterState, Selection
from headend.emulator.emulators import Instance, Template
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.errors import HeadendError
from headend.web.access import ADMIN, OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.routes import Parts, router
from headend.web.schemas import emulators as schemas

api = router("emulators")

LabelPath = Annotated[schemas.Label, Path()]


@api.get("/emulators/templates", operation_id="listTemplates", openapi_extra=VIEWER)
async def list_templates(parts: Parts) -> schemas.TemplateList:
    """The kinds of virtual meters that can be started."""
    return schemas.TemplateList(items=[_template(each) for each in parts.emulators.templates()])


@api.get("/emulators/templates/{name}", operation_id="readTemplate", openapi_extra=VIEWER)
async def read_template(name: LabelPath, parts: Parts) -> schemas.TemplateOut:
    """One kind of virtual meters."""
    return _template(parts.emulators.template(name))


@api.put("/emulators/templates/{name}", operation_id="putTemplate", openapi_extra=ADMIN)
async def put_template(name: LabelPath, body: schemas.TemplateIn, parts: Parts) -> schemas.TemplateOut:
    """Make a template, or replace it; what was started from it before stays as it is."""
    template = Template(name=name, profile=body.profile, settings=body.settings, note=body.note)
    await parts.emulators.put(template)
    return _template(template)


@api.delete("/emulators/templates/{name}", operation_id="deleteTemplate", status_code=204, openapi_extra=ADMIN)
async def delete_template(name: LabelPath, parts: Parts) -> None:
    """Forget a template; what was started from it runs on."""
    await parts.emulators.delete(name)


@api.get("/emulators/instances", operation_id="listInstances", openapi_extra=VIEWER)
async def list_instances(parts: Parts) -> schemas.InstanceList:
    """The groups of virtual meters, and what they are doing."""
    state = await parts.emulators.state()
    now = {each.group: each for each in await parts.emulators.groups()}
    items = []
    for each in parts.emulators.instances():
        shown = _instance(each)
        if (group := now.get(each.group)) is not None:
            shown.first_url, shown.faulty = group.first_url, group.faulty
            shown.running = group.meters - group.stopped
        items.append(shown)
    return schemas.InstanceList(
        items=items,
        links=state.links if state else 0,
        at=state.at if state else None,
        speed=state.speed if state else None,
    )


@api.post("/emulators/instances", operation_id="startInstances", status_code=201, openapi_extra=ADMIN)
async def start_instances(body: schemas.InstanceIn, parts: Parts, response: Response) -> schemas.InstanceOut:
    """Start one or many meters of a template; they answer when this does."""
    made = await parts.emulators.start(body.template, body.count, group=body.group or "")
    response.headers["Location"] = f"/api/v1/emulators/meters?group={made.group}"
    return _instance(made)


@api.post("/emulators/instances/bulk", operation_id="startManyInstances", openapi_extra=ADMIN)
async def start_many(body: schemas.InstancesIn, parts: Parts) -> schemas.InstancesStarted:
    """Start several groups; each is started or refused for itself."""
    done = []
    for each in body.items:
        try:
            made = await parts.emulators.start(each.template, each.count, group=each.group or "")
            done.append(schemas.InstanceStarted(group=made.group, instance=_instance(made)))
        except HeadendError as error:
            done.append(schemas.InstanceStarted(group=each.group or each.template, error=error.message))
    return schemas.InstancesStarted(items=done)


@api.delete("/emulators/instances/{group}", operation_id="removeInstances", openapi_extra=ADMIN)
async def remove_instances(group: LabelPath, parts: Parts) -> schemas.Touched:
    """Let a group be no more."""
    return schemas.Touched(meters=await parts.emulators.remove(group))


@api.get(
    "/emulators/meters", operation_id="listVirtualMeters", response_model=schemas.VirtualMeters, openapi_extra=VIEWER
)
async def list_meters(
    parts: Parts,
    group: Annotated[str, Query(max_length=40)] = "",
    name: Annotated[str, Query(max_length=200, description="a pattern, as `house-*`")] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Virtual meters one by one: where they are reached, and what is wrong with them."""
    if not parts.emulators.instances():
        return ready({"items": [], "total": 0})
    selection = Selection(group=group, name=name)
    found = await parts.emulators.meters(selection, offset=offset, limit=limit)
    return ready({"items": [_meter(each) for each in found], "total": await parts.emulators.count(selection)})


@api.get("/emulators/faults", operation_id="listFaults", openapi_extra=VIEWER)
async def list_faults() -> schemas.FaultKinds:
    """What can be wrong with virtual meters."""
    return schemas.FaultKinds(
        items=[schemas.FaultKindOut(kind=kind.value, layer=kind.layer.value) for kind in FaultKind]
    )


@api.post("/emulators/break", operation_id="breakMeters", openapi_extra=OPERATOR)
async def break_meters(body: schemas.BreakIn, parts: Parts) -> schemas.Touched:
    """Let something be wrong with meters, or with a share of them, at once and on open links too."""
    fault = Fault(kind=body.kind, meters=body.share, chance=body.chance, seconds=body.seconds)
    return schemas.Touched(meters=await parts.emulators.break_(fault, _selection(body)))


@api.post("/emulators/mend", operation_id="mendMeters", openapi_extra=OPERATOR)
async def mend_meters(body: schemas.MendIn, parts: Parts) -> schemas.Touched:
    """Let it be wrong no more."""
    return schemas.Touched(meters=await parts.emulators.mend(_selection(body), body.kinds))


@api.post("/emulators/stop", operation_id="stopMeters", openapi_extra=OPERATOR)
async def stop_meters(body: schemas.SelectionIn, parts: Parts) -> schemas.Touched:
    """Switch meters off: they drop their links and take no others."""
    return schemas.Touched(meters=await parts.emulators.stop(_selection(body)))


@api.post("/emulators/start", operation_id="startMeters", openapi_extra=OPERATOR)
async def start_meters(body: schemas.SelectionIn, parts: Parts) -> schemas.Touched:
    """Switch meters on again."""
    return schemas.Touched(meters=await parts.emulators.switch_on(_selection(body)))


@api.post("/emulators/reboot", operation_id="rebootMeters", openapi_extra=OPERATOR)
async def reboot_meters(body: schemas.RebootIn, parts: Parts) -> schemas.Touched:
    """Reboot meters: they drop their links and say nothing for a while."""
    return schemas.Touched(meters=await parts.emulators.reboot(_selection(body), body.seconds))


@api.put("/emulators/clock", operation_id="setVirtualClock", openapi_extra=OPERATOR)
async def set_clock(body: schemas.ClockIn, parts: Parts) -> schemas.ClockOut:
    """Let all virtual meters show another time, or let time run faster for them."""
    state = await parts.emulators.set_clock(at=body.at, speed=body.speed)
    return schemas.ClockOut(at=state.at, speed=state.speed)


def _template(template: Template) -> schemas.TemplateOut:
    return schemas.TemplateOut(
        name=template.name, profile=template.profile, settings=dict(template.settings), note=template.note
    )


def _instance(instance: Instance) -> schemas.InstanceOut:
    return schemas.InstanceOut(
        group=instance.group,
        template=instance.template,
        meters=instance.meters,
        first_address=instance.first_address,
        port=instance.port,
    )


def _meter(meter: MeterState) -> dict[str, Any]:
    return {
        **dataclasses.asdict(meter),
        "faults": [
            {"kind": fault.kind.value, "chance": fault.chance, "seconds": fault.seconds} for fault in meter.faults
        ],
    }


def _selection(body: schemas.SelectionIn) -> Selection:
    return Selection(group=body.group, name=body.name, numbers=tuple(body.numbers))
