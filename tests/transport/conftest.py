"""Every test here runs on both event loops; a receiver that remembers, and waits for what is to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
import uvloop

from headend.errors import LinkError
from headend.transport.link import Link


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Recorder:
    """Owns a link, keeps the octets and the end."""

    def __init__(self, link: Link | None = None) -> None:
        self.chunks: list[bytes] = []
        self.lost: list[LinkError] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        if link is not None:
            link.set_receiver(self)

    @property
    def octets(self) -> bytes:
        return b"".join(self.chunks)

    def data_received(self, data: bytes) -> None:
        self.chunks.append(bytes(data))
        self._look()

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)
        self._look()

    def _look(self) -> None:
        for condition, future in self._waiting:
            if condition() and not future.done():
                future.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((condition, future))
            await asyncio.wait_for(future, 5)

    async def received(self, count: int) -> bytes:
        await self.until(lambda: len(self.octets) >= count)
        return self.octets

    async def ended(self) -> LinkError:
        await self.until(lambda: bool(self.lost))
        return self.lost[0]


async def _until(condition: Callable[[], object], turns: int = 100_000) -> None:
    while not condition():
        turns -= 1
        assert turns, "it never came true"
        await asyncio.sleep(0)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    return _until


@pytest.fixture
def record() -> type[Recorder]:
    return Recorder
