"""Putting together the virtual meters of a head-end."""

from __future__ import annotations

from headend.drivers.library import Library
from headend.emulator.emulators import Emulators
from headend.runtime.demo import free_port
from headend.runtime.fleet_process import start_fleet
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings


def make_emulators(settings: Settings, library: Library) -> Emulators:
    """Templates and instances in the data folder; nothing runs before one is started."""
    return Emulators(
        settings.data_folder / "emulators",
        library,
        launch=start_fleet,
        free_port=free_port,
        resolve=resolve_secret,
    )
