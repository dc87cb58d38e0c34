"""Exports over REST: the same octets as the formats make, streamed, limited, to those who may read readings."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from headend.model.access import Role
from headend.model.reading import ReadingBatch, Source
from headend.web.routes import exports as route

from .support import ELSEWHERE, NOW, World, world

HOUR = 3_600_000


async def fill(head_end: World, name: str = "a") -> None:
    head_end.add(name)
    times = [NOW - 2 * HOUR + step * HOUR // 4 for step in range(9)]
    head_end.bus.publish(
        ReadingBatch(
            meter_id=name,
            source=Source.HISTORY,
            received_at=NOW,
            quantities=("active_energy_import_total",) * 9,
            values=[1000 + 100 * step for step in range(9)],
            measured_at=times,
            quality=(0,) * 9,
        )
    )
    await head_end.stored(9)


async def test_an_export_is_a_file_of_its_format(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        answer = await client.get("/api/v1/exports/csv", params={"meters": "a"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="csv-20251231-20260101.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["value"] for row in rows] == ["100"] * 8
        some = await client.get("/api/v1/exports/csv", params={"start": NOW - HOUR, "end": NOW - HOUR // 2})
        assert len(some.text.splitlines()) == 3


async def test_every_format_is_served(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end, "NEM1201009")
        found = (await client.get("/api/v1/exports")).json()["items"]
        assert [each["name"] for each in found] == ["csv", "parquet", "iec61968-9", "nem12", "espi"]
        for each in found:
            answer = await client.get(f"/api/v1/exports/{each['name']}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, each["media_type"])
            assert answer.content


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("docx", 422, "invalid-request"),
        ("csv?meters=nobody", 404, "not-found"),
        ("csv?quantities=nonsense", 422, "config"),
        ("csv?period_minutes=7", 422, "config"),
        ("csv?zone=Nowhere", 422, "config"),
        ("csv?start=2020-01-01T00:00Z", 422, "invalid-request"),
        ("csv?start=2026-01-02T00:00Z&end=2026-01-01T00:00Z", 422, "config"),
        ("nem12", 422, "config"),
    ],
)
async def test_what_cannot_be_is_a_problem_and_no_half_file(tmp_path: Path, path: str, status: int, code: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        await fill(head_end)
        answer = await client.get(f"/api/v1/exports/{path}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_only_so_many_are_sent_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "AT_ONCE", 0)
    async with world(tmp_path) as head_end, head_end.client() as client:
        answer = await client.get("/api/v1/exports/csv")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")


async def test_exports_are_for_those_who_may_read(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        async with head_end.client(peer=ELSEWHERE) as nobody:
            assert (await nobody.get("/api/v1/exports/csv")).status_code == 401
        async with head_end.client(Role.VIEWER, peer=ELSEWHERE) as viewer:
            assert (await viewer.get("/api/v1/exports/csv")).status_code == 200
    assert not route._running
