"""The courier with a peer in memory: nothing is lost, nothing comes under another number, nothing is held up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headend.errors import Conflict, NotFound, SinkError, SinkRefused
from headend.model.event import Event, EventType, Severity
from headend.model.journal import SEGMENT_SHIFT, Entry
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.ranges import Ranges
from headend.model.reading import ReadingBatch, Source
from headend.northbound import courier as module
from headend.northbound.deliveries import Deliveries
from headend.northbound.filters import Selection, passing
from headend.northbound.resting import Resting
from headend.northbound.sink import GROUP, Channel, Refusal
from headend.storage.keeping import Keeper
from headend.storage.store import Store
from tests.new_database import laid
from tests.services.support import virtual

from .contract import Seen, batch, check, rig


class MemoryPeer:
    """A sink and its peer in one. What it has acknowledged is in `got`; `names_refused` says whether it tells which it refuses."""

    def __init__(self, *, names_refused: bool = True) -> None:
        self.present = asyncio.Event()
        self.present.set()
        self.gone = asyncio.Event()
        self.got: list[tuple[Entry, bool]] = []
        self.groups: list[int] = []
        self.poison: Callable[[Entry], bool] = lambda _entry: False
        self.names_refused = names_refused
        self.delay = 0.001
        self.bug: Exception | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Channel]:
        if not self.present.is_set():
            raise SinkError("refused")
        yield self

    async def attend(self) -> None:
        await self.gone.wait()
        raise SinkError("gone")

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        """Half of what is under way when the peer goes has arrived, and nobody learns of it."""
        self.groups.append(len(entries))
        bad = [entry for entry in entries if self.poison(entry)]
        if bad and self.bug is not None:
            raise self.bug
        if bad and not self.names_refused:
            raise SinkRefused("one of them is wrong")
        await asyncio.sleep(self.delay)
        taken = [(entry, late) for entry in entries if entry not in bad]
        if not self.present.is_set():
            self.got += taken[: len(taken) // 2]
            raise SinkError("gone")
        self.got += taken
        return [Refusal(entry.number, "wrong") for entry in bad]

    async def leave(self) -> None:
        self.present.clear()
        self.gone.set()

    async def come(self) -> None:
        self.gone.clear()
        self.present.set()

    def seen(self) -> list[Seen]:
        return [
            Seen(entry.item.meter_id, float(entry.item.values[0]), entry.id)
            for entry, _ in self.got
            if isinstance(entry.item, ReadingBatch)
        ]

    def refuse(self, value: float) -> bool:
        self.poison = lambda entry: isinstance(entry.item, ReadingBatch) and entry.item.values[0] == value
        return True

    def numbers(self) -> list[int]:
        return [entry.number for entry, _ in self.got]


@pytest.mark.parametrize("names_refused", [True, False])
@virtual
async def test_a_peer_in_memory_holds_the_contract(tmp_path: Path, names_refused: bool) -> None:
    peer = MemoryPeer(names_refused=names_refused)
    await check(tmp_path, lambda: peer, peer)


@virtual
async def test_a_new_sink_begins_with_what_comes_now(tmp_path: Path) -> None:
    peer = MemoryPeer()
    await peer.leave()
    async with rig(tmp_path, peer) as running:
        await running.store(batch("m", 1.0))
    with Store.open(laid(tmp_path / "headend.db"), vault_key=None) as store:
        store.journal.forget(())
    await peer.come()
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        await running.store(batch("m", 2.0))
        await running.until(lambda: bool(peer.got))
        await asyncio.sleep(10)
    assert [seen.value for seen in peer.seen()] == [2.0]


@virtual
async def test_what_comes_now_goes_before_what_has_waited(tmp_path: Path) -> None:
    peer = MemoryPeer()
    await peer.leave()
    peer.delay = 1.0
    async with rig(tmp_path, peer) as running:
        for _ in range(10):
            await running.store(*(batch("old", 1.0) for _ in range(GROUP)))
        await peer.come()
        await running.courier.connected.wait()
        (entry,) = await running.store(batch("new", 2.0))
        await running.until(lambda: entry.number in peer.numbers())
        assert len(peer.got) < 3 * GROUP
        assert [late for each, late in peer.got if each.number == entry.number] == [False]
        assert all(late for each, late in peer.got if each.number != entry.number)
        assert running.courier.state.backlog >= 7 * GROUP
        assert running.courier.state.lag_seconds >= 1
        await running.until(lambda: running.courier.state.backlog == 0)
        assert running.courier.state.oldest is None
        late = [each.number for each, was_late in peer.got if was_late]
        assert late == sorted(set(late)), "late entries come once, in their order"


@virtual
async def test_more_than_memory_holds_becomes_backlog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIVE_READINGS", 50)
    peer = MemoryPeer()
    peer.delay = 1.0
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        stored = [await running.store(*(batch("m", float(n)) for _ in range(10))) for n in range(20)]
        numbers = [entry.number for each in stored for entry in each]
        await running.until(lambda: len(peer.got) == len(numbers))
        assert sorted(peer.numbers()) == numbers
        assert Counter(late for _, late in peer.got)[True] > 50


@virtual
async def test_what_was_not_confirmed_before_a_kill_comes_again_and_nothing_else(tmp_path: Path) -> None:
    """The cursor is saved at most a second late: a kill is a courier whose last second was not saved."""
    peer = MemoryPeer()
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        for number in range(30):
            await running.store(batch("m", float(number)))
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        (entry,) = await running.store(batch("m", 30.0))
        await running.until(lambda: entry.number in peer.numbers())
        cursor = running.journal.load("test")
        assert cursor is not None
        waiting = Ranges([*cursor.pending, (cursor.head, 1 << 62)])
        assert entry.number in waiting, "saved before it was confirmed"
        assert running.journal.count(waiting) == 1
    assert len(peer.got) == 31
    with Store.open(laid(tmp_path / "headend.db"), vault_key=None) as store:
        store.journal.save("test", cursor)
    again = MemoryPeer()
    async with rig(tmp_path, again) as running:
        await running.until(lambda: bool(again.got))
        await asyncio.sleep(2)
    assert again.numbers() == [entry.number]


@virtual
async def test_a_peer_that_confirms_nothing_is_left_and_given_less(tmp_path: Path) -> None:
    peer = MemoryPeer()
    peer.delay = 1e9
    async with rig(tmp_path, peer, confirm_seconds=10) as running:
        await running.courier.connected.wait()
        await running.store(*(batch("m", 1.0) for _ in range(400)))
        await asyncio.sleep(300)
        assert peer.groups[0] == 400
        assert min(peer.groups) <= 25, "a slow peer is given less at once"
        assert peer.groups == sorted(peer.groups, reverse=True)
        peer.delay = 0.01
        await running.until(lambda: len(set(peer.numbers())) == 400)
        kinds = Counter(event.type for event in running.events)
    assert kinds[EventType.SINK_STUCK] >= 2
    assert kinds[EventType.SINK_AWAY] >= 1


class PacedPeer(MemoryPeer):
    """Takes one entry in a second, up to a number at which it stops."""

    def __init__(self, stops_at: int) -> None:
        super().__init__()
        self.progress = 0
        self.stops_at = stops_at

    async def deliver(self, entries: Sequence[Entry], *, late: bool) -> Sequence[Refusal]:
        for _ in entries:
            await asyncio.sleep(1 if self.progress < self.stops_at else 1e9)
            self.progress += 1
        return await super().deliver(entries, late=late)


@virtual
async def test_a_peer_that_paces_itself_may_take_its_time_as_long_as_it_gets_on(tmp_path: Path) -> None:
    peer = PacedPeer(stops_at=420)
    async with rig(tmp_path, peer, confirm_seconds=10) as running:
        await running.courier.connected.wait()
        await running.store(*(batch("m", float(number)) for number in range(400)))
        await running.until(lambda: len(peer.got) == 400, 1000)
        assert peer.groups == [400]
        assert not any(event.type is EventType.SINK_STUCK for event in running.events)
        await running.store(*(batch("m", float(number)) for number in range(400)))
        await running.until(lambda: any(event.type is EventType.SINK_STUCK for event in running.events), 1000)


@virtual
async def test_a_bug_of_a_sink_costs_what_it_cannot_take_and_nothing_else(tmp_path: Path) -> None:
    peer = MemoryPeer()
    peer.bug = ValueError("a bug of ours")
    peer.refuse(3.0)
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        await running.store(*(batch("m", float(number)) for number in range(8)))
        await running.until(lambda: len(peer.got) == 7)
        assert [seen.value for seen in peer.seen()] == [0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0]
        (letter,) = await running.deliveries.refused("test")
        assert letter.reason == "ValueError: a bug of ours"
        events = [event for event in running.events if event.type is EventType.SINK_REFUSED]
        assert [event.data["entry"] for event in events] == [letter.entry.id]
        peer.poison = lambda _entry: False
        await running.deliveries.retry("test", letter.entry.id)
        await running.until(lambda: len(peer.got) == 8)
        assert peer.got[-1][0].id == letter.entry.id
        await running.until(lambda: running.journal.refused("test") == [])
        with pytest.raises(NotFound):
            await running.deliveries.retry("test", letter.entry.id)


@virtual
async def test_many_refusals_are_told_in_one_event_a_minute(tmp_path: Path) -> None:
    peer = MemoryPeer()
    peer.poison = lambda entry: isinstance(entry.item, ReadingBatch)
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        for _ in range(30):
            await running.store(*(batch("m", 1.0) for _ in range(10)))
            await asyncio.sleep(4)
        events = [event for event in running.events if event.type is EventType.SINK_REFUSED]
        assert len(events) == 2
        assert running.courier.state.refused == 300


@virtual
async def test_what_goes_before_a_sink_had_it_is_said(tmp_path: Path) -> None:
    peer = MemoryPeer()
    await peer.leave()
    async with rig(tmp_path, peer, keep_hours=1) as running:
        await running.store(*(batch("old", 1.0) for _ in range(30)))
        await asyncio.sleep(1800)
        await running.store(*(batch("new", 2.0) for _ in range(20)))
        await asyncio.sleep(1900)
        lost = [event for event in running.events if event.type is EventType.DELIVERY_LOST]
        assert [event.data["count"] for event in lost] == [30]
        assert [event.data["last"] for event in lost] == [event.data["first"] for event in lost]
        assert running.courier.state.lost == 30
        assert running.courier.state.lost_from == running.courier.state.lost_until == lost[0].data["first"]
        assert running.courier.state.backlog == 20
        await peer.come()
        await running.until(lambda: len(peer.got) == 20)
        assert {seen.meter for seen in peer.seen()} == {"new"}
        assert running.journal.count([(0, running.journal.head)]) == 20


@virtual
async def test_a_sink_that_goes_on_losing_says_so_once_an_hour_and_counts_all(tmp_path: Path) -> None:
    peer = MemoryPeer()
    await peer.leave()
    async with rig(tmp_path, peer, keep_hours=1) as running:
        for _ in range(240):
            await running.store(batch("m", 1.0))
            await asyncio.sleep(60)
        lost = [event.data for event in running.events if event.type is EventType.DELIVERY_LOST]
        state = running.courier.state
        assert len(lost) == 3
        assert state.backlog + state.lost == 240
        assert 179 <= state.lost <= 181
        assert lost[0]["count"] == 1
        assert lost[0]["last"] < lost[1]["first"] < lost[1]["last"] < lost[2]["first"]
        assert sum(each["count"] for each in lost) >= state.lost - 60


@virtual
async def test_what_goes_while_a_sink_is_switched_off_is_said_and_the_rest_comes_when_it_is_on(tmp_path: Path) -> None:
    peer = MemoryPeer()
    async with rig(tmp_path, peer) as running:
        await running.store(batch("had", 1.0))
        await running.until(lambda: len(peer.got) == 1)
    events: list[Event] = []
    began = now = 1_800_100_000_000
    with Store.open(laid(tmp_path / "headend.db"), vault_key=None, millis=lambda: now) as store:
        keeper = Keeper(store.readings, store.journal)
        deliveries = Deliveries(store.journal, lambda: now, keep_hours=1, keep_octets=1 << 40)
        for name in ("test", "never"):
            deliveries.rest(Resting(name, "test", store.journal, lambda: now, events.append))
        deliveries.load()
        for index in range(7):
            keeper.write([batch("off", float(index))] * 10)
            now += 1_200_000
            await deliveries.purge()
        (state,) = deliveries.states()
        assert (state.enabled, state.connected_since, state.lost, state.backlog) == (False, None, 40, 30)
        assert (state.lost_from, state.lost_until) == (began, began + 3 * 1_200_000)
        assert state.oldest == began + 4 * 1_200_000
        (event,) = events
        assert event.data == {"sink": "test", "count": 10, "first": began, "last": began}
        now += 86_400_000
        await deliveries.purge()
        assert events[1].data == {
            "sink": "test",
            "count": 60,
            "first": began + 1_200_000,
            "last": began + 6 * 1_200_000,
        }
        keeper.write([batch("new", 8.0)])
        with pytest.raises(Conflict):
            await deliveries.refused("test")
    async with rig(tmp_path, peer) as running:
        await running.until(lambda: len(peer.got) == 2)
        assert [seen.meter for seen in peer.seen()] == ["had", "new"]


@virtual
async def test_what_was_confirmed_is_counted_for_each_meter_and_what_was_refused_is_not(tmp_path: Path) -> None:
    counted: Counter[tuple[str, bool]] = Counter()

    def count(entries: Sequence[Entry], late: bool) -> None:
        counted.update((entry.item.meter_id, late) for entry in entries)

    peer = MemoryPeer()
    peer.refuse(3.0)
    async with rig(tmp_path, peer, count=count) as running:
        await running.courier.connected.wait()
        await running.store(*(batch(f"m{n % 2}", float(n)) for n in range(10)))
        await running.until(lambda: len(peer.got) == 9)
        await peer.leave()
        await running.until(lambda: not running.courier.connected.is_set())
        await running.store(*(batch(f"m{n % 2}", float(n)) for n in range(10, 16)))
        await peer.come()
        await running.until(lambda: len(peer.got) == 15)
        await asyncio.sleep(1)
    assert counted == {("m0", False): 5, ("m1", False): 4, ("m0", True): 3, ("m1", True): 3}


@virtual
async def test_coming_and_going_is_told_once(tmp_path: Path) -> None:
    peer = MemoryPeer()
    async with rig(tmp_path, peer) as running:
        await running.courier.connected.wait()
        await peer.leave()
        await asyncio.sleep(3600)
        assert running.courier.state.connected_since is None
        assert running.courier.state.last_error == "refused"
        await running.store(batch("m", 1.0))
        await peer.come()
        await running.courier.connected.wait()
        await asyncio.sleep(1)
        told = [(event.type, dict(event.data)) for event in running.events]
        assert told[0] == (EventType.SINK_AWAY, {"sink": "test", "reason": "gone"})
        assert told[1][0] is EventType.SINK_BACK
        assert told[1][1]["entries"] == 1
        assert len(told) == 2
        assert running.courier.state.connections == 2
        assert running.courier.state.per_minute == 1


def meter(name: str, *tags: str) -> Meter:
    return Meter(
        id=name, protocol="dlms", framing="wrapper", endpoint=Endpoint(kind=EndpointKind.TCP, host="h"), tags=tags
    )


def test_filters() -> None:
    known = {"lab-1": meter("lab-1"), "roof": meter("roof", "solar", "north")}
    passes = passing(Selection(("lab-*", "tag:sol*")), Selection(("voltage_*",)), known.get, history=False)
    two = replace(
        batch("lab-1", 1.0),
        quantities=("current_l1", "voltage_l1"),
        values=[5, 230],
        measured_at=[1, 2],
        quality=[0, 4],
    )
    passed = passes(Entry(7, two))
    assert passed is not None
    assert (passed.number, passed.id) == (7, "7")
    assert isinstance(passed.item, ReadingBatch)
    assert (passed.item.quantities, passed.item.values) == (("voltage_l1",), [230])
    assert (passed.item.measured_at, passed.item.quality) == ([2], [4])
    assert passes(Entry(8, batch("roof", 1.0))) == Entry(8, batch("roof", 1.0))
    assert passes(Entry(9, batch("cellar", 1.0))) is None
    assert passes(Entry(9, batch("lab-gone", 1.0))) is not None, "it was removed meanwhile; its id is known"
    assert passes(Entry(9, replace(batch("lab-1", 1.0), source=Source.HISTORY))) is None
    assert passes(Entry(9, replace(batch("lab-1", 1.0), quantities=("current_l1",)))) is None
    own = Event(type=EventType.STORAGE_FULL, severity=Severity.CRITICAL, occurred_at=1)
    assert passes(Entry(9, own)) is not None
    assert passes(Entry(9, replace(own, meter_id="cellar"))) is None
    farewell = replace(own, type=EventType.METER_REMOVED, meter_id="sold")
    assert passes(Entry(9, farewell)) is None
    told = passing(Selection(("tag:sol*",)), Selection(), known.get, was_chosen={"sold", "lab-1"}.__contains__)
    assert told(Entry(9, farewell)) is not None, "it had the tag; whoever knows it hears of its end"
    assert told(Entry(9, replace(farewell, type=EventType.METER_CHANGED, meter_id="lab-1"))) is not None
    assert told(Entry(9, replace(farewell, type=EventType.METER_OFFLINE))) is None
    assert told(Entry(9, replace(farewell, meter_id="other"))) is None
    assert told(Entry(9, batch("lab-1", 1.0))) is None
    everything = passing(Selection(), Selection(), known.get)
    assert everything(Entry(1, two)) == Entry(1, two)


@virtual
async def test_what_a_filter_keeps_away_is_not_waited_for(tmp_path: Path) -> None:
    peer = MemoryPeer()
    wanted = passing(Selection(("a",)), Selection(), lambda _name: None)
    await peer.leave()
    async with rig(tmp_path, peer, passes=wanted) as running:
        for _ in range(5):
            entries = await running.store(batch("a", 1.0), *(batch("b", 1.0) for _ in range(600)))
        await peer.come()
        await running.until(lambda: running.courier.state.backlog == 0)
        assert {seen.meter for seen in peer.seen()} == {"a"}
        assert len(peer.got) == 5
        await running.store(batch("b", 1.0))
        await asyncio.sleep(2)
        cursor = running.journal.load("test")
        assert cursor is not None
        assert cursor.pending == ()
        assert cursor.head > entries[-1].number + (1 << SEGMENT_SHIFT)
