"""`meters`: those in the database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from headend.errors import ConfigError
from headend.runtime.database import open_store
from headend.runtime.importing import enter, read_list
from headend.runtime.profiles import library_of
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import settings_of


def import_meters(
    file: str, *, poll: float, tags: Sequence[str], secrets: Sequence[str], config: str | None, data: str | None
) -> None:
    """Enter the meters of a list."""
    settings = settings_of(config, data)
    library = library_of(settings)
    listed = read_list(_text(file), library, poll_seconds=poll, tags=tags)
    shared = {name: resolve_secret(place, name) for name, _, place in (each.partition("=") for each in secrets)}
    with open_store(settings) as store:
        done = enter(store, listed, shared)
    typer.echo(f"{done.added} meters added, {done.changed} changed, {done.same} as they were")
    typer.echo("A head-end that runs takes them in when it starts the next time.", err=True)


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list of meters {file}: {error}") from error
