"""A small SQLite file with one table, shared by everything on this machine that speaks with meters."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from headend.errors import StorageError

BUSY_SECONDS: Final = 10.0

Value: TypeAlias = str | int | bytes


class SmallFile:
    """Opened when it is first needed. May be used from any thread and in several processes; what was written is on the disk."""

    def __init__(self, path: Path, table: str, *, what: str, hint: str) -> None:
        """`table` makes the table; `what` it holds and `hint` are for people, when it cannot be used."""
        self.path = path
        self._table = table
        self._what = what
        self._hint = hint
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def run(self, statement: str, values: Mapping[str, Value]) -> tuple[Any, ...] | None:
        """The one row that a statement gives, if any; the statement is its own transaction. Raises StorageError."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                rows = self._connection.execute(statement, values).fetchall()
            except (OSError, sqlite3.Error) as error:
                raise StorageError(f"{self.path}: {self._what} cannot be kept: {error}", hint=self._hint) from error
        return rows[0] if rows else None

    def close(self) -> None:
        """Close the file; it is opened again when it is needed again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        connection = sqlite3.connect(
            os.fspath(self.path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", self._table):
                connection.execute(statement).close()
        except BaseException:
            connection.close()
            raise
        return connection
