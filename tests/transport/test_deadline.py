from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from headend.errors import DecodeError, LinkClosed, LinkTimeout, LocalProtocolError, RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.transport.deadline import NEVER, sweeper
from headend.transport.exchange import Exchange, exchange
from headend.transport.memory import MemoryLink, memory_pair


class Waiting:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        self.expired.set_result(None)


async def test_only_what_is_overdue_expires_and_only_once() -> None:
    now = asyncio.get_running_loop().time()
    soon, late, never = Waiting(now + 0.05), Waiting(now + 60), Waiting(NEVER)
    for target in (soon, late, never):
        sweeper().add(target)
    await asyncio.wait_for(soon.expired, 5)
    assert soon.deadline == NEVER
    assert not late.expired.done()
    for target in (soon, late, never):
        sweeper().discard(target)


def test_a_sweeper_does_not_keep_its_loop_alive() -> None:
    async def use() -> weakref.ref[asyncio.AbstractEventLoop]:
        target = Waiting(NEVER)
        sweeper().add(target)
        sweeper().discard(target)
        return weakref.ref(asyncio.get_running_loop())

    with asyncio.Runner() as runner:
        loop = runner.run(use())
    del runner
    gc.collect()
    assert loop() is None


class Lines:
    """A protocol of lines: what is between line feeds is an event; a line that starts with ! is forbidden."""

    role = Role.CLIENT

    def __init__(self) -> None:
        self._in, self._out = b"", b""

    def send(self, event: Any) -> None:
        self._out += event + b"\n"

    def receive_data(self, data: bytes) -> None:
        self._in += data

    def next_event(self) -> Any:
        line, found, rest = self._in.partition(b"\n")
        if not found:
            return NEED_DATA
        self._in = rest
        if line.startswith(b"!"):
            raise DecodeError("forbidden line", offset=0)
        return line

    def data_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data


class Answering:
    """A far end that answers each line with given octets."""

    def __init__(self, link: MemoryLink, answer: bytes) -> None:
        self._link, self._answer = link, answer
        link.set_receiver(self)

    def data_received(self, _data: bytes) -> None:
        self._link.write(self._answer)

    def link_lost(self, error: object) -> None:
        pass


@pytest.mark.parametrize("split", [0, 1])
async def test_exchange_brings_the_answer(split: int) -> None:
    near, far = memory_pair(split=split)
    Answering(far, b"pong\n")
    assert await exchange(near, Lines(), b"ping", 5) == b"pong"
    near.abort()


async def test_exchange_ends_with_what_went_wrong() -> None:
    near, far = memory_pair()
    Answering(far, b"po")
    with pytest.raises(LinkTimeout, match="memory:meter"):
        await exchange(near, Lines(), b"ping", 0.05)
    near, far = memory_pair()
    Answering(far, b"!\n")
    with pytest.raises(RemoteProtocolError, match="forbidden"):
        await exchange(near, Lines(), b"ping", 5)
    near, far = memory_pair()
    far.abort()
    with pytest.raises(LinkClosed):
        await exchange(near, Lines(), b"ping", 5)
    await asyncio.sleep(0)
    with pytest.raises(LinkClosed):
        await exchange(near, Lines(), b"ping", 5)


async def test_an_exchange_that_lost_its_answer_refuses_the_next_request() -> None:
    class Session(Exchange):
        def data_received(self, data: bytes) -> None:
            self.complete(data)

    near, far = memory_pair()
    session = Session(near)
    session.start()
    first = session.transact(b"a", 5)
    with pytest.raises(LocalProtocolError, match="in flight"):
        session.transact(b"b", 5)
    first.cancel()
    far.write(b"late answer")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(LinkTimeout, match="abandoned"):
        session.transact(b"b", 5)
    session.stop()
    near.abort()
    await asyncio.sleep(0)
