from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.model.access import Role
from headend.model.meter import Endpoint, EndpointKind
from headend.model.reading import ReadingBatch

from .support import NOW, World, world


def install(head_end: World) -> None:
    head_end.add("a", params={"unit": "1"})
    head_end.add("dead", endpoint=Endpoint(kind=EndpointKind.TCP, host="nobody", port=7))


async def test_the_objects_of_a_meter(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        (item,) = (await client.get("/api/v1/meters/a/objects")).json()["items"]
        assert item["ref"] == "bench:voltage"
        assert item["attributes"] == {"2": "r"}


async def test_a_meter_is_asked_who_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        for _ in range(2):
            assert (await client.post("/api/v1/meters/a/identify")).json()["serial"] == "1"
        meter = (await client.get("/api/v1/meters/a")).json()
        assert meter["identity"]["serial"] == "1"
        assert meter["revision"] == 2
        assert head_end.roster.state("a").meter.identity.serial == "1"


async def test_reading_objects_by_reference(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        body = (await client.post("/api/v1/meters/a/read", json={"refs": ["modbus:voltage", "other"]})).json()
        assert body["measured_at"] == NOW
        assert body["values"] == [{"ref": "bench:voltage", "quantity": "", "unit": "", "value": 2301, "quality": 0}]
        assert body["missing"] == [
            {"ref": "bench:other", "quantity": "", "code": "object-undefined", "reason": "no such object"}
        ]
        assert head_end.roster.state("a").online is True


async def test_what_is_a_reading_goes_to_the_bus(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a", profile_id="bench")
        tape = head_end.bus.subscribe("tape", ReadingBatch)
        for body in ({"refs": ["voltage"]}, {}):
            answer = (await client.post("/api/v1/meters/a/read", json=body)).json()
            assert answer.get("values", answer) == [
                {"ref": "bench:voltage", "quantity": "voltage_l1", "unit": "V", "value": 230.1, "quality": 0}
            ]
            assert (await anext(tape)).values == [230.1]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/v1/meters/dead/read", {"refs": ["voltage"]}, 502, "connect-refused"),
        ("/api/v1/meters/nobody/read", {}, 404, "not-found"),
        ("/api/v1/meters/a/read", {}, 409, "capability"),
        ("/api/v1/meters/a/read", {"refs": ["0/0"]}, 422, "config"),
        ("/api/v1/meters/a/read", {"refs": []}, 422, "invalid-request"),
    ],
)
async def test_what_cannot_be_done(tmp_path: Path, path: str, body: dict[str, Any], status: int, code: str) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        response = await client.post(path, json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_load_profile_scaled_and_limited(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        install(head_end)
        body = (await client.get("/api/v1/meters/a/history?ref=voltage")).json()
        assert body["columns"] == [{"ref": "bench:voltage", "quantity": "voltage_l1", "unit": "V"}]
        assert body["times"] == [NOW, NOW + 1, NOW + 2]
        assert body["rows"] == [[230.0], [230.1], [230.2]]
        assert body["truncated"] is False
        assert body["events"] == []
        short = (await client.get("/api/v1/meters/a/history?ref=voltage&limit=2")).json()
        assert short["times"] == [NOW, NOW + 1]
        assert short["truncated"] is True


async def test_an_event_log_says_in_words_what_happened(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        head_end.add("a", profile_id="bench")
        body = (await client.get("/api/v1/meters/a/history?ref=journal&limit=3")).json()
        assert body["rows"] == [[230.0], [230.1], [230.2]]
        assert body["events"] == ["low", "", "less low"]
        assert (await client.get("/api/v1/meters/a/history?ref=journal&limit=1")).json()["events"] == ["low"]
