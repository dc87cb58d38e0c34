"""The commands that explain what was found, `fingerprint` and `obis`: their options. The modules that do it are imported late."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Json, run_lazily

fingerprint_app = typer.Typer(no_args_is_help=True, help="What an examined meter is, and how two of them differ.")
_FILE = typer.Argument(metavar="FILE", help="What `headend identify URL --json` printed.")


@fingerprint_app.command("show")
def show(file: Annotated[str, _FILE], *, json: Json = False) -> None:
    """Show the facts of a meter, its digest, the association matrix, and how many of its objects are understood."""
    run_lazily("fingerprint", "show", file, as_json=json)


@fingerprint_app.command("diff")
def diff(before: Annotated[str, _FILE], after: Annotated[str, _FILE], *, json: Json = False) -> None:
    """Say whether two are the same meter, the same model, another firmware or another model, and list what differs."""
    run_lazily("fingerprint", "diff", before, after, as_json=json)


def obis(
    codes: Annotated[
        list[str],
        typer.Argument(
            metavar="CODE", help="OBIS codes, e.g. 1-0:1.8.0, 0.0.96.1.0.255 or 0100010800FF; or keys of quantities."
        ),
    ],
    class_id: Annotated[
        int, typer.Option("--class", help="COSEM class of the object; 0: not known.", min=0, max=65535)
    ] = 0,
    country: Annotated[str, typer.Option(help="Country whose meaning goes first, e.g. IN.")] = "",
    vendor: Annotated[str, typer.Option(help="FLAG identifier of the maker, e.g. KPZ.")] = "",
    *,
    json: Json = False,
) -> None:
    """Explain OBIS codes: meaning, quantity, unit, and what they mean in countries that differ."""
    run_lazily("obis", "obis", codes, class_id=class_id, country=country, vendor=vendor, as_json=json)
