"""Sinks over REST: how they are doing, what they refused, replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from headend.model.access import Role
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Cursor, Entry
from headend.northbound.courier import Courier
from headend.northbound.resting import Resting
from headend.northbound.sink import Channel, Refusal
from headend.runtime.settings import load_settings
from headend.runtime.sinks import SinkTable, add_sink
from headend.storage.keeping import Keeper

from .support import World, world


class Taker:
    """A sink that takes everything but events of one meter, until it is told to."""

    def __init__(self) -> None:
        self.got: list[Entry] = []
        self.picky = True
        self.more = asyncio.Event()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        yield self

    async def attend(self) -> None:
        await asyncio.Event().wait()

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        del late
        bad = [entry for entry in entries if self.picky and entry.item.meter_id == "bad"]
        self.got += [entry for entry in entries if entry not in bad]
        self.more.set()
        return [Refusal(entry.number, "never heard of it") for entry in bad]


def event(meter: str) -> Event:
    return Event(type=EventType.METER_OFFLINE, severity=Severity.WARNING, occurred_at=7, meter_id=meter)


@asynccontextmanager
async def delivering(head_end: World, sink: Taker) -> AsyncIterator[Courier]:
    courier = Courier("lab", "test", sink, head_end.store.journal, clock=lambda: 5, publish=head_end.bus.publish)
    head_end.deliveries.add(courier)
    head_end.deliveries.load()
    task = asyncio.create_task(head_end.deliveries.run())
    await courier.connected.wait()
    try:
        yield courier
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def store(head_end: World, *events: Event) -> list[Entry]:
    segment = Keeper(head_end.store.readings, head_end.store.journal).write(events)
    assert segment is not None
    head_end.deliveries.offer(segment)
    return segment.entries()


async def until(sink: Taker, count: int) -> None:
    async with asyncio.timeout(20):
        while len(sink.got) < count:
            sink.more.clear()
            await sink.more.wait()


async def test_what_is_known_of_sinks(tmp_path: Path) -> None:
    sink = Taker()
    async with world(tmp_path) as head_end, delivering(head_end, sink) as courier:
        good, bad = await store(head_end, event("good"), event("bad"))
        await until(sink, 1)
        async with asyncio.timeout(20):
            while not courier.state.refused:  # noqa: ASYNC110 - a figure cannot be awaited
                await asyncio.sleep(0.01)
        async with head_end.client(Role.VIEWER) as viewer:
            (lab,) = (await viewer.get("/api/v1/sinks")).json()["items"]
            assert (lab["name"], lab["kind"], lab["delivered"], lab["refused"]) == ("lab", "test", 1, 1)
            assert lab["connected_since"] == 5
            assert (await viewer.get("/api/v1/sinks/lab")).json() == lab
            assert (await viewer.get("/api/v1/sinks/nobody")).status_code == 404
            parts = {part["part"]: part for part in (await viewer.get("/api/v1/summary")).json()["parts"]}
            assert parts["delivery"] == {"part": "delivery", "ready": True, "text": "sinks: 1, entries that wait: 0"}
            assert (await viewer.get("/api/v1/sinks/lab/refused")).status_code == 403
            assert (await viewer.post("/api/v1/sinks/lab/replay", json={"since": "0", "until": "1"})).status_code == 403
        async with head_end.client(Role.OPERATOR) as operator:
            (letter,) = (await operator.get("/api/v1/sinks/lab/refused")).json()["items"]
            assert (letter["id"], letter["reason"]) == (bad.id, "never heard of it")
            assert (letter["what"], letter["meter_id"]) == ("METER_OFFLINE", "bad")
            sink.picky = False
            assert (await operator.post(f"/api/v1/sinks/lab/refused/{bad.id}/retry", json={})).status_code == 202
            assert (await operator.post("/api/v1/sinks/lab/refused/77/retry", json={})).status_code == 404
            await until(sink, 2)
            assert [entry.id for entry in sink.got] == [good.id, bad.id]
            span = {"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
            answer = await operator.post("/api/v1/sinks/lab/replay", json=span)
            assert (answer.status_code, answer.json()) == (202, {"entries": 2})
            await until(sink, 4)
            assert [entry.id for entry in sink.got[2:]] == [good.id, bad.id]
            kept = head_end.store.audit.list()
            assert [(row.actor, row.action, row.subject, dict(row.data)) for row in kept] == [
                (
                    "key:key-operator",
                    "delivery-replayed",
                    "sink:lab",
                    {"since": 1_577_836_800_000, "until": 4_070_908_800_000, "entries": 2},
                ),
                ("key:key-operator", "delivery-retried", "sink:lab", {"entry": bad.id}),
            ], "what was refused or not found changed nothing"
            wrong = await operator.post("/api/v1/sinks/lab/replay", json={"since": "yesterday", "until": "1"})
            assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "body.since")


async def test_a_meter_that_was_chosen_by_its_tag_is_said_to_be_gone(tmp_path: Path) -> None:
    """Whatever was told of it, as the descriptions that Home Assistant keeps, can be taken back."""
    async with world(tmp_path) as head_end:
        for name, tags in (("roof", ("solar",)), ("cellar", ()), ("shed", ("solar",))):
            head_end.add(name, tags=tags)
        sink, settings = Taker(), load_settings(None)
        parts = head_end.app.state.parts
        courier = add_sink(
            settings, parts, head_end.deliveries, SinkTable(kind="test", meters=("tag:solar",)), "lab", sink
        )
        head_end.deliveries.load()
        task = asyncio.create_task(head_end.deliveries.run())
        await courier.connected.wait()
        async with head_end.client(Role.ADMIN) as client:
            for name in ("roof", "cellar"):
                etag = (await client.get(f"/api/v1/meters/{name}")).headers["etag"]
                answer = await client.delete(f"/api/v1/meters/{name}", headers={"If-Match": etag})
                assert answer.status_code == 204
            shed = head_end.roster.state("shed").meter
            head_end.roster.update(replace(shed, tags=()))
        kinds = (EventType.METER_REMOVED, EventType.METER_REMOVED, EventType.METER_CHANGED)
        await store(
            head_end,
            *(replace(event(name), type=kind) for name, kind in zip(("roof", "cellar", "shed"), kinds, strict=True)),
        )
        await until(sink, 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [entry.item.meter_id for entry in sink.got] == ["roof", "shed"]
        assert parts.roster.state("shed").messages == 1


async def test_a_sink_that_is_switched_off_is_shown_with_what_waits_for_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end:
        journal = head_end.store.journal
        journal.save("lab", Cursor(journal.head))
        head_end.deliveries.rest(Resting("lab", "test", journal, lambda: 9, head_end.bus.publish))
        head_end.deliveries.load()
        await store(head_end, event("one"), event("two"))
        await head_end.deliveries.purge()
        async with head_end.client(Role.OPERATOR) as client:
            (lab,) = (await client.get("/api/v1/sinks")).json()["items"]
            assert (lab["enabled"], lab["connected_since"], lab["backlog"], lab["lost"]) == (False, None, 2, 0)
            assert (await client.get("/api/v1/sinks/lab/refused")).status_code == 409
            (part,) = [
                each for each in (await client.get("/api/v1/summary")).json()["parts"] if each["part"] == "delivery"
            ]
            assert part["ready"]


async def test_a_sink_that_is_away_is_named_where_everything_is_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.VIEWER) as viewer:
        head_end.deliveries.add(
            Courier("lab", "test", Taker(), head_end.store.journal, clock=lambda: 5, publish=head_end.bus.publish)
        )
        (part,) = [part for part in (await viewer.get("/api/v1/summary")).json()["parts"] if part["part"] == "delivery"]
        assert (part["ready"], part["text"]) == (False, "sinks: 1, entries that wait: 0; away: lab")
