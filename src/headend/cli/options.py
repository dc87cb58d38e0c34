"""Options that many commands share, and how a command gets to the module that does its work."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

Url = Annotated[
    str, typer.Argument(metavar="URL", help="Meter URL, e.g. dlms://192.0.2.7?client=16 or modbus://192.0.2.8/1")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for one answer.", min=0.1, max=600)]
Profiles = Annotated[list[str] | None, typer.Option("--profiles", help="Folder with meter files of your own.")]
Config = Annotated[str | None, typer.Option("--config", "-c", help="Settings file (TOML).", metavar="FILE")]
DataFolder = Annotated[str | None, typer.Option("--data", help="Folder for database and keys.", metavar="DIR")]


def run_lazily(module: str, function: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passes a command's own options on
    """Call a function of a module of this package, which is imported now."""
    getattr(import_module(f"headend.cli.{module}"), function)(*args, **kwargs)
