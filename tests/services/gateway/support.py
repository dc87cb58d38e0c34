"""A gateway over the lanes of the other tests, and meters that dial in over links in memory.

The logins and heartbeats are real ones (LONGi); after them the meters speak the line protocol of `tests/services/support.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from headend.drivers.base import Notification
from headend.drivers.recognition import Kind, Known
from headend.drivers.registrations import built_in
from headend.errors import LinkError
from headend.model.event import Event, EventType
from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.services.gateway.gateway import Gateway
from headend.services.gateway.house import House, Recognition
from headend.services.gateway.limits import Limits
from headend.services.intake import Intake
from headend.services.intake import Known as KnownMeters
from headend.services.pushes import Pushes
from headend.services.roster import MeterState
from headend.transport.memory import MemoryLink, memory_pair
from services.support import PROFILE, Site, World, clock

LONGI = built_in().get("longi")
NUMBER = "210600402941"
LOGIN = bytes.fromhex("0001000100010012 0A020C 323130363030343032393431 00 5A4C")
LOGIN_ACK = bytes.fromhex("0001000100010012 AA030C 323130363030343032393431 00 7004")
"""both of a public capture"""


def login(number: str) -> bytes:
    return LONGI.encode(Kind.LOGIN, {"device": "meter", "number": number, "option": "00"})


def heartbeat(number: str) -> bytes:
    return LONGI.encode(Kind.HEARTBEAT, {"device": "meter", "number": number})


def inbound(meter_id: str, host: str, unit: str = "1", **fields: Any) -> Meter:
    values: dict[str, Any] = {"poll_seconds": 60.0, "params": {"unit": unit}} | fields
    endpoint = Endpoint(kind=EndpointKind.INBOUND, host=host)
    return Meter(id=meter_id, protocol="text", framing="", endpoint=endpoint, **values)


class Modem:
    """The meter's end: takes acknowledgements out of what comes, and hands the rest to the meters behind it."""

    def __init__(self, link: MemoryLink, site: Site | None = None) -> None:
        self.link = link
        self.heard = b""
        self.lost: LinkError | None = None
        self._site = site
        link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if self._site is not None and not data.startswith(b"\x00\x01"):
            # The site answers on the modem's link; what the modem itself hears of it does not matter any more.
            self._site.accept(self.link)
            self.link._receiver.data_received(data)  # type: ignore[union-attr] # the site has just become it

    def link_lost(self, error: LinkError) -> None:
        self.lost = error


class Dialled:
    """The world of the other tests, with a gateway."""

    def __init__(
        self,
        *meters: Meter,
        limits: Limits | None = None,
        strict: bool = False,
        ask: Sequence[tuple[str, str]] = (),
        drivers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.world = World({}, heard=self._heard, **options)
        self.roster = self.world.roster
        self.lanes = self.world.lanes
        self.roster.load(meters)
        self.poller = self.world.poller()
        profile = Pushes(self.world.bus, lambda _meter: PROFILE, clock)
        known = KnownMeters(roster=self.roster, profile=lambda _meter: PROFILE, secrets=self.world._secrets)
        self.intake = Intake(known, self.world.bus, profile.heard, clock)
        self.gateway = Gateway(
            House(
                roster=self.roster,
                lanes=self.lanes,
                intake=self.intake,
                bus=self.world.bus,
                driver=lambda name: (drivers or {}).get(name, self.world.driver),
                millis=clock,
                dialled_in=self.poller.connected,
            ),
            Recognition(known=Known(built_in()), drivers=tuple((drivers or {}).values()), strict=strict),
            limits or Limits(settle=0.0),
            ask,
        )

    def _heard(self, state: MeterState, said: Sequence[Notification]) -> None:
        Pushes(self.world.bus, lambda _meter: PROFILE, clock).heard(state, said)

    def dial(self, first: bytes = b"", *, peer: str = "192.0.2.7:50000", site: Site | None = None) -> Modem:
        """A new connection, and what is said over it."""
        near, far = memory_pair()
        near.peer = peer
        self.gateway.take(near)
        far.write(first)
        return Modem(far, site)

    def events(self) -> list[tuple[EventType, str]]:
        """What happened since the last call."""
        return [(item.type, item.meter_id) for item in self.world.published() if isinstance(item, Event)]

    async def aclose(self) -> None:
        self.gateway.stop()
        self.intake.close()
        await self.intake.run()
        await self.lanes.aclose()
        self.gateway.abort()
        await asyncio.sleep(0.01)
