"""`demo`, `serve`, `emulate`: what runs until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import structlog
import typer

from headend.cli.access import settings_of
from headend.cli.output import print_json
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_fleet
from headend.errors import ConfigError
from headend.runtime.demo import demo_settings, fleet
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings, load_settings
from headend.runtime.wiring import HeadEnd, running
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

SETTLE_SECONDS = 20.0
SHOWN = 20

log = structlog.get_logger(__name__)


async def _until_stopped(seconds: float = 0.0) -> None:
    """Wait for SIGINT or SIGTERM, or for the time to pass."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds or None)


def serve(*, config: str | None, data: str | None) -> None:
    """Run the head-end as its settings say."""
    settings = settings_of(config, data)
    configure_logging(level=settings.log.level, json=settings.log.json_lines)

    async def main() -> None:
        async with running(settings) as head_end:
            log.info(
                "head-end ready",
                meters=len(head_end.roster),
                console=_console(settings, head_end),
                mqtt=head_end.mqtt_port,
            )
            await _until_stopped()
            log.info("head-end stops")

    run_loop(main())


def demo(*, meters: int, port: int, data: str | None, seconds: float) -> None:
    """Run a virtual fleet and a head-end that reads it."""
    configure_logging(level="error")
    settings = demo_settings(load_settings(None), data=data, port=port)

    async def main() -> None:
        typer.echo(f"Starting {meters} virtual meters and a head-end that reads them …")
        async with fleet(settings, meters) as count, running(settings) as head_end:
            online = await _settle(head_end, count)
            typer.echo(f"\n  {online} of {count} meters are read (one is broken, as in life)\n")
            typer.echo(f"  Console   {_console(settings, head_end)}")
            typer.echo(f"  REST      {_console(settings, head_end)}api/v1/meters")
            if head_end.mqtt_port:
                typer.echo(f"  MQTT      127.0.0.1:{head_end.mqtt_port}, topics {settings.mqtt.prefix}/#")
            typer.echo(f"  Data      {settings.data_folder}  (kept for the next start)")
            typer.echo(f"\n  To sign in: headend user add NAME --role admin --data {settings.data_folder}")
            typer.echo("  Ctrl-C ends it.\n")
            await _until_stopped(seconds)
            typer.echo("Stopping …")

    run_loop(main())


async def _settle(head_end: HeadEnd, count: int) -> int:
    """Wait until all but a few meters answered; gives how many did."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_SECONDS
    while True:
        online = sum(1 for state in head_end.roster if state.online)
        if online >= count - 1 or loop.time() > until:
            return online
        await asyncio.sleep(0.1)


def _console(settings: Settings, head_end: HeadEnd) -> str:
    scheme = "https" if settings.web.tls_certificate else "http"
    host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
    return f"{scheme}://{host}:{head_end.web_port}/"


def emulate(what: str, *, count: int, port: int, framing: str, folders: list[str] | None, as_json: bool) -> None:
    """Run virtual meters until stopped."""
    configure_logging(level="warning")
    library = Library([Path(folder) for folder in folders or []])

    async def main() -> None:
        virtual = _fleet(what, library, count=count, port=port, framing=framing)
        await virtual.start()
        try:
            roster = list(virtual.roster())
            if as_json:
                print_json([{"url": one.url, "profile": one.profile, "name": one.name} for one in roster])
            else:
                for one in roster[:SHOWN]:
                    typer.echo(one.url)
                if len(roster) > SHOWN:
                    typer.echo(f"… and {len(roster) - SHOWN} more, to {roster[-1].url}")
                typer.echo(f"{len(roster)} virtual meters on loopback addresses; Ctrl-C ends it", err=True)
            await _until_stopped()
        finally:
            await virtual.aclose()

    run_loop(main())


def _fleet(what: str, library: Library, *, count: int, port: int, framing: str) -> Fleet:
    if what.endswith(".toml"):
        path = Path(what)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the fleet file {path}: {error}") from error
        return load_fleet(text, library, resolve_secret, what)
    profile = library.get(what)
    first = "127.0.0.1" if count == 1 else "127.1.0.1"
    return Fleet([Group(profile=profile, count=count, framing=framing, first_address=first, port=port)])
