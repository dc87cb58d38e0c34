"""`sinks`: what it takes. What it does is in `headend.cli.sinks`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.commanding import Key, Server
from headend.cli.options import Config, Json, run_lazily

sinks_app = typer.Typer(no_args_is_help=True, help="The systems that a running head-end delivers to.")

Name = Annotated[str, typer.Argument(metavar="SINK")]


@sinks_app.command("list")
def list_sinks(config: Config = None, server: Server = "", key: Key = "env:HEADEND_KEY", *, json: Json = False) -> None:
    """List sinks: connected, delivered, refused, lost, backlog, lag."""
    run_lazily("sinks", "list_sinks", (config, server, key), as_json=json)


@sinks_app.command("show")
def show(
    name: Name, config: Config = None, server: Server = "", key: Key = "env:HEADEND_KEY", *, json: Json = False
) -> None:
    """Show how a sink is doing."""
    run_lazily("sinks", "show", (config, server, key), name, as_json=json)


@sinks_app.command("refused")
def refused(
    name: Name, config: Config = None, server: Server = "", key: Key = "env:HEADEND_KEY", *, json: Json = False
) -> None:
    """List what a sink will never take, and why."""
    run_lazily("sinks", "refused", (config, server, key), name, as_json=json)


@sinks_app.command("retry")
def retry(
    name: Name,
    entry: Annotated[str, typer.Argument(metavar="ID", help="As `refused` lists it.")],
    config: Config = None,
    server: Server = "",
    key: Key = "env:HEADEND_KEY",
) -> None:
    """Try an entry once more that a sink refused."""
    run_lazily("sinks", "retry", (config, server, key), name, entry)


@sinks_app.command("replay")
def replay(
    name: Name,
    since: Annotated[str, typer.Option(help="Stored at this time or later: ISO 8601 with its zone, or milliseconds.")],
    until: Annotated[str, typer.Option(help="Stored before this time.")],
    config: Config = None,
    server: Server = "",
    key: Key = "env:HEADEND_KEY",
) -> None:
    """Deliver again what was stored in a span of time, under the same ids."""
    run_lazily("sinks", "replay", (config, server, key), name, since, until)
