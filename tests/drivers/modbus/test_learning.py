"""What a unit takes is learned from what it refuses: against a device that is nothing but a table of rules."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.knowledge import Knowledge
from headend.drivers.library import Library
from headend.drivers.modbus import driver
from headend.drivers.modbus.learning import AGAIN_SECONDS
from headend.drivers.modbus.refs import Table, register_ref
from headend.errors import HeadendError, LinkError, LinkTimeout
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.model.profile import MeterProfile
from headend.transport.memory import MemoryLink, memory_pair
from tests.services.support import VirtualLoop

SDM630 = Library().get("eastron-sdm630")
MBMD = [*range(0x0000, 0x0050, 2), *range(0x00EA, 0x00FA, 2), *range(0x0156, 0x017E, 2)]
"""what the best-known reader of this meter asks for, in as many requests as there are values"""


class Device:
    """Registers of a Modbus TCP device: each holds its address. `refuse` says with which exception, or none at all (-1)."""

    def __init__(self, refuse: Callable[[int, int], int] = lambda _first, _count: 0) -> None:
        self.refuse = refuse
        self.asked: list[tuple[int, int]] = []

    def serve(self, link: MemoryLink) -> None:
        self.link = link
        link.set_receiver(self)

    def link_lost(self, error: LinkError) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        first, count = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
        self.asked.append((first, count))
        code = self.refuse(first, count)
        if code == -1:
            return
        body = b"".join(address.to_bytes(2, "big") for address in range(first, first + count))
        pdu = bytes((data[7] | 0x80, code)) if code else bytes((data[7], len(body))) + body
        self.link.write(data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu)


class Reader:
    """Reads a device in sessions that come and go, with one memory."""

    def __init__(self, device: Device, profile: MeterProfile | None = None, **params: str) -> None:
        self.device = device
        self.knowledge = Knowledge()
        self.profile = profile
        endpoint = Endpoint(kind=EndpointKind.MEMORY, path="pair")
        self.meter = Meter(id="m", protocol="modbus", framing="tcp", endpoint=endpoint, params=params)

    async def read(self, plan: ReadPlan) -> ReadResult:
        near, far = memory_pair()
        self.device.serve(far)
        session = await driver.attach(near, self.meter, self.profile, {}, timeout=1.0, knowledge=self.knowledge)
        try:
            return await session.read(plan)
        finally:
            await session.aclose()

    async def count(self, plan: ReadPlan) -> int:
        """How many requests a read takes; it must bring all values."""
        before = len(self.device.asked)
        result = await self.read(plan)
        assert not result.errors
        assert list(result.values) == [register_ref(entry.ref.address).address for entry in plan.entries]
        return len(self.device.asked) - before


def plan_of(*addresses: int, kind: str = "u16") -> ReadPlan:
    return ReadPlan(entries=tuple(ObjectEntry(ref=driver.parse_ref(f"input/{at}/{kind}")) for at in addresses))


def virtually(test: Any) -> Any:
    """In a loop whose time passes by jumps: no time-out is waited for."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


@virtually
async def test_the_registers_of_mbmd_take_three_round_trips() -> None:
    """52 values one by one, as mbmd asks for them, and more in the meter file, all in a tenth of the requests."""
    device = Device()
    addresses = plan_of(*MBMD, kind="u16")
    assert await Reader(device, SDM630).count(addresses) == 3
    assert device.asked == [(0x0000, 79), (0x00EA, 15), (0x0156, 39)]
    whole = ReadPlan(
        entries=tuple(
            entry for entry in SDM630.objects if entry.poll and register_ref(entry.ref.address).table is Table.INPUT
        )
    )
    reader = Reader(Device(), SDM630)
    assert not (await reader.read(whole)).errors
    assert reader.knowledge.singles >= 10 * reader.knowledge.requests


@virtually
async def test_a_hole_is_found_and_not_run_into_again() -> None:
    device = Device(lambda first, count: 2 if first < 30 <= first + count - 1 else 0)
    reader = Reader(device)
    plan = plan_of(*range(0, 28, 2), *range(32, 60, 2))
    taken = [await reader.count(plan) for _ in range(4)]
    assert taken[2:] == [2, 2]
    assert reader.knowledge.facts == {"holes": ["input/0x001B-0x0020"]}
    restarted = Reader(device)
    restarted.knowledge = Knowledge(reader.knowledge.facts)
    assert await restarted.count(plan) == 2


@virtually
async def test_the_longest_read_is_found() -> None:
    device = Device(lambda _first, count: 3 if count > 60 else 0)
    reader = Reader(device)
    plan = plan_of(*range(300))
    taken = [await reader.count(plan) for _ in range(16)]
    assert taken[-1] <= 6
    assert all(count <= 60 for _, count in device.asked[-taken[-1] :])
    length = reader.knowledge.facts["length"]
    assert isinstance(length, list)
    assert length[0] <= 60 < length[1] <= length[0] + 8


