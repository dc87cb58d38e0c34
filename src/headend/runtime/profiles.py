"""The library of a head-end, and the profiles that it keeps in the folder `profiles` of its data folder."""

from __future__ import annotations

from collections.abc import Sequence
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
        is_protected=lambda meter_id: not _KEYS.isdisjoint(_names(store, meter_id)),
    )


def _names(store: Store, meter_id: str) -> Sequence[str]:
    return store.secrets.names(meter_id)
