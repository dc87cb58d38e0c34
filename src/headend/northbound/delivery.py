"""Delivery: every message reaches the broker at least once.

While the broker keeps up, messages pass through memory and are forgotten when it has acknowledged them; nothing is written.
What it does not take goes into the outbox: all that comes while it is away, all that was on its way when it went, and what
does not fit into memory. When it is back, what comes now is not held up by what has waited: both are sent side by side, each
in its order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NoReturn

import structlog

from headend.errors import StorageError
from headend.northbound.message import Message
from headend.storage.outbox import Outbox
from headend.telemetry import OUTBOX_MESSAGES, SINK_MESSAGES

WINDOW: Final = 128
"""messages under way at once, of what comes now and of what has waited each; refilled when half of them have arrived"""
MEMORY: Final = 10_000
"""messages that wait in memory"""
PAGE: Final = 500

Send = Callable[[Message], Awaitable[None]]
"""Publishes a message and waits until the broker has it."""

log = structlog.get_logger(__name__)

_METRICS: Final = {result: SINK_MESSAGES.labels("mqtt", result) for result in ("sent", "failed", "stored", "dropped")}


class Delivery:
    """Takes messages at any time, sends them while `run` runs."""

    def __init__(self, outbox: Outbox, full: Callable[[int], None]) -> None:
        """`full` is told how many messages were dropped when the outbox begins to overflow."""
        self.counts = dict.fromkeys(_METRICS, 0)
        """messages so far, by what became of them"""
        self._outbox = outbox
        self._full = full
        self._overflows = False
        self._failing = False
        self._here = False
        self._waiting: deque[Message] = deque()
        self._flying: dict[int, Message] = {}
        self._left: list[Message] = []
        """what an earlier connection did not bring to the broker: goes before everything else"""
        self._keeping = asyncio.Lock()
        self._number = 0
        self._more = asyncio.Event()
        self._stored = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        OUTBOX_MESSAGES.set(outbox.messages)

    async def offer(self, messages: Sequence[Message]) -> None:
        """Take messages: into memory while the broker is there, else into the outbox."""
        if self._here and len(self._waiting) < MEMORY:
            self._waiting.extend(messages)
            self._empty.clear()
            self._more.set()
        else:
            await self._keep(messages)

    def count(self, result: str, messages: int = 1) -> None:
        """Count messages that were sent, failed, stored or dropped."""
        self.counts[result] += messages
        _METRICS[result].inc(messages)

    async def drained(self) -> None:
        """Wait until the broker has all that was in memory."""
        await self._empty.wait()

    async def run(self, send: Send) -> NoReturn:
        """Send all there is, until cancelled or until `send` fails: what it raised comes in a group. Then call `rest`."""
        self._waiting.extend(self._left)
        self._left = []
        self._here = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_waiting(send), name="mqtt-now")
                group.create_task(self._send_stored(send), name="mqtt-backlog")
        finally:
            self._here = False
            self._left += [*self._flying.values(), *self._waiting]
            self._flying.clear()
            self._waiting.clear()
            self._empty.set()
        raise AssertionError("unreachable: both tasks run for ever")

    async def rest(self) -> None:
        """The broker is gone: what was on its way, and what waited, goes into the outbox."""
        await self._keep(())

    async def _send_waiting(self, send: Send) -> None:
        window = _Window()

        async def deliver(number: int, message: Message) -> None:
            await send(message)
            del self._flying[number]
            window.leave()
            if not self._flying and not self._waiting:
                self._empty.set()

        async with asyncio.TaskGroup() as group:
            while True:
                await window.enter()
                while not self._waiting:
                    self._more.clear()
                    await self._more.wait()
                self._number += 1
                message = self._flying[self._number] = self._waiting.popleft()
                group.create_task(deliver(self._number, message))

    async def _send_stored(self, send: Send) -> None:
        while True:
            self._stored.clear()
            try:
                page = await asyncio.to_thread(self._outbox.first, PAGE) if self._outbox.messages else []
                if page:
                    await send_all(send, [Message(each.topic, each.payload) for each in page])
                    await asyncio.to_thread(self._outbox.remove, page[-1].id)
                    self._counted()
                    continue
            except StorageError as error:
                log.error("the outbox cannot be sent", reason=str(error))  # noqa: TRY400 - a fact, not a trace
            await self._stored.wait()

    async def _keep(self, messages: Iterable[Message]) -> None:
        """Into the outbox with all that may be sent late. Where it cannot be written they stay in memory, as far as they fit."""
        async with self._keeping:
            late = [message for message in (*self._left, *messages) if not message.retain]
            self._left = []
            if not late:
                return
            try:
                gone = await asyncio.to_thread(self._outbox.append, [(each.topic, each.payload) for each in late])
            except StorageError as error:
                self._hold(late, error)
                return
        self._failing = False
        self.count("stored", len(late))
        self._counted()
        self._stored.set()
        if gone:
            self.count("dropped", gone)
            if not self._overflows:
                self._overflows = True
                self._full(gone)

    def _hold(self, late: list[Message], error: StorageError) -> None:
        if not self._failing:
            log.error("the outbox cannot be written", reason=str(error))
        self._failing = True
        self._left = late[-MEMORY:]
        self.count("dropped", len(late) - len(self._left))

    def _counted(self) -> None:
        OUTBOX_MESSAGES.set(self._outbox.messages)
        if not self._outbox.messages:
            self._overflows = False


class _Window:
    """How many are under way. Brokers and kernels hold small answers back: new messages go in bursts, not one for one."""

    def __init__(self) -> None:
        self._flying = 0
        self._room = asyncio.Event()

    async def enter(self) -> None:
        if self._flying >= WINDOW:
            self._room.clear()
            await self._room.wait()
        self._flying += 1

    def leave(self) -> None:
        self._flying -= 1
        if self._flying <= WINDOW // 2:
            self._room.set()


async def send_all(send: Send, messages: Sequence[Message]) -> None:
    """Send messages in their order, several at a time; return when the broker has them all."""
    window = _Window()

    async def deliver(message: Message) -> None:
        await send(message)
        window.leave()

    async with asyncio.TaskGroup() as group:
        for message in messages:
            await window.enter()
            group.create_task(deliver(message))
