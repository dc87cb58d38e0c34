"""The bus: every reading and every event passes here once, on its way to the writer, the sinks and the screens.

Publishing is synchronous and cheap. Each subscriber has a bounded queue of its own and says what happens when it is full:
DROP_OLDEST forgets (a browser that fell behind), BLOCK never loses anything and holds back the work that brings more:
whoever starts work on meters asks `pressure()` or awaits `room()` first.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from headend import telemetry
from headend.model.event import Event
from headend.model.reading import ReadingBatch

Item: TypeAlias = ReadingBatch | Event
T = TypeVar("T", ReadingBatch, Event, ReadingBatch | Event)
_NEVER: Final = float("inf")


class Overflow(enum.Enum):
    """What a subscription does when its queue is full."""

    DROP_OLDEST = "drop-oldest"
    BLOCK = "block"


DROP_OLDEST: Final = Overflow.DROP_OLDEST
BLOCK: Final = Overflow.BLOCK


class Subscription(Generic[T]):
    """What one subscriber has not yet taken. Iterate over it, or `take` in bulk; after `close` it ends when it is empty.

    One consumer at a time.
    """

    def __init__(
        self, bus: Bus, name: str, types: tuple[type, ...], maxsize: int, overflow: Overflow, weigh: Callable[[T], int]
    ) -> None:
        self.name = name
        self.types = types
        self.maxsize = maxsize
        self.overflow = overflow
        self.size = 0
        """weight of what waits"""
        self.closed = False
        self._bus = bus
        self._weigh: Callable[[T], int] = weigh
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = _NEVER
        self._dropped = telemetry.BUS_DROPPED.labels(name)

    def put(self, item: T) -> None:
        """Queue an item; for the bus."""
        self._items.append(item)
        self.size += self._weigh(item)
        if self.size > self.maxsize and self.overflow is DROP_OLDEST:
            while self.size > self.maxsize and len(self._items) > 1:
                self.size -= self._weigh(self._items.popleft())
                self._dropped.inc()
        if self.size >= self._wanted:
            self._wake()

    async def take(self, enough: int, linger: float, most: int = 0) -> list[T]:
        """Take items up to the weight `most` (at least `enough`, and one item); empty only when closed and done.

        Waits for the first item, then at most `linger` seconds for `enough` weight.
        """
        if not self._items:
            await self._wait(1, None)
        if self.size < enough:
            await self._wait(enough, linger)
        items, weigh, most = self._items, self._weigh, max(enough, most)
        taken: list[T] = []
        weight = 0
        while items:
            more = weigh(items[0])
            if taken and weight + more > most:
                break
            weight += more
            taken.append(items.popleft())
        self.size -= weight
        if self.overflow is BLOCK:
            self._bus.relieve()
        return taken

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self.closed:
                raise StopAsyncIteration
            await self._wait(1, None)
        return self._pop()

    def close(self) -> None:
        """Receive nothing more; what is queued can still be taken."""
        self.closed = True
        self._bus.discard(self)
        self._wake()

    def _pop(self) -> T:
        item = self._items.popleft()
        self.size -= self._weigh(item)
        if self.overflow is BLOCK:
            self._bus.relieve()
        return item

    async def _wait(self, wanted: int, timeout: float | None) -> None:
        """Wait until the weight is `wanted`, the time is over or the subscription closed."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._wanted = wanted
        timer = None if timeout is None else loop.call_later(timeout, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._wanted = _NEVER
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Bus:
    """Carries readings and events from whoever has them to whoever subscribed."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[ReadingBatch] | Subscription[Event] | Subscription[Item]] = []
        self._routes: dict[type, tuple[Callable[[Item], None], ...]] = {ReadingBatch: (), Event: ()}
        self._blocking: tuple[Subscription[ReadingBatch] | Subscription[Event] | Subscription[Item], ...] = ()
        self._waiting_for_room: list[asyncio.Future[None]] = []

    def publish(self, item: Item) -> None:
        """Hand an item to every subscriber of its type. Never waits."""
        kind = type(item)
        if kind is Event:
            telemetry.EVENTS.labels(item.type.value).inc()  # type: ignore[union-attr] # an Event has a type
        for put in self._routes[kind]:
            put(item)

    def subscribe(
        self,
        name: str,
        *types: type[T],
        maxsize: int = 1000,
        overflow: Overflow = DROP_OLDEST,
        weigh: Callable[[T], int] = lambda _item: 1,
    ) -> Subscription[T]:
        """Follow items of the given types from now on; `maxsize` is in the unit of `weigh` (by default: items)."""
        subscription = Subscription(self, name, types, maxsize, overflow, weigh)
        self._subscriptions.append(subscription)
        self._route()
        return subscription

    def discard(self, subscription: Subscription[T]) -> None:
        """Forget a subscription; `Subscription.close` calls it."""
        self._subscriptions = [other for other in self._subscriptions if other is not subscription]
        self._route()
        self.relieve()

    def pressure(self) -> float:
        """How full the fullest BLOCK subscription is; from 1.0 on no work that brings more may be started."""
        return max((each.size / each.maxsize for each in self._blocking), default=0.0)

    def has_room(self) -> bool:
        """True while the pressure is below 1.0; for those who ask before every read."""
        for each in self._blocking:  # noqa: SIM110 - a generator would cost twice as much
            if each.size >= each.maxsize:
                return False
        return True

    async def room(self) -> None:
        """Wait until the pressure is below 1.0."""
        while not self.has_room():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.tell_room(waiter)
            await waiter

    def tell_room(self, waiter: asyncio.Future[None]) -> None:
        """Complete a Future, unless it is done by then, as soon as the pressure falls below 1.0."""
        self._waiting_for_room.append(waiter)
        self.relieve()

    def relieve(self) -> None:
        """Something was taken from a BLOCK subscription; for subscriptions."""
        if self._waiting_for_room and self.has_room():
            waiting, self._waiting_for_room = self._waiting_for_room, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _route(self) -> None:
        self._routes = {
            kind: tuple(each.put for each in self._subscriptions if kind in each.types)  # type: ignore[misc] # by type
            for kind in (ReadingBatch, Event)
        }
        self._blocking = tuple(each for each in self._subscriptions if each.overflow is BLOCK)
