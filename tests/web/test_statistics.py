"""Statistics over REST: what a meter and the fleet did, slot by slot and together."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.model.statistics import SLOT_MS, Figures

from .support import NOW, world

SLOT = NOW // SLOT_MS * SLOT_MS


async def test_a_meter_slot_by_slot_and_in_all(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a")
        early = Figures(reads_ok=3, reads_failed=1, octets_in=600, octets_out=300, scales_used=30, scales_asked=10)
        early.took(0.3)
        head_end.store.statistics.add(SLOT - SLOT_MS, {"a": early, "b": Figures(reads_failed=4)})
        state = head_end.roster.state("a")
        state.reads_ok, state.octets_in, state.sessions = 1, 10, 3
        state.knowledge.scales_used, state.messages, state.messages_late = 10, 5, 2
        state.figures.took(0.1)
        head_end.time = 1

        page = (await client.get("/api/v1/meters/a/statistics")).json()
        assert [slot["start"] for slot in page["slots"]] == [SLOT - SLOT_MS, SLOT]
        assert page["slots"][0]["octets_per_second"] == 1.0
        assert page["total"]["reads_ok"] == 4
        assert page["total"]["success_ratio"] == 0.8
        assert (page["total"]["read_seconds_fastest"], page["total"]["read_seconds_slowest"]) == (0.1, 0.3)
        assert page["total"]["read_seconds_mean"] == 0.2

        assert (page["total"]["scales_used"], page["total"]["scales_asked"], page["total"]["cache_hit_ratio"]) == (
            40,
            10,
            0.75,
        )
        assert [page["total"][name] for name in ("messages", "messages_late", "reconnections")] == [5, 2, 2]

        fleet = (await client.get("/api/v1/statistics", params={"from": str(SLOT - SLOT_MS)})).json()
        assert (fleet["total"]["reads_ok"], fleet["total"]["reads_failed"]) == (4, 5)


@pytest.mark.parametrize("query", ["from=2026-01-01", f"from={NOW}&to={NOW - 1}", "from=0"])
async def test_a_time_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a")
        answer = await client.get(f"/api/v1/meters/a/statistics?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_a_meter_that_is_not_there_has_none(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        assert (await client.get("/api/v1/meters/x/statistics")).status_code == 404
