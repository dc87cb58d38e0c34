from __future__ import annotations

import asyncio
from dataclasses import dataclass

from headend import telemetry
from headend.errors import StorageError
from headend.services.retention import DAY_MS
from headend.services.summarising import EVERY_SECONDS, SETTLE_MS, summarise

from .support import clock, virtual


@dataclass(frozen=True)
class Did:
    """What a turn did."""

    day: int | None
    readings: int
    more: bool


@virtual
async def test_turns_follow_each_other_until_nothing_is_left_and_again_later_also_after_a_failure() -> None:
    asked: list[int] = []
    answers = [Did(None, 100, more=True), Did(20_000, 50, more=True), Did(None, 0, more=False)]
    counted = telemetry.READINGS_SUMMARISED._value.get()

    def turn(before_day: int) -> Did:
        asked.append(before_day)
        if len(asked) == 4:
            raise StorageError("away")
        return answers[min(len(asked), 3) - 1]

    task = asyncio.create_task(summarise(turn, lambda: 7, clock))
    await asyncio.sleep(EVERY_SECONDS / 2)
    assert len(asked) == 3
    assert telemetry.READINGS_SUMMARISED._value.get() - counted == 150
    assert telemetry.SUMMARIES_DUE._value.get() == 7
    await asyncio.sleep(2 * EVERY_SECONDS)
    assert len(asked) == 5
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_a_day_is_asked_for_when_it_has_been_over_for_a_while() -> None:
    asked: list[tuple[int, int]] = []

    def turn(before_day: int) -> Did:
        asked.append((clock_now(), before_day))
        return Did(None, 0, more=False)

    loop = asyncio.get_running_loop()
    start, began = clock(), loop.time()

    def clock_now() -> int:
        return start + round((loop.time() - began) * 1000)

    task = asyncio.create_task(summarise(turn, lambda: 0, clock))
    await asyncio.sleep(2 * DAY_MS / 1000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len({before for _, before in asked}) == 3
    for at, before in asked:
        assert 0 <= at - before * DAY_MS - SETTLE_MS < DAY_MS
