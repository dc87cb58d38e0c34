"""What a database is to the rest of the storage, whichever it is, and how its tables are brought to the newest revision."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from headend.errors import ConfigError
from headend.storage.schema import HEAD


class Database(Protocol):
    """An open database. `read()` and `write()` give transactions; leaving them normally commits.

    Writers queue, those of other processes too: who is in `write()` sees all that was written before, and numbers that it
    gives are in the order in which they become visible. Everything raises StorageError when the database does not do its
    part, and works again by itself as soon as the database does.
    """

    name: str
    """for people: the file, or the URL without its password"""
    beside: Path
    """what files that belong to the database are named after, by adding to its name"""

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A snapshot of the database."""
        ...

    def write(self, on_failure: Callable[[], None] | None = None) -> AbstractContextManager[sa.Connection]:
        """A transaction that changes the database; what it did outlives this process when this returns.

        `on_failure` is called when nothing of it came to pass, before anybody else of this process may write.
        """
        ...

    def sync(self) -> None:
        """Wait until all that was written outlives the machine."""
        ...

    def claim(self) -> None:
        """Keep the database for this head-end until it is closed; raises ConfigError when another one has it."""
        ...

    def damage(self) -> str:
        """What is wrong with the structure of the database, empty when nothing is."""
        ...

    def close(self) -> None:
        """Close all connections; every later call raises StorageError. May be called twice."""
        ...


def migrate(connection: sa.Connection, name: str) -> None:
    """Bring the schema to HEAD inside the transaction of `connection`: all of it, or nothing."""
    found = revision(connection)
    if found == HEAD:
        return
    from alembic import command  # noqa: PLC0415 # loaded only when there is something to migrate
    from alembic.config import Config  # noqa: PLC0415 # ditto
    from alembic.util import CommandError  # noqa: PLC0415 # ditto

    config = Config()
    config.set_main_option("script_location", os.fspath(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"{name}: the database is at revision {found!r}, which this version of headend does not know",
            hint="start the newer headend that made it, or restore a backup",
        ) from error


def revision(connection: sa.Connection) -> str | None:
    """The revision that the tables are at; None where there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
