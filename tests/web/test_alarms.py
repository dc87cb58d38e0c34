from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.alarm import Alarm, AlarmKind, Cleared
from headend.model.event import Severity

from .support import NOW, World, batch, world


def alarm(number: int, **fields: Any) -> Alarm:
    given: dict[str, Any] = {"meter_id": "a", "rule": "overvoltage", "kind": AlarmKind.OVERVOLTAGE, "phase": "l1"}
    more: dict[str, Any] = {
        "label": "Over-voltage",
        "severity": Severity.WARNING,
        "quantity": "voltage_l1",
        "unit": "V",
    }
    times = {"since": NOW + number, "raised_at": NOW + number + 5}
    return Alarm(number=number, **{**given, **more, **times, "value": 254.0, "threshold": 253.0, **fields})


def fill(head_end: World) -> None:
    head_end.store.alarms.keep(
        [
            alarm(1).over(NOW + 50, Cleared.ENDED),
            alarm(2, kind=AlarmKind.OVERLOAD, rule="overload", meter_id="b", severity=Severity.CRITICAL),
            alarm(3, kind=AlarmKind.RELAY_TRIPPED, rule="relay_tripped", value=False, threshold=False),
            alarm(4),
        ],
        {},
    )


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({}, [4, 3, 2, 1]),
        ({"state": "active"}, [4, 3, 2]),
        ({"state": "cleared"}, [1]),
        ({"meter_id": "b"}, [2]),
        ({"kinds": "OVERLOAD,RELAY_TRIPPED"}, [3, 2]),
        ({"severities": "critical"}, [2]),
        ({"acknowledged": "true"}, [4]),
        ({"acknowledged": "false", "state": "active"}, [3, 2]),
        ({"cursor": 3, "limit": 1}, [2]),
    ],
)
async def test_alarms_are_chosen(tmp_path: Path, params: dict[str, Any], numbers: list[int]) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as client:
        fill(head_end)
        head_end.store.alarms.acknowledge(4, "user:ada", "")
        page = (await client.get("/api/v1/alarms", params=params)).json()
        assert [item["number"] for item in page["items"]] == numbers
        assert (page["active"], page["unacknowledged"]) == ({"critical": 1, "warning": 2}, 2)
        assert page["next"] == (numbers[-1] if len(numbers) == params.get("limit") else None)


@pytest.mark.parametrize(
    "query", ["state=loud", "kinds=NOISE", "severities=loud", "cursor=-1", "limit=0", "acknowledged=perhaps"]
)
async def test_choices_that_do_not_exist_are_refused(tmp_path: Path, query: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get(f"/api/v1/alarms?{query}")).status_code == 422


async def test_an_alarm_tells_what_happened_to_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        fill(head_end)
        head_end.time = 1
        seen = await client.post("/api/v1/alarms/4/acknowledge", json={"note": " on my way "})
        assert (seen.status_code, seen.json()["note"]) == (200, "on my way")
        told = (await client.get("/api/v1/alarms/4")).json()
        assert told["steps"] == [
            {"at": NOW + 4, "what": "began", "by": "", "text": ""},
            {"at": NOW + 9, "what": "raised", "by": "", "text": ""},
            {"at": NOW + 1000, "what": "acknowledged", "by": "key:key-operator", "text": "on my way"},
        ]
        assert [each["number"] for each in told["earlier"]] == [1]
        assert (await client.get("/api/v1/alarms/1")).json()["steps"][-1]["text"] == "ended"
        assert (await client.get("/api/v1/alarms/9")).status_code == 404
        assert (await client.post("/api/v1/alarms/4/acknowledge", json={})).status_code == 409
        assert (await client.post("/api/v1/alarms/9/acknowledge", json={})).status_code == 404


