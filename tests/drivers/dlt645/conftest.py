"""Meters of DL/T 645 at the end of a memory link: virtual ones, and such as say what was captured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from headend.drivers.dlt645 import driver
from headend.drivers.dlt645.client import Dlt645Session
from headend.drivers.knowledge import Knowledge
from headend.drivers.library import Library, load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import LinkError
from headend.model.job import Command, CommandKind
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.protocols.dlt645.frame import Address, Frame, decode_frame, encode_frame
from headend.transport.memory import Line, MemoryLink, memory_pair

NOON = 1_763_697_600_000
"""2025-11-21 04:00 UTC: noon in China."""
LIBRARY = Library()


class Script:
    """A meter that knows some requests by their octets, and is silent to all others."""

    def __init__(self, link: MemoryLink, said: Mapping[str, str]) -> None:
        self._link = link
        self._said = {bytes.fromhex(request): bytes.fromhex(answer) for request, answer in said.items()}
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        answer = self._said.get(data.lstrip(b"\xfe"))
        if answer is not None:
            self._link.write(answer)

    def link_lost(self, error: LinkError) -> None:
        pass


class Bench:
    """Links, meters and sessions of one test. The clock of virtual meters goes when a test says so."""

    def __init__(self) -> None:
        self.clock = NOON
        self.sent: list[bytes] = []
        self.connect()
        self._sessions: list[Dlt645Session] = []

    def connect(self) -> None:
        """A new line, with nobody on it."""
        self.near, self.far = memory_pair()
        self.near.tap = lambda way, octets: self.sent.append(octets.lstrip(b"\xfe")) if way == ">>" else None

    def meter(
        self, profile: str | MeterProfile = "generic-dlt645-3p", number: int = 42, secret: bytes = b"", **params: str
    ) -> VirtualMeter:
        """A virtual meter on the line."""
        file = LIBRARY.get(profile) if isinstance(profile, str) else profile
        secrets = {"secret": Secret(secret)} if secret else {}
        made = VirtualMeter(MeterKind(file, lambda: self.clock), number, 0, params, secrets)
        return self.join(made)

    def join(self, meter: VirtualMeter) -> VirtualMeter:
        """A virtual meter that was there before."""
        driver.serve(self.far, meter)
        return meter

    def script(self, said: Mapping[str, str]) -> Script:
        """A meter of captured octets."""
        return Script(self.far, said)

    async def attach(
        self,
        profile: str | MeterProfile | None = None,
        *,
        secret: bytes | None = b"000000",
        timeout: float = 5.0,
        knowledge: Knowledge | None = None,
        **params: str,
    ) -> Dlt645Session:
        """A session on the line."""
        file = LIBRARY.get(profile) if isinstance(profile, str) else profile
        endpoint = Endpoint(kind=EndpointKind.MEMORY, path="pair")
        meter = Meter(id="m", protocol="dlt645", framing="tcp", endpoint=endpoint, params=params)
        secrets = {} if secret is None else {"secret": Secret(secret)}
        session = await driver.attach(self.near, meter, file, secrets, timeout=timeout, knowledge=knowledge)
        self._sessions.append(session)
        return session

    async def aclose(self) -> None:
        for session in self._sessions:
            await session.aclose()

    def damage(self, **line: Any) -> None:
        """From now on the answers of the meters suffer."""
        self.far._line = Line(**line)

    async def settle(self) -> None:
        """Until everything that is under way has arrived."""
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def asked(self) -> list[tuple[str, int, str]]:
        """The parts of what was sent: address, control code, data."""
        return [self.opened(octets) for octets in self.sent]

    @staticmethod
    def opened(octets: bytes) -> tuple[str, int, str]:
        found, _ = decode_frame(octets)
        return str(found.address), found.control, found.data.hex()

    @staticmethod
    def frame(address: str, control: int, data: str = "") -> str:
        """A frame in hexadecimal from its parts; 33H is added to the data."""
        return encode_frame(Frame(Address.parse(address), control, bytes.fromhex(data)), leader=0).hex()

    @staticmethod
    def plan(*refs: str) -> ReadPlan:
        """A plan of objects that no meter file describes."""
        return ReadPlan(entries=tuple(ObjectEntry(ref=driver.parse_ref(ref), scaler=None) for ref in refs))

    @staticmethod
    def profile(objects: str, link: str = "") -> MeterProfile:
        """A meter file."""
        head = '[meter]\nvendor = "Acme"\nmodel = "T"\nprotocol = "dlt645"\nsource = "test"\n[link]\n'
        return load_profile(head + link + "\n" + objects, "acme", "test")

    @staticmethod
    def command(kind: str, secret: bytes = b"", **params: Value) -> Command:
        return Command(kind=CommandKind(kind), params=params, secret=Secret(secret) if secret else None)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.aclose()
