"""Alarms: which stand, what became of them, and by which rules they are raised."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from fastapi.responses import Response

from headend.model.alarm import RATINGS, Alarm, AlarmKind, AlarmRule, Level
from headend.model.alarm_rules import fields_of
from headend.model.event import Severity
from headend.model.quantity import find_quantity
from headend.model.reading import Value
from headend.services.alarms.rulebook import Rulebook
from headend.web.access import ADMIN, OPERATOR, VIEWER
from headend.web.encode import ready
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import alarms as schemas
from headend.web.times import parse_time

api = router("alarms")

EARLIER: Final = 20
_STATES: Final = {"": None, "active": True, "cleared": False}

Number = Annotated[int, Path(ge=0, lt=2**63)]
LevelPath = Annotated[Literal["global", "profile", "meter"], Path()]
Subject = Annotated[str, Query(max_length=64, description="the meter file or the meter; empty at the level global")]


@api.get("/alarms", operation_id="listAlarms", response_model=schemas.AlarmPage, openapi_extra=VIEWER)
async def list_alarms(
    parts: Parts,
    state: Annotated[Literal["", "active", "cleared"], Query()] = "",
    meter_id: Annotated[str | None, Query(max_length=64)] = None,
    kinds: Annotated[str, Query(max_length=1000, description="only these, with commas between")] = "",
    severities: Annotated[str, Query(max_length=100, description="only these, with commas between")] = "",
    acknowledged: Annotated[bool | None, Query()] = None,
    cursor: Annotated[int | None, Query(ge=0, lt=2**63, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Alarms, newest first."""
    wanted = _chosen(AlarmKind, kinds, "query.kinds")
    grave = _chosen(Severity, severities, "query.severities")
    stored = parts.store.alarms

    def answer() -> Response:
        found = stored.list(
            active=_STATES[state],
            acknowledged=acknowledged,
            meter_id=meter_id,
            kinds=wanted,
            severities=grave,
            before=cursor,
            limit=limit,
        )
        active, unacknowledged = stored.counts()
        return ready(
            {
                "items": [_row(alarm) for alarm in found],
                "next": found[-1].number if len(found) == limit else None,
                "active": {severity.value: amount for severity, amount in active.items()},
                "unacknowledged": unacknowledged,
            }
        )

    return await asyncio.to_thread(answer)


@api.get("/alarms/{number}", operation_id="readAlarm", response_model=schemas.AlarmDetail, openapi_extra=VIEWER)
async def read_alarm(number: Number, parts: Parts) -> Response:
    """One alarm, what happened to it, and earlier ones of the same rule, quantity and meter."""
    stored = parts.store.alarms

    def answer() -> Response:
        alarm = stored.get(number)
        series = (alarm.rule, alarm.quantity)
        earlier = stored.list(meter_id=alarm.meter_id, series=series, before=number, limit=EARLIER)
        return ready({**_row(alarm), "steps": _steps(alarm), "earlier": [_row(each) for each in earlier]})

    return await asyncio.to_thread(answer)


@api.post(
    "/alarms/{number}/acknowledge",
    operation_id="acknowledgeAlarm",
    response_model=schemas.AlarmOut,
    openapi_extra=OPERATOR,
)
async def acknowledge_alarm(number: Number, body: schemas.AcknowledgeIn, parts: Parts, asking: Asking) -> Response:
    """Say that the alarm was seen, and what is done about it; a second one is refused (409)."""
    return ready(_row(await parts.alarms.acknowledge(number, f"{asking.kind}:{asking.name}", body.note.strip())))


@api.get("/alarm-rules", operation_id="listAlarmRules", response_model=schemas.RulesOut, openapi_extra=VIEWER)
async def list_rules(
    parts: Parts,
    meter_id: Annotated[str, Query(max_length=64, description="as they count for this meter")] = "",
    profile_id: Annotated[str, Query(max_length=64, description="as they count for meters of this file")] = "",
) -> Response:
    """The rules as they count for all meters, for those of a file, or for one; and what was changed at any level."""
    if meter_id:
        profile_id = parts.roster.state(meter_id).meter.profile_id
    elif profile_id:
        parts.library.path(profile_id)
    book = parts.alarms.rulebook
    changes = await asyncio.to_thread(parts.store.alarms.rules)
    ratings, ratings_set = _ratings(book, profile_id, meter_id)
    return ready(
        {
            "items": [_rule(book, rule, profile_id, meter_id) for rule in book.rules(profile_id, meter_id)],
            "ratings": ratings,
            "ratings_set": ratings_set,
            "changes": [{**dataclasses.asdict(change), "level": change.level.value} for change in changes],
        }
    )


