"""Invocation counters, in a small SQLite file of their own.

They are kept apart from the database on purpose. A restored back-up of that one costs readings; a restored counter would
let a meter's key be worked out from two messages with one counter. The file is also shared by everything that speaks with
meters on this machine, the running head-end and commands alike, each of which takes blocks of counters in one statement.
Whoever deletes it loses nothing but time: the meters are asked for their counters again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from headend.errors import StorageError
from headend.storage.small import SmallFile

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, free INTEGER NOT NULL) WITHOUT ROWID, STRICT"
)
_RESERVE: Final = """
INSERT INTO counters (name, free) VALUES (:name, :least + :count)
ON CONFLICT (name) DO UPDATE SET free = max(free, :least) + :count
RETURNING free - :count
"""
_HINT: Final = "nothing is ciphered without them: check owner, mode and space of the data folder"


class CounterFile:
    """A `CounterStore` in a file. May be called from any thread and in several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SmallFile(path, _TABLE, what="invocation counters", hint=_HINT)

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""
        row = self._file.run("SELECT free FROM counters WHERE name = :name", {"name": name})
        return None if row is None else int(row[0])

    def reserve(self, name: str, least: int, count: int) -> int:
        """Reserve counters in a row; they are on the disk when this returns."""
        row = self._file.run(_RESERVE, {"name": name, "least": least, "count": count})
        if row is None:
            raise StorageError(f"{self.path}: no invocation counter was reserved")
        return int(row[0])

    def close(self) -> None:
        """Close the file; it is opened again when it is needed again."""
        self._file.close()