async def test_roles_say_who_may_see_acknowledge_and_change(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        fill(head_end)
        ways = [
            ("GET", "/api/v1/alarms", None, Role.VIEWER),
            ("GET", "/api/v1/alarms/1", None, Role.VIEWER),
            ("GET", "/api/v1/alarm-rules", None, Role.VIEWER),
            ("POST", "/api/v1/alarms/3/acknowledge", {}, Role.OPERATOR),
            ("POST", "/api/v1/alarm-rules/test", {}, Role.OPERATOR),
            ("PUT", "/api/v1/alarm-rules/global/overvoltage", {}, Role.ADMIN),
            ("DELETE", "/api/v1/alarm-rules/global/overvoltage", None, Role.ADMIN),
        ]
        for method, path, body, needed in ways:
            for role in Role:
                async with head_end.client(role) as client:
                    answer = await client.request(method, path, json=body)
                assert (answer.status_code == 403) is not role.includes(needed), (path, role)


async def test_rules_are_changed_at_each_level_and_taken_back(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a", profile_id="bench")

        async def rule(name: str, **query: str) -> dict[str, Any]:
            items = (await client.get("/api/v1/alarm-rules", params=query)).json()["items"]
            found: dict[str, Any] = next(item for item in items if item["id"] == name)
            return found

        async def put(path: str, fields: dict[str, Any]) -> int:
            return (await client.put(f"/api/v1/alarm-rules/{path}", json={"fields": fields})).status_code

        usual = await rule("overvoltage")
        assert (usual["threshold"], usual["percent"], usual["unit"], usual["set"]) == (253.0, 110.0, "V", {})
        assert not (await rule("overcurrent"))["in_force"]
        assert await put("global/ratings", {"rated_current": 60}) == 200
        assert (await rule("overcurrent"))["threshold"] == 60
        assert await put("profile/overvoltage?subject=bench", {"threshold": 250}) == 200
        assert await put("meter/overvoltage?subject=a", {"severity": "critical"}) == 200
        mine = await rule("overvoltage", meter_id="a")
        assert (mine["threshold"], mine["severity"]) == (250, "critical")
        assert mine["set"] == {"threshold": "profile", "severity": "meter"}
        assert (await rule("overvoltage", profile_id="bench"))["severity"] == "warning"
        assert (await rule("overvoltage"))["threshold"] == 253.0
        listed = (await client.get("/api/v1/alarm-rules")).json()
        assert [(each["level"], each["subject"], each["rule"]) for each in listed["changes"]] == [
            ("global", "", "ratings"),
            ("profile", "bench", "overvoltage"),
            ("meter", "a", "overvoltage"),
        ]
        assert listed["changes"][0]["changed_by"] == "key:key-admin"
        assert listed["ratings"] == {"nominal_voltage": 230.0, "rated_current": 60}
        gone = await client.delete("/api/v1/alarm-rules/profile/overvoltage?subject=bench")
        assert gone.status_code == 204
        assert (await rule("overvoltage", meter_id="a"))["threshold"] == 253.0
        assert (await client.delete("/api/v1/alarm-rules/profile/overvoltage?subject=bench")).status_code == 404


async def test_rules_of_ones_own(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a")
        own = {"label": "Low frequency", "quantity": "frequency", "comparison": "<", "threshold": 49.8}
        assert (await client.put("/api/v1/alarm-rules/global/low-hz", json={"fields": own})).status_code == 200
        head_end.bus.publish(batch("a", {"frequency": 49.7}))
        page: dict[str, Any] = {"items": []}
        async with head_end.client() as viewer:
            for _ in range(1000):
                page = (await viewer.get("/api/v1/alarms")).json()
                if page["items"]:
                    break
        (item,) = page["items"]
        assert (item["label"], item["kind"], item["value"], item["unit"]) == ("Low frequency", "CUSTOM", 49.7, "Hz")


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("global/overvoltage", {"colour": 1}, 422),
        ("global/overvoltage", {}, 422),
        ("global/overvoltage?subject=a", {"threshold": 1}, 422),
        ("meter/overvoltage", {"threshold": 1}, 404),
        ("meter/overvoltage?subject=zz", {"threshold": 1}, 404),
        ("profile/overvoltage?subject=zz", {"threshold": 1}, 404),
        ("planet/overvoltage", {"threshold": 1}, 422),
        ("global/Über", {"threshold": 1}, 422),
        ("global/own", {"threshold": 1}, 422),
        ("global/own", {"quantity": "voltage"}, 422),
        ("global/own", {"quantity": "colour", "threshold": 1}, 422),
        ("global/own", {"event": "ALARM_RAISED"}, 422),
    ],
)
async def test_changes_that_make_no_sense_are_refused(
    tmp_path: Path, path: str, fields: dict[str, Any], status: int
) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a")
        answer = await client.put(f"/api/v1/alarm-rules/{path}", json={"fields": fields})
        assert answer.status_code == status, answer.text
        assert (await client.get("/api/v1/alarm-rules")).json()["changes"] == []


async def test_a_rule_is_tried_on_the_past(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a")
        head_end.store.readings.write(
            [
                batch("a", {"voltage_l1": volts}, NOW + 60_000 * minute)
                for minute, volts in enumerate((230, 241, 241, 230))
            ]
        )
        body = {"meter_id": "a", "rule": "overvoltage", "fields": {"threshold": 240}, "start": NOW, "end": NOW + 10**6}
        answer = await client.post("/api/v1/alarm-rules/test", json=body)
        (item,) = answer.json()["items"]
        assert (item["since"] - NOW, item["raised_at"] - NOW, item["cleared_at"] - NOW) == (60_000, 90_000, 180_000)
        assert (await client.get("/api/v1/alarms")).json()["items"] == []
        for wrong in ({"meter_id": "zz"}, {"rule": "communication_lost"}, {"fields": {"colour": 1}}, {"start": "x"}):
            refused = await client.post("/api/v1/alarm-rules/test", json={**body, **wrong})
            assert refused.status_code in (404, 422), wrong


async def test_whoever_follows_live_hears_of_alarms(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a")
        feed = head_end.app.state.feed
        follower = feed.join(["events"], [])
        head_end.bus.publish(batch("a", {"voltage_l2": 20.0}))
        told: list[dict[str, Any]] = []
        while not any(event["type"] == "ALARM_RAISED" for event in told):
            await client.get("/api/v1/alarms")
            feed.tick()
            while follower.frames:
                told += json.loads((await follower.next()).split(b"data: ", 1)[1])["events"]
        (raised,) = [event for event in told if event["type"] == "ALARM_RAISED"]
        assert (raised["meter_id"], raised["severity"]) == ("a", "critical")
        assert raised["data"]["kind"] == "PHASE_LOSS"
        assert (raised["data"]["phase"], raised["data"]["value"], raised["data"]["unit"]) == ("l2", 20.0, "V")
