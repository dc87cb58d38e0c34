"""Answers that many ask for at the same time: made once, and good for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Final

KEPT_SECONDS: Final = 1.0


class Shared:
    """Answers by what was asked. Whoever asks while one is being made waits for that one."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, asyncio.Task[bytes]] = {}

    async def answer(self, asked: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer that `make`, which blocks, gives; raises what it raises, to all who wait."""
        task = self._answers.get(asked)
        if task is None:
            task = self._answers[asked] = asyncio.create_task(asyncio.to_thread(make), name="shared-answer")
            task.add_done_callback(lambda _task: self._keep(asked))
        return await asyncio.shield(task)

    def _keep(self, asked: Hashable) -> None:
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._answers.pop, asked, None)
