"""What is wrong with a meter itself, as octets on the wire or as the head-end's own driver sees it; switched while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headend.drivers.base import Session
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.faults import Fault, FaultKind
from headend.emulator.fleet import Fleet, Group
from headend.errors import HeadendError, ReplayDetected
from headend.model.meter import Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.model.url import parse_url
from headend.transport.tcp import connect_tcp

LIBRARY = Library()
PROFILE = LIBRARY.get("generic-dlms-1p")
ENERGY = next(entry for entry in PROFILE.objects if entry.quantity == "active_energy_import_total")
AARQ = bytes.fromhex("0001 0010 0001 001F 601DA109060760857405080101BE10040E01000000065F1F0400007E1F00C8")
READ_BUFFER = bytes.fromhex("0001 0010 0001 000D C001C1 0007 0100630100FF 02 00")
NEXT_BLOCK = bytes.fromhex("0001 0010 0001 0007 C002C1 00000001")
SCALER = bytes.fromhex("0001 0010 0001 000D C001C1 0003 0100200700FF 03 00")
KEYS = {"ek": Secret(bytes(range(16))), "ak": Secret(bytes(range(0xD0, 0xE0)))}


class Wire:
    """A client that has nothing of ours: octets in the wrapper."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        """The APDU that answers a frame."""
        self.writer.write(request)
        async with asyncio.timeout(20):
            head = await self.reader.readexactly(8)
            return await self.reader.readexactly(int.from_bytes(head[6:], "big"))


@asynccontextmanager
async def fleet_of(**options: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet([Group(profile=PROFILE, **options)], seed=1)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.aclose()


@asynccontextmanager
async def wire_to(fleet: Fleet) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.groups[0].port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def session_with(fleet: Fleet, name: str = "m") -> AsyncIterator[Session]:
    (line,) = fleet.roster()
    url = parse_url(line.url)
    link = await connect_tcp(url.endpoint.host, url.endpoint.port, 5)
    session = await driver("dlms").attach(link, url.meter(name), PROFILE, line.secrets, timeout=5)
    try:
        yield session
    finally:
        await session.aclose()


def give(fleet: Fleet, kind: FaultKind, **more: Any) -> None:
    assert fleet.control.break_(Fault(kind=kind, **more)) == 1


async def energy(fleet: Fleet) -> float:
    async with session_with(fleet) as session:
        result = await session.read(ReadPlan(entries=(ENERGY,)))
    (value,) = result.values
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.REFUSE_ASSOCIATION, "A203020101 A305A103020101"),  # rejected-permanent, acse-service-user: no reason
        (FaultKind.EXHAUSTED, "A203020102 A305A203020101"),  # rejected-transient, acse-service-provider: no reason
    ],
)
async def test_associations_are_refused_for_good_or_for_now(kind: FaultKind, expected: str) -> None:
    async with fleet_of() as fleet, wire_to(fleet) as wire:
        give(fleet, kind)
        assert bytes.fromhex(expected) in await wire.ask(AARQ)
        fleet.control.mend()
        assert bytes.fromhex("A203020100 A305A103020100") in await wire.ask(AARQ)


async def test_long_answers_are_aborted_after_their_first_block() -> None:
    async with fleet_of() as fleet, wire_to(fleet) as wire:
        await wire.ask(AARQ)
        assert (await wire.ask(READ_BUFFER)).startswith(bytes.fromhex("C402C1 00 00000001 00"))
        give(fleet, FaultKind.ABORT_BLOCKS)
        assert await wire.ask(NEXT_BLOCK) == bytes.fromhex("C402C1 01 00000001 01 0F")  # long-get-aborted
        fleet.control.mend()
        assert (await wire.ask(READ_BUFFER)).startswith(bytes.fromhex("C402C1 00 00000001 00"))
        assert (await wire.ask(NEXT_BLOCK)).startswith(bytes.fromhex("C402C1 00 00000002 00"))


async def test_a_wrong_scaler_is_one_more_than_it_is() -> None:
    async with fleet_of() as fleet, wire_to(fleet) as wire:
        await wire.ask(AARQ)
        assert await wire.ask(SCALER) == bytes.fromhex("C401C100 02020FFF1623")
        give(fleet, FaultKind.WRONG_SCALER)
        assert await wire.ask(SCALER) == bytes.fromhex("C401C100 02020F001623")
        fleet.control.mend()
        assert await wire.ask(SCALER) == bytes.fromhex("C401C100 02020FFF1623")


async def test_an_invocation_counter_that_was_reset_is_a_replay_to_a_client_who_knows_better() -> None:
    params = {"auth": "gmac", "client": "1", "suite": "0", "policy": "3"}
    async with fleet_of(params=params, secrets=KEYS) as fleet:
        async with session_with(fleet, "counted"):
            pass
        give(fleet, FaultKind.INVOCATION_RESET)
        with pytest.raises(ReplayDetected):
            async with session_with(fleet, "counted"):
                pass
        async with session_with(fleet, "who comes new") as session:
            assert (await session.identify()).logical_device_name


async def test_registers_that_were_reset_begin_at_nothing_and_come_back() -> None:
    async with fleet_of() as fleet:
        before = await energy(fleet)
        assert before > 1000
        give(fleet, FaultKind.COUNTER_RESET)
        assert await energy(fleet) < 1000
        fleet.control.mend()
        assert await energy(fleet) >= before


async def test_load_profiles_without_rows() -> None:
    async with fleet_of() as fleet:
        (table,) = PROFILE.load_profiles
        now = fleet.meter(1).now()
        request = HistoryRequest(ref=table.ref, start=now - 86_400_000, end=now)

        async def rows() -> int:
            async with session_with(fleet) as session:
                return sum([len(block.times) async for block in session.read_history(request)])

        assert await rows() == 96
        give(fleet, FaultKind.EMPTY_PROFILE)
        assert await rows() == 0
        fleet.control.mend()
        assert await rows() == 96


async def test_a_clock_jumps_and_jumps_back() -> None:
    now = 1_763_726_400_000
    fleet = Fleet([Group(profile=PROFILE)], clock=lambda: now)
    meter = fleet.meter(1)
    give(fleet, FaultKind.CLOCK_JUMP, seconds=3600)
    give(fleet, FaultKind.LATENCY)
    assert meter.now() == now + 3_600_000
    fleet.control.mend(kinds=[FaultKind.CLOCK_JUMP])
    assert meter.now() == now
    faulty = Fleet([Group(profile=PROFILE, faults=[Fault(kind=FaultKind.CLOCK_JUMP, seconds=60)])], clock=lambda: now)
    assert faulty.meter(1).now() == now + 60_000


async def test_a_reboot_lets_what_counts_since_the_start_begin_anew() -> None:
    async with fleet_of() as fleet:
        meter = fleet.meter(1)
        assert meter.booted_at < meter.kind.started_at
        fleet.control.reboot(seconds=0)
        assert meter.booted_at >= meter.kind.started_at


@pytest.mark.parametrize("kind", [FaultKind.REFUSE_ASSOCIATION, FaultKind.EXHAUSTED])
async def test_a_fault_of_the_file_is_there_from_the_beginning(kind: FaultKind) -> None:
    async with fleet_of(faults=[Fault(kind=kind)]) as fleet:
        with pytest.raises(HeadendError):
            await energy(fleet)
