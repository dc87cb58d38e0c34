"""The gateway put together: how callers are recognised, what they may do, and where they may dial in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from headend.drivers.base import PushList, Secrets
from headend.drivers.recognition import Known, Policy, Registration
from headend.drivers.registrations import Registrations
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError, StorageError
from headend.model.meter import EndpointKind, Meter
from headend.model.profile import MeterProfile
from headend.model.url import SCHEMES
from headend.runtime.listening import parse_place
from headend.runtime.settings import GatewaySettings
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.gateway.gateway import Gateway
from headend.services.gateway.house import House, Recognition
from headend.services.gateway.limits import Limits
from headend.services.intake import Intake, ask_lists
from headend.services.intake import Known as KnownMeters
from headend.services.pushes import Pushes
from headend.services.roster import Roster
from headend.storage.store import Store, wall_millis
from headend.transport.tcp import ListenLimits, format_address, listen_tcp

DEFAULT_PORT: Final = 8899
REPORT_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


def make_intake(
    bus: Bus,
    roster: Roster,
    lanes: Lanes,
    profile: Callable[[Meter], MeterProfile | None],
    secrets: Callable[[Meter], Awaitable[Secrets]],
) -> Intake:
    """What works on pushes, whichever way they come."""

    async def ask(meter_id: str, timeout: float) -> Sequence[PushList]:
        return await lanes.run_job(meter_id, ask_lists, timeout=timeout, repeat=False)

    def reachable(meter: Meter) -> bool:
        return meter.endpoint.kind is not EndpointKind.INBOUND or lanes.unit(meter.id).lane.linkage.reachable

    known = KnownMeters(roster=roster, profile=profile, secrets=secrets, ask_lists=ask, reachable=reachable)
    return Intake(known, bus, Pushes(bus, profile, wall_millis).heard, wall_millis)


def make_gateway(
    settings: GatewaySettings, bus: Bus, roster: Roster, lanes: Lanes, poller: Poller, intake: Intake
) -> Gateway:
    """The gateway, which nobody reaches yet; raises ConfigError for a description that is wrong."""
    house = House(
        roster=roster,
        lanes=lanes,
        intake=intake,
        bus=bus,
        driver=driver,
        millis=wall_millis,
        dialled_in=poller.connected,
    )
    recognition = Recognition(
        known=Known(registrations(settings)),
        drivers=[driver(name) for name in driver_names()],
        strict=settings.strict,
    )
    return Gateway(house, recognition, limits_of(settings), schemes(settings.ask))


def schemes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Protocol and framing of schemes of meter URLs; raises ConfigError for an unknown one."""
    for name in names:
        if name not in SCHEMES or name == "inbound":
            raise ConfigError(f"gateway.ask: {name!r} is no scheme of a meter URL", hint="such as dlms or dlms+hdlc")
    return [SCHEMES[name][:2] for name in names]


def registrations(settings: GatewaySettings) -> Iterable[Registration]:
    """The logins and heartbeats that are understood, as the settings want them answered."""
    folders = [Path(folder).expanduser() for folder in settings.registrations]
    found = Registrations(folders, Policy(settings.acknowledge) if settings.acknowledge else None)
    if not settings.zero_number:
        return found
    return [replace(each, zero_is_blank=settings.zero_number == "peer") for each in found]


def limits_of(settings: GatewaySettings) -> Limits:
    """The limits of the settings."""
    return Limits(
        per_address=settings.per_address,
        per_second=float(settings.per_second),
        per_meter=float(settings.per_meter),
        first_octet=settings.first_octet,
        recognise=settings.recognise,
        idle=settings.idle,
        missed=settings.missed_heartbeats,
        grace=settings.grace,
        settle=settings.settle,
        rate=float(settings.octets_per_second),
        burst=16.0 * settings.octets_per_second,
        kept=settings.quarantine,
    )


@asynccontextmanager
async def dialling_in(gateway: Gateway, settings: GatewaySettings, store: Store) -> AsyncIterator[Sequence[str]]:
    """Listen at all places until the block ends; gives their addresses as they are. Raises ConfigError."""
    gateway.quarantine.load(await asyncio.to_thread(store.callers.list))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_keep, gateway, store)
        stack.callback(gateway.abort)
        addresses: list[str] = []
        for text in settings.places if settings.enabled else ():
            place = parse_place(text, DEFAULT_PORT)
            if place.kind != "tcp":
                raise ConfigError(f"{text!r} is no place to dial in", hint="write tcp://HOST:PORT")
            server = await listen_tcp(place.host, place.port, gateway.take, ListenLimits(links=settings.links))
            stack.push_async_callback(server.aclose)
            addresses.append(f"tcp://{format_address(server.address)}")
        reporting = asyncio.create_task(_report(gateway, store), name="gateway")
        stack.callback(reporting.cancel)
        yield addresses


async def _report(gateway: Gateway, store: Store) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        gateway.report()
        await _keep(gateway, store)


async def _keep(gateway: Gateway, store: Store) -> None:
    """Write what has changed in quarantine."""
    changed, removed = gateway.quarantine.take_changes()
    if not changed and not removed:
        return
    try:
        await asyncio.to_thread(store.callers.keep, changed, removed)
    except StorageError as error:
        log.warning("quarantine is not kept", reason=str(error))