@api.put("/alarm-rules/{level}/{rule}", operation_id="changeAlarmRule", openapi_extra=ADMIN)
async def change_rule(
    level: LevelPath, rule: schemas.RuleId, body: schemas.RuleIn, parts: Parts, asking: Asking, subject: Subject = ""
) -> schemas.RuleChangeOut:
    """Set what is changed of a rule (or of `ratings`) for all, for a meter file or for a meter, in the place of what was.

    A rule that does not exist yet is one of your own: it needs `quantity` and `threshold`, or `event`.
    """
    _check_subject(parts, level, subject)
    change = await parts.alarms.put_rule(Level(level), subject, rule, body.fields, f"{asking.kind}:{asking.name}")
    return schemas.RuleChangeOut(**{**dataclasses.asdict(change), "level": level})


@api.delete("/alarm-rules/{level}/{rule}", operation_id="resetAlarmRule", status_code=204, openapi_extra=ADMIN)
async def reset_rule(level: LevelPath, rule: schemas.RuleId, parts: Parts, subject: Subject = "") -> None:
    """Take back what was changed of a rule at a level; the more general levels count again."""
    await parts.alarms.remove_rule(Level(level), subject, rule)


@api.post("/alarm-rules/test", operation_id="testAlarmRule", response_model=schemas.RuleTested, openapi_extra=OPERATOR)
async def test_rule(body: schemas.RuleTest, parts: Parts) -> Response:
    """What a rule would have raised on the stored readings and events of a meter; nothing is kept or said."""
    start = parse_time(str(body.start), "body.start")
    end = parts.millis() + 1 if body.end is None else parse_time(str(body.end), "body.end")
    found = await parts.alarms.try_rule(body.meter_id, body.rule, body.fields, start, end)
    return ready({"items": [_row(alarm) for alarm in found]})


def _chosen(kind: type[Any], text: str, field: str) -> list[Any] | None:
    try:
        return [kind(name) for name in text.split(",") if name] or None
    except ValueError:
        raise Refused("invalid-request", f"some of {', '.join(each.value for each in kind)}", field=field) from None


def _check_subject(parts: WebParts, level: str, subject: str) -> None:
    if level == "meter":
        parts.roster.state(subject)
    elif level == "profile":
        parts.library.path(subject)
    elif subject:
        raise Refused("invalid-request", "no subject at the level global", field="query.subject")


def _row(alarm: Alarm) -> dict[str, Any]:
    return {
        **dataclasses.asdict(alarm),
        "kind": alarm.kind.value,
        "severity": alarm.severity.value,
        "cleared": None if alarm.cleared is None else alarm.cleared.value,
    }


def _steps(alarm: Alarm) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"at": alarm.raised_at, "what": "raised", "by": "", "text": ""}]
    if alarm.since < alarm.raised_at:
        steps.insert(0, {"at": alarm.since, "what": "began", "by": "", "text": ""})
    if alarm.acknowledged_at is not None:
        at, by = alarm.acknowledged_at, alarm.acknowledged_by
        steps.append({"at": at, "what": "acknowledged", "by": by, "text": alarm.note})
    if alarm.cleared_at is not None and alarm.cleared is not None:
        steps.append({"at": alarm.cleared_at, "what": "cleared", "by": "", "text": alarm.cleared.value})
    return sorted(steps, key=lambda step: step["at"])


def _rule(book: Rulebook, rule: AlarmRule, profile_id: str, meter_id: str) -> dict[str, Any]:
    first = rule.watched[0] if rule.watched else None
    known = find_quantity(first.quantity) if first else None
    unit = first.unit if first and first.unit is not None else known.unit if known else "s" if rule.silence else ""
    return {
        "id": rule.id,
        "kind": rule.kind.value,
        "label": rule.label,
        "severity": rule.severity.value,
        "enabled": rule.enabled,
        "in_force": rule.enabled and rule.complete,
        "quantities": [watched.quantity for watched in rule.watched],
        "comparison": rule.comparison.value,
        "threshold": rule.threshold,
        "percent": rule.percent,
        "rating": rule.rating,
        "unit": "" if unit == "1" else unit,
        "clear": rule.clear,
        "hysteresis": rule.hysteresis,
        "hold_seconds": rule.hold_seconds,
        "flap_changes": rule.flap_changes,
        "flap_seconds": rule.flap_seconds,
        "load": rule.load,
        "event": rule.event.value if rule.event else None,
        "until": rule.until.value if rule.until else None,
        "fields": fields_of(rule.id),
        "set": {field: name for name, layer in book.layers(profile_id, meter_id) for field in layer.get(rule.id, {})},
    }


def _ratings(book: Rulebook, profile_id: str, meter_id: str) -> tuple[dict[str, Value], dict[str, str]]:
    values: dict[str, Value] = {}
    origin: dict[str, str] = {}
    for name, layer in book.layers(profile_id, meter_id):
        for field, value in layer.get(RATINGS, {}).items():
            values[field], origin[field] = value, name
    return values, origin
