"""What is around a fleet: one timer, pushes to this machine with their retries, and nothing left when it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headend.drivers.base import Outgoing
from headend.emulator.outside import Surroundings
from headend.errors import ConfigError
from headend.model.meter import EndpointKind


class Clock:
    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def outside(clock: Clock) -> AsyncIterator[Surroundings]:
    made = Surroundings(clock)
    yield made
    await made.aclose()


def outgoing(port: int, **more: Any) -> Outgoing:
    usual = {"kind": EndpointKind.TCP, "host": "127.0.0.1", "octets": b"hello", "not_before": 0, "not_after": 0}
    return Outgoing(port=port, **{**usual, **more})


async def test_meters_are_woken_in_order_and_once(outside: Surroundings, clock: Clock) -> None:
    woken: list[str] = []
    note: Callable[[str], Callable[[], None]] = lambda name: lambda: woken.append(name)  # noqa: E731 - short
    outside.wake(1, 3000, note("late"))
    outside.wake(2, 1000, note("early"))
    outside.wake(3, 2000, note("changed its mind"))
    outside.wake(3, 5000, note("last"))
    outside.run_due()
    assert woken == []
    clock.at = 3000
    outside.run_due()
    assert woken == ["early", "late"]
    clock.at = 9000
    outside.run_due()
    outside.run_due()
    assert woken == ["early", "late", "last"]
    assert len(outside) == 0


async def test_its_timer_wakes(outside: Surroundings, clock: Clock) -> None:
    woken = asyncio.Event()
    clock.at = 10
    outside.wake(1, 5, woken.set)
    async with asyncio.timeout(10):
        await woken.wait()


async def test_a_push_arrives_and_is_tried_again_until_it_does(outside: Surroundings, clock: Clock) -> None:
    heard = asyncio.Queue[bytes]()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read())
        writer.close()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens yet
        port = taken.getsockname()[1]
        outside.send(7, outgoing(port, retries=2, delay=60), 0)
        for at in (0, 60_000):
            assert len(outside) == 1
            clock.at = at
            outside.run_due()
            await asyncio.gather(*outside._sending)
        server = await asyncio.start_server(hear, sock=taken)
        clock.at = 120_000
        outside.run_due()
        async with asyncio.timeout(20):
            assert await heard.get() == b"hello"
        await asyncio.gather(*outside._sending)
        assert len(outside) == 0
        server.close()
        await server.wait_closed()


async def test_a_push_is_given_up_after_its_retries(outside: Surroundings, clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outside.send(7, outgoing(taken.getsockname()[1], retries=1, delay=5), 0)
        for at in (0, 5000):
            clock.at = at
            outside.run_due()
            await asyncio.gather(*outside._sending)
    assert len(outside) == 0


async def test_pushes_go_to_this_machine_only(outside: Surroundings) -> None:
    for host in ("192.0.2.1", "example.org", "0.0.0.0", ""):  # noqa: S104 - an address that is refused
        with pytest.raises(ConfigError, match="this machine only"):
            outside.send(7, outgoing(1, host=host), 0)
    assert len(outside) == 0


async def test_what_waits_is_forgotten_at_the_end(clock: Clock) -> None:
    outside = Surroundings(clock)
    outside.wake(1, 5000, lambda: pytest.fail("it has ended"))
    outside.send(7, outgoing(1), 5000)
    await outside.aclose()
    clock.at = 9000
    outside.run_due()
    assert len(outside) == 0
