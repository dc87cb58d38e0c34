from __future__ import annotations

import asyncio

from headend.errors import StorageError
from headend.services.retention import DAY_MS, retain

from .support import clock, virtual


@virtual
async def test_old_days_are_removed_every_hour_also_after_a_failure() -> None:
    asked: list[int] = []

    def purge(day: int) -> int:
        asked.append(day)
        if len(asked) == 1:
            raise StorageError("away")
        return 5

    task = asyncio.create_task(retain(30, purge, clock))
    await asyncio.sleep(2 * 3600 + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(asked) == 3
    assert set(asked) <= {clock() // DAY_MS - 30, clock() // DAY_MS - 31}


@virtual
async def test_nothing_is_removed_without_a_limit() -> None:
    await retain(0, lambda _day: 1 // 0, clock)
