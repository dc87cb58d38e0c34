"""Where the listener listens: `tcp://HOST:PORT`, `udp://HOST:PORT`, `serial:/dev/ttyUSB0?baud=2400&line=8E1`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import structlog

from headend.drivers.base import Capability, Driver
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError, LinkError
from headend.runtime.settings import ListenSettings
from headend.services.intake import Intake
from headend.services.listener import Limits, Listener
from headend.transport.serial import open_serial, parse_line
from headend.transport.tcp import ListenLimits, format_address, listen_tcp
from headend.transport.udp import listen_udp

DEFAULT_PORT: Final = 4059
DEFAULT_BAUD: Final = 2400
"""of consumer ports"""
SERIAL_SECONDS: Final = 5.0
"""to open a port, and between two attempts"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """One place to listen at: `kind` is tcp, udp or serial; `path`, `baud` and `line` are a serial port's."""

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    baud: int = DEFAULT_BAUD
    line: str = "8N1"


def parse_place(text: str, default_port: int = DEFAULT_PORT) -> Place:
    """A place to listen at; raises ConfigError. Without a host it is this machine only."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError as error:
        raise ConfigError(f"{text!r} is no place to listen at: {error}") from None
    if parts.scheme in ("tcp", "udp") and not parts.path.strip("/") and not parts.query:
        return Place(parts.scheme, host, default_port if port is None else port)
    if parts.scheme == "serial" and parts.path.startswith("/") and not parts.hostname:
        options = dict(parse_qsl(parts.query))
        baud, line = options.pop("baud", str(DEFAULT_BAUD)), options.pop("line", "8N1").upper()
        parse_line(line)
        if baud.isascii() and baud.isdigit() and not options:
            return Place("serial", path=parts.path, baud=int(baud), line=line)
    raise ConfigError(
        f"{text!r} is no place to listen at",
        hint="write tcp://HOST:PORT, udp://HOST:PORT or serial:/dev/ttyUSB0?baud=2400&line=8N1",
    )


def push_driver() -> Driver:
    """The installed driver of meters that push; raises ConfigError where there is none."""
    for name in driver_names():
        found = driver(name)
        if Capability.PUSH in found.capabilities:
            return found
    raise ConfigError("no installed driver hears pushes")


@asynccontextmanager
async def hearing(settings: ListenSettings, intake: Intake) -> AsyncIterator[Sequence[str]]:
    """The listener, where it is wanted: the addresses that it has."""
    places = [parse_place(place) for place in settings.places]
    if not places:
        yield ()
        return
    limits = Limits(per_address=settings.per_address, octets=settings.max_octets, idle=settings.idle)
    async with listening(Listener(push_driver(), intake, limits), places, links=settings.links) as addresses:
        yield addresses


@asynccontextmanager
async def listening(listener: Listener, places: Sequence[Place], *, links: int) -> AsyncIterator[list[str]]:
    """Listen at all places until the block ends; gives their addresses as they are. Raises ConfigError.

    A serial port that is not there, or goes, is tried again and again.
    """
    async with AsyncExitStack() as stack:
        found: list[str] = []
        for place in places:
            if place.kind == "serial":
                tried = asyncio.Event()
                keeper = asyncio.create_task(_keep(listener, place, tried), name=f"listen {place.path}")
                stack.push_async_callback(_end, keeper)
                await tried.wait()
                found.append(f"serial:{place.path}")
                continue
            if place.kind == "tcp":
                limits = ListenLimits(links=links, first_octet=listener.limits.idle)
                server = await listen_tcp(place.host, place.port, listener.take, limits)
                stack.push_async_callback(server.aclose)
                address = server.address
            else:
                datagrams = await listen_udp(place.host, place.port, listener.take_datagrams)
                stack.push_async_callback(datagrams.aclose)
                address = datagrams.address
            found.append(f"{place.kind}://{format_address(address)}")
        yield found


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _keep(listener: Listener, place: Place, tried: asyncio.Event) -> None:
    """Hold a serial port open; `tried` is set after the first attempt to open it."""
    told = False
    while True:
        lost = asyncio.Event()
        try:
            link = await open_serial(place.path, place.baud, SERIAL_SECONDS, line=place.line)
        except LinkError as error:
            if not told:
                log.warning("cannot listen", port=place.path, reason=str(error), hint=error.hint)
            told = True
            tried.set()
        else:
            told = False
            try:
                listener.take_line(link, partial(lost.set))
                tried.set()
                await lost.wait()
            finally:
                await link.aclose()
            log.warning("port lost", port=place.path)
        await asyncio.sleep(SERIAL_SECONDS)
