"""What the settings let go of, of a head-end that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headend.model.job import Command, CommandKind, Job, JobState
from headend.model.reading import ReadingBatch, Source
from headend.runtime.database import open_store
from headend.runtime.settings import Settings
from headend.runtime.wiring import running
from headend.services.retention import DAY_MS

OFF = {"enabled": False}
LONG_AGO = 1_700_000_000_000


async def test_old_jobs_are_removed_and_those_that_wait_are_not(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), web=OFF, mqtt=OFF, commands={"retention_days": 30})  # type: ignore[arg-type] # sections as in the file
    with open_store(settings) as store:
        for number, state in enumerate((JobState.CANCELLED, JobState.PROPOSED)):
            store.jobs.put(
                Job(
                    id=f"j{number}",
                    meter_id="m1",
                    command=Command(kind=CommandKind.FREEZE),
                    actor="user:anna",
                    created_at=LONG_AGO,
                    updated_at=LONG_AGO,
                    deadline=LONG_AGO,
                    confirm_by=2 * LONG_AGO,
                    state=state,
                )
            )
    async with running(settings) as head_end:
        deadline = asyncio.get_running_loop().time() + 30
        while len(jobs := head_end.store.jobs.list()) > 1 and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert [job.id for job in jobs] == ["j1"]


async def test_days_that_are_over_are_summarised_and_may_go_then(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), web=OFF, mqtt=OFF)  # type: ignore[arg-type] # as above
    batch = ReadingBatch(
        meter_id="m1",
        source=Source.PUSH,
        received_at=LONG_AGO,
        quantities=["e"] * 3,
        values=[1, 2, 6],
        measured_at=[LONG_AGO, LONG_AGO + 60_000, LONG_AGO + 120_000],
        quality=[0] * 3,
    )
    with open_store(settings) as store:
        store.readings.write([batch])
        assert store.readings.purge(LONG_AGO // DAY_MS + 1) == 0
    async with running(settings) as head_end:
        readings = head_end.store.readings
        deadline = asyncio.get_running_loop().time() + 30
        while not readings.purge(LONG_AGO // DAY_MS + 1) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        assert readings.count() == 0
        assert list(readings.aggregate("m1", "e", 0, 2 * LONG_AGO, DAY_MS).mean) == [3]
