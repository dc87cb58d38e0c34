"""What every installed driver owes: its session against its own meter role, over all that a wire can do to them.

A new protocol gets a case in CASES, and with it all of these tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from headend.drivers.base import Capability, Session, Sniff
from headend.drivers.library import load_profile
from headend.drivers.mapping import scale
from headend.drivers.registry import driver, driver_names
from headend.emulator.faults import Fault, FaultKind, FaultyLink
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import CapabilityError, HeadendError, LinkClosed, LinkError, LinkTimeout, ProtocolError
from headend.model.job import Command, CommandKind
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.model.reading import Value
from headend.transport.memory import Line, MemoryLink, memory_pair

NOON = 1_763_726_400_000
SHORT = 0.25
"""Seconds that a request may take where none is answered."""

DLMS = """
[meter]
vendor = "Acme"
model = "D1"
protocol = "dlms"
source = "test"
[link]
max_info = 64
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
scaler = -2
type = "uint64"
[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -2
[[object]]
ref = "3/1-0:1.7.0.255/2"
quantity = "active_power_import_total"
unit = "W"
scaler = -1
[[object]]
ref = "1/0-0:96.1.0.255/2"
quantity = "serial_number"
"""
MODBUS = """
[meter]
vendor = "Acme"
model = "M1"
protocol = "modbus"
source = "test"
[[object]]
ref = "input/0x0000/u64"
quantity = "active_energy_import_total"
unit = "Wh"
scaler = -2
[[object]]
ref = "input/0x0100/u32"
quantity = "voltage_l1"
unit = "V"
scaler = -2
[[object]]
ref = "holding/0x0006/i32"
quantity = "active_power_import_total"
unit = "W"
scaler = -1
[[object]]
ref = "holding/0x0010/text8"
quantity = "serial_number"
"""
DLT645 = """
[meter]
vendor = "Acme"
model = "T1"
protocol = "dlt645"
source = "test"
[[object]]
ref = "00010000"
quantity = "active_energy_import_total"
unit = "kWh"
scaler = -2
[[object]]
ref = "02010100"
quantity = "voltage_l1"
unit = "V"
scaler = -1
[[object]]
ref = "02030000"
quantity = "active_power_total"
unit = "kW"
scaler = -4
[[object]]
ref = "02030100"
quantity = "active_power_l1"
unit = "kW"
scaler = -4
[[object]]
ref = "04000402"
quantity = "serial_number"
emulate = { value = "{number:012}" }
"""
DLT645_1997 = """
[meter]
vendor = "Acme"
model = "T0"
protocol = "dlt645"
source = "test"
[link]
version = "1997"
[[object]]
ref = "9010"
quantity = "active_energy_import_total"
unit = "kWh"
scaler = -2
[[object]]
ref = "B611"
quantity = "voltage_l1"
unit = "V"
[[object]]
ref = "B630"
quantity = "active_power_total"
unit = "kW"
scaler = -4
[[object]]
ref = "C032"
quantity = "serial_number"
emulate = { value = "{number:012}" }
"""


@dataclass(frozen=True)
class Case:
    """A protocol in one of its framings; `checked` when the framing carries a check sequence."""

    name: str
    framing: str
    profile: str
    unknown: str
    checked: bool

    def __str__(self) -> str:
        return f"{self.name}-{self.framing}"


CASES = [
    Case("dlms", "wrapper", DLMS, "3/1-0:9.9.9.255/2", checked=False),
    Case("dlms", "apdu", DLMS, "3/1-0:9.9.9.255/2", checked=False),
    Case("dlms", "hdlc", DLMS, "3/1-0:9.9.9.255/2", checked=True),
    Case("modbus", "tcp", MODBUS, "input/0x7000/u16", checked=False),
    Case("modbus", "rtu", MODBUS, "input/0x7000/u16", checked=True),
    Case("dlt645", "tcp", DLT645, "00FF0000", checked=True),
    Case("dlt645", "serial", DLT645_1997, "D0FF", checked=True),
]
ENDPOINT = Endpoint(kind=EndpointKind.MEMORY, host="memory")


class Bench:
    """One virtual meter, and the sessions with it. Its clock goes when a test says so."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.driver = driver(case.name)
        self.profile = load_profile(case.profile, f"acme-{case}", "test")
        self.plan = ReadPlan(entries=self.profile.objects)
        self.clock = NOON
        self.meter = VirtualMeter(MeterKind(self.profile, lambda: self.clock), 42)
        self.sessions: list[Session] = []
        self.near: MemoryLink
        self.far: MemoryLink

    def join(self, fault: Fault | None = None, **line: Any) -> None:
        """A new link to the meter."""
        self.near, self.far = memory_pair(**line)
        self.driver.serve(FaultyLink(self.far, fault, 1) if fault else self.far, self.meter)

    async def attach(self, *, timeout: float = 5.0) -> Session:
        meter = Meter(id="m", protocol=self.case.name, framing=self.case.framing, endpoint=ENDPOINT)
        session = await self.driver.attach(self.near, meter, self.profile, {}, timeout=timeout)
        self.sessions.append(session)
        return session

    async def open(self, *, timeout: float = 5.0, fault: Fault | None = None, **line: Any) -> Session:
        self.join(fault, **line)
        return await self.attach(timeout=timeout)

    def damage(self, **line: Any) -> None:
        """From now on the meter's answers suffer."""
        self.far._line = Line(**line)

    def shows(self, result: ReadResult) -> bool:
        """True when the result is what the meter shows now."""
        if result.errors:
            return False
        for index, (entry, raw) in enumerate(zip(self.plan.entries, result.values, strict=True)):
            expected, got = self.meter.value(index, self.meter.now()), scale(raw, entry.exponent)
            if not _near(expected, got, 10.0**entry.exponent):
                return False
        return True


def _near(expected: Value, got: Value | None, step: float) -> bool:
    if isinstance(expected, str) or isinstance(got, str) or got is None:
        return expected == got
    return abs(expected - got) <= step / 2 + 1e-9


@pytest.fixture(params=CASES, ids=str)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Nothing may be left when a test is over: no task, no open session."""
    made = Bench(request.param)
    yield made
    for session in made.sessions:
        async with asyncio.timeout(2.5):
            await session.aclose()
        assert not session.sound
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_every_installed_driver_has_a_case() -> None:
    assert {case.name for case in CASES} == set(driver_names())


@pytest.mark.parametrize(
    "line",
    [{}, {"split": 1}, {"split": 7}, {"latency": 0.01, "jitter": 0.01}, {"split": 3, "jitter": 0.002}],
    ids=["whole", "octet-by-octet", "in-pieces", "late", "in-pieces-late"],
)
async def test_reading(bench: Bench, line: dict[str, Any]) -> None:
    session = await bench.open(**line)
    for _ in range(3):
        assert bench.shows(await session.read(bench.plan))
        bench.clock += 60_000
    assert session.sound


async def test_what_the_meter_does_not_have_is_an_error_in_the_result(bench: Bench) -> None:
    session = await bench.open()
    unknown = ObjectEntry(ref=bench.driver.parse_ref(bench.case.unknown))
    result = await session.read(ReadPlan(entries=(bench.plan.entries[0], unknown, bench.plan.entries[1])))
    assert list(result.errors) == [1]
    assert result.values[1] is None
    assert session.sound
    assert bench.shows(await session.read(bench.plan))


async def test_identity_and_objects(bench: Bench) -> None:
    session = await bench.open()
    await session.identify()
    if Capability.OBJECTS in session.capabilities:
        shown = {info.ref for info in await session.objects()}
        assert {entry.ref for entry in bench.plan.entries} <= shown


async def test_a_capability_that_is_absent_costs_no_octet(bench: Bench) -> None:
    session = await bench.open()
    sent = bench.near.octets_out
    assert Capability.RELAY not in session.capabilities
    with pytest.raises(CapabilityError):
        await session.execute(Command(kind=CommandKind.DISCONNECT))
    assert bench.near.octets_out == sent


async def test_every_frame_is_explained(bench: Bench) -> None:
    frames: list[bytes] = []
    bench.join()
    bench.near.tap = lambda _direction, octets: frames.append(octets)
    session = await bench.attach()
    await session.read(bench.plan)
    assert bench.driver.sniff(frames[0]) is not Sniff.NO
    for frame in frames:
        layer = bench.driver.explain(frame)
        assert not layer.error, frame.hex()


# --- trouble ---


async def test_no_answer(bench: Bench) -> None:
    session = await bench.open(timeout=SHORT)
    bench.damage(loss=1.0)
    with pytest.raises(LinkTimeout):
        await session.read(bench.plan)
    await reopened(bench, session)


async def test_half_an_answer(bench: Bench) -> None:
    session = await bench.open(timeout=SHORT, split=8)
    bench.far.tap = lambda direction, _octets: bench.damage(loss=1.0, split=8) if direction == "<<" else None
    with pytest.raises(LinkTimeout):
        await session.read(bench.plan)
    await reopened(bench, session)


async def reopened(bench: Bench, session: Session) -> None:
    """A session that is not sound refuses at once, and a new one works."""
    assert not session.sound
    sent = bench.near.octets_out
    with pytest.raises(LinkError):
        await session.read(bench.plan)
    assert bench.near.octets_out == sent
    fresh = await bench.open()
    assert bench.shows(await fresh.read(bench.plan))


async def test_the_meter_is_silent_from_the_start(bench: Bench) -> None:
    with pytest.raises(LinkTimeout):  # some drivers ask something before there is a session
        await (await bench.open(timeout=SHORT, fault=Fault(kind=FaultKind.SILENT))).read(bench.plan)


@pytest.mark.parametrize("seed", range(8))
async def test_corruption_is_never_a_wrong_value_where_a_check_sequence_tells(bench: Bench, seed: int) -> None:
    session = await bench.open(timeout=SHORT, seed=seed)
    bench.damage(corruption=1.0)
    try:
        result = await session.read(bench.plan)
    except (LinkError, ProtocolError):
        assert not session.sound
    else:
        assert session.sound
        assert not bench.case.checked or bench.shows(result)
    fresh = await bench.open()
    assert bench.shows(await fresh.read(bench.plan))


@pytest.mark.parametrize("garbage", [b"\x00", b"\xff" * 3, b"\x7e", b"\x7e\xa0\x07", bytes(40), b"hello, world\r\n"])
async def test_garbage_before_an_answer_is_an_error_or_nothing(bench: Bench, garbage: bytes) -> None:
    session = await bench.open(timeout=SHORT)
    written = False

    def before_the_answer(direction: str, _octets: bytes) -> None:
        nonlocal written
        if direction == "<<" and not written:
            written = True
            bench.far.write(garbage)

    bench.far.tap = before_the_answer
    await right_or_unsound(bench, session)


async def right_or_unsound(bench: Bench, session: Session) -> None:
    """What the meter shows now, or an error after which the session is not used again."""
    try:
        result = await session.read(bench.plan)
    except (LinkError, ProtocolError):
        assert not session.sound
    else:
        assert bench.shows(result)


async def test_a_late_answer_is_never_taken_for_that_to_a_later_request(bench: Bench) -> None:
    session = await bench.open(timeout=SHORT)
    bench.damage(latency=4 * SHORT)
    with pytest.raises(LinkTimeout):
        await session.read(bench.plan)
    bench.clock += 3_600_000
    bench.damage()
    with pytest.raises(LinkError):
        await session.read(bench.plan)


async def test_answers_that_come_twice_are_taken_once(bench: Bench) -> None:
    session = await bench.open(timeout=SHORT, seed=3)
    bench.damage(duplicate=1.0)
    for _ in range(4):
        if session.sound:
            await right_or_unsound(bench, session)
        bench.clock += 3_600_000


@pytest.mark.parametrize(
    "kind", [FaultKind.STALE, FaultKind.CHECKSUM, FaultKind.GARBAGE, FaultKind.HALF, FaultKind.CLOSE]
)
async def test_a_meter_that_spoils_its_answers(bench: Bench, kind: FaultKind) -> None:
    for chance in (0.3, 1.0):
        try:
            session = await bench.open(timeout=SHORT, fault=Fault(kind=kind, chance=chance))
        except HeadendError:
            continue
        for _ in range(3):
            bench.clock += 3_600_000
            try:
                result = await session.read(bench.plan)
            except (LinkError, ProtocolError):
                assert not session.sound
                break
            if bench.case.checked or kind is FaultKind.STALE:
                assert bench.shows(result)


async def test_the_link_is_closed_in_the_middle_of_a_request(bench: Bench) -> None:
    session = await bench.open()
    bench.far.tap = lambda _direction, _octets: bench.far.abort()
    with pytest.raises(LinkClosed):
        await session.read(bench.plan)
    assert not session.sound


async def test_the_link_is_closed_while_nobody_asks(bench: Bench) -> None:
    session = await bench.open()
    bench.far.abort()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not session.sound
    with pytest.raises(LinkClosed):
        await session.read(bench.plan)


async def test_a_request_that_is_abandoned_costs_the_session(bench: Bench) -> None:
    session = await bench.open()
    bench.damage(latency=0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.read(bench.plan)
    bench.clock += 3_600_000
    with pytest.raises(HeadendError):
        await session.read(bench.plan)
    assert not session.sound


async def test_two_clients_at_once(bench: Bench) -> None:
    first, second = await bench.open(split=3), await bench.open(split=5)
    readers: list[Callable[[ReadPlan], Awaitable[ReadResult]]] = [first.read, second.read]
    for _ in range(3):
        assert all(map(bench.shows, await asyncio.gather(*(read(bench.plan) for read in readers))))
        bench.clock += 60_000


async def test_closing_twice_is_closing_once(bench: Bench) -> None:
    session = await bench.open()
    await session.aclose()
    await session.aclose()
    assert not session.sound
    assert not bench.near.is_open


async def test_closing_a_dead_link_is_quick(bench: Bench) -> None:
    session = await bench.open()
    bench.damage(loss=1.0)
    async with asyncio.timeout(2):
        await session.aclose()
    assert not bench.near.is_open


@pytest.mark.parametrize(
    ("name", "ref", "secret"),
    [
        ("dlms", "15/0-0:40.0.0.255/7", True),
        ("dlms", "64/0-0:43.0.0.255/2", True),
        ("dlms", "3/1-0:1.8.0.255/2", False),
        ("dlt645", "04000C01", True),
        ("dlt645", "04000C0A", True),
        ("dlt645", "04000C0B", False),
        ("modbus", "holding/0x0010/u16", False),
    ],
)
def test_what_holds_a_secret_is_told_before_anything_is_recorded(name: str, ref: str, *, secret: bool) -> None:
    assert driver(name).holds_secret(driver(name).parse_ref(ref)) is secret
