"""`scan`, `identify`, `devices` and `adopt`: what they take. What they do is in `headend.cli.discovery`."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Config, DataFolder, Json, Profiles, Timeout, run_lazily

_MODULE = "discovery"


def scan(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="10.0.0.0/16, 10.0.0.1-10.0.3.250, a host name, serial:/dev/ttyUSB0?baud=9600; @FILE for a list of them.",
        ),
    ],
    ports: Annotated[
        str, typer.Option(help="Ports, e.g. 502,4059,8000-8010, or names of protocols; else those of all protocols.")
    ] = "",
    exclude: Annotated[list[str] | None, typer.Option(help="What is left out; as targets are written.")] = None,
    rate: Annotated[float | None, typer.Option(help="Connections a second.", min=0.1)] = None,
    window: Annotated[int | None, typer.Option(help="Connections under way at once.", min=1)] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait for a connection, and for one answer.", min=0.01)
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; for the audit trail.")] = "",
    config: Config = None,
    data: DataFolder = None,
    *,
    examine: Annotated[bool, typer.Option(help="Find out who is behind open ports.")] = True,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Try every probe everywhere.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was examined a short while ago.")] = False,
    credentials: Annotated[
        bool, typer.Option("--credentials", help="Use those that are kept for the networks of the targets.")
    ] = False,
    json: Json = False,
) -> None:
    """Find meters in networks, and find out what they are; kept only where --data or --config says where."""
    run_lazily(
        _MODULE,
        "scan",
        targets,
        ports=ports,
        exclude=exclude or (),
        rate=rate,
        window=window,
        timeout=timeout,
        reason=reason,
        examine=examine,
        exhaustive=exhaustive,
        again=again,
        credentials=credentials,
        config=config,
        data=data,
        as_json=json,
    )


def identify(
    place: Annotated[
        str, typer.Argument(metavar="URL|HOST:PORT", help="A meter URL, HOST:PORT, or serial:/dev/ttyUSB0?baud=9600")
    ],
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    *,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Try every probe.")] = False,
    json: Json = False,
) -> None:
    """Find out all that a meter shows: who it is, who may associate with it and how, its objects, maker and model."""
    run_lazily(_MODULE, "identify", place, timeout=timeout, folders=profiles, exhaustive=exhaustive, as_json=json)


def devices(
    state: Annotated[str, typer.Option(help="Only new, adopted or ignored ones.")] = "",
    vendor: Annotated[str | None, typer.Option(help="Only of this vendor; empty: of an unknown one.")] = None,
    scan_id: Annotated[str, typer.Option("--scan", help="Only what this scan has found.")] = "",
    search: Annotated[str, typer.Option(help="Part of URL, serial number, vendor, model or names.")] = "",
    config: Config = None,
    data: DataFolder = None,
    *,
    json: Json = False,
) -> None:
    """List what discovery has found and kept."""
    run_lazily(
        _MODULE,
        "list_devices",
        state=state,
        vendor=vendor,
        scan_id=scan_id,
        search=search,
        config=config,
        data=data,
        as_json=json,
    )


def adopt(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE…", help="Ids of devices; without them all new ones.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Template of names: {vendor} {model} {serial} {host} {port} and parameters.")
    ] = "{vendor} {serial}",
    tag: Annotated[list[str] | None, typer.Option(help="A tag that they get; several are possible.")] = None,
    poll: Annotated[
        float, typer.Option(help="Seconds between polls; 0: they are not polled.", min=0, max=2_678_400)
    ] = 60.0,
    profile: Annotated[str, typer.Option(help="Profile of all of them; else the one that fits each.")] = "",
    config: Config = None,
    data: DataFolder = None,
    *,
    json: Json = False,
) -> None:
    """Make meters of devices; a head-end reads them from its next start on."""
    run_lazily(
        _MODULE,
        "adopt",
        ids or (),
        name=name,
        tags=tag or (),
        poll=poll,
        profile=profile,
        config=config,
        data=data,
        as_json=json,
    )
