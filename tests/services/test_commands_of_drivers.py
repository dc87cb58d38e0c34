"""Real drivers and virtual meters: a command whose answer is lost on the wire is found out, and was carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.model.access import Actor, Role
from headend.model.job import Command, CommandKind, JobState, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.profile import MeterProfile
from headend.services.acquisition.lanes import Lanes
from headend.services.bus import Bus
from headend.services.commanding.reads import Reads
from headend.services.commands import Commands
from headend.services.roster import Roster
from headend.storage.store import Store
from headend.transport.link import Link
from headend.transport.memory import Line, MemoryLink, memory_pair

from .support import EPOCH, clock, virtual

ROOT = Actor("user:root", Role.ADMIN)
DISCONNECT = Command(kind=CommandKind.DISCONNECT)
MODBUS = """
[meter]
vendor = "Acme"
model = "M1"
protocol = "modbus"
source = "test"
[[object]]
ref = "holding/0x0010/u16"
name = "Limit"
writable = true
poll = false
emulate = { value = 7 }
"""
LIMIT = Command(kind=CommandKind.WRITE, params={"ref": "holding/0x0010/u16", "value": 30})


@dataclass(frozen=True)
class Case:
    framing: str
    profile: str
    command: Command = DISCONNECT
    secrets: tuple[tuple[str, bytes], ...] = ()
    params: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.profile}-{self.framing}"


CASES = [
    Case("wrapper", "generic-dlms-1p"),
    Case("hdlc", "generic-dlms-1p"),
    Case(
        "wrapper",
        "generic-dlms-3p",
        secrets=(("ek", bytes(16)), ("ak", bytes(range(16)))),
        params=(("auth", "gmac"), ("client", "1")),
    ),
    Case("tcp", "generic-dlt645-3p", secrets=(("secret", b"000000"),), params=(("address", "42"),)),
    Case("tcp", "", command=LIMIT),
    Case("rtu", "", command=LIMIT),
]


class Counted(VirtualMeter):
    """A virtual meter that counts what it is made to do."""

    done = 0
    then: Callable[[], None] = staticmethod(lambda: None)

    def switch_relay(self, *, closed: bool) -> None:
        self.done += 1
        self.then()
        super().switch_relay(closed=closed)

    def write(self, index: int, value: Any) -> None:
        self.done += 1
        self.then()
        super().write(index, value)


class House:
    """One meter on a wire in memory, and the head-end's parts that commands need."""

    def __init__(self, case: Case, profile: MeterProfile) -> None:
        self.secrets = {name: Secret(octets) for name, octets in case.secrets}
        self.driver = driver(profile.protocol)
        self.meter = Counted(MeterKind(profile, clock), 7, 0, dict(case.params), self.secrets)
        self.far: MemoryLink | None = None
        self.bus = Bus()
        self.roster = Roster(self.bus, clock)
        endpoint = Endpoint(kind=EndpointKind.TCP, host="memory", port=1)
        known = Meter(
            id="m1",
            protocol=profile.protocol,
            framing=case.framing,
            endpoint=endpoint,
            params=dict(case.params),
            profile_id=profile.id,
            poll_seconds=60,
        )
        self.roster.load([known])
        self.lanes = Lanes(
            self.roster,
            open_link=self.open_link,
            driver=driver,
            profile=lambda _meter: profile,
            secrets=self.secrets_of,
            request_timeout=1.0,
        )
        self.reads = Reads(self.bus, clock, driver=driver, profile=lambda _meter: profile)

    async def open_link(self, _endpoint: Endpoint, _timeout: float) -> Link:
        near, self.far = memory_pair()
        self.driver.serve(self.far, self.meter)
        return near

    async def secrets_of(self, _meter: Meter) -> dict[str, Secret]:
        return self.secrets

    def lose_the_answer_to_the_command(self) -> None:
        """What the meter says from when it does something until the link is opened anew is lost."""
        far = self.far
        assert far is not None

        def lose() -> None:
            far._line = Line(loss=1.0)

        self.meter.then = lose


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_that_is_lost_on_the_wire(tmp_path: Path, case: Case) -> None:
    profile = Library().get(case.profile) if case.profile else load_profile(MODBUS, "acme-m1", "test")

    @virtual
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        house = House(case, profile)
        with Store.open(
            tmp_path / "h.db", vault_key=bytes(32), millis=lambda: round((EPOCH + loop.time()) * 1000)
        ) as store:
            commands = Commands(house.lanes, house.roster, house.bus, clock, store=store, reads=house.reads)
            await house.lanes.run_job("m1", lambda session: session.identify())
            house.lose_the_answer_to_the_command()
            job = await commands.submit("m1", case.command, ROOT)
            await commands.confirm(job.id, ROOT, job.code)
            job = await commands.wait(job.id, 600)
            assert job.state is JobState.UNKNOWN
            assert house.meter.done == 1
            for _ in range(100):
                await asyncio.sleep(1)
                if (job := await commands.get(job.id)).ended:
                    break
            assert (job.state, job.outcome and job.outcome.verdict) == (JobState.SUCCEEDED, Verdict.CONFIRMED)
            assert house.meter.done == 1
            await commands.aclose()
            await house.lanes.aclose()

    scenario()
