"""The `headend` command. Each command lives in a module of its own that is imported when the command runs."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from headend.cli.commanding import audit_app, command, completeness, job_app
from headend.cli.copying import backup, move, restore
from headend.cli.delivering import sinks_app
from headend.cli.discovering import adopt, devices, identify, scan
from headend.cli.exporting import export
from headend.cli.library import profile_app, record
from headend.cli.modelling import model_app
from headend.cli.options import Config, DataFolder, Json, Profiles, Timeout, Url
from headend.cli.options import run_lazily as _run
from headend.cli.understanding import fingerprint_app, obis
from headend.cli.virtual_meters import virtual_app
from headend.errors import (
    ConfigError,
    HeadendError,
    LinkError,
    MeterError,
    NotFound,
    ProtocolError,
    SecurityError,
    StorageError,
)

EXIT_CODES: tuple[tuple[type[HeadendError], int], ...] = (
    (ConfigError, 2),
    (NotFound, 2),
    (LinkError, 3),
    (ProtocolError, 4),
    (MeterError, 5),
    (SecurityError, 6),
    (StorageError, 7),
)
"""Exit codes by family of errors; 1 for all others, 130 after Ctrl-C."""

app = typer.Typer(
    name="headend",
    help="Head-end system for electricity meters: finds, reads, commands and emulates them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
user_app = typer.Typer(no_args_is_help=True, help="People who may use the console and REST.")
key_app = typer.Typer(no_args_is_help=True, help="API keys for programs.")
meters_app = typer.Typer(no_args_is_help=True, help="The meters in the database.")
app.add_typer(profile_app, name="profile")
app.add_typer(meters_app, name="meters")
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")
app.add_typer(job_app, name="job")
app.add_typer(audit_app, name="audit")
app.add_typer(sinks_app, name="sinks")
app.add_typer(fingerprint_app, name="fingerprint")
app.add_typer(model_app, name="model")
app.add_typer(virtual_app, name="virtual")
for each in (command, completeness, scan, identify, devices, adopt, export, backup, restore, move):
    app.command()(each)
app.command()(obis)
app.command()(record)


@app.callback(invoke_without_command=True)
def root(
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Head-end system for electricity meters: finds, reads, commands and emulates them."""
    if show_version:
        _print_version()
        raise typer.Exit


def _print_version() -> None:
    typer.echo(f"headend {version('headend')}")


@app.command()
def demo(
    meters: Annotated[int, typer.Option(help="Virtual meters.", min=3, max=10000)] = 210,
    port: Annotated[int, typer.Option(help="Port of the console.", min=0, max=65535)] = 8080,
    data: DataFolder = None,
    seconds: Annotated[float, typer.Option(help="Stop after this time; 0: run until Ctrl-C.", min=0)] = 0,
) -> None:
    """Run everything at once: a virtual fleet, the head-end, a broker and the console."""
    _run("demo", "demo", meters=meters, port=port, data=data, seconds=seconds)


@app.command()
def serve(config: Config = None, data: DataFolder = None) -> None:
    """Run the head-end for real, as its settings say."""
    _run("serve", "serve", config=config, data=data)


@app.command()
def emulate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE|FILE.toml|CAPTURE",
            help="A meter profile, a file that is one or describes a fleet, or a capture (.pcap, .pcapng) to play again.",
        ),
    ],
    count: Annotated[int, typer.Option(help="Meters of that profile.", min=1, max=100000)] = 1,
    port: Annotated[int, typer.Option(help="Port; 0: the protocol's own, or any free one.", min=0, max=65535)] = 0,
    framing: Annotated[str, typer.Option(help="Variant of the protocol: wrapper, apdu, hdlc; tcp, rtu.")] = "",
    profiles: Profiles = None,
    *,
    json: Json = False,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="End with the program that holds the other end of standard input.")
    ] = False,
    control: Annotated[
        str, typer.Option(help="Take orders here, from who has HEADEND_CONTROL_TOKEN.", metavar="127.0.0.1:PORT")
    ] = "",
    start: Annotated[str, typer.Option(help="What the meters' clocks show at the start.", metavar="TIME")] = "",
    speed: Annotated[float | None, typer.Option(help="How fast they run; 60: a minute each second.")] = None,
) -> None:
    """Run virtual meters on loopback addresses until Ctrl-C."""
    _run(
        "emulate",
        "emulate",
        what,
        count=count,
        port=port,
        framing=framing,
        folders=profiles,
        as_json=json,
        until_eof=until_eof,
        control=control,
        start=start,
        speed=speed,
    )


