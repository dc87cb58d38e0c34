"""The outbox: messages for a broker that is away, in a SQLite file of their own that exists only while something waits.

Bounded in messages and octets: the oldest go first. What was appended outlives a kill of the process; a power failure can
take the last moments. The readings themselves are in the database all the same.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from headend.errors import StorageError

BUSY_SECONDS: Final = 10.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL
) STRICT
"""
_WEIGHT: Final = "length(CAST(topic AS BLOB)) + length(payload)"
_CHUNK: Final = 1000
"""messages that are dropped at once where there are too many octets"""
T = TypeVar("T")


class Waiting(NamedTuple):
    """A message that waits; `id` grows with time."""

    id: int
    topic: str
    payload: bytes


class Outbox:
    """May be used from any thread. Nothing is read or written before something has to be kept, or was left by an earlier run."""

    def __init__(self, path: Path, *, max_messages: int, max_octets: int) -> None:
        """Raises StorageError when what an earlier run left cannot be read."""
        self.path = path
        self._max_messages = max_messages
        self._max_octets = max_octets
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.messages = 0
        self.octets = 0
        if path.exists():
            self._run(self._count)

    def append(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Keep messages (topic, payload) in one transaction; returns how many old ones had to go. Raises StorageError."""

        def work(connection: sqlite3.Connection) -> int:
            connection.executemany("INSERT INTO outbox (topic, payload) VALUES (?, ?)", messages)
            count, octets = self.messages + len(messages), self.octets + sum(_weight(*each) for each in messages)
            gone = 0
            while count > self._max_messages or (octets > self._max_octets and count):
                some = count - self._max_messages if count > self._max_messages else min(_CHUNK, max(1, count // 100))
                dropped, weight = self._drop(connection, some)
                count, octets, gone = count - dropped, octets - weight, gone + dropped
            connection.execute("COMMIT")
            self.messages, self.octets = count, octets
            return gone

        return self._run(work)

    def first(self, count: int) -> list[Waiting]:
        """The oldest messages, in their order; raises StorageError."""
        if not self.messages:
            return []
        return self._run(
            lambda connection: [
                Waiting(*row)
                for row in connection.execute("SELECT id, topic, payload FROM outbox ORDER BY id LIMIT ?", (count,))
            ]
        )

    def remove(self, through: int) -> None:
        """Forget all messages up to an id; the file goes with the last one. Raises StorageError."""

        def work(connection: sqlite3.Connection) -> None:
            rows = connection.execute(f"DELETE FROM outbox WHERE id <= ? RETURNING {_WEIGHT}", (through,)).fetchall()  # noqa: S608 - a constant
            connection.execute("COMMIT")
            self.messages -= len(rows)
            self.octets -= sum(weight for (weight,) in rows)
            if not self.messages:
                self._end(connection)

        self._run(work)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _drop(self, connection: sqlite3.Connection, count: int) -> tuple[int, int]:
        rows = connection.execute(
            f"DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?) RETURNING {_WEIGHT}",  # noqa: S608 - a constant
            (count,),
        ).fetchall()
        return len(rows), sum(weight for (weight,) in rows)

    def _count(self, connection: sqlite3.Connection) -> None:
        row = connection.execute(f"SELECT count(*), coalesce(sum({_WEIGHT}), 0) FROM outbox").fetchone()  # noqa: S608 - ditto
        self.messages, self.octets = row

    def _end(self, connection: sqlite3.Connection) -> None:
        """Nothing waits any more."""
        connection.close()
        self._connection = None
        self.octets = 0
        for name in (self.path, *(self.path.with_name(self.path.name + tail) for tail in ("-wal", "-shm"))):
            name.unlink(missing_ok=True)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                connection = self._connection
                connection.execute("BEGIN IMMEDIATE")
                try:
                    return work(connection)
                finally:
                    if self._connection is connection and connection.in_transaction:
                        connection.execute("ROLLBACK")
            except (OSError, sqlite3.Error) as error:
                raise StorageError(
                    f"{self.path}: messages for the broker cannot be kept: {error}",
                    hint="check owner, mode and space of the data folder; a damaged outbox.db may be deleted",
                ) from error

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        connection = sqlite3.connect(
            os.fspath(self.path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", _TABLE):
                with closing(connection.execute(statement)) as cursor:
                    cursor.fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


def _weight(topic: str, payload: bytes) -> int:
    return len(topic.encode()) + len(payload)
