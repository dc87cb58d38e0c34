"""A database file as a whole: copied while somebody works on it, checked, put in its place."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from headend.errors import ConfigError, StorageError
from headend.storage.sqlite import BUSY_SECONDS, storage_error

PAGES: Final = 4096
"""Copied between two reports of progress."""


def copy_file(source: Path, target: Path, told: Callable[[int], None]) -> None:
    """Copy a database as it is at this moment. Nobody who writes to it waits; its write-ahead log grows meanwhile.

    The copy is one file that only its owner may read, and is checked. `told` takes how many pages were copied since.
    """
    left = 0

    def report(_status: int, remaining: int, total: int) -> None:
        nonlocal left
        told((left or total) - remaining)
        left = remaining

    with _mapped(source), closing(_connect(source)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it is a snapshot
        target.touch(mode=0o600)
        with _mapped(target), closing(_connect(target)) as writer:
            reader.backup(writer, pages=PAGES, progress=report)
    finish_file(target)


def finish_file(path: Path) -> None:
    """See to it that a database nobody works on is whole, one file, and on the disk; raises StorageError."""
    with _mapped(path), closing(_connect(path)) as connection:
        answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if answer != "ok":
            raise StorageError(f"{path} is damaged: {answer}", reason="damaged", hint="take another backup")
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def place_file(fresh: Path, path: Path) -> None:
    """Put a finished database in the place of another, of which nothing stays."""
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    fresh.replace(path)


@contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """A name beside a file, for what becomes that file when it is complete; nothing of it stays otherwise."""
    fresh = path.with_name(f"{path.name}.part")
    _remove(fresh)
    try:
        yield fresh
    except OSError as error:
        raise StorageError(f"{fresh}: {error.strerror}", hint="check owner, mode and space of the folder") from error
    finally:
        _remove(fresh)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", ".audit"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ConfigError(f"there is no database {path}", hint="name another file")
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(path, error) from error
