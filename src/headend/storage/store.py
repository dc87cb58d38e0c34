"""The way in: one object that owns the database and has a part for each kind of data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from headend.errors import ConfigError
from headend.storage.postgres_url import is_postgres, parse_postgres_url

if TYPE_CHECKING:
    from headend.storage.access import Access
    from headend.storage.alarms import Alarms
    from headend.storage.audit import Audit
    from headend.storage.callers import Callers
    from headend.storage.devices import Devices
    from headend.storage.engine import Database
    from headend.storage.events import Events
    from headend.storage.jobs import Jobs
    from headend.storage.journal import Journal
    from headend.storage.ledger import Ledger
    from headend.storage.logins import Logins
    from headend.storage.meters import Meters
    from headend.storage.readings import Readings
    from headend.storage.scans import Scans
    from headend.storage.statistics import Statistics
    from headend.storage.summarising import Summaries
    from headend.storage.vault import Secrets


def wall_millis() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Store:
    """An open store. Methods of its parts block, raise StorageError, and may be called from any thread."""

    readings: Readings
    summaries: Summaries
    meters: Meters
    secrets: Secrets
    access: Access
    logins: Logins
    events: Events
    jobs: Jobs
    ledger: Ledger
    alarms: Alarms
    audit: Audit
    callers: Callers
    scans: Scans
    devices: Devices
    statistics: Statistics
    journal: Journal

    def __init__(
        self, database: Database, readings: Readings, vault_key: bytes | None, millis: Callable[[], int]
    ) -> None:
        # SQLAlchemy, cryptography and argon2 are loaded when a store is opened, not when this module is imported.
        from headend.storage.access import Access  # noqa: PLC0415 # see above
        from headend.storage.alarms import Alarms  # noqa: PLC0415 # see above
        from headend.storage.audit import Audit  # noqa: PLC0415 # see above
        from headend.storage.callers import Callers  # noqa: PLC0415 # see above
        from headend.storage.devices import Devices  # noqa: PLC0415 # see above
        from headend.storage.events import Events  # noqa: PLC0415 # see above
        from headend.storage.jobs import Jobs  # noqa: PLC0415 # see above
        from headend.storage.journal import Journal  # noqa: PLC0415 # see above
        from headend.storage.ledger import Ledger  # noqa: PLC0415 # see above
        from headend.storage.logins import Logins  # noqa: PLC0415 # see above
        from headend.storage.meters import Meters  # noqa: PLC0415 # see above
        from headend.storage.scans import Scans  # noqa: PLC0415 # see above
        from headend.storage.statistics import Statistics  # noqa: PLC0415 # see above
        from headend.storage.summarising import Summaries  # noqa: PLC0415 # see above
        from headend.storage.vault import Secrets  # noqa: PLC0415 # see above

        self._database = database
        self.readings = readings
        self.summaries = Summaries(database, readings)
        self.secrets = Secrets(database, vault_key)
        self.ledger = Ledger(database)
        self.meters = Meters(database, self.readings, self.secrets, self.ledger)
        self.access = Access(database, millis)
        self.logins = Logins(database, millis)
        self.events = Events(database, millis)
        self.alarms = Alarms(database, millis)
        self.callers = Callers(database)
        self.scans = Scans(database)
        self.devices = Devices(database)
        self.statistics = Statistics(database)
        self.audit = Audit(database, millis)
        self.jobs = Jobs(database, self.audit, millis)
        self.journal = Journal(database, millis)

    @classmethod
    def open(
        cls,
        url_or_path: str | os.PathLike[str],
        *,
        vault_key: bytes | None,
        password: str = "",
        folder: Path | None = None,
        millis: Callable[[], int] = wall_millis,
    ) -> Self:
        """Open the database, making folders and tables where they are missing, and bring it to the newest revision.

        `url_or_path` is a file, `sqlite:///FILE` or `postgresql://USER@HOST:PORT/DATABASE`; the latter needs the data folder
        for what belongs beside a database, and may need a password. `vault_key` opens the secrets of the meters; without it
        they stay closed.
        """
        database, readings = _open(os.fspath(url_or_path), password, folder)
        try:
            return cls(database, readings, vault_key, millis)
        except BaseException:
            database.close()
            raise

    @property
    def name(self) -> str:
        """The database as people know it: its file, or its URL without a password."""
        return self._database.name

    def claim(self) -> None:
        """Keep the database for this head-end until it is closed; raises ConfigError when another one has it."""
        self._database.claim()

    def damage(self) -> str:
        """What is wrong with the structure of the database, empty when nothing is; may read all of it."""
        return self._database.damage()

    def copy_into(self, target: Store, told: Callable[[str, int], None], *, replace: bool = False) -> Mapping[str, int]:
        """Copy everything into another store, or nothing; returns the rows of each table. `moving.copy_all` tells more."""
        from headend.storage.moving import copy_all  # noqa: PLC0415 # SQLAlchemy is loaded already, this is needed seldom

        return copy_all(self._database, target._database, told, replace=replace)

    def close(self) -> None:
        """Close the database; every later call raises StorageError."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(url_or_path: str, password: str, folder: Path | None) -> tuple[Database, Readings]:
    """The database and its readings; SQLAlchemy and the driver are loaded when a store is opened, not before."""
    if not is_postgres(url_or_path):
        from headend.storage.readings_sqlite import SqliteReadings  # noqa: PLC0415 # see above
        from headend.storage.sqlite import SqliteDatabase  # noqa: PLC0415 # see above

        file = SqliteDatabase(database_path(url_or_path))
        return file, SqliteReadings(file)
    url = parse_postgres_url(url_or_path)
    try:
        import psycopg  # noqa: F401, PLC0415 # see above
    except ImportError as error:
        raise ConfigError(
            f"{url.name}: the driver of PostgreSQL is not installed", hint="pip install 'headend[postgresql]'"
        ) from error
    from headend.storage.postgres import PostgresDatabase  # noqa: PLC0415 # see above
    from headend.storage.readings_postgres import PostgresReadings  # noqa: PLC0415 # see above

    if folder is None:
        raise ConfigError(f"{url.name}: the database needs a data folder beside it", hint="name one")
    server = PostgresDatabase(url, password, folder / "headend.db")
    return server, PostgresReadings(server)


def database_path(url_or_path: str | os.PathLike[str]) -> Path:
    """The file that a path or `sqlite:///` URL names; raises ConfigError for any other URL."""
    text = os.fspath(url_or_path)
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme != "sqlite":
            hint = "write a file name, sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE"
            raise ConfigError(f"unknown database {scheme!r}://", hint=hint)
        text = unquote(rest.removeprefix("/"))
    if not text or text.startswith(":"):
        raise ConfigError("the database needs a file", hint="write a file name or sqlite:///FILE")
    return Path(text)
