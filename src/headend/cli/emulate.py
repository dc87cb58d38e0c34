"""`emulate`: virtual meters, alone. It loads nothing of the head-end: thousands of fleets start in a blink."""

from __future__ import annotations

import asyncio
import os
import secrets
import tomllib
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import typer

from headend.cli.output import print_json
from headend.cli.until import stop_event, until_stopped
from headend.drivers.base import Sniffed
from headend.drivers.library import Library, load_profile
from headend.drivers.registry import driver, driver_names
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_fleet, load_groups
from headend.emulator.remote import ControlServer
from headend.emulator.replay import HOST, Replay, exchanges
from headend.errors import ConfigError
from headend.runtime.fleet_process import TOKEN_VARIABLE
from headend.runtime.folders import library_in
from headend.runtime.secrets import resolve_secret
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

SHOWN: Final = 20


def emulate(
    what: str,
    *,
    count: int,
    port: int,
    framing: str,
    folders: list[str] | None,
    as_json: bool,
    until_eof: bool,
    control: str = "",
    start: str = "",
    speed: float | None = None,
) -> None:
    """Run virtual meters until stopped, or play the meters of a capture."""
    configure_logging(level="warning")
    if what.endswith((".pcap", ".pcapng")):
        run_loop(_replay(Path(what), port, until_eof=until_eof))
        return
    library = library_in(folders)
    if control and folders:  # whoever controls it may bring more
        known = [Path(folder) for folder in folders]
        library = Library(known, kept=known[-1])

    async def main() -> None:
        stop = stop_event(until_eof=until_eof)
        virtual = _fleet(what, library, count=count, port=port, framing=framing, empty=bool(control))
        if start or speed is not None:
            virtual.clock.set(at=_millis(start) if start else None, speed=speed)
        await virtual.start()
        server, place = None, ""
        try:
            if control:
                server, place = await _control(virtual, library, control)
            roster = list(virtual.roster())
            if as_json:
                lines = [{"url": one.url, "profile": one.profile, "name": one.name} for one in roster]
                print_json({"control": place, "meters": lines} if control else lines)
            else:
                for one in roster[:SHOWN]:
                    typer.echo(one.url)
                if len(roster) > SHOWN:
                    typer.echo(f"… and {len(roster) - SHOWN} more, to {roster[-1].url}")
                meters = "virtual meter" if len(roster) == 1 else "virtual meters"
                typer.echo(f"{len(roster)} {meters}, reachable from this machine only; Ctrl-C ends it", err=True)
            await until_stopped(stop)
        finally:
            if server is not None:
                await server.aclose()
            await virtual.aclose()

    run_loop(main())


def _millis(text: str) -> int:
    """A time of the command line; one without zone is in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start: {text!r} is no time", hint="write 2025-01-01T00:00:00Z") from None
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)


async def _control(fleet: Fleet, library: Library, place: str) -> tuple[ControlServer, str]:
    """Let the fleet be controlled from a place on this machine, by whoever has the token; says where exactly."""
    host, _, port = place.rpartition(":")
    if not port.isdigit() or int(port) > 0xFFFF:
        raise ConfigError(f"{place!r} is no place", hint="write 127.0.0.1:PORT")
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    server = ControlServer(fleet.control, partial(load_groups, library=library, resolve=resolve_secret), token)
    place = f"{host}:{await server.start(host, int(port))}"
    if TOKEN_VARIABLE not in os.environ:
        typer.echo(f"controlled at {place}; {TOKEN_VARIABLE}={token}", err=True)
    return server, place


async def _replay(path: Path, port: int, *, until_eof: bool) -> None:
    stop = stop_event(until_eof=until_eof)
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ConfigError(f"cannot read the capture {path}: {error.strerror}") from error
    exchanged = exchanges(data)
    first = next((each.request for each in exchanged if each.request), b"")
    names = (name for name in driver_names() if isinstance(driver(name).sniff(first, 0), Sniffed))
    replay = Replay(exchanged, driver(next(names, driver_names()[0])))
    try:
        port = await replay.start(port)
        typer.echo(f"{HOST}:{port}")
        typer.echo(f"{len(exchanged)} exchanges of {path.name} are played; Ctrl-C ends it", err=True)
        await until_stopped(stop)
    finally:
        await replay.aclose()


def _fleet(what: str, library: Library, *, count: int, port: int, framing: str, empty: bool) -> Fleet:
    if what.endswith(".toml"):
        path = Path(what)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the file {path}: {error}") from error
        if not _is_meter_file(text):
            return load_fleet(text, library, resolve_secret, what, empty=empty)
        profile = load_profile(text, path.stem, what)
    else:
        profile = library.get(what)
    first = "127.0.0.1" if count == 1 else "127.1.0.1"
    return Fleet([Group(profile=profile, count=count, framing=framing, first_address=first, port=port)])


def _is_meter_file(text: str) -> bool:
    """It describes a meter, and no fleet; what is no TOML is left to those who say what is wrong in it."""
    try:
        return "meter" in tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
