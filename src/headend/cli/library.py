"""`profile` and `record`: what they take. What they do is in `headend.cli.profile`, `profiling` and `recording`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Config, DataFolder, Json, Profiles, Timeout, Url, run_lazily

profile_app = typer.Typer(no_args_is_help=True, help="The meter library.")

Output = Annotated[
    str, typer.Option("--output", "-o", help="File to write; without it, standard output.", metavar="FILE")
]
IdOrFile = Annotated[str, typer.Argument(metavar="ID|FILE", help="A profile of the library, or a meter file.")]


@profile_app.command("list")
def profile_list(profiles: Profiles = None, *, json: Json = False) -> None:
    """List the meter profiles."""
    run_lazily("profile", "list_profiles", folders=profiles, as_json=json)


@profile_app.command("show")
def profile_show(
    profile_id: Annotated[str, typer.Argument(metavar="ID")], profiles: Profiles = None, *, json: Json = False
) -> None:
    """Show one meter profile."""
    run_lazily("profile", "show", profile_id, folders=profiles, as_json=json)


@profile_app.command("check")
def profile_check(
    paths: Annotated[list[str], typer.Argument(metavar="FILE…", help="Meter files.")], *, json: Json = False
) -> None:
    """Check meter files: form, addresses, quantities, and their own tests."""
    run_lazily("profile", "check", paths, as_json=json)


@profile_app.command("quantities")
def profile_quantities(*, json: Json = False) -> None:
    """List the catalogue of quantities."""
    run_lazily("profile", "list_quantities", as_json=json)


@profile_app.command("draft")
def profile_draft(
    where: Annotated[
        str,
        typer.Argument(metavar="URL|DEVICE", help="A meter to ask, or the id of a device that discovery has found."),
    ],
    output: Output = "",
    keep: Annotated[str, typer.Option(help="Keep it in the library of the head-end under this id.", metavar="ID")] = "",
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Draft a meter file from what a meter answers, or from what discovery has learned of it."""
    run_lazily(
        "profiling",
        "draft",
        where,
        output=output,
        keep=keep,
        timeout=timeout,
        folders=profiles,
        config=config,
        data=data,
    )


@profile_app.command("diff")
def profile_diff(
    one: IdOrFile,
    other: Annotated[
        str,
        typer.Argument(metavar="[ID|FILE]", help="What it is compared with; without it, the nearest of the library."),
    ] = "",
    profiles: Profiles = None,
    config: Config = None,
    data: DataFolder = None,
    *,
    json: Json = False,
) -> None:
    """Show what differs between two profiles, object by object: what the second one becomes the first one by."""
    run_lazily("profiling", "diff", one, other, folders=profiles, config=config, data=data, as_json=json)


@profile_app.command("test")
def profile_test(
    what: IdOrFile,
    url: Url,
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    config: Config = None,
    data: DataFolder = None,
    *,
    json: Json = False,
) -> None:
    """Read every object of a profile from a meter: what answers, what is plausible, how long it takes."""
    run_lazily(
        "profiling", "test", what, url, timeout=timeout, folders=profiles, config=config, data=data, as_json=json
    )


@profile_app.command("promote")
def profile_promote(
    what: IdOrFile,
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="The real meter that verifies an EMULATED profile, in plain.")
    ] = "",
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Make a DRAFT EMULATED by its own virtual meter, an EMULATED profile FIELD_VERIFIED by a real meter."""
    run_lazily("profiling", "promote", what, url, timeout=timeout, folders=profiles, config=config, data=data)


@profile_app.command("export")
def profile_export(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Profiles of the library.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="json (one line each), or csv: the object map of one.")
    ] = "json",
    output: Output = "",
    profiles: Profiles = None,
    config: Config = None,
    data: DataFolder = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All profiles.")] = False,
) -> None:
    """Write profiles for other systems, without secrets."""
    run_lazily(
        "profiling",
        "export",
        ids or [],
        form=form,
        output=output,
        folders=profiles,
        config=config,
        data=data,
        everything=everything,
    )


@profile_app.command("import")
def profile_import(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON, NDJSON, a meter file (.toml), or an object map (.csv); - for standard input."
        ),
    ],
    profile_id: Annotated[str, typer.Option("--id", help="Under which id: of a meter file or an object map.")] = "",
    vendor: Annotated[str, typer.Option(help="Of an object map.")] = "unknown",
    model: Annotated[str, typer.Option(help="Of an object map.")] = "unknown",
    config: Config = None,
    data: DataFolder = None,
    *,
    change: Annotated[bool, typer.Option("--change", help="Also over profiles that are there already.")] = False,
    json: Json = False,
) -> None:
    """Take profiles into the library of the head-end, each for itself."""
    run_lazily(
        "profiling",
        "take_in",
        file,
        profile_id=profile_id,
        vendor=vendor,
        model=model,
        config=config,
        data=data,
        change=change,
        as_json=json,
    )


def record(
    what: Annotated[
        str, typer.Argument(metavar="URL|CAPTURE", help="Meter URL, or a capture (.pcap, .pcapng) of one.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Meter file to write.", metavar="FILE")],
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    profile: Annotated[
        str, typer.Option(help="Profile of the meter in a capture, if it needs one.", metavar="ID")
    ] = "",
    *,
    waveforms: Annotated[
        bool,
        typer.Option("--waveforms", help="Amounts live as those of virtual meters; without it they stay as they were."),
    ] = False,
) -> None:
    """Turn a meter into a meter file that emulates it, without what tells which one it was."""
    run_lazily(
        "recording",
        "record",
        what,
        output=output,
        timeout=timeout,
        folders=profiles,
        profile_id=profile,
        waveforms=waveforms,
    )
