"""The data folder, and what in it one command needs that speaks with a meter: invocation counters, refused secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from headend.drivers.library import Library
from headend.storage.counters import CounterFile
from headend.storage.refusals import RefusalFile


def data_folder(named: str = "") -> Path:
    """The folder that is named, by `HEADEND_DATA` where it is not, else `headend` in the user's data folder."""
    named = named or os.environ.get("HEADEND_DATA", "")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "headend"


def library_in(folders: Iterable[str] | None) -> Library:
    """The meter files of the program, of folders of one's own, and those that a head-end keeps in the data folder."""
    return Library([Path(folder).expanduser() for folder in folders or ()], kept=data_folder() / "profiles")


@cache
def counter_file(folder: Path) -> CounterFile:
    """The invocation counters of a data folder; one object for all that ask in this process."""
    return CounterFile(folder / "counters.db")


@cache
def refusal_file(folder: Path) -> RefusalFile:
    """What meters have refused; ditto."""
    return RefusalFile(folder / "refusals.db")
