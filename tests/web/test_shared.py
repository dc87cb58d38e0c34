from __future__ import annotations

import asyncio
import threading

import pytest

from headend.errors import StorageError
from headend.web import shared
from headend.web.shared import Shared


async def test_who_asks_the_same_at_the_same_time_gets_the_same() -> None:
    made: list[str] = []
    go = threading.Event()

    def make() -> bytes:
        go.wait()
        made.append("once")
        return b"answer"

    answers = Shared()
    asking = [asyncio.create_task(answers.answer("a", make)) for _ in range(5)]
    asking[0].cancel()
    other = await answers.answer("b", lambda: b"other")
    go.set()
    assert await asyncio.gather(*asking[1:]) == [b"answer"] * 4
    assert await answers.answer("a", make) == b"answer"
    assert made == ["once"]
    assert other == b"other"


async def test_an_answer_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "KEPT_SECONDS", 0)
    answers = Shared()
    assert await answers.answer("a", lambda: b"old") == b"old"
    for _ in range(5):
        await asyncio.sleep(0)
    assert await answers.answer("a", lambda: b"new") == b"new"


async def test_a_failure_reaches_all_who_wait() -> None:
    def make() -> bytes:
        raise StorageError("away")

    answers = Shared()
    asked = (answers.answer("a", make), answers.answer("a", make))
    assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [StorageError] * 2
