"""`profile`: the meter library."""

from __future__ import annotations

from pathlib import Path

import typer

from headend.cli.output import print_json, print_table
from headend.drivers.library import load_profile
from headend.drivers.registry import driver
from headend.errors import ConfigError
from headend.model.quantity import quantities
from headend.runtime.folders import library_in


def list_profiles(*, folders: list[str] | None, as_json: bool) -> None:
    """One line a profile."""
    library = library_in(folders)
    rows = [(p.id, p.vendor, p.model, p.protocol, p.state.value, len(p.objects)) for p in library]
    columns = ("id", "vendor", "model", "protocol", "state", "objects")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def show(profile_id: str, *, folders: list[str] | None, as_json: bool) -> None:
    """One profile, object by object."""
    library = library_in(folders)
    profile = library.get(profile_id)
    if as_json:
        print_json(
            {
                "id": profile.id,
                "vendor": profile.vendor,
                "model": profile.model,
                "protocol": profile.protocol,
                "state": profile.state.value,
                "source": profile.source,
                "link": {**profile.link, **profile.recovery},
                "association": dict(profile.association),
                "objects": [
                    {
                        "ref": str(entry.ref),
                        "quantity": entry.quantity,
                        "unit": entry.unit,
                        "name": entry.name,
                        "poll": entry.poll,
                    }
                    for entry in profile.objects
                ],
            }
        )
        return
    typer.echo(f"{profile.vendor} {profile.model} ({profile.protocol}, {profile.state.value})")
    typer.echo(f"source: {profile.source}\nfile: {library.path(profile_id)}\n")
    print_table(
        ("object", "quantity", "unit", "name"),
        [(entry.ref.address, entry.quantity, entry.unit, entry.name) for entry in profile.objects],
    )


def check(paths: list[str], *, as_json: bool) -> None:
    """Load each file; all problems are printed, the first one ends the command."""
    problems: list[tuple[str, str]] = []
    for name in paths:
        path = Path(name)
        try:
            profile = load_profile(path.read_text(encoding="utf-8"), path.stem, name)
            driver(profile.protocol).check_file(profile)
        except ConfigError as error:
            words = str(error)
            problems.append((name, words if words.startswith(name) else f"{name}: {words}"))
        except (OSError, UnicodeDecodeError) as error:
            problems.append((name, f"{name}: cannot be read: {error}"))
        else:
            if not as_json:
                typer.echo(
                    f"{name}: {profile.vendor} {profile.model}, {len(profile.objects)} objects, {len(profile.tests)} tests: well"
                )
    if as_json:
        print_json([{"file": name, "problem": problem} for name, problem in problems])
    for _, problem in problems[1:]:
        typer.echo(problem, err=True)
    if problems:
        raise ConfigError(problems[0][1])


def list_quantities(*, as_json: bool) -> None:
    """The catalogue."""
    rows = [(q.key, q.unit, q.kind.value, q.obis, q.label) for q in quantities().values()]
    columns = ("key", "unit", "kind", "obis", "label")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)
