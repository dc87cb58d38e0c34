"""`emulate`: virtual meters, alone. It loads nothing of the head-end: thousands of fleets start in a blink."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from headend.cli.output import print_json
from headend.cli.until import stop_event, until_stopped
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.emulator.fleet_file import load_fleet
from headend.errors import ConfigError
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
) -> None:
    """Run virtual meters until stopped."""
    configure_logging(level="warning")
    library = Library([Path(folder) for folder in folders or []])

    async def main() -> None:
        stop = stop_event(until_eof=until_eof)
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
                meters = "virtual meter" if len(roster) == 1 else "virtual meters"
                typer.echo(f"{len(roster)} {meters}, reachable from this machine only; Ctrl-C ends it", err=True)
            await until_stopped(stop)
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
