from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headend.errors import LinkTimeout
from headend.model.access import Role
from headend.model.event import Event, EventType, Severity
from headend.model.reading import Source
from headend.telemetry import LIVE_CLIENTS
from headend.web.live import HEARTBEAT_SECONDS, LIFETIME_SECONDS, QUEUE_FRAMES, LiveFeed
from headend.web.problems import Refused

from .support import LOOPBACK, NOW, World, batch, world


class Follower:
    """A client of the stream, spoken to in ASGI."""

    def __init__(self, head_end: World, query: str = "", *, key: str = "") -> None:
        self.head_end = head_end
        self.text = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.gone = asyncio.Event()
        self.stuck = asyncio.Event()
        self.stuck.set()
        self._news = asyncio.Event()
        self._asked = False
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/v1/live",
            "raw_path": b"/api/v1/live",
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"last-event-id", b"7"),
                *([(b"authorization", f"Bearer {key}".encode())] if key else []),
            ],
            "client": LOOPBACK,
            "server": ("localhost", 80),
        }
        self.task = asyncio.create_task(head_end.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            await self.stuck.wait()
            self.text += message["body"].decode()
        self._news.set()

    async def until(self, told: Callable[[str], bool]) -> str:
        while not told(self.text):
            self._news.clear()
            await self._news.wait()
        return self.text

    async def joined(self) -> None:
        await self.until(lambda text: "retry" in text)

    def frames(self, topic: str) -> list[dict[str, Any]]:
        return [
            json.loads(frame.partition("data: ")[2])
            for frame in self.text.split("\n\n")
            if f"event: {topic}\n" in frame
        ]

    async def leave(self) -> None:
        self.gone.set()
        feed(self.head_end).tick()
        for client in list(feed(self.head_end)._clients):
            client.put(b": \n\n", 0.0)
        await self.task


def feed(head_end: World) -> LiveFeed:
    found: LiveFeed = head_end.app.state.feed
    return found


async def taken() -> None:
    """Let the feed take what is on the bus."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_published_arrives_once_a_tick(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        follower = Follower(head_end)
        await follower.joined()
        assert follower.status == 200
        assert follower.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in follower.headers
        for value in (230.0, 231.0):
            head_end.bus.publish(batch("a", {"voltage_l1": value, "frequency": 50}))
        head_end.bus.publish(batch("b", {"voltage_l1": 229}, NOW + 5))
        head_end.bus.publish(batch("b", {"voltage_l2": 1}, source=Source.HISTORY))
        await taken()
        feed(head_end).tick()
        await follower.until(lambda text: "readings" in text)
        (frame,) = follower.frames("readings")
        assert frame == {
            "at": NOW,
            "meters": {
                "a": {
                    "quantities": ["voltage_l1", "frequency"],
                    "values": [231.0, 50],
                    "measured_at": [NOW, NOW],
                    "quality": [0, 0],
                    "received_at": [NOW, NOW],
                    "source": ["poll", "poll"],
                },
                "b": {
                    "quantities": ["voltage_l1"],
                    "values": [229],
                    "measured_at": [NOW + 5],
                    "quality": [0],
                    "received_at": [NOW + 5],
                    "source": ["poll"],
                },
            },
        }
        feed(head_end).tick()
        await follower.leave()
        assert len(follower.frames("readings")) == 1, "a tick without news sends nothing"


async def test_an_amount_beyond_64_bits_does_not_end_the_feed(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        follower = Follower(head_end)
        await follower.joined()
        head_end.bus.publish(batch("a", {"voltage_l1": 2**64 * 10}))
        await taken()
        feed(head_end).tick()
        await follower.until(lambda text: "readings" in text)
        assert follower.frames("readings")[0]["meters"]["a"]["values"] == [2**64 * 10]
        await follower.leave()


async def test_events_and_states(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        follower, other = Follower(head_end), Follower(head_end, "topics=status&meters=b,c")
        await follower.joined()
        await other.joined()
        for meter_id, kind in (("a", EventType.METER_OFFLINE), ("b", EventType.METER_ONLINE)):
            event = Event(type=kind, severity=Severity.INFO, occurred_at=NOW, meter_id=meter_id, data={"code": "x"})
            head_end.bus.publish(event)
        await taken()
        feed(head_end).tick()
        await follower.until(lambda text: "METER_ONLINE" in text)
        await other.until(lambda text: "online" in text)
        await follower.leave()
        await other.leave()
        (events,) = follower.frames("events")
        assert [event["type"] for event in events["events"]] == ["METER_OFFLINE", "METER_ONLINE"]
        assert events["events"][0]["data"] == {"code": "x"}
        assert follower.frames("status")[0]["meters"] == {"a": {"online": False}, "b": {"online": True}}
        assert other.frames("status")[0]["meters"] == {"b": {"online": True}}
        assert not other.frames("events")


async def test_all_clients_share_one_serialisation() -> None:
    live = LiveFeed(lambda: 0.0, lambda: NOW, max_clients=10)
    clients = [live.join(["readings"], []) for _ in range(3)]
    live.take(batch("a", {"voltage_l1": 230}))
    live.tick()
    assert len({id(client.frames[0]) for client in clients}) == 1


async def test_a_slow_client_loses_its_oldest_frames_and_holds_up_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        slow, quick = Follower(head_end, "topics=readings"), Follower(head_end, "topics=readings")
        await slow.joined()
        await quick.joined()
        slow.stuck.clear()
        for number in range(QUEUE_FRAMES * 3):
            head_end.bus.publish(batch("a", {"voltage_l1": number}))
            await taken()
            feed(head_end).tick()
            await quick.until(lambda text, number=number: f'"values":[{number}]' in text)  # type: ignore[misc]
        assert max(len(client.frames) for client in feed(head_end)._clients) == QUEUE_FRAMES
        slow.stuck.set()
        await slow.until(lambda text: f'"values":[{QUEUE_FRAMES * 3 - 1}]' in text)
        await slow.leave()
        await quick.leave()
        got = [frame["meters"]["a"]["values"][0] for frame in slow.frames("readings")]
        assert got[-5:] == list(range(QUEUE_FRAMES * 3))[-5:]
        assert len(got) <= QUEUE_FRAMES + 1
        assert len(quick.frames("readings")) == QUEUE_FRAMES * 3


async def test_silence_is_broken_by_heartbeats_and_streams_end() -> None:
    now = 0.0
    live = LiveFeed(lambda: now, lambda: NOW, max_clients=10)
    client = live.join(["readings"], [])
    now = HEARTBEAT_SECONDS - 1
    live.tick()
    assert not client.frames
    now = HEARTBEAT_SECONDS
    live.tick()
    assert await client.next() == b": \n\n"
    now = LIFETIME_SECONDS
    live.tick()
    assert await client.next() == b": \n\n"
    assert await client.next() == b""


async def test_a_stream_ends_with_the_key_that_it_was_asked_for_with(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as admin:
        follower = Follower(head_end, key=head_end.key(Role.VIEWER))
        await follower.joined()
        assert (await admin.delete("/api/v1/keys/key-viewer")).status_code == 204
        head_end.bus.publish(batch("a", {"voltage_l1": 230}))
        await taken()
        feed(head_end).tick()
        await follower.task
        assert "voltage_l1" not in follower.text
        assert not len(feed(head_end))


async def test_clients_are_counted_and_limited(tmp_path: Path) -> None:
    async with world(tmp_path, max_live_clients=2) as head_end, head_end.client() as client:
        followers = [Follower(head_end), Follower(head_end)]
        for follower in followers:
            await follower.joined()
        assert LIVE_CLIENTS._value.get() == 2
        assert (await client.get("/api/v1/status")).json()["live_clients"] == 2
        refused = await client.get("/api/v1/live")
        assert refused.status_code == 429
        for follower in followers:
            await follower.leave()
        assert LIVE_CLIENTS._value.get() == 0


async def test_nothing_is_kept_while_nobody_follows() -> None:
    live = LiveFeed(lambda: 0.0, lambda: NOW, max_clients=1)
    live.take(batch("a", {"voltage_l1": 230}))
    live.join(["readings"], [])
    with pytest.raises(Refused):
        live.join(["readings"], [])
    live.tick()
    assert not next(iter(live._clients)).frames


async def test_a_value_that_no_longer_comes_is_said_to_be_stale_once(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        head_end.add("a", poll_seconds=60.0)
        follower = Follower(head_end, "topics=readings")
        await follower.joined()
        head_end.bus.publish(batch("a", {"voltage_l1": 230, "frequency": 50}))
        head_end.bus.publish(batch("a", {"voltage_l1": 231}, NOW + 60_000))
        await head_end.stored(3)
        for seconds, stale in ((180.0, set()), (200.0, {"frequency"}), (241.0, {"frequency", "voltage_l1"})):
            head_end.time = seconds
            feed(head_end).tick()
            rows = (await client.get(f"/api/v1/readings/latest?stale=true&limit={1000 + int(seconds)}")).json()["rows"]
            assert {row[1] for row in rows if row[-1]} == stale
            live = (await client.get(f"/api/v1/readings/latest?limit={1000 + int(seconds)}")).json()["rows"]
            assert {row[1] for row in live} == {"voltage_l1", "frequency"} - stale
        await follower.until(lambda text: text.count("event: stale") == 2)
        assert [frame["meters"] for frame in follower.frames("stale")] == [{"a": ["frequency"]}, {"a": ["voltage_l1"]}]
        head_end.bus.publish(batch("a", {"voltage_l1": 232}, NOW + 300_000))
        head_end.roster.failed(head_end.roster.state("a"), LinkTimeout("silent"))
        await taken()
        feed(head_end).tick()
        await follower.until(lambda text: text.count("event: stale") == 3)
        assert follower.frames("stale")[2]["meters"] == {"a": ["voltage_l1"]}, "what is offline tells nothing"
        await follower.leave()
