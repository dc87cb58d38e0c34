"""The data folder, and what in it one command needs that speaks with a meter: invocation counters, refused secrets."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from headend.storage.counters import CounterFile
from headend.storage.refusals import RefusalFile


def data_folder(named: str = "") -> Path:
    """The folder that is named, by `HEADEND_DATA` where it is not, else `headend` in the user's data folder."""
    named = named or os.environ.get("HEADEND_DATA", "")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "headend"


@cache
def counter_file(folder: Path) -> CounterFile:
    """The invocation counters of a data folder; one object for all that ask in this process."""
    return CounterFile(folder / "counters.db")


@cache
def refusal_file(folder: Path) -> RefusalFile:
    """What meters have refused; ditto."""
    return RefusalFile(folder / "refusals.db")
