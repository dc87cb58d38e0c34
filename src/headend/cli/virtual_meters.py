"""`virtual`: what its commands take. What they do is in `headend.cli.hands`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Json, run_lazily

virtual_app = typer.Typer(no_args_is_help=True, help="The virtual meters of a running `headend emulate --control`.")
_MODULE = "hands"

Place = Annotated[
    str,
    typer.Option("--control", help="Where its control is; the token is in HEADEND_CONTROL_TOKEN.", metavar="HOST:PORT"),
]
Group = Annotated[str, typer.Option(help="Only meters of this group.")]
Name = Annotated[str, typer.Option(help="Only meters whose name has this pattern: house-*.")]


@virtual_app.command("list")
def list_meters(
    control: Place,
    group: Group = "",
    name: Name = "",
    limit: Annotated[int, typer.Option(help="So many at most.", min=1)] = 100,
    *,
    groups: Annotated[bool, typer.Option("--groups", help="Groups instead of meters.")] = False,
    json: Json = False,
) -> None:
    """Show virtual meters: where they are reached, whether they run, what is wrong with them."""
    run_lazily(_MODULE, "show", control, group, name, limit=limit, groups=groups, as_json=json)


@virtual_app.command("break")
def break_meters(
    kind: Annotated[
        str, typer.Argument(metavar="FAULT", help="silent, latency, fcs, one-session …; see the fleets page.")
    ],
    control: Place,
    group: Group = "",
    name: Name = "",
    share: Annotated[float, typer.Option(help="Of these meters, 0 to 1.", min=0, max=1)] = 1.0,
    chance: Annotated[float, typer.Option(help="At each answer, 0 to 1.", min=0, max=1)] = 1.0,
    seconds: Annotated[float, typer.Option(help="How long, for faults that take time.", min=0)] = 2.0,
) -> None:
    """Let something be wrong with virtual meters, at once and on open links too."""
    run_lazily(_MODULE, "break_", control, kind, group, name, share=share, chance=chance, seconds=seconds)


@virtual_app.command("mend")
def mend_meters(
    control: Place,
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="FAULT…", help="Only these; else whatever is wrong.")
    ] = None,
    group: Group = "",
    name: Name = "",
) -> None:
    """Let it be wrong no more."""
    run_lazily(_MODULE, "mend", control, kinds or [], group, name)


@virtual_app.command("stop")
def stop_meters(control: Place, group: Group = "", name: Name = "") -> None:
    """Switch virtual meters off: they drop their links and take no others."""
    run_lazily(_MODULE, "switch", control, group, name, on=False)


@virtual_app.command("start")
def start_meters(control: Place, group: Group = "", name: Name = "") -> None:
    """Switch virtual meters on again."""
    run_lazily(_MODULE, "switch", control, group, name, on=True)


@virtual_app.command("reboot")
def reboot_meters(
    control: Place,
    group: Group = "",
    name: Name = "",
    seconds: Annotated[float, typer.Option(help="For so long they say nothing.", min=0)] = 10.0,
) -> None:
    """Reboot virtual meters: they drop their links and say nothing for a while."""
    run_lazily(_MODULE, "reboot", control, group, name, seconds=seconds)


@virtual_app.command("clock")
def set_clock(
    control: Place,
    at: Annotated[str, typer.Option(help="What it is to show: 2026-10-25T00:59:00Z.", metavar="TIME")] = "",
    speed: Annotated[float | None, typer.Option(help="Seconds that pass in a second.", min=0.001)] = None,
) -> None:
    """Let the clock of all virtual meters show another time, or run at another speed; without either, show it."""
    run_lazily(_MODULE, "clock", control, at=at, speed=speed)
