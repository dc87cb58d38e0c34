"""What tests of the ThingsBoard sinks share: the stand-in with its door and mosquitto, a roster, entries."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headend.errors import KeyMissing
from headend.model.event import Event, EventType, Severity
from headend.model.journal import Entry, Item
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.reading import ReadingBatch, Source
from headend.northbound.sink import Surroundings
from headend.northbound.thingsboard.devices import DeviceSink
from headend.northbound.thingsboard.gateway import GatewaySink
from headend.northbound.thingsboard.options import DeviceOptions, GatewayOptions
from headend.northbound.topics import Request
from headend.services.bus import Bus
from headend.services.roster import Roster
from tests.ports import free_port

from .thingsboard_door import Door, platform
from .thingsboard_fake import Server

NOW = 1_700_000_000_000
SECRETS = {"env:TOKEN": "gateway-token", "env:KEY": "profile-key", "env:SECRET": "profile-secret"}


def meter(meter_id: str, **more: Any) -> Meter:
    given: dict[str, Any] = {
        "protocol": "dlms",
        "framing": "wrapper",
        "endpoint": Endpoint(kind=EndpointKind.TCP, host="10.0.0.7", port=4059),
        "name": f"Meter {meter_id}",
        "profile_id": "acme-1",
        "identity": MeterIdentity(serial="000000001234", manufacturer="ACM", model="One", firmware="1.2"),
        "params": {"client": "16"},
    }
    return Meter(id=meter_id, **(given | more))


def batch(meter_id: str, values: dict[str, Any], at: int = NOW, *, source: Source = Source.POLL) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=source,
        received_at=at + 5,
        quantities=list(values),
        values=list(values.values()),
        measured_at=[at] * len(values),
        quality=[0] * len(values),
    )


def event(kind: EventType, meter_id: str, at: int = NOW, **data: Any) -> Event:
    return Event(type=kind, severity=Severity.INFO, occurred_at=at, meter_id=meter_id, data=data)


def entries(*items: Item, first: int = 1) -> Sequence[Entry]:
    return [Entry(number, item) for number, item in zip(itertools.count(first), items, strict=False)]


@dataclass
class Site:
    """The platform, and what a sink is given of the head-end."""

    server: Server
    door: Door
    folder: Path
    roster: Roster
    requests: list[Request] = field(default_factory=list)
    does: Callable[[Request], Awaitable[object]] | None = None
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))

    def online(self, *meters: Meter) -> None:
        for each in meters:
            self.roster.add(each)
            self.roster.succeeded(self.roster.state(each.id))

    async def answer(self, request: Request) -> object:
        self.requests.append(request)
        return await self.does(request) if self.does is not None else {"did": request.method}

    def secret(self, place: str) -> Secret:
        if place.startswith("file:"):
            return Secret(Path(place[5:]).read_bytes().rstrip())
        if place not in self.secrets:
            raise KeyMissing(place)
        return Secret(self.secrets[place].encode())

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            name="board",
            version="9.9",
            roster=self.roster,
            profile=lambda _meter: None,
            answer=self.answer,
            clock=lambda: NOW,
            secret=self.secret,
        )

    def gateway(self, **options: Any) -> GatewaySink:
        given = {"broker": f"mqtt://127.0.0.1:{self.door.port}", "token": "env:TOKEN"} | options
        return GatewaySink(GatewayOptions(**given), self.surroundings)

    def devices(self, **options: Any) -> DeviceSink:
        given = {"broker": f"mqtt://127.0.0.1:{self.door.port}"} | options
        return DeviceSink(DeviceOptions(**given), self.surroundings)


@asynccontextmanager
async def site(folder: Path, *, limits: dict[str, Any] | None = None) -> AsyncIterator[Site]:
    """A platform with a gateway device."""
    port = free_port()
    said = {"maxPayloadSize": 65_536, "maxInflightMessages": 100, "rateLimits": {}} if limits is None else limits
    async with platform(folder, port), Server(port, limits=said) as server, Door(server) as door:
        server.device("gateway-token", "the gateway", gateway=True)
        yield Site(server, door, folder, Roster(Bus(), lambda: NOW))
