"""`export`: what it takes. What it does is in `headend.cli.export`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Config, DataFolder, run_lazily


def export(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="csv, parquet, iec61968-9, nem12 or espi (Green Button).")
    ],
    meter: Annotated[list[str] | None, typer.Option(help="Only this meter; may be given again.")] = None,
    quantity: Annotated[list[str] | None, typer.Option(help="Only this quantity; may be given again.")] = None,
    start: Annotated[str, typer.Option("--from", help="First time, e.g. 2026-03-01 or 2026-03-01T12:00Z.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, not included; empty: now.")] = "",
    period: Annotated[int, typer.Option(help="Minutes of an interval; 0: as the load profile.", min=0, max=60)] = 0,
    zone: Annotated[str, typer.Option(help="Whose days and dates: Europe/Berlin, or +10:00.")] = "",
    sender: Annotated[str, typer.Option(help="Who sends, where the format says it.")] = "",
    receiver: Annotated[str, typer.Option(help="To whom, where the format says it.")] = "",
    output: Annotated[
        str, typer.Option("--output", "-o", help="File, whole or not at all; empty: standard output.")
    ] = "",
    by_day: Annotated[
        bool, typer.Option("--by-day", help="A file a day below the folder named by -o: day=2026-03-01/….")
    ] = False,
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Write stored readings as intervals in a format of other systems."""
    run_lazily(
        "export",
        "export",
        format_name,
        meters=meter or [],
        quantities=quantity or [],
        span=(start, end),
        said={"period_minutes": period, "zone": zone, "sender": sender, "receiver": receiver},
        output=output,
        by_day=by_day,
        place=(config, data),
    )
