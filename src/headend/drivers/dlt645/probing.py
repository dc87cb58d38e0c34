"""The questions of discovery: does somebody speak DL/T 645 here, of which edition, and which meters are on the line?

2007 has a question for it: 13 with AA for every digit. A meter that does not know it answers a read of its import total. In 1997
who is alone on the line answers a read that goes to 99…99. Where several answer at once nobody is understood: then the last two
digits are tried one after the other with AA for the others, and two more where that is not enough.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.listening import Listener
from headend.drivers.ground import Probe
from headend.drivers.serial_lines import first_found
from headend.errors import LinkError, ProbeEnded
from headend.model.discovery import Intrusion, Sighting
from headend.model.meter import EndpointKind
from headend.protocols.dlt645.frame import ANYBODY, BROADCAST, WILDCARD, Address
from headend.protocols.dlt645.requests import Read, ReadAddress
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.dlt645.listening import Heard
    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint

TOTALS: Final = {Version.V2007: 0x00010000, Version.V1997: 0x9010}
"""What every meter of a version has."""
_PORTS: Final = (8899, 4196, 10001, 20108, 4001, 26)
_COST: Final = 2
"""Round trips of the probe of 2007; that of 1997 takes one, and goes behind it all the same: few of its meters are left."""
_SEARCH_SECONDS: Final = 0.8
"""Longer than the 500 ms that a meter may take, and its frame at 2400 baud."""
_SHARE: Final = 0.5
_SHARE_EXHAUSTIVE: Final = 0.9
"""Part of the time that is left which the search of a line may take."""
_DIGITS: Final = tuple(high << 4 | low for high in range(10) for low in range(10))


def probes() -> Sequence[Probe]:
    """All of them, cheap ones first."""
    ask = Intrusion.ASK
    return (
        Probe(name="dlt645-2007", framing="frame", intrusion=ask, cost=_COST, run=v2007, ports=_PORTS),
        Probe(name="dlt645-1997", framing="frame", intrusion=ask, cost=_COST, run=v1997, ports=_PORTS),
        Probe(
            name="dlt645-line",
            framing="frame",
            intrusion=ask,
            cost=len(_DIGITS),
            run=partial(v2007, thorough=True),
            ports=_PORTS,
            exhaustive=True,
        ),
    )


async def v2007(ground: Ground, *, thorough: bool = False) -> tuple[Sighting, ...]:
    """Meters of 2007. Raises LinkError when nobody can be reached, and ProbeEnded.

    `thorough`: the line is searched also where nothing shows that there are several.
    """

    async def look(endpoint: Endpoint) -> tuple[Sighting, ...]:
        line = _Look(ground, endpoint, Version.V2007)
        try:
            await line.listener.open()
            await line.greet()
            heard = await line.ask(ANYBODY, ReadAddress()) or await line.ask(ANYBODY, _total(Version.V2007))
            if line.collided or (thorough and not heard):
                await line.search(_SHARE_EXHAUSTIVE if thorough else _SHARE)
        finally:
            await ground.close()
        return tuple(line.found)

    return await first_found(ground.endpoint, "dlt645", look)


async def v1997(ground: Ground) -> tuple[Sighting, ...]:
    """Meters of 1997. Raises as `v2007` does."""

    async def look(endpoint: Endpoint) -> tuple[Sighting, ...]:
        line = _Look(ground, endpoint, Version.V1997)
        try:
            await line.listener.open()
            await line.ask(BROADCAST, _total(Version.V1997))
            if line.collided:
                await line.search(_SHARE)
        finally:
            await ground.close()
        return tuple(line.found)

    return await first_found(ground.endpoint, "dlt645", look)


def _total(version: Version) -> Read:
    return Read(TOTALS[version])


class _Look:
    """One look at a line; what was found is kept when the time runs out."""

    def __init__(self, ground: Ground, endpoint: Endpoint, version: Version) -> None:
        self.listener = Listener(ground, endpoint)
        self.found: list[Sighting] = []
        self.collided = False
        self._ground = ground
        self._endpoint = endpoint
        self._version = version

    async def greet(self) -> None:
        """Who speaks unasked is there."""
        self._sight(self.listener.unasked(), "spoke unasked")

    async def ask(self, address: Address, request: Read | ReadAddress, timeout: float | None = None) -> bool:
        """Does anybody answer?"""
        heard = await self.listener.ask(address, request, self._version, timeout or self._ground.timeout)
        self.collided |= heard.collided
        self._sight(heard.addresses, f"{address} asked: {_said(heard)}")
        return bool(heard.addresses)

    def _sight(self, addresses: Sequence[Address], note: str) -> None:
        if not addresses and note.startswith("spoke"):
            return
        step = self._ground.step(f"dlt645-{self._version.value}", note)
        known = {sighting.params["address"] for sighting in self.found}
        for address in addresses:
            if str(address) in known:
                continue
            params = {"address": str(address)}
            if self._version is Version.V1997:
                params["version"] = "1997"
            self.found.append(
                Sighting(
                    protocol="dlt645",
                    framing="serial" if self._endpoint.kind is EndpointKind.SERIAL else "tcp",
                    params=params,
                    evidence=(step,),
                    endpoint=None if self._endpoint == self._ground.endpoint else self._endpoint,
                )
            )

    async def search(self, share: float) -> None:
        """Give the last digits one after the other, and more of them where several still answer at once."""
        until = self._ground.time() + max(0.0, self._ground.seconds_left) * share
        known: list[bytes] = [b""]
        try:
            while known:
                last = known.pop(0)
                for pair in _DIGITS:
                    if self._ground.time() >= until or self.listener.lost is not None:
                        self._ground.step(f"dlt645-{self._version.value}", "the rest of the line was not searched")
                        return
                    octets = last + bytes((pair,))
                    address = Address(octets + bytes((WILDCARD,)) * (6 - len(octets)))
                    self.collided = False
                    await self.ask(address, _total(self._version), _SEARCH_SECONDS)
                    if self.collided and len(octets) < len(BROADCAST.octets):
                        known.append(octets)
        except (LinkError, ProbeEnded):
            if not self.found:
                raise


def _said(heard: Heard) -> str:
    if heard.addresses:
        return ", ".join(map(str, heard.addresses)) + (" answered" if len(heard.addresses) == 1 else " answered, each")
    if heard.collided:
        return "several answered at once"
    return f"{len(heard.garbage)} octets that are no frame" if heard.garbage else "silence"
