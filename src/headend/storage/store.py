"""The way in: one object that owns the database and has a part for each kind of data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from headend.errors import ConfigError

if TYPE_CHECKING:
    from headend.storage.access import Access
    from headend.storage.alarms import Alarms
    from headend.storage.audit import Audit
    from headend.storage.callers import Callers
    from headend.storage.devices import Devices
    from headend.storage.engine import Database
    from headend.storage.events import Events
    from headend.storage.jobs import Jobs
    from headend.storage.logins import Logins
    from headend.storage.meters import Meters
    from headend.storage.readings import Readings
    from headend.storage.scans import Scans
    from headend.storage.vault import Secrets


def wall_millis() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Store:
    """An open store. Methods of its parts block, raise StorageError, and may be called from any thread."""

    readings: Readings
    meters: Meters
    secrets: Secrets
    access: Access
    logins: Logins
    events: Events
    jobs: Jobs
    alarms: Alarms
    audit: Audit
    callers: Callers
    scans: Scans
    devices: Devices

    def __init__(self, database: Database, vault_key: bytes | None, millis: Callable[[], int]) -> None:
        # SQLAlchemy, cryptography and argon2 are loaded when a store is opened, not when this module is imported.
        from headend.storage.access import Access  # noqa: PLC0415 # see above
        from headend.storage.alarms import Alarms  # noqa: PLC0415 # see above
        from headend.storage.audit import Audit  # noqa: PLC0415 # see above
        from headend.storage.callers import Callers  # noqa: PLC0415 # see above
        from headend.storage.devices import Devices  # noqa: PLC0415 # see above
        from headend.storage.events import Events  # noqa: PLC0415 # see above
        from headend.storage.jobs import Jobs  # noqa: PLC0415 # see above
        from headend.storage.logins import Logins  # noqa: PLC0415 # see above
        from headend.storage.meters import Meters  # noqa: PLC0415 # see above
        from headend.storage.readings import Readings  # noqa: PLC0415 # see above
        from headend.storage.scans import Scans  # noqa: PLC0415 # see above
        from headend.storage.vault import Secrets  # noqa: PLC0415 # see above

        self._database = database
        self.readings = Readings(database)
        self.secrets = Secrets(database, vault_key)
        self.meters = Meters(database, self.readings, self.secrets)
        self.access = Access(database, millis)
        self.logins = Logins(database, millis)
        self.events = Events(database, millis)
        self.alarms = Alarms(database, millis)
        self.callers = Callers(database)
        self.scans = Scans(database)
        self.devices = Devices(database)
        self.audit = Audit(database, millis)
        self.jobs = Jobs(database, self.audit, millis)

    @classmethod
    def open(
        cls,
        url_or_path: str | os.PathLike[str],
        *,
        vault_key: bytes | None,
        millis: Callable[[], int] = wall_millis,
    ) -> Self:
        """Open the database, making folders and tables where they are missing, and bring it to the newest revision.

        `url_or_path` is a file or `sqlite:///FILE`. `vault_key` opens the secrets of the meters; without it they stay closed.
        """
        from headend.storage.engine import Database  # noqa: PLC0415 # SQLAlchemy is loaded when a store is opened

        database = Database(database_path(url_or_path))
        try:
            return cls(database, vault_key, millis)
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def damage(self) -> str:
        """What is wrong with the structure of the file, empty when nothing is; reads all of it."""
        with self._database.read() as connection:
            answer = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        return "" if answer == "ok" else answer

    def close(self) -> None:
        """Close the database; every later call raises StorageError."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def database_path(url_or_path: str | os.PathLike[str]) -> Path:
    """The file that a path or `sqlite:///` URL names; raises ConfigError for any other URL."""
    text = os.fspath(url_or_path)
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme != "sqlite":
            raise ConfigError(f"unknown database {scheme!r}://", hint="write a file name or sqlite:///FILE")
        text = unquote(rest.removeprefix("/"))
    if not text or text.startswith(":"):
        raise ConfigError("the database needs a file", hint="write a file name or sqlite:///FILE")
    return Path(text)