@app.command()
def read(
    url: Url,
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="REF", help="Objects, e.g. 3/1-0:1.8.0.255/2 or 1-0:1.8.0.255")
    ] = None,
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    *,
    json: Json = False,
    hexdump: Annotated[bool, typer.Option("--hex", help="Show the octets on the wire, without secrets.")] = False,
    watch: Annotated[
        float, typer.Option("--watch", help="Read again every so many seconds, until Ctrl-C.", min=0, max=86400)
    ] = 0,
    capture: Annotated[
        str, typer.Option("--capture", help="Keep the octets in a pcapng file, without secrets.", metavar="FILE")
    ] = "",
) -> None:
    """Read objects of a meter; without REF all that its profile, or its object list, names."""
    _run(
        "meter",
        "read",
        url,
        refs or [],
        timeout=timeout,
        folders=profiles,
        as_json=json,
        hexdump=hexdump,
        watch=watch,
        capture=capture,
    )


@app.command()
def history(
    url: Url,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="The load profile, e.g. 7/1-0:99.1.0.255/2 or 1-0:99.1.0.255")
    ],
    start: Annotated[
        str | None, typer.Option("--from", help="First time, e.g. 2026-03-01 or 2026-03-01T12:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, not included.")] = None,
    first: Annotated[int | None, typer.Option("--first", help="First entry, 1 is the oldest.", min=1)] = None,
    last: Annotated[int | None, typer.Option("--last", help="Last entry.", min=1)] = None,
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    *,
    json: Json = False,
) -> None:
    """Read a load profile by time range or by entry."""
    _run(
        "meter",
        "history",
        url,
        ref,
        start=start,
        end=end,
        first=first,
        last=last,
        timeout=timeout,
        folders=profiles,
        as_json=json,
    )


@app.command()
def objects(url: Url, timeout: Timeout = 5.0, profiles: Profiles = None, *, json: Json = False) -> None:
    """List what a meter has."""
    _run("meter", "objects", url, timeout=timeout, folders=profiles, as_json=json)


@app.command()
def probe(
    url: Url,
    ranges: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RANGE", help="What to ask for, e.g. 3/1-0:[1-99].7.0.255/2 or input/0-80/f32; else a curated list."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second.", min=0.1, max=1000)] = 5.0,
    per_session: Annotated[int, typer.Option(help="Requests before the session is opened anew.", min=1)] = 200,
    state: Annotated[str, typer.Option(help="File to note answers in, and to go on from.", metavar="FILE")] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="Draft of a meter file.", metavar="FILE")] = "",
    timeout: Timeout = 5.0,
    profiles: Profiles = None,
    *,
    json: Json = False,
) -> None:
    """Find out which objects a meter answers, one by one and politely; ends at the first sign that it defends itself."""
    _run(
        "probe",
        "probe",
        url,
        ranges or [],
        rate=rate,
        per_session=per_session,
        state=state,
        output=output,
        timeout=timeout,
        folders=profiles,
        as_json=json,
    )


@app.command()
def unlock(url: Url) -> None:
    """Let a secret that a meter has refused be tried once more, because the meter was changed."""
    _run("meter", "unlock", url)


@app.command()
def decode(
    octets: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX", help="Hexadecimal or a hexdump; - for standard input, @FILE for a file, also a capture."
        ),
    ],
    protocol: Annotated[str, typer.Option(help="Protocol; without it every installed one is tried.")] = "",
    ek: Annotated[str, typer.Option(help="Where the encryption key is: env:NAME or file:PATH.", metavar="PLACE")] = "",
    ak: Annotated[str, typer.Option(help="Where the authentication key is.", metavar="PLACE")] = "",
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="Where another key is, or a system title: bk, dk, mk, ka, client_title, server_title.",
            metavar="NAME=PLACE",
        ),
    ] = None,
    port: Annotated[
        list[int] | None, typer.Option(help="Explain only conversations of this port in a capture.", min=1, max=65535)
    ] = None,
    *,
    json: Json = False,
    xml: Annotated[bool, typer.Option("--xml", help="APDUs in the XML notation of DLMS translators.")] = False,
) -> None:
    """Explain frames layer by layer, or a capture (pcap, pcapng); ciphered ones with their keys."""
    if json and xml:
        raise typer.BadParameter("either --json or --xml")
    keys = {name: place for name, place in (("ek", ek), ("ak", ak)) if place}
    keys |= dict(each.partition("=")[::2] for each in key or ())
    _run("decode", "decode", octets, protocol=protocol, keys=keys, ports=port or (), as_json=json, as_xml=xml)