@virtually
async def test_a_value_that_is_not_there_is_missing_with_its_reason_and_asked_for_again_rarely() -> None:
    device = Device(lambda first, count: 2 if first <= 20 < first + count else 0)
    reader = Reader(device)
    plan = plan_of(*range(40))
    for _ in range(3):
        result = await reader.read(plan)
        assert list(result.errors) == [20]
        assert "illegal data address" in str(result.errors[20])
        assert [value for at, value in enumerate(result.values) if at != 20] == [*range(20), *range(21, 40)]
    assert device.asked[-2:] == [(0, 20), (21, 19)]
    device.refuse = lambda _first, _count: 0
    assert (await reader.read(plan)).errors
    await asyncio.sleep(AGAIN_SECONDS)
    assert await reader.count(plan) == 1
    assert reader.knowledge.facts == {}


@virtually
async def test_who_is_silent_to_long_reads_gets_short_ones() -> None:
    device = Device(lambda _first, count: -1 if count > 40 else 0)
    reader = Reader(device)
    plan = plan_of(*range(100))
    silent = 0
    for _ in range(24):
        try:
            await reader.count(plan)
        except LinkTimeout:
            silent += 1
    assert silent <= 6
    assert all(count <= 40 for _, count in device.asked[-2:])


@virtually
async def test_a_lossy_link_does_not_shorten_reads() -> None:
    luck = random.Random(6)
    device = Device(lambda _first, _count: -1 if luck.random() < 0.1 else 0)
    reader = Reader(device)
    plan = plan_of(*range(100))
    for _ in range(200):
        try:
            await reader.count(plan)
        except LinkTimeout:
            continue
    device.refuse = lambda _first, _count: 0
    assert await reader.count(plan) <= 4
    await asyncio.sleep(8 * AGAIN_SECONDS)
    assert await reader.count(plan) == 1


@virtually
async def test_a_meter_that_refuses_everything_teaches_nothing_and_is_hardly_asked() -> None:
    device = Device(lambda _first, _count: 2)
    reader = Reader(device)
    near, far = memory_pair()
    device.serve(far)
    session = await driver.attach(near, reader.meter, None, {}, knowledge=reader.knowledge)
    plan = plan_of(*range(0, 40, 2))
    for _ in range(10):
        assert len((await session.read(plan)).errors) == 20
    assert len(device.asked) < 2 * 20 + 20 + 10
    assert reader.knowledge.facts == {}
    device.refuse = lambda _first, _count: 0
    assert not (await session.read(plan)).errors
    await session.aclose()


@given(st.randoms(use_true_random=False), st.floats(0.1, 0.9))
def test_one_that_answers_everything_wrongly_learns_no_harm(luck: Any, often: float) -> None:
    """Whatever it says, the requests of a read are bounded, and when it has come to its senses all values are read."""

    @virtually
    async def run() -> None:
        device = Device(lambda _first, _count: luck.choice([1, 2, 3, 4, 6, -1]) if luck.random() < often else 0)
        reader = Reader(device)
        plan = plan_of(*range(0, 60, 2))
        for _ in range(10):
            before = len(device.asked)
            with contextlib.suppress(HeadendError):
                await reader.read(plan)
            assert len(device.asked) - before <= 4 * len(plan.entries)
        assert len(str(reader.knowledge.facts)) < 20_000
        device.refuse = lambda _first, _count: 0
        await reader.read(plan)
        await asyncio.sleep(8 * 86400)
        assert await reader.count(plan) == 1
        assert reader.knowledge.facts == {}

    run()


@given(
    st.sets(st.integers(0, 120), min_size=1, max_size=40),
    st.sets(st.integers(0, 120), max_size=6),
    st.integers(5, 125),
)
def test_every_value_that_can_be_read_is_read_in_every_read(wanted: set[int], closed: set[int], longest: int) -> None:
    def refuse(first: int, count: int) -> int:
        if count > longest:
            return 3
        return 2 if any(first <= at < first + count for at in closed) else 0

    @virtually
    async def run() -> None:
        device = Device(refuse)
        reader = Reader(device)
        plan = plan_of(*sorted(wanted))
        for _ in range(5):
            result = await reader.read(plan)
            for at, value, index in zip(sorted(wanted), result.values, range(len(wanted)), strict=True):
                assert (value, index in result.errors) == ((None, True) if at in closed else (at, False))

    run()


@pytest.mark.parametrize(
    "facts",
    [
        {"holes": ["nonsense"]},
        {"holes": 3, "refused": [], "length": "x"},
        {"length": [3]},
        {"refused": {"input/1-2": None, "nowhere/0-1": "x"}},
        {"length": [9, 3]},
    ],
)
@virtually
async def test_facts_that_nobody_can_read_are_learned_anew(facts: dict[str, object]) -> None:
    reader = Reader(Device())
    reader.knowledge = Knowledge(facts)
    assert await reader.count(plan_of(*range(0, 20, 2))) == 1
