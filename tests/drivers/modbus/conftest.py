"""A virtual meter of fixed values, and both ends joined over memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from headend.drivers.library import load_profile
from headend.drivers.modbus import driver
from headend.drivers.modbus.client import ModbusSession
from headend.errors import AccessDenied
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import ReadPlan
from headend.model.profile import LoadProfile, MeterProfile
from headend.model.reading import Value
from headend.transport.memory import MemoryLink, memory_pair

PROFILE = """
[meter]
vendor = "Acme"
model = "M1"
protocol = "modbus"
state = "DRAFT"
source = "test"
[link]
max_registers = 10
gap = 2
[[object]]
ref = "input/0x0000/f32"
quantity = "voltage_l1"
unit = "V"
[[object]]
ref = "input/0x0004/i32-little"
quantity = "active_power_total"
unit = "W"
scaler = -1
[[object]]
ref = "input/0x0006/u16"
quantity = "frequency"
unit = "Hz"
scaler = -2
[[object]]
ref = "input/0x0100/u64"
quantity = "active_energy_import_total"
unit = "kWh"
scaler = -2
[[object]]
ref = "holding/0x0010/u16"
name = "Demand period"
writable = true
[[object]]
ref = "holding/0x0011/f32"
name = "Limit"
unit = "kW"
writable = true
[[object]]
ref = "holding/0x0020/text4"
quantity = "serial_number"
[[object]]
ref = "holding/0x0024/text2"
quantity = "meter_model"
[[object]]
ref = "coil/0x0001"
name = "Lamp"
writable = true
[[object]]
ref = "coil/0x0003"
name = "Buzzer"
[[object]]
ref = "discrete/0x0000"
name = "Door"
"""


class FixedMeter:
    """A MeterModel whose values are a list."""

    def __init__(self, profile: MeterProfile, values: Sequence[Value], params: Mapping[str, str] = NO_PARAMS) -> None:
        self.profile = profile
        self.identity = MeterIdentity(serial="12345", firmware="2.1")
        self.params = params
        self.secrets: Mapping[str, Any] = {}
        self.values = list(values)
        self.frozen: set[int] = set()

    def now(self) -> int:
        return 1_700_000_000_000

    def value(self, index: int, at: int) -> Value:
        assert at == self.now()
        return self.values[index]

    def current_value(self, index: int) -> Value:
        return self.value(index, self.now())

    def write(self, index: int, value: Value) -> None:
        if index in self.frozen:
            raise AccessDenied("locked")
        self.values[index] = value

    def set_clock(self, at: int) -> None:
        raise NotImplementedError

    def relay_closed(self) -> bool:
        raise NotImplementedError

    def switch_relay(self, *, closed: bool) -> None:
        raise NotImplementedError

    def entries_in_use(self, load_profile: LoadProfile, at: int) -> int:
        raise NotImplementedError

    def row(self, load_profile: LoadProfile, entry: int, at: int) -> tuple[int, Sequence[Value]]:
        raise NotImplementedError

    def entry_range(self, load_profile: LoadProfile, start: int, end: int, at: int) -> tuple[int, int]:
        raise NotImplementedError


class Bench:
    """Links, meters and sessions of one test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._sessions: list[ModbusSession] = []

    def pair(self, **line: Any) -> tuple[MemoryLink, MemoryLink]:
        near, far = memory_pair(**line)
        near.tap = lambda way, octets: self.sent.append(octets) if way == ">>" else None
        return near, far

    async def attach(
        self, link: MemoryLink, profile: MeterProfile | None, framing: str = "tcp", timeout: float = 5.0, **params: str
    ) -> ModbusSession:
        endpoint = Endpoint(kind=EndpointKind.MEMORY, path="pair")
        meter = Meter(id="m", protocol="modbus", framing=framing, endpoint=endpoint, params=params)
        session = await driver.attach(link, meter, profile, {}, timeout=timeout)
        self._sessions.append(session)
        return session

    async def session(self, meter: FixedMeter, framing: str = "tcp", **line: Any) -> ModbusSession:
        near, far = self.pair(**line)
        driver.serve(far, meter)
        return await self.attach(near, meter.profile, framing)

    async def aclose(self) -> None:
        for session in self._sessions:
            await session.aclose()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.aclose()


@pytest.fixture
def profile() -> MeterProfile:
    return load_profile(PROFILE, "acme-m1")


@pytest.fixture
def acme(profile: MeterProfile) -> FixedMeter:
    """Values in base units, in the order of the profile."""
    return FixedMeter(profile, [230.5, -12345.6, 49.98, 1234560, 15, 11500.0, "A17", "M1", True, False, True])


@pytest.fixture
def fixed_meter() -> Callable[..., FixedMeter]:
    return FixedMeter


@pytest.fixture
def plan_of() -> Callable[[MeterProfile], ReadPlan]:
    return lambda profile: ReadPlan(entries=profile.objects)
