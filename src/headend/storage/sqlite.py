"""The database as a SQLite file: opening, migrating, transactions, and the one seam where its errors become StorageError.

Readers take connections from a pool and see a snapshot; there is one writing connection, taken under a lock, so that
writers of this process queue fairly and only other processes are met as `database is locked`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from headend.errors import ConfigError, StorageError
from headend.storage.engine import migrate

BUSY_SECONDS = 10.0
"""How long a writer waits for another process before the store says that it is locked."""

# Caches small enough to be full within minutes: what they leave out is in the system's own, which gives it back when memory is
# short. With four times as much, writing 40,000 series needs 10 % less of the processor.
_COMMON = ("PRAGMA synchronous=NORMAL", "PRAGMA foreign_keys=ON", "PRAGMA temp_store=MEMORY")
_WRITER = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA cache_size=-16384",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
    *_COMMON,
)
_READER = ("PRAGMA query_only=ON", "PRAGMA cache_size=-2048", *_COMMON)

_REASONS: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_FULL: ("full", "the disk is full", "free space, or shorten the retention of readings"),
    sqlite3.SQLITE_BUSY: ("locked", "another process holds the database", "stop the other process"),
    sqlite3.SQLITE_LOCKED: ("locked", "another connection holds the table", "try again"),
    sqlite3.SQLITE_CORRUPT: (
        "damaged",
        "the database is damaged",
        "restore a backup, or recover it with sqlite3 .recover",
    ),
    sqlite3.SQLITE_NOTADB: ("damaged", "the file is not a database", "name another file, or restore a backup"),
    sqlite3.SQLITE_READONLY: ("failed", "the database may not be written", "check owner and mode of file and folder"),
    sqlite3.SQLITE_CANTOPEN: ("failed", "the database cannot be opened", "check owner and mode of file and folder"),
    sqlite3.SQLITE_IOERR: ("failed", "the disk reports an error", "check the disk"),
}


class SqliteDatabase:
    """A `Database` in one file."""

    def __init__(self, path: Path) -> None:
        self.path = self.beside = path
        self.name = os.fspath(path)
        self._lock = threading.Lock()
        self._closed = False
        with self._mapped():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
            except OSError as error:
                raise StorageError(f"{path}: {error.strerror}", hint="check owner and mode of the folder") from error
            self._writer = _engine(path, _WRITER, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
            self._reader = _engine(path, _READER, "BEGIN", pool_size=4, max_overflow=12)
            try:
                with self._writer.begin() as connection:
                    migrate(connection, self.name)
            except BaseException:
                self.close()
                raise

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot of the database."""
        self._check_open()
        with self._mapped(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self, on_failure: Callable[[], None] | None = None) -> Iterator[sa.Connection]:
        """A transaction that changes the database; what it did is on the way to the disk when this returns.

        `on_failure` is called when nothing of it came to pass, before anybody else may write.
        """
        with self._lock, self._mapped():
            self._check_open()
            try:
                with self._writer.begin() as connection:
                    yield connection
            except BaseException:
                if on_failure:
                    on_failure()
                raise

    def sync(self) -> None:
        """Wait until all that was written is on the disk; without it that is so after the next checkpoint."""
        with contextlib.suppress(FileNotFoundError):  # then nothing waits
            log = os.open(f"{self.path}-wal", os.O_RDWR)
            try:
                os.fsync(log)
            except OSError as error:
                raise StorageError(f"{self.path}: {error.strerror}", hint="check the disk") from error
            finally:
                os.close(log)

    def claim(self) -> None:
        """Nothing to do: the lock of the data folder keeps others away from its files."""

    def damage(self) -> str:
        """What is wrong with the structure of the file, empty when nothing is; reads all of it."""
        with self.read() as connection:
            answer = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        return "" if answer == "ok" else answer

    def close(self) -> None:
        """Close all connections; transactions still open in other threads end with theirs. May be called twice."""
        self._closed = True
        with self._lock:
            self._reader.dispose()
            self._writer.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self.path}: the store is closed", reason="closed")

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The seam: what SQLite and SQLAlchemy raise leaves as StorageError."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise storage_error(self.path, error.orig) from error.orig
        except sqlite3.Error as error:
            raise storage_error(self.path, error) from error
        except sa.exc.TimeoutError as error:
            raise StorageError(f"{self.path}: all connections are busy", reason="locked", hint="try again") from error
        except UnicodeEncodeError as error:
            raise ConfigError("a name holds half of a character (a lone surrogate)", hint="write it anew") from error


def driver(connection: sa.Connection) -> sqlite3.Connection:
    """The driver's own connection inside a transaction, for the statements that are run for every reading."""
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def storage_error(path: Path, error: BaseException | None) -> StorageError:
    """What SQLite said about a file, in our words."""
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF
    reason, text, hint = _REASONS.get(number, ("failed", str(error), ""))
    return StorageError(f"{path}: {text}", reason=reason, hint=hint)


def _engine(path: Path, pragmas: tuple[str, ...], begin: str, *, pool_size: int, max_overflow: int) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=os.fspath(path)),
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(pragma).close()

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", start)
    return engine
