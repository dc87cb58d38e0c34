"""Invocation counters, in a small SQLite file of their own.

They are kept apart from the database on purpose. A restored back-up of that one costs readings; a restored counter would
let a meter's key be worked out from two messages with one counter. The file is also shared by everything that speaks with
meters on this machine, the running head-end and commands alike, each of which takes blocks of counters in one statement.
Whoever deletes it loses nothing but time: the meters are asked for their counters again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

from headend.errors import StorageError

BUSY_SECONDS: Final = 10.0

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, free INTEGER NOT NULL) WITHOUT ROWID, STRICT"
)
_RESERVE: Final = """
INSERT INTO counters (name, free) VALUES (:name, :least + :count)
ON CONFLICT (name) DO UPDATE SET free = max(free, :least) + :count
RETURNING free - :count
"""


class CounterFile:
    """A `CounterStore` in a file, opened when it is first needed. May be called from any thread and in several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def load(self, name: str) -> int | None:
        """The first counter that is free, None when nothing is known."""
        return self._run("SELECT free FROM counters WHERE name = :name", {"name": name})

    def reserve(self, name: str, least: int, count: int) -> int:
        """Reserve counters in a row; they are on the disk when this returns."""
        first = self._run(_RESERVE, {"name": name, "least": least, "count": count})
        if first is None:
            raise StorageError(f"{self.path}: no invocation counter was reserved")
        return first

    def close(self) -> None:
        """Close the file; it is opened again when it is needed again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, statement: str, values: dict[str, str | int]) -> int | None:
        """The one number that a statement gives, which is its own transaction."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                row = self._connection.execute(statement, values).fetchall()
            except (OSError, sqlite3.Error) as error:
                raise StorageError(
                    f"{self.path}: invocation counters cannot be kept: {error}",
                    hint="nothing is ciphered without them: check owner, mode and space of the data folder",
                ) from error
        return int(row[0][0]) if row else None


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = sqlite3.connect(os.fspath(path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", _TABLE):
            connection.execute(statement).close()
    except BaseException:
        connection.close()
        raise
    return connection
