"""pymodbus as a judge of both our roles, over Modbus TCP and RTU over TCP. It runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.knowledge import Knowledge
from headend.drivers.library import Library
from headend.drivers.mapping import to_batch
from headend.drivers.modbus import driver
from headend.drivers.modbus.refs import Table, register_ref
from headend.errors import ObjectUndefined
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.profile import MeterProfile
from headend.model.reading import Source, Value
from headend.transport.open import open_link
from headend.transport.tcp import ListenLimits, listen_tcp

pytestmark = pytest.mark.peers
PEERS = Path(__file__).parent / "peers"
PROFILE = Library().get("eastron-sdm630")
FRAMINGS = pytest.mark.parametrize(("framing", "framer"), [("tcp", "socket"), ("rtu", "rtu")])


class StillMeter:
    """A virtual SDM630 whose values stand still: the address of each is its value, and a little more."""

    params = NO_PARAMS
    identity = MeterIdentity(serial="20040001", firmware="1.8")

    def __init__(self, profile: MeterProfile) -> None:
        self.profile = profile
        self.values: list[Value] = []
        for entry in profile.objects:
            ref = register_ref(entry.ref.address)
            wire = ref.address + 0.25 if ref.type and ref.type.kind == "f32" else ref.address
            self.values.append(wire * 10**entry.exponent)

    def now(self) -> int:
        return 0

    def value(self, index: int, _at: int) -> Value:
        return self.values[index]

    def write(self, index: int, value: Value) -> None:
        self.values[index] = value


async def ask_pymodbus(python: str, framer: str, port: int, steps: list[list[Any]]) -> list[Any]:
    process = await asyncio.create_subprocess_exec(
        python, PEERS / "pymodbus_client.py", framer, str(port), "1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(json.dumps(steps).encode())
    assert process.returncode == 0, err.decode()
    found: list[Any] = json.loads(out)
    return found


@pytest.mark.parametrize("framer", ["socket", "rtu"])
async def test_pymodbus_reads_our_sdm630(peers_python: str, framer: str) -> None:
    model = StillMeter(PROFILE)
    listener = await listen_tcp("127.0.0.1", 0, lambda link: driver.serve(link, model), ListenLimits(loopback=True))
    try:
        results = await ask_pymodbus(
            peers_python,
            framer,
            listener.port,
            [
                ["input", 0x0000, 80, "FLOAT32"],
                ["input", 0x0156, 40, "FLOAT32"],
                ["holding", 0xFC00, 2, "UINT32"],
                ["holding", 0xFC02, 1, "UINT16"],
                ["input", 0x0200, 2, "FLOAT32"],
                ["input", 0x0000, 82, "FLOAT32"],
                ["write", 0x0002, 15.0],
                ["holding", 0x0002, 2, "FLOAT32"],
                ["write", 0x0014, 7.0],
                ["identify"],
                ["server-id"],
            ],
        )
    finally:
        await listener.aclose()
    mapped = {
        register_ref(entry.ref.address).address
        for entry in PROFILE.objects
        if register_ref(entry.ref.address).table is Table.INPUT
    }
    assert results[0] == [address + 0.25 if address in mapped else 0.0 for address in range(0, 80, 2)]
    assert results[1] == [address + 0.25 if address in mapped else 0.0 for address in range(0x156, 0x17E, 2)]
    assert results[2:4] == [0xFC00, 0xFC02]
    assert results[4:6] == [{"exception": 2}, {"exception": 3}]
    assert results[6:8] == [2, 15.0]
    assert results[8] == {"exception": 2}
    assert results[9:] == [{"exception": 1}, {"exception": 1}]


async def test_pymodbus_asks_our_iem3000_what_it_is(peers_python: str) -> None:
    model = StillMeter(Library().get("schneider-iem3000"))
    listener = await listen_tcp("127.0.0.1", 0, lambda link: driver.serve(link, model), ListenLimits(loopback=True))
    try:
        results = await ask_pymodbus(peers_python, "socket", listener.port, [["identify"], ["server-id"]])
    finally:
        await listener.aclose()
    assert results[0] == ["Schneider Electric", "iEM3000", "1.8"]
    assert results[1] == "\x01\xffSchneider Electric iEM3000 2004000"  # it takes the last octet for the run indicator


@contextlib.asynccontextmanager
async def pymodbus_meter(python: str, framer: str, image: dict[str, Any]) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        python, PEERS / "pymodbus_meter.py", framer, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(image).encode() + b"\n")
        yield json.loads(await process.stdout.readline())["port"]
    finally:
        process.stdin.close()
        await process.wait()


def float32(value: float) -> float:
    """The value as two registers hold it."""
    (found,) = struct.unpack(">f", struct.pack(">f", value))
    return float(found)


def image_of(profile: MeterProfile, table: Table) -> dict[str, float]:
    refs = [register_ref(entry.ref.address) for entry in profile.objects]
    floats = [ref for ref in refs if ref.table is table and ref.type and ref.type.kind == "f32"]
    return {str(ref.address): 200 + ref.address / 10 for ref in floats}


@FRAMINGS
async def test_we_read_an_sdm630_of_pymodbus(peers_python: str, framing: str, framer: str) -> None:
    """pymodbus refuses every range with an unmapped address, so that blocks are halved until each value is found."""
    image = {
        "unit": 1,
        "input": image_of(PROFILE, Table.INPUT),
        "holding": image_of(PROFILE, Table.HOLDING),
        "identity": ["Eastron", "SDM630", "1.8"],
    }
    entries = tuple(
        entry for entry in PROFILE.objects if entry.poll and register_ref(entry.ref.address).table is Table.INPUT
    )
    plan = ReadPlan(entries=entries)
    async with pymodbus_meter(peers_python, framer, image) as port:
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port)
        meter = Meter(id="m", protocol="modbus", framing=framing, endpoint=endpoint)
        session = await driver.attach(await open_link(endpoint, 5.0), meter, PROFILE, {})
        try:
            for _ in range(2):
                batch = to_batch("m", plan, await session.read(plan), 0, Source.POLL)
                assert not batch.missing
                for entry, value in zip(entries, batch.values, strict=True):
                    wire = image["input"][str(register_ref(entry.ref.address).address)]
                    assert float32(value / 10**entry.exponent) == float32(wire), entry.ref
            serial = ReadPlan(entries=tuple(entry for entry in PROFILE.objects if entry.quantity == "serial_number"))
            assert isinstance((await session.read(serial)).errors[0], ObjectUndefined)
            write = Command(kind=CommandKind.WRITE, params={"ref": "holding/0x0002/f32", "value": 15})
            assert (await session.execute(write)).verdict is Verdict.CONFIRMED
            assert session.sound
        finally:
            await session.aclose()


async def test_the_holes_of_a_pymodbus_meter_are_learned(peers_python: str) -> None:
    """It refuses what runs over unmapped registers: in the third session nothing is refused, and a tenth is asked."""
    values = {str(at): 100 + at / 2 for at in (*range(0, 60, 2), *range(66, 126, 2), *range(200, 240, 2))}
    image = {"unit": 1, "input": values, "holding": {}, "identity": ["", "", ""]}
    plan = ReadPlan(
        entries=tuple(ObjectEntry(ref=driver.parse_ref(f"input/{at}/f32")) for at in (*map(int, values), 300))
    )
    knowledge, taken = Knowledge(), []
    async with pymodbus_meter(peers_python, "socket", image) as port:
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port)
        meter = Meter(id="m", protocol="modbus", framing="tcp", endpoint=endpoint)
        for _ in range(3):
            before = knowledge.requests
            session = await driver.attach(await open_link(endpoint, 5.0), meter, None, {}, knowledge=knowledge)
            try:
                result = await session.read(plan)
            finally:
                await session.aclose()
            taken.append(knowledge.requests - before)
            assert list(result.values) == [*values.values(), None]
            assert isinstance(result.errors[len(values)], ObjectUndefined)
    assert taken[2] == 3
    assert len(values) >= 10 * taken[2]
    assert knowledge.facts["holes"] == ["input/0x003C-0x0042"]
    assert list(knowledge.facts["refused"]) == ["input/0x012C-0x012E"]


async def test_we_identify_a_meter_of_pymodbus(peers_python: str) -> None:
    image = {"unit": 1, "input": {"0": 1.0}, "holding": {}, "identity": ["Eastron", "SDM630", "1.8"]}
    async with pymodbus_meter(peers_python, "socket", image) as port:
        endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port)
        meter = Meter(id="m", protocol="modbus", framing="tcp", endpoint=endpoint)
        session = await driver.attach(await open_link(endpoint, 5.0), meter, None, {})
        try:
            identity = await session.identify()
        finally:
            await session.aclose()
    assert (identity.manufacturer, identity.model, identity.firmware) == ("Eastron", "SDM630", "1.8")
