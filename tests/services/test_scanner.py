from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import islice

import pytest

from headend.errors import PermissionDenied
from headend.model.discovery import Hit, PortState
from headend.model.targets import Targets, parse_spans, parse_targets
from headend.services.discovery.scanner import Scanner, ScanPlan


def scanner(names: Mapping[str, Sequence[str]] | None = None, **options: object) -> Scanner:
    async def resolve(name: str) -> list[str]:
        if name not in (names or {}):
            raise socket.gaierror(-2, "Name or service not known")
        if name == "asleep":
            raise TimeoutError
        return list((names or {})[name])

    return Scanner(clock=lambda: 17, resolve=resolve, **options)  # type: ignore[arg-type] # tests


@asynccontextmanager
async def server(said: bytes = b"") -> AsyncIterator[int]:
    """Listens on all of 127.0.0.0/8, and may say something unasked."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(greet, "0.0.0.0", 0) as listening:  # noqa: S104 - in a test
        yield listening.sockets[0].getsockname()[1]


@pytest.fixture
def closed() -> object:
    with socket.socket() as bound:
        bound.bind(("0.0.0.0", 0))  # noqa: S104 - it does not listen
        yield bound.getsockname()[1]


def plan(targets: Targets, **options: object) -> ScanPlan:
    return ScanPlan(targets=targets, **{"rate": None, "network_rate": None, **options})  # type: ignore[arg-type] # tests


async def hits(scanner: Scanner, plan: ScanPlan, cursor: int = 0) -> list[Hit]:
    found = [hit async for batch in scanner.run(plan, cursor) for hit in batch]
    assert scanner.progress.done == scanner.progress.cursor == scanner.progress.of == plan.targets.count
    assert scanner.progress.seconds_left in (0, None)
    return found


async def test_hits_with_what_they_say_unasked(closed: int) -> None:
    async with server(b"SSH-2.0-meter\r\n") as talking:
        targets = parse_targets(["127.0.0.0/29"], [talking, closed])
        found = await hits(scanner(), plan(targets, banner=5.0))
    assert set(found) == {
        Hit(host=f"127.0.0.{host}", port=port, state=state, at=17, banner=banner)
        for host in range(8)
        for port, state, banner in (
            (talking, PortState.OPEN, b"SSH-2.0-meter\r\n"),
            (closed, PortState.CLOSED, b""),
        )
    }


async def test_who_takes_connections_and_drops_them_is_not_open() -> None:
    async with server() as dropping:
        found = await hits(scanner(), plan(parse_targets(["127.0.0.1"], [dropping]), banner=5.0))
    assert [each.state for each in found] == [PortState.DROPPED]


async def test_progress_and_counts(closed: int) -> None:
    made = scanner()
    targets = parse_targets(["127.0.0.0/24"], [closed])
    assert len(await hits(made, plan(targets, window=7, kept=frozenset({PortState.OPEN})))) == 0
    assert made.progress.counts[PortState.CLOSED] == 256
    assert made.progress.window == 7
    assert made.progress.rate > 0


@pytest.mark.parametrize("outside", ["8.8.8.8", "127.0.0.0-128.0.0.0"])
async def test_what_is_not_allowed_is_refused_before_anything_is_sent(closed: int, outside: str) -> None:
    made = scanner()
    with pytest.raises(PermissionDenied, match="outside the networks"):
        await anext(made.run(plan(parse_targets([outside, "127.0.0.1"], [closed], limit=1 << 40))))
    with pytest.raises(PermissionDenied, match=r"127\.0\.0\.1 is outside"):
        await anext(scanner(allowed=["10.0.0.0/8"]).run(plan(parse_targets(["127.0.0.1"], [closed]))))


async def test_names_keep_their_names_and_take_the_place_of_their_addresses(closed: int) -> None:
    names = {
        "first": ["127.0.0.1", "127.0.0.9"],
        "again": ["127.0.0.1"],
        "elsewhere": ["127.0.3.1"],
        "left-out": ["127.0.0.2"],
        "empty": [],
        "asleep": [],
    }
    made = scanner(names)
    entries = ["127.0.0.0/30", *names, "nowhere"]
    targets = parse_targets(entries, [closed], excluded=["127.0.0.2"])
    found = await hits(made, plan(targets, excluded=parse_spans(["127.0.0.2"])))
    assert sorted(hit.host for hit in found) == ["127.0.0.0", "127.0.0.3", "elsewhere", "first"]
    assert {name: why.split()[-1] for name, why in made.progress.unresolved.items()} == {
        "again": "127.0.0.1",
        "left-out": "excluded",
        "empty": "address",
        "asleep": "s",
        "nowhere": "known",
    }


async def test_a_name_of_an_address_that_is_not_allowed_is_refused(closed: int) -> None:
    with pytest.raises(PermissionDenied, match=r"meter \(192\.0\.2\.1\) is outside"):
        await anext(scanner({"meter": ["192.0.2.1"]}).run(plan(parse_targets(["meter"], [closed]))))


async def test_the_name_of_this_machine_is_resolved(closed: int) -> None:
    made = Scanner(clock=lambda: 17)
    assert [hit.host for hit in await hits(made, plan(parse_targets(["localhost"], [closed])))] == ["localhost"]


async def test_cancelled_and_resumed_every_target_is_answered(closed: int) -> None:
    targets = parse_targets(["127.0.0.0/19"], [closed])
    made, first = scanner(), []
    async for batch in made.run(plan(targets, seed=3, window=50)):
        first += batch
        made.cancel()
    cursor = made.progress.cursor
    assert 0 < cursor < targets.count
    answered = {(hit.host, hit.port) for hit in first}
    assert {(host, port) for _, host, port, _ in islice(targets.walk(3), cursor)} <= answered
    rest = await hits(scanner(), plan(targets, seed=3), cursor)
    assert len(rest) == targets.count - cursor
    assert answered | {(hit.host, hit.port) for hit in rest} == {(host, port) for _, host, port, _ in targets.walk(3)}


async def test_whoever_breaks_off_leaves_no_thread(closed: int) -> None:
    """The thread pool waits for its thread when the iterator is closed."""
    made = scanner()
    async with aclosing(made.run(plan(parse_targets(["127.0.0.0/18"], [closed]), rate=100.0))) as batches:
        await anext(batches)
    assert made.progress.done < 1 << 14
    begun = asyncio.Event()

    async def scan() -> None:
        async for _ in made.run(plan(parse_targets(["127.0.0.0/18"], [closed]), rate=100.0)):
            begun.set()

    task = asyncio.create_task(scan())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancel_before_the_first_answer(closed: int) -> None:
    made = scanner({"slow": ["127.0.0.1"]})
    running = made.run(plan(parse_targets(["127.0.0.0/16", "slow"], [closed])))
    first = asyncio.ensure_future(anext(running))
    await asyncio.sleep(0)
    made.cancel()
    await first
    assert [batch async for batch in running] == []
    assert made.progress.done < 1 << 16
