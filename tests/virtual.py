"""Fleets that run in the process of a test, where a head-end has them in one of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headend.drivers.library import Library
from headend.emulator.emulators import Emulators
from headend.emulator.fleet import Fleet
from headend.emulator.fleet_file import load_fleet, load_groups
from headend.emulator.remote import ControlServer, RemoteControl
from headend.runtime.secrets import resolve_secret
from tests.ports import free_port


class FleetHere:
    """A fleet with its control socket."""

    def __init__(self, fleet: Fleet, server: ControlServer, control: RemoteControl) -> None:
        self.fleet, self.server, self.control, self.runs = fleet, server, control, True

    async def aclose(self) -> None:
        self.runs = False
        await self.server.aclose()
        await self.fleet.aclose()


async def launch_here(path: Path, profiles: Path) -> FleetHere:
    """Run a fleet file."""
    library = Library(kept=profiles)
    fleet = load_fleet(await asyncio.to_thread(path.read_text), library, resolve_secret, empty=True)
    await fleet.start()
    server = ControlServer(fleet.control, lambda text: load_groups(text, library, resolve_secret), "token")
    return FleetHere(fleet, server, RemoteControl("127.0.0.1", await server.start("127.0.0.1", 0), "token"))


def _any_port(_wanted: int) -> int:
    """One that is free: fleets of tests that run at the same time must not want the same."""
    return free_port()


def emulators_here(folder: Path, library: Library) -> Emulators:
    """Templates and instances whose fleet runs here; `async with` starts and ends it."""
    return Emulators(folder, library, launch=launch_here, free_port=_any_port, resolve=resolve_secret)
