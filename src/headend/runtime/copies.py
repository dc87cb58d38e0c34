"""Copies of the database: backed up while the head-end runs, restored, moved to another kind of database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from headend.errors import ConfigError
from headend.runtime.database import open_store, sole_owner, vault_file, vault_key
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings
from headend.storage.postgres_url import is_postgres
from headend.storage.store import Store, database_path

Told = Callable[[str, int], None]
"""Is told of what something was done, and how much since."""


def backup(settings: Settings, file: Path, told: Told) -> None:
    """Write the whole database, as it is at this moment, into a SQLite file; the head-end may run. Raises ConfigError."""
    from headend.storage import files  # noqa: PLC0415 # SQLAlchemy is loaded when it is needed, not before

    if file.exists():
        raise ConfigError(f"{file} exists", hint="name another file, or remove it")
    if not file.parent.is_dir():
        raise ConfigError(f"there is no folder {file.parent}", hint="make it")
    with files.fresh_file(file) as fresh:
        if is_postgres(settings.storage.url):
            with open_store(settings, sealed=True) as store, Store.open(fresh, vault_key=None) as copy:
                store.copy_into(copy, told)
            files.finish_file(fresh)
        else:
            files.copy_file(_path(settings), fresh, lambda pages: told("pages", pages))
        fresh.replace(file)


def restore(settings: Settings, file: Path, told: Told, *, force: bool) -> None:
    """Make the database what a backup holds, whichever kind of database it was taken from.

    Raises ConfigError where a head-end runs, the backup is of a newer version, its secrets belong to another vault key, or
    there is something in the database already; `force` overwrites the latter.
    """
    from headend.storage import files  # noqa: PLC0415 # as above

    folder = settings.data_folder
    server = is_postgres(settings.storage.url)
    path = folder / "headend.db" if server else _path(settings)
    with sole_owner(folder):
        if not server and path.exists() and not force:
            raise ConfigError(f"{path} exists", hint="restore into another folder, or overwrite it with --force")
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.fresh_file(path) as fresh:
            files.copy_file(file, fresh, lambda pages: told("pages", pages))
            key_file = vault_file(settings)
            with Store.open(fresh, vault_key=vault_key(key_file) if key_file.exists() else None) as copy:
                if server:
                    with open_store(settings, sealed=True) as store:
                        store.claim()
                        copy.copy_into(store, told, replace=force)
                        store.audit.begin_tail()
            if not server:
                files.finish_file(fresh)
                files.place_file(fresh, path)
                with Store.open(path, vault_key=None) as store:
                    store.audit.begin_tail()


def move(settings: Settings, to: str, password: str, told: Told) -> Mapping[str, int]:
    """Copy everything into another, empty database; returns the rows of each table.

    All of it arrives, or nothing. Raises ConfigError where a head-end runs on either database.
    """
    if not is_postgres(settings.storage.url):
        _existing(_path(settings))
    folder = settings.data_folder
    revealed = resolve_secret(password, "--password").reveal().decode() if password else ""
    with ExitStack() as stack:
        stack.enter_context(sole_owner(folder))
        source = stack.enter_context(open_store(settings, sealed=True))
        source.claim()
        target = stack.enter_context(Store.open(to, vault_key=None, password=revealed, folder=folder))
        target.claim()
        rows = source.copy_into(target, told)
        target.audit.take_over(source.audit)
        return rows


def _path(settings: Settings) -> Path:
    return database_path(settings.storage.url or settings.data_folder / "headend.db")


def _existing(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"there is no database {path}", hint="name its folder with --data, or its settings")