@app.command()
def listen(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE…", help="tcp://HOST:PORT, udp://HOST:PORT, serial:/dev/ttyUSB0?baud=2400&line=8N1"
        ),
    ],
    meter: Annotated[
        list[str] | None,
        typer.Option("--meter", help="A known meter: inbound://SYSTEM-TITLE?ek=env:NAME&ak=env:NAME&profile=ID"),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="End after so many pushes; 0: never.", min=0)] = 0,
    seconds: Annotated[float, typer.Option("--seconds", help="End after this time; 0: never.", min=0)] = 0,
    profiles: Profiles = None,
    *,
    json: Json = False,
) -> None:
    """Print what meters push, until Ctrl-C."""
    _run("listen", "listen", places, meters=meter, folders=profiles, as_json=json, count=count, seconds=seconds)


@app.command()
def doctor(config: Config = None, data: DataFolder = None, *, json: Json = False) -> None:
    """Check machine, settings, database and broker, and explain what is wrong."""
    _run("doctor", "doctor", config=config, data=data, as_json=json)


@meters_app.command("import")
def meters_import(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="What `headend emulate --json` says, or a meter URL and a name in each line; - for standard input.",
        ),
    ],
    poll: Annotated[
        float, typer.Option(help="Seconds between polls; 0: they are not polled.", min=0, max=2_678_400)
    ] = 60.0,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that they get; several are possible.")] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="A secret of all of them: secret=env:NAME, ek=file:PATH …", metavar="NAME=PLACE"),
    ] = None,
    config: Config = None,
    data: DataFolder = None,
) -> None:
    """Enter many meters at once, all or none; those that are known by that name are changed."""
    _run("meters", "import_meters", file, poll=poll, tags=tag or (), secrets=secret or (), config=config, data=data)


Role = Annotated[str, typer.Option(help="viewer, operator, dispatcher or admin")]


@user_app.command("add")
def user_add(
    name: Annotated[str, typer.Argument()], role: Role = "viewer", config: Config = None, data: DataFolder = None
) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    _run("access", "add_user", name, role=role, config=config, data=data)


@user_app.command("list")
def user_list(config: Config = None, data: DataFolder = None, *, json: Json = False) -> None:
    """List the users."""
    _run("access", "list_users", config=config, data=data, as_json=json)


@user_app.command("remove")
def user_remove(name: Annotated[str, typer.Argument()], config: Config = None, data: DataFolder = None) -> None:
    """Remove a user and end the sessions of that user."""
    _run("access", "remove_user", name, config=config, data=data)


@key_app.command("add")
def key_add(
    name: Annotated[str, typer.Argument()], role: Role = "viewer", config: Config = None, data: DataFolder = None
) -> None:
    """Make an API key; it is printed once."""
    _run("access", "add_key", name, role=role, config=config, data=data)


@key_app.command("list")
def key_list(config: Config = None, data: DataFolder = None, *, json: Json = False) -> None:
    """List the API keys, without the keys themselves."""
    _run("access", "list_keys", config=config, data=data, as_json=json)


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")], config: Config = None, data: DataFolder = None
) -> None:
    """Revoke an API key."""
    _run("access", "revoke_key", key_id, config=config, data=data)


def exit_code(error: HeadendError) -> int:
    """The exit code of an error."""
    return next((code for family, code in EXIT_CODES if isinstance(error, family)), 1)


def run() -> None:
    """Entry point: run a command, print errors of the tree as one line and a hint, exit with their code."""
    if sys.argv[1:] == ["--version"]:
        _print_version()  # without the parameters of all commands, for which Typer loads pydantic
        return
    try:
        app()
    except HeadendError as error:
        typer.echo(f"headend: {error}", err=True)
        if error.hint:
            typer.echo(f"  try: {error.hint}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    run()
