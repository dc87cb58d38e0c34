"""Faults that are switched while links are open, seen by somebody who talks plain Modbus TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.emulator.control import Selection
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.errors import ConfigError, NotFound

LIBRARY = Library()
REQUEST = bytes.fromhex("0001 0000 0006 01 04 0000 0002")  # MBAP: read two input registers of unit 1
HEAD = bytes.fromhex("0001 0000 0007 01 04 04")
LENGTH = 13


class Talk:
    """A socket of the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self) -> bytes:
        self.writer.write(REQUEST)
        return await self.hear(LENGTH)

    async def hear(self, octets: int) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readexactly(octets)

    async def end(self) -> bytes:
        """What comes until the link is dropped."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def nothing(self) -> bool:
        """Nothing has come by the time that the loop has been idle for long."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.2)
        except TimeoutError:
            return True
        return False


class Bench:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.control = fleet, fleet.control
        self.talks: list[Talk] = []

    async def connect(self, host: str = "127.0.0.1") -> Talk:
        port = self.fleet.groups[0].port
        self.talks.append(Talk(*await asyncio.open_connection(host, port)))
        return self.talks[-1]

    def break_(self, kind: FaultKind, **more: Any) -> None:
        assert self.control.break_(Fault(kind=kind, **more)) == 1


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    fleet = Fleet([Group(profile=LIBRARY.get("eastron-sdm120"))], seed=1)
    await fleet.start()
    made = Bench(fleet)
    yield made
    for talk in made.talks:
        talk.writer.close()
        with contextlib.suppress(ConnectionError):
            await talk.writer.wait_closed()
    await fleet.aclose()


async def test_a_fault_begins_and_ends_on_an_open_link(bench: Bench) -> None:
    talk = await bench.connect()
    assert (await talk.ask()).startswith(HEAD)
    bench.break_(FaultKind.GARBAGE)
    assert not (await talk.ask()).startswith(HEAD)
    assert bench.control.mend() == 1
    assert bench.control.mend() == 0
    assert (await talk.ask()).startswith(HEAD)


