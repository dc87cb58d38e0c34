"""Live values for browsers and programs: server-sent events, serialised once a tick for everybody.

```text
event: readings   {"at": 1700000000000, "meters": {"m1": {"quantities": […], "values": […], "measured_at": […], "quality": […],
                   "received_at": […], "source": […]}}}
event: stale      {"at": …, "meters": {"m1": ["voltage_l1", …]}}     these are not of the present any more; with the readings
event: events     {"at": …, "events": [{"type": …, "severity": …, "occurred_at": …, "meter_id": …, "data": {…}}]}
event: status     {"at": …, "meters": {"m1": {"online": true}}}
event: connections {"at": …, "connections": {"m1": {"connection": 17, "peer": "192.0.2.7:50000", "open": true}}}
```

Within a tick only the latest value of each quantity of a meter remains. A client that falls behind loses its oldest
frames, never delays others, and can see it by the gap in the ids. There is no replay: who comes (back) reads
`/readings/latest` first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from headend.model.event import Event, EventType
from headend.model.jsontext import dumps
from headend.model.reading import ReadingBatch, Source, Value
from headend.services.bus import Bus, Item, Subscription
from headend.services.freshness import Watch
from headend.telemetry import BUS_DROPPED, LIVE_CLIENTS
from headend.web.problems import Refused

TOPICS = ("readings", "status", "connections", "events")
HEARTBEAT_SECONDS = 15.0
LIFETIME_SECONDS = 3600.0
"""a stream ends after this time and the client comes back, so that none is held for ever"""
TICK_EVENTS = 1000
"""of one tick, the newest; all of them are at /events"""
QUEUE_FRAMES = 32

_ONLINE = {EventType.METER_ONLINE: True, EventType.METER_OFFLINE: False}
_CONNECTED = {EventType.METER_CONNECTED: True, EventType.METER_DISCONNECTED: False}
_HEARTBEAT = b": \n\n"
_TOPIC_OF = {"stale": "readings"}
"""Who follows the one is told the other."""
_Row: TypeAlias = tuple[Value, int, int, int, Source]
"""value, measured_at, quality, received_at, source"""


class LiveClient:
    """One follower: what it wants, and the frames that wait for it."""

    __slots__ = ("_ready", "born", "closed", "frames", "last", "meters", "topics")

    def __init__(self, topics: frozenset[str], meters: frozenset[str], now: float) -> None:
        self.topics = topics
        self.meters = meters
        self.frames: deque[bytes] = deque(maxlen=QUEUE_FRAMES)
        self.born = self.last = now
        self.closed = False
        self._ready = asyncio.Event()

    def put(self, frame: bytes, now: float) -> None:
        """Queue a frame; the oldest one makes room."""
        if len(self.frames) == QUEUE_FRAMES:
            BUS_DROPPED.labels("live").inc()
        self.frames.append(frame)
        self.last = now
        self._ready.set()

    def close(self) -> None:
        """End the stream after what is queued."""
        self.closed = True
        self._ready.set()

    async def next(self) -> bytes:
        """All that waits, as one piece; empty at the end of the stream."""
        while not self.frames:
            if self.closed:
                return b""
            self._ready.clear()
            await self._ready.wait()
        piece = b"".join(self.frames)
        self.frames.clear()
        return piece


class LiveFeed:
    """Collects what the bus brings and hands it to all followers once a tick."""

    def __init__(
        self, clock: Callable[[], float], millis: Callable[[], int], *, max_clients: int, watch: Watch | None = None
    ) -> None:
        """`clock` is monotonic seconds, `millis` the wall clock in milliseconds."""
        self._clock = clock
        self._millis = millis
        self._max_clients = max_clients
        self._watch = watch
        self._clients: set[LiveClient] = set()
        self._readings: dict[str, dict[str, _Row]] = {}
        self._status: dict[str, bool] = {}
        self._connections: dict[str, dict[str, Value]] = {}
        self._events: deque[Event] = deque(maxlen=TICK_EVENTS)
        self._sequence = 0

    def take(self, item: Item) -> None:
        """Take what the bus brings; back-filled history is not live, and without followers nothing is kept."""
        if self._watch is not None:
            self._watch.take(item)
        if not self._clients:
            return
        if isinstance(item, Event):
            self._events.append(item)
            if item.type in _ONLINE:
                self._status[item.meter_id] = _ONLINE[item.type]
            elif item.type in _CONNECTED:
                said = {"connection": item.data["connection"], "peer": item.data["peer"]}
                self._connections[item.meter_id] = {**said, "open": _CONNECTED[item.type]}
        elif item.source is not Source.HISTORY:
            latest = self._readings.setdefault(item.meter_id, {})
            rows = zip(item.quantities, item.values, item.measured_at, item.quality, strict=True)
            for quantity, value, at, quality in rows:
                latest[quantity] = (value, at, quality, item.received_at, item.source)

    def join(self, topics: Iterable[str], meters: Iterable[str]) -> LiveClient:
        """A new follower of `topics`, of all meters when `meters` is empty; raises Refused when there are too many."""
        if len(self._clients) >= self._max_clients:
            raise Refused(
                "too-many-requests",
                f"{self._max_clients} clients follow live values already",
                headers={"Retry-After": "30"},
            )
        client = LiveClient(frozenset(topics), frozenset(meters), self._clock())
        self._clients.add(client)
        LIVE_CLIENTS.set(len(self._clients))
        return client

    def leave(self, client: LiveClient) -> None:
        """The follower is gone."""
        self._clients.discard(client)
        LIVE_CLIENTS.set(len(self._clients))

    def tick(self) -> None:
        """Serialise what came since the last tick, once, and queue it for everybody who wants it."""
        now = self._clock()
        self._send("readings", b"meters", _fragments(self._readings), now)
        stale = self._watch.stale() if self._watch is not None else {}
        self._send("stale", b"meters", [(m, _pair(m, lost)) for m, lost in stale.items()], now)
        self._send("status", b"meters", [(m, _pair(m, {"online": on})) for m, on in self._status.items()], now)
        self._send("events", b"events", [(e.meter_id, dumps(event_row(e))) for e in self._events], now)
        self._send("connections", b"connections", [(m, _pair(m, row)) for m, row in self._connections.items()], now)
        self._readings, self._status, self._connections = {}, {}, {}
        self._events.clear()
        for client in self._clients:
            if now - client.last >= HEARTBEAT_SECONDS:
                client.put(_HEARTBEAT, now)
            if now - client.born >= LIFETIME_SECONDS:
                client.close()

    def _send(self, topic: str, key: bytes, parts: list[tuple[str, bytes]], now: float) -> None:
        if not parts:
            return
        self._sequence += 1
        ends = (b"[", b"]") if key == b"events" else (b"{", b"}")

        def frame(chosen: list[bytes]) -> bytes:
            body = b'{"at":%d,"%s":%s%s%s}' % (self._millis(), key, ends[0], b",".join(chosen), ends[1])
            return b"id: %d\nevent: %s\ndata: %s\n\n" % (self._sequence, topic.encode(), body)

        whole: bytes | None = None
        for client in self._clients:
            if _TOPIC_OF.get(topic, topic) not in client.topics:
                continue
            if client.meters:
                chosen = [text for meter_id, text in parts if meter_id in client.meters]
                if chosen:
                    client.put(frame(chosen), now)
                continue
            if whole is None:
                whole = frame([text for _, text in parts])
            client.put(whole, now)

    async def follow(self, bus: Bus) -> None:
        """Take from the bus until cancelled."""
        subscription: Subscription[Item] = bus.subscribe("live", ReadingBatch, Event, maxsize=10_000)
        try:
            async for item in subscription:
                self.take(item)
        finally:
            subscription.close()

    def close(self) -> None:
        """End all streams."""
        for client in self._clients:
            client.close()

    def __len__(self) -> int:
        return len(self._clients)


def _pair(meter_id: str, value: object) -> bytes:
    return dumps(meter_id) + b":" + dumps(value)


def _fragments(readings: Mapping[str, Mapping[str, _Row]]) -> list[tuple[str, bytes]]:
    return [
        (
            meter_id,
            _pair(
                meter_id,
                {
                    "quantities": list(latest),
                    "values": [row[0] for row in latest.values()],
                    "measured_at": [row[1] for row in latest.values()],
                    "quality": [row[2] for row in latest.values()],
                    "received_at": [row[3] for row in latest.values()],
                    "source": [row[4].name.lower() for row in latest.values()],
                },
            ),
        )
        for meter_id, latest in readings.items()
        if latest
    ]


def event_row(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "type": event.type.value,
        "severity": event.severity.value,
        "occurred_at": event.occurred_at,
        "meter_id": event.meter_id,
        "data": dict(event.data),
    }


class EventStream(Response):
    """The response that follows a feed. Its only task is the one that answers the request."""

    media_type = "text/event-stream"

    def __init__(self, feed: LiveFeed, client: LiveClient, known: Callable[[], Awaitable[bool]]) -> None:
        """`known` says whether who asked may still do so: a credential may be revoked while the stream goes on."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._client = client
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client is gone or no longer known, or the feed ends."""
        request = Request(scope, receive)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            piece = b"retry: 2000\n\n"
            while piece and not await request.is_disconnected():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await self._client.next()
                if not await self._known():
                    break
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._feed.leave(self._client)
