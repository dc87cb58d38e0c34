"""The database that the settings name, and the key to the secrets in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headend.errors import ConfigError, NotFound
from headend.model.meter import Meter
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import Settings
from headend.storage.store import Store

VAULT_KEY_OCTETS: Final = 32


def open_store(settings: Settings, *, sealed: bool = False) -> Store:
    """Open the database that the settings name, with the key that opens its secrets; both are made when missing.

    `sealed` leaves the secrets closed, and needs no key.
    """
    folder = settings.data_folder
    folder.mkdir(parents=True, exist_ok=True)
    storage = settings.storage
    password = resolve_secret(storage.password, "storage.password").reveal().decode() if storage.password else ""
    key = None if sealed else vault_key(vault_file(settings))
    return Store.open(storage.url or folder / "headend.db", vault_key=key, password=password, folder=folder)


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold the data folder for one head-end, as long as the block and the process last.

    Raises ConfigError when another head-end works there: both would read, and write, everything twice.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "headend.lock").open("a", encoding="ascii")
    except OSError as error:
        raise ConfigError(
            f"cannot write to the data folder {folder}: {error.strerror}", hint="name another one with --data"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another head-end works on {folder}", hint="stop it, or name another folder with --data"
            ) from None
        yield


def vault_file(settings: Settings) -> Path:
    """The file with the key to the secrets of the meters."""
    named = settings.storage.vault_key
    return Path(named).expanduser() if named else settings.data_folder / "vault.key"


def vault_key(path: Path) -> bytes:
    """The key in a file that only its owner can read; made at random when there is no file. Raises ConfigError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"cannot make the vault key {path}: {error.strerror}") from error
    else:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(VAULT_KEY_OCTETS).hex().encode() + b"\n")
    try:
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the vault key {path} cannot be read: {type(error).__name__}") from error


def known(store: Store, meter_id: str) -> Meter | None:
    """A meter of the database, or None."""
    try:
        return store.meters.get(meter_id).meter
    except NotFound:
        return None
