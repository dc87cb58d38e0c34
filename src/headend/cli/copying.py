"""`backup`, `restore` and `move`: what they take. What they do is in `headend.cli.copies`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Config, DataFolder, run_lazily


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File to write; it must not exist.")],
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Write the whole database into one file, while the head-end runs. The vault key is not in it."""
    run_lazily("copies", "backup", file, place=(config, data))


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What backup has written.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is in the database.")] = False,
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Make the database what a backup holds. The head-end must not run."""
    run_lazily("copies", "restore", file, force=force, place=(config, data))


def move(
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="postgresql://USER@HOST:PORT/DATABASE, or sqlite:///FILE.")
    ],
    password: Annotated[str, typer.Option(metavar="WHERE", help="Where its password is: env:NAME or file:PATH.")] = "",
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Copy everything into another, empty database: all or nothing. The head-end must not run."""
    run_lazily("copies", "move", to, password, place=(config, data))
