"""What virtual meters do of their own accord: being woken at a time, and sending pushes. For all meters of a fleet together.

One timer serves all meters that have something to do by the clock; a meter that has nothing costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from heapq import heappop, heappush
from ipaddress import ip_address
from typing import Final, Protocol

from headend.drivers.base import Outgoing
from headend.emulator.clock import FleetClock
from headend.errors import Busy, ConfigError, LinkError
from headend.model.meter import EndpointKind
from headend.transport.tcp import connect_tcp
from headend.transport.udp import connect_udp

_LONGEST_SLEEP: Final = 3600.0
_TIMEOUT: Final = 5.0
_AT_ONCE: Final = 64
_WAITING: Final = 50_000
"""Meters and messages that wait for their time or their next try; more messages are not taken."""


class Outside(Protocol):
    """What is around a virtual meter; times are those of the world."""

    def wake(self, number: int, at: int, call: Callable[[], None]) -> None:
        """Call at a time; a meter has one such time, the last one that it asked for."""

    def send(self, number: int, outgoing: Outgoing, not_before: int) -> None:
        """Send for a meter, from a time on.

        Raises ConfigError for a destination that is not on this machine, Busy when too much waits.
        """


class Connection(Protocol):
    """What a meter holds that dials in."""

    def push(self, octets: bytes) -> None:
        """Send over it."""


class Surroundings:
    """The Outside of a fleet, while it runs."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock if isinstance(clock, FleetClock) else FleetClock(wall=clock)
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[int, int]] = []
        self._calls: dict[int, tuple[int, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._messages = 0
        self.lines: dict[int, Connection] = {}
        """of meters that push over a connection that they hold, by their numbers"""

    def __len__(self) -> int:
        """How many meters wait to be woken, and messages to be sent."""
        return len(self._calls)

    def wake(self, number: int, at: int, call: Callable[[], None]) -> None:
        """See Outside."""
        if number in self._calls and self._calls[number][0] == at:
            return
        self._calls[number] = at, call
        heappush(self._queue, (at, number))
        if self._queue[0] == (at, number):
            self._arm()

    def send(self, number: int, outgoing: Outgoing, not_before: int) -> None:
        """See Outside."""
        line = self.lines.get(number)
        if line is None and not is_here(outgoing.host):
            raise ConfigError(f"a virtual meter pushes to this machine only, and not to {outgoing.host}")
        if len(self._calls) >= _WAITING:
            raise Busy("too many pushes wait to be sent")
        if line is None:
            self._later(not_before, lambda: self._start(outgoing, outgoing.retries))
        else:
            self._later(not_before, lambda: line.push(outgoing.octets))

    def forget(self, number: int) -> None:
        """Do not call a meter."""
        self._calls.pop(number, None)

    def _later(self, at: int, call: Callable[[], None]) -> None:
        self._messages += 1
        self.wake(-self._messages, at, call)

    def run_due(self) -> None:
        """Call all whose time has come."""
        now = self._clock()
        try:
            while self._queue and self._queue[0][0] <= now:
                at, number = heappop(self._queue)
                if number in self._calls and self._calls[number][0] == at:
                    self._calls.pop(number)[1]()
        finally:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            seconds = self._clock.seconds_until(self._queue[0][0])
            self._timer = self._loop.call_later(min(seconds, _LONGEST_SLEEP), self.run_due)

    # --- sending ---

    def _start(self, outgoing: Outgoing, tries: int) -> None:
        task = self._loop.create_task(self._send(outgoing, tries), name=f"push to {outgoing.host}:{outgoing.port}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, outgoing: Outgoing, tries: int) -> None:
        """One try; the next one comes after the delay, while there are any left."""
        connect = connect_tcp if outgoing.kind is EndpointKind.TCP else connect_udp
        try:
            async with self._turns:
                link = await connect(outgoing.host, outgoing.port, _TIMEOUT)
                try:
                    link.write(outgoing.octets)
                finally:
                    await link.aclose()
        except LinkError:
            if tries:
                self._later(self._clock() + 1000 * outgoing.delay, lambda: self._start(outgoing, tries - 1))

    async def aclose(self) -> None:
        """Wake nobody any more, and send nothing."""
        self._calls.clear()
        self._queue.clear()
        self._arm()
        tasks = list(self._sending)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def is_here(host: str) -> bool:
    """True for an address of this machine that nobody else reaches."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
