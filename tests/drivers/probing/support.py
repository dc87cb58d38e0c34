"""A place that discovery looks at: every connection to it is a link in memory, with the same peer at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from headend.drivers.base import Driver
from headend.drivers.ground import Budget, Ground
from headend.drivers.library import Library
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import LinkError
from headend.model.discovery import Examination, Sighting
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind
from headend.transport.memory import MemoryLink, memory_pair

NOON = 1_763_697_600_000
LIBRARY = Library()
TCP = Endpoint(kind=EndpointKind.TCP, host="192.0.2.7", port=502)


def meter(profile_id: str, number: int = 42, params: Mapping[str, str] = NO_PARAMS) -> VirtualMeter:
    """A virtual meter of a meter file."""
    return VirtualMeter(MeterKind(LIBRARY.get(profile_id), lambda: NOON), number, 0, params, {})


class Peer:
    """Who answers each burst of octets with what `say` makes of it."""

    def __init__(self, link: MemoryLink, say: Callable[[bytes], bytes | None]) -> None:
        self._link = link
        self._say = say
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        answer = self._say(data)
        if answer is None:
            self._link.abort()
        elif answer:
            self._link.write(answer)

    def link_lost(self, error: LinkError) -> None:
        pass


class Site:
    """`accept` becomes the far end of each connection; `sent` is all that ever came there."""

    def __init__(self, accept: Callable[[MemoryLink], Any], **line: Any) -> None:
        self.accept = accept
        self.line = line
        self.sent: list[bytes] = []
        self.opened: list[Endpoint] = []
        self.links: list[MemoryLink] = []

    @classmethod
    def of(cls, driver: Driver, *meters: VirtualMeter, **line: Any) -> Site:
        """Virtual meters on one wire."""

        def accept(far: MemoryLink) -> None:
            for each in meters:
                driver.serve(far, each)

        return cls(accept, **line)

    @classmethod
    def saying(cls, say: Callable[[bytes], bytes | None], **line: Any) -> Site:
        """A peer that answers octets with octets; None closes the connection."""
        return cls(lambda far: Peer(far, say), **line)

    async def open(self, endpoint: Endpoint, _timeout: float) -> MemoryLink:
        self.opened.append(endpoint)
        near, far = memory_pair(**{"seed": len(self.opened), **self.line})
        self.links.append(near)
        far.tap = lambda way, octets: self.sent.append(octets) if way == "<<" else None
        self.accept(far)
        return near

    def ground(self, endpoint: Endpoint = TCP, *, seconds: float = 60.0, **more: Any) -> Ground:
        loop = asyncio.get_running_loop()
        return Ground(
            endpoint,
            open_link=self.open,
            time=loop.time,
            sleep=asyncio.sleep,
            clock=lambda: NOON,
            budget=Budget(seconds=seconds),
            **more,
        )

    async def probed(self, driver: Driver, ground: Ground, *, exhaustive: bool = False) -> tuple[Sighting, ...]:
        """What the first probe that sees somebody sees."""
        for probe in driver.probes():
            if probe.exhaustive == exhaustive and (found := await probe.run(ground)):
                return found
        return ()

    async def discovered(self, driver: Driver, ground: Ground) -> Examination:
        """The examination of the only one who is sighted."""
        (sighting,) = await self.probed(driver, ground)
        return await driver.examine(ground, sighting)

    @property
    def left_open(self) -> int:
        return sum(link.is_open for link in self.links)
