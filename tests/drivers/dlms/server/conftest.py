"""A meter of fixed values on a memory link, and a head-end that says octets and hears octets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from headend.drivers.base import Trouble
from headend.drivers.dlms import driver
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import AccessDenied, Busy, LinkError
from headend.model.meter import NO_PARAMS, MeterIdentity, Secret
from headend.model.profile import LoadProfile, MeterProfile
from headend.model.reading import Value
from headend.protocols.dlms.apdu.notification import EventNotification
from headend.protocols.dlms.axdr import Data, decode_data, encode_data, int8
from headend.protocols.wrapper import wrap
from headend.transport.link import Link
from headend.transport.memory import memory_pair

NOW = 1_763_727_430_000
"""Friday 2025-11-21T12:17:10Z"""
PERIOD = 900_000
LATEST = NOW // PERIOD * PERIOD

PROFILE = """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "DRAFT"
source = "test"
[association]
client = 1
auth = "lls"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "kWh"
scaler = -2
[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -1
type = "uint16"
[[object]]
ref = "3/1-0:1.7.0.255/2"
quantity = "active_power_import_total"
unit = "W"
[[object]]
ref = "4/1-0:1.6.0.255/2"
quantity = "active_demand_max_import_total"
unit = "W"
writable = true
[[object]]
ref = "5/1-0:1.4.0.255/2"
quantity = "active_demand_present_import_total"
unit = "W"
[[object]]
ref = "1/0-0:96.1.0.255/2"
quantity = "serial_number"
[[object]]
ref = "1/0-0:96.13.0.255/2"
name = "Message"
type = "visible_string"
writable = true
[[object]]
ref = "1/0-0:96.5.0.255/2"
name = "Status bits"
type = "bit_string"
[[object]]
ref = "3/1-0:31.7.0.255/2"
quantity = "current_l1"
unit = "A"
type = "float32"
[[object]]
ref = "1/0-0:96.50.0.255/2"
name = "Limit"
type = "uint32"
writable = true
[[object]]
ref = "71/0-0:17.0.0.255/3"
name = "Threshold"
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 100
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2", "3/1-0:32.7.0.255/2"]
"""
VALUES: list[Value] = [123_450_000.0, 230.15, 4200, 5000, 4100, "12345678", "hello", "10110", 1.5, 7, 9]
SECRET = b"12345678"


class FixedMeter:
    """A MeterModel whose values are a list, and whose load profile counts."""

    def __init__(self, profile: MeterProfile, params: Mapping[str, str] = NO_PARAMS) -> None:
        self.profile = profile
        self.identity = MeterIdentity(logical_device_name="ACM0000012345678")
        self.params = params
        self.secrets: Mapping[str, Any] = {"secret": Secret(SECRET)}
        self.keyring: object = None
        self.memory: object = None
        self.troubles: frozenset[Trouble] = frozenset()
        self.began_at = NOW
        self.past: int | None = None
        self.values = list(VALUES)
        self.clock = NOW
        self.closed = True
        self.held = 10
        self.rows_made = 0
        self.locked = False
        self.broken: set[int] = set()

    def now(self) -> int:
        return self.clock if self.past is None else self.past

    def turn_back(self, at: int | None) -> None:
        self.past = at

    def value(self, index: int, at: int) -> Value:
        assert at == self.clock
        if index in self.broken:
            raise Busy("the meter is busy")
        return self.values[index]

    def current_value(self, index: int) -> Value:
        return self.value(index, self.now())

    def write(self, index: int, value: Value) -> None:
        if self.locked:
            raise AccessDenied("locked")
        self.values[index] = value

    def set_clock(self, at: int) -> None:
        self.clock = at

    def relay_closed(self) -> bool:
        return self.closed

    def switch_relay(self, *, closed: bool) -> None:
        self.closed = closed

    def entries_in_use(self, load_profile: LoadProfile, at: int) -> int:
        assert at == self.clock
        assert load_profile.capacity == 100
        return self.held

    def row(self, load_profile: LoadProfile, entry: int, at: int) -> tuple[int, Sequence[Value]]:
        assert load_profile.capacity == 100
        if entry in self.broken:
            raise Busy("the meter is busy")
        self.rows_made += 1
        return at // PERIOD * PERIOD - (self.held - entry) * PERIOD, [1000.0 * entry, 200 + entry / 10]

    def entry_range(self, load_profile: LoadProfile, start: int, end: int, at: int) -> tuple[int, int]:
        times = [self.row(load_profile, entry, at)[0] for entry in range(1, self.held + 1)]
        inside = [entry for entry, time in enumerate(times, 1) if start <= time <= end]
        return (inside[0], inside[-1]) if inside else (1, 0)


class HeadEnd:
    """Says octets over the wrapper, or as they are, and collects what the meter says."""

    def __init__(self, link: Link, client_sap: int, server_sap: int) -> None:
        self.link = link
        self.saps = client_sap, server_sap
        self.heard = b""
        self.unasked = b""  # what followed the last answer
        self.lost: list[LinkError] = []
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def link_lost(self, error: LinkError) -> None:
        self.lost.append(error)

    async def say(self, *pieces: bytes) -> bytes:
        """Write octets, each piece by itself, and return all that comes back."""
        for piece in pieces:
            self.link.write(piece)
            for _ in range(4):
                await asyncio.sleep(0)
        heard, self.heard = self.heard, b""
        return heard

    async def ask(self, apdu: str) -> str:
        """An APDU in hexadecimal, and the APDU that answers it."""
        client_sap, server_sap = self.saps
        answer = await self.say(wrap(bytes.fromhex(apdu), client_sap, server_sap))
        length = 8 + int.from_bytes(answer[6:8], "big")
        answer, self.unasked = answer[:length], answer[length:]
        assert answer[:8] == wrap(answer[8:], server_sap, client_sap)[:8]
        assert not self.unasked or self.unasked[8] == EventNotification.TAG
        return answer[8:].hex()


AARQ_LLS = (
    "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f0400007e1f04b0"
)
"""The example of the Green Book: low level security, password 12345678, maximum APDU 1200."""
AARQ_NONE = "601da109060760857405080101be10040e01000000065f1f0400007e1fffff"

MakeMeter = Callable[..., FixedMeter]
Connect = Callable[..., HeadEnd]


@pytest.fixture(scope="session")
def profile() -> MeterProfile:
    return load_profile(PROFILE, "acme-a1", "test")


@pytest.fixture(scope="session")
def make_meter(profile: MeterProfile) -> MakeMeter:
    def make(**params: str) -> FixedMeter:
        return FixedMeter(profile, params)

    return make


@pytest.fixture
def meter(make_meter: MakeMeter) -> FixedMeter:
    return make_meter()


@pytest.fixture(scope="session")
def connect() -> Connect:
    """Joins a head-end to a meter over memory."""

    def make(meter: FixedMeter, client_sap: int = 1, server_sap: int = 1) -> HeadEnd:
        near, far = memory_pair()
        driver.serve(far, meter)
        return HeadEnd(near, client_sap, server_sap)

    return make


@pytest.fixture
async def head_end(meter: FixedMeter, connect: Connect) -> HeadEnd:
    """Associated by password: may do everything."""
    made = connect(meter)
    assert (await made.ask(AARQ_LLS)).startswith("6129")
    return made


@pytest.fixture(scope="session")
def aarq_lls() -> str:
    return AARQ_LLS


@pytest.fixture(scope="session")
def aarq_none() -> str:
    return AARQ_NONE


@dataclass
class World:
    """A virtual meter whose clock stands until somebody sets it, and a head-end that is associated with it."""

    kind: MeterKind
    at: int
    meter: VirtualMeter = field(init=False)
    head_end: HeadEnd = field(init=False)

    async def get(self, ref: str) -> Any:
        """The plain value of an attribute, or the reason why there is none as a negative number."""
        answer = bytes.fromhex(await self.head_end.ask("c001c1" + cosem_ref(ref).attribute.encode().hex() + "00"))
        assert answer[:3] == bytes.fromhex("c401c1")
        return decode_data(answer, 4)[0] if not answer[3] else -answer[4]

    async def set(self, ref: str, data: Data) -> int:
        """Write an attribute; the result, 0 when all is well."""
        request = "c101c1" + cosem_ref(ref).attribute.encode().hex() + "00" + encode_data(data).hex()
        return int(await self.head_end.ask(request), 16) - 0xC501C100

    async def act(self, ref: str, data: Data | None = None) -> int:
        """Invoke a method, without anything else with the parameter integer(0); the result, 0 when all is well."""
        parameter = encode_data(int8(0) if data is None else data).hex()
        answer = await self.head_end.ask("c301c1" + cosem_ref(ref).method.encode().hex() + "01" + parameter)
        assert answer.startswith("c701c1")
        assert answer.endswith("00")
        return int(answer[6:8], 16)

    def later(self, **period: float) -> None:
        """Let time go by."""
        self.at += round(timedelta(**period).total_seconds() * 1000)


FILE = """
[meter]
vendor = "Acme"
model = "A3"
protocol = "dlms"
state = "DRAFT"
source = "test"
[association]
client = 1
auth = "lls"
"""
MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture(scope="session")
def make_world() -> MakeWorld:
    """Makes a virtual meter of what stands in a meter file besides its head."""

    async def make(text: str, *, at: int = NOW, zone: str = "UTC", number: int = 7) -> World:
        profile = load_profile(f'{FILE}zone = "{zone}"\n{text}', "acme-a3", "test")
        world = World(MeterKind(profile, lambda: at), at)
        world.kind.clock = lambda: world.at
        world.meter = VirtualMeter(world.kind, number, secrets={"secret": Secret(SECRET)})
        near, far = memory_pair()
        driver.serve(far, world.meter)
        world.head_end = HeadEnd(near, 1, 1)
        assert (await world.head_end.ask(AARQ_LLS)).startswith("6129")
        return world

    return make
