"""The data folder, and the invocation counters in it: what one command needs that speaks with a meter."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from headend.storage.counters import CounterFile


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
