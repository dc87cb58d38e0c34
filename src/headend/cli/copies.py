"""Backing up, restoring and moving the database."""

from __future__ import annotations

from pathlib import Path

import typer

from headend.cli.output import print_table, progress
from headend.runtime import copies
from headend.runtime.settings import settings_of

Place = tuple[str | None, str | None]


def backup(file: str, *, place: Place) -> None:
    """Write a backup."""
    settings = settings_of(*place)
    with progress("backup") as bar:
        copies.backup(settings, Path(file), lambda _what, done: bar(done))
    typer.echo(f"{file} is complete; keep the vault key ({settings.storage.vault_key or 'vault.key'}) in another place")


def restore(file: str, *, force: bool, place: Place) -> None:
    """Restore one."""
    settings = settings_of(*place)
    with progress("restore") as bar:
        copies.restore(settings, Path(file), lambda _what, done: bar(done), force=force)
    typer.echo(f"restored from {file}; vault.key and counters.db are apart: keep the key, and never an old counters.db")


def move(to: str, password: str, *, place: Place) -> None:
    """Move to another database."""
    with progress("move") as bar:
        rows = copies.move(settings_of(*place), to, password, lambda _what, done: bar(done))
    print_table(("table", "rows"), sorted(rows.items()))
    typer.echo("everything was copied and compared; now let `url` in [storage] name that database", err=True)