@pytest.mark.parametrize(("kind", "heard"), [(FaultKind.CLOSE, 0), (FaultKind.CUT, LENGTH // 2)])
async def test_the_link_is_cut_instead_of_an_answer_or_in_the_middle_of_it(
    bench: Bench, kind: FaultKind, heard: int
) -> None:
    talk = await bench.connect()
    await talk.ask()
    bench.break_(kind)
    talk.writer.write(REQUEST)
    assert len(await talk.end()) <= heard  # a reset may overtake what was said before it


async def test_truncation_leaves_the_end_out(bench: Bench) -> None:
    bench.break_(FaultKind.TRUNCATE)
    talk = await bench.connect()
    talk.writer.write(REQUEST)
    said = await talk.hear(LENGTH - 4)
    assert said.startswith(HEAD)
    bench.break_(FaultKind.CLOSE)
    talk.writer.write(REQUEST)
    assert len(await talk.end()) < 4


async def test_a_duplicate_is_the_same_again(bench: Bench) -> None:
    bench.break_(FaultKind.DUPLICATE)
    talk = await bench.connect()
    assert await talk.ask() == await talk.hear(LENGTH)


async def test_lost_requests_are_not_heard(bench: Bench) -> None:
    talk = await bench.connect()
    bench.break_(FaultKind.LOSS)
    talk.writer.write(REQUEST)
    assert await talk.nothing()
    bench.control.mend()
    assert (await talk.ask()).startswith(HEAD)


async def test_wrong_address_is_that_of_another_unit(bench: Bench) -> None:
    bench.break_(FaultKind.WRONG_ADDRESS)
    said = await (await bench.connect()).ask()
    assert said[:6] == HEAD[:6]
    assert said[6] == 0


async def test_slow_octets_come_one_by_one(bench: Bench) -> None:
    bench.break_(FaultKind.TRICKLE, seconds=0.002)
    talk = await bench.connect()
    talk.writer.write(REQUEST)
    pieces = []
    while sum(map(len, pieces)) < LENGTH:
        pieces.append(await asyncio.wait_for(talk.reader.read(LENGTH), 20))
    assert b"".join(pieces).startswith(HEAD)
    assert len(pieces) > 1


async def test_late_answers_are_overtaken_and_delayed_ones_are_not(bench: Bench) -> None:
    talk = await bench.connect()
    bench.break_(FaultKind.LATE, seconds=0.2)
    talk.writer.write(REQUEST)
    await asyncio.sleep(0.02)
    bench.control.mend()
    talk.writer.write(b"\0\2" + REQUEST[2:])
    assert (await talk.hear(LENGTH))[:2] == b"\0\2"
    assert (await talk.hear(LENGTH))[:2] == b"\0\1"
    bench.break_(FaultKind.LATENCY, seconds=0.05)
    bench.break_(FaultKind.JITTER, seconds=0.05)
    for number in range(5):
        talk.writer.write(bytes((0, number)) + REQUEST[2:])
    assert [(await talk.hear(LENGTH))[1] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_what_is_on_its_way_arrives_before_what_is_said_after_the_mending(bench: Bench) -> None:
    talk = await bench.connect()
    bench.break_(FaultKind.LATENCY, seconds=0.1)
    talk.writer.write(REQUEST)
    await asyncio.sleep(0.02)
    bench.control.mend()
    talk.writer.write(b"\0\2" + REQUEST[2:])
    assert [(await talk.hear(LENGTH))[1] for _ in range(2)] == [1, 2]


async def test_one_session_drops_the_second(bench: Bench) -> None:
    bench.break_(FaultKind.ONE_SESSION)
    first = await bench.connect()
    assert (await first.ask()).startswith(HEAD)
    second = await bench.connect()
    assert await second.end() == b""
    assert (await first.ask()).startswith(HEAD)
    first.writer.close()
    await first.writer.wait_closed()
    async with asyncio.timeout(20):
        while bench.fleet.links:  # noqa: ASYNC110 - the other end is told by the kernel
            await asyncio.sleep(0)
    assert (await (await bench.connect()).ask()).startswith(HEAD)


async def test_a_zombie_keeps_the_only_session(bench: Bench) -> None:
    bench.break_(FaultKind.ZOMBIE, seconds=3600)
    first = await bench.connect()
    assert (await first.ask()).startswith(HEAD)
    first.writer.close()
    await first.writer.wait_closed()
    async with asyncio.timeout(20):
        while bench.fleet.links:  # noqa: ASYNC110 - the other end is told by the kernel
            await asyncio.sleep(0)
    assert await (await bench.connect()).end() == b""
    bench.control.mend()
    assert (await (await bench.connect()).ask()).startswith(HEAD)


async def test_a_reboot_drops_links_and_is_silent_for_a_time(bench: Bench) -> None:
    talk = await bench.connect()
    await talk.ask()
    assert bench.control.reboot(seconds=3600) == 1
    assert await talk.end() == b""
    away = await bench.connect()
    away.writer.write(REQUEST)
    assert await away.nothing()
    bench.control.reboot(seconds=0)
    assert await away.end() == b""
    assert (await (await bench.connect()).ask()).startswith(HEAD)
    bench.break_(FaultKind.REBOOT, seconds=3600)
    talk = await bench.connect()
    talk.writer.write(REQUEST)
    assert await talk.end() == b""
    assert await (await bench.connect()).nothing()


async def test_a_stopped_meter_takes_no_links_until_it_is_started(bench: Bench) -> None:
    talk = await bench.connect()
    await talk.ask()
    assert bench.control.stop() == 1
    assert await talk.end() == b""
    assert await (await bench.connect()).end() == b""
    (state,) = bench.control.meters()
    assert not state.running
    assert bench.control.start() == 1
    assert (await (await bench.connect()).ask()).startswith(HEAD)


async def test_groups_come_and_go(bench: Bench) -> None:
    port = bench.fleet.groups[0].port
    more = Group(
        profile=LIBRARY.get("eastron-sdm120"), count=3, first_address="127.0.0.5", port=port, name="more-{number}"
    )
    state = await bench.control.add(more)
    assert (state.group, state.meters, state.first_number) == ("eastron-sdm120-2", 3, 2)
    assert len(bench.fleet._listeners) == 1
    assert (await (await bench.connect("127.0.0.7")).ask()).startswith(HEAD)
    assert [meter.name for meter in bench.control.meters(Selection(name="more-[34]"))] == ["more-3", "more-4"]
    assert [meter.number for meter in bench.control.meters(Selection(), offset=1, limit=2)] == [2, 3]
    assert bench.control.break_(Fault(kind=FaultKind.SILENT), Selection(group=state.group, numbers=[3])) == 1
    assert [group.faulty for group in bench.control.groups()] == [0, 1]
    with pytest.raises(ConfigError, match="two groups"):
        await bench.control.add(more)
    assert bench.control.remove(state.group) == 3
    assert await (await bench.connect("127.0.0.7")).end() == b""
    with pytest.raises(NotFound):
        bench.control.remove(state.group)
    with pytest.raises(NotFound):
        bench.control.count(Selection(group="nobody"))
    with pytest.raises(ConfigError, match="auth"):
        bench.control.break_(Fault(kind=FaultKind.REJECT))


async def test_a_share_of_many_is_broken_and_mended_by_kind() -> None:
    fleet = Fleet([Group(profile=LIBRARY.get("eastron-sdm120"), count=1000)], seed=3)
    struck = fleet.control.break_(Fault(kind=FaultKind.SILENT, meters=0.1))
    assert 60 < struck < 140
    both = fleet.control.break_(Fault(kind=FaultKind.LATENCY, meters=0.05))
    assert 20 < both < 80
    assert fleet.control.mend(kinds=[FaultKind.SILENT]) == struck
    assert [group.faulty for group in fleet.control.groups()] == [both]


async def test_a_fault_of_the_file_can_be_mended() -> None:
    group = Group(profile=LIBRARY.get("eastron-sdm120"), count=10, faults=[Fault(kind=FaultKind.SILENT)])
    fleet = Fleet([group])
    assert fleet.control.groups()[0].faulty == 10
    assert fleet.control.mend(Selection(numbers=[1, 2])) == 2
    assert fleet.control.groups()[0].faulty == 8
