"""The library of a head-end, and the profiles that it keeps in the folder `profiles` of its data folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from headend.drivers.library import Library
from headend.runtime.rehearsal import rehearse
from headend.runtime.settings import Settings
from headend.services.acquisition.lanes import Lanes
from headend.services.profiles.profiles import Profiles
from headend.services.roster import Roster
from headend.storage.profiles import ProfileFolder
from headend.storage.store import Store, wall_millis

_AT_ONCE: Final = 50
_PAUSE: Final = 0.1
"""seconds between one lot of meters that begin anew and the next"""
_KEYS: Final = frozenset({"ek", "ak", "mk", "signing", "agreement"})
"""secrets of a meter whose exchanges are ciphered"""


def library_of(settings: Settings) -> Library:
    """Built-in profiles, those of the user's folders, and those that are kept."""
    return Library([Path(folder).expanduser() for folder in settings.profiles], kept=kept_in(settings.data_folder))


def kept_in(data_folder: Path) -> Path:
    """Where profiles are kept."""
    return data_folder / "profiles"


def make_profiles(
    settings: Settings, library: Library, store: Store, roster: Roster | None = None, lanes: Lanes | None = None
) -> Profiles:
    """The profiles of a head-end; without roster and lanes nothing is tried on meters."""
    return Profiles(
        library,
        ProfileFolder(kept_in(settings.data_folder), wall_millis),
        audit=store.audit.append,
        rehearse=rehearse,
        clock=wall_millis,
        roster=roster,
        lanes=lanes,
        changed=begin_anew(roster) if roster is not None else lambda _profile_id: None,
        is_protected=lambda meter_id: not _KEYS.isdisjoint(_names(store, meter_id)),
    )


def begin_anew(roster: Roster) -> Callable[[str], None]:
    """Lets the meters of a profile begin anew, some at a time; may be called from any thread. Made inside the event loop."""
    loop = asyncio.get_running_loop()

    def begin(profile_id: str) -> None:
        step([state.meter.id for state in roster if state.meter.profile_id == profile_id])

    def step(waiting: Sequence[str]) -> None:
        for meter_id in waiting[:_AT_ONCE]:
            state = roster.find(meter_id)
            if state is not None:
                roster.update(state.meter)
        if waiting[_AT_ONCE:]:
            loop.call_later(_PAUSE, step, waiting[_AT_ONCE:])

    def changed(profile_id: str) -> None:
        loop.call_soon_threadsafe(begin, profile_id)

    return changed


def _names(store: Store, meter_id: str) -> Sequence[str]:
    return store.secrets.names(meter_id)
