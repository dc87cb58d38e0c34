"""`command`, `job` and `audit`: what they take. What they do is in `headend.cli.acting`, `jobs` and `audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Config, DataFolder, Json, Profiles, Timeout, Url, run_lazily

job_app = typer.Typer(no_args_is_help=True, help="Commands on their way in a running head-end.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")

Server = Annotated[
    str, typer.Option("--server", help="Where the head-end is; empty: as its settings say.", metavar="URL")
]
Key = Annotated[str, typer.Option("--key", help="Where the API key is: env:NAME or file:PATH.")]
JobId = Annotated[str, typer.Argument(metavar="JOB")]


def command(
    url: Url,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND",
            help="disconnect, allow-reconnect, reconnect, set-clock, freeze, reset-demand, clear-meter, clear-events,"
            " change-secret, write, invoke",
        ),
    ],
    params: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]…", help="What it takes: ref=…, value=…, name=…, at=… (milliseconds)."),
    ] = None,
    secret: Annotated[str, typer.Option(help="What a secret is changed to: env:NAME or file:PATH.")] = "",
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")] = False,
    json: Json = False,
) -> None:
    """Carry out a command on one meter, now and directly, and look whether it was."""
    run_lazily(
        "acting",
        "command",
        url,
        kind,
        params or [],
        secret=secret,
        timeout=timeout,
        folders=profiles,
        yes=yes,
        as_json=json,
    )


@job_app.command("list")
def job_list(
    meter: Annotated[str, typer.Option(help="Only of this meter.")] = "",
    states: Annotated[str, typer.Option(help="Only these, with commas between.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    config: Config = None,
    server: Server = "",
    key: Key = "env:HEADEND_KEY",
    *,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    run_lazily("jobs", "list_jobs", _place(config, server, key), meter=meter, states=states, limit=limit, as_json=json)


@job_app.command("show")
def job_show(
    job: JobId, config: Config = None, server: Server = "", key: Key = "env:HEADEND_KEY", *, json: Json = False
) -> None:
    """Show a job."""
    run_lazily("jobs", "show", _place(config, server, key), job, as_json=json)


@job_app.command("confirm")
def job_confirm(
    job: JobId,
    code: Annotated[str, typer.Argument(metavar="[CODE]", help="Of one that was asked for with the same key.")] = "",
    config: Config = None,
    server: Server = "",
    key: Key = "env:HEADEND_KEY",
    *,
    json: Json = False,
) -> None:
    """Confirm a job that was proposed, and wait up to a minute for its end."""
    run_lazily("jobs", "confirm", _place(config, server, key), job, code, as_json=json)


@job_app.command("cancel")
def job_cancel(
    job: JobId, config: Config = None, server: Server = "", key: Key = "env:HEADEND_KEY", *, json: Json = False
) -> None:
    """Take a job back that was not begun."""
    run_lazily("jobs", "cancel", _place(config, server, key), job, as_json=json)


def completeness(
    meter: Annotated[str, typer.Option(help="Day by day of one meter, by its id; without it, of all.")] = "",
    days: Annotated[int, typer.Option(min=1, max=400, help="The newest days.")] = 31,
    worst: Annotated[int, typer.Option(min=0, max=100000, help="So many meters instead, the worst first.")] = 0,
    config: Config = None,
    data: DataFolder = None,
    *,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Json = False,
) -> None:
    """Show how much of the load profiles is there, what may still arrive, and what never will."""
    run_lazily(
        "completeness", "show", meter=meter, days=days, worst=worst, as_file=csv, config=config, data=data, as_json=json
    )


@audit_app.command("verify")
def audit_verify(config: Config = None, data: DataFolder = None, *, json: Json = False) -> None:
    """Check that no row of the audit trail was changed, moved or taken away; exit code 1 where one was."""
    run_lazily("audit", "verify", config=config, data=data, as_json=json)


@audit_app.command("list")
def audit_list(
    actor: Annotated[str, typer.Option(help="Only what this one did, as user:anna.")] = "",
    subject: Annotated[str, typer.Option(help="Only what was done to this, as meter:m1.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100000)] = 50,
    config: Config = None,
    data: DataFolder = None,
    *,
    json: Json = False,
) -> None:
    """List the audit trail, the newest first."""
    run_lazily("audit", "list_rows", actor=actor, subject=subject, limit=limit, config=config, data=data, as_json=json)


@audit_app.command("export")
def audit_export(config: Config = None, data: DataFolder = None) -> None:
    """Print the whole audit trail, oldest first, one JSON object a line, with the digests of its chain."""
    run_lazily("audit", "export", config=config, data=data)


def _place(config: str | None, server: str, key: str) -> tuple[str | None, str, str]:
    return config, server, key
