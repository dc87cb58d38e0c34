"""`completeness`: how much of what the meters record is there, in the database of a head-end, running or not."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from headend.cli.output import print_json, print_table
from headend.runtime.database import open_store
from headend.runtime.settings import settings_of
from headend.services.history.completeness import HEADINGS, Completeness, as_csv, figures, rows_of_fleet, rows_of_meter
from headend.storage.store import wall_millis


def show(
    *, meter: str, days: int, worst: int, as_file: bool, config: str | None, data: str | None, as_json: bool
) -> None:
    """The days of the fleet or of a meter, or the worst meters."""
    with open_store(settings_of(config, data)) as store:
        completeness = Completeness(store.ledger, wall_millis)
        if worst:
            lines = completeness.worst(days, worst)
            rows: Iterator[tuple[object, ...]] = iter(
                [("meter", *HEADINGS), *((line.key, *figures(line)) for line in lines)]
            )
        else:
            rows = rows_of_meter(completeness, meter, days) if meter else rows_of_fleet(completeness, days)
        headings, *body = rows
    names = tuple(map(str, headings))
    if as_file:
        typer.echo(as_csv(iter([headings, *body])), nl=False)
    elif as_json:
        print_json([dict(zip(names, row, strict=True)) for row in body])
    else:
        print_table(names, body)
