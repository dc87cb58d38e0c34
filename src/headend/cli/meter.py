"""`read`, `history`, `objects`: one meter by its URL."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from headend.cli.output import print_json, print_table, progress
from headend.drivers.masking import Masking, Piece
from headend.drivers.registry import driver
from headend.errors import ConfigError, RemoteProtocolError, StorageError
from headend.model.meter import Endpoint
from headend.model.url import parse_url
from headend.runtime.connect import connect
from headend.runtime.connected import Connected, Measured
from headend.runtime.folders import data_folder, library_in, refusal_file
from headend.runtime.secrets import resolve_secrets
from headend.services.lockout import Lockout
from headend.transport.capture import Dialogue, file_header
from headend.transport.link import Tap
from headend.transport.loop import run as run_loop

LONGEST: Final = 200
"""characters of a structure that is shown unasked"""
_OUR_PORT: Final = 49152
"""in captures, which need one"""


def read(
    url: str,
    refs: list[str],
    *,
    timeout: float,
    folders: list[str] | None,
    as_json: bool,
    hexdump: bool,
    watch: float,
    capture: str,
) -> None:
    """Read objects and print them, again and again where that is wanted."""

    async def work(meter: Connected) -> None:
        while True:
            found = await meter.read_all(*refs)
            if as_json:
                print_json([_document(one) for one in found])
            else:
                if watch:
                    typer.echo(f"--- {datetime.now(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}")
                print_table(("object", "quantity", "value", "unit"), [_line(one, brief=not refs) for one in found])
            errors = [one.error for one in found if one.error]
            if found and len(errors) == len(found):
                raise errors[0]
            if not watch:
                return
            await asyncio.sleep(watch)

    _with_meter(url, timeout, folders, work, hexdump=hexdump, capture=capture)


def _document(one: Measured) -> dict[str, object]:
    return {
        "ref": str(one.ref),
        "quantity": one.quantity or None,
        "name": one.name or None,
        "value": one.value,
        "unit": one.unit or None,
        **({"error": one.error.code, "detail": str(one.error)} if one.error else {}),
    }


def _line(one: Measured, *, brief: bool) -> tuple[str, str, str, str]:
    """A line of the table; `brief` says of a long structure only how long it is."""
    said = f"! {one.error}" if one.error else _text(one.value)
    if brief and isinstance(one.value, list) and len(said) > LONGEST:
        said = f"({len(one.value)} elements: name the object to see them)"
    return one.ref.address, one.quantity or one.name, said, "" if one.error else one.unit


def history(
    url: str,
    ref: str,
    *,
    start: str | None,
    end: str | None,
    first: int | None,
    last: int | None,
    timeout: float,
    folders: list[str] | None,
    as_json: bool,
) -> None:
    """Read a load profile and print its rows as they arrive."""
    since, until = _time(start, "--from"), _time(end, "--to")

    async def work(meter: Connected) -> None:
        rows: list[dict[str, object]] = []
        header = False
        with progress("rows") as done:
            async for row in meter.history(ref, start=since, end=until, first=first, last=last):
                if as_json:
                    rows.append({"time": _iso(row.time), **row.values})
                else:
                    if not header:
                        header = True
                        names = [f"{name} [{unit}]" if unit else name for name, unit in row.units.items()]
                        typer.echo("\t".join(["time", *names]))
                    typer.echo("\t".join([_iso(row.time) or "-", *map(_text, row.values.values())]))
                done(1)
        if as_json:
            print_json(rows)

    _with_meter(url, timeout, folders, work)


def objects(url: str, *, timeout: float, folders: list[str] | None, as_json: bool) -> None:
    """Print the object list."""

    async def work(meter: Connected) -> None:
        listed = await meter.objects()
        if as_json:
            print_json([{**dataclasses.asdict(info), "ref": str(info.ref)} for info in listed])
            return
        print_table(
            ("object", "class", "version", "name", "access"),
            [
                (
                    info.ref.address,
                    info.class_name or (info.class_id if info.class_id is not None else ""),
                    "" if info.version is None else info.version,
                    info.quantity or info.name,
                    " ".join(f"{attribute}:{access}" for attribute, access in info.attributes.items()),
                )
                for info in listed
            ],
        )

    _with_meter(url, timeout, folders, work)


def unlock(url: str) -> None:
    """Forget what a meter has refused."""
    parsed = parse_url(url)
    refusals = refusal_file(data_folder())
    try:
        asyncio.run(Lockout(refusals).release(parsed.meter("")))
    finally:
        refusals.close()


def _with_meter(
    url: str,
    timeout: float,
    folders: list[str] | None,
    work: Callable[[Connected], Awaitable[None]],
    *,
    hexdump: bool = False,
    capture: str = "",
) -> None:
    parsed = parse_url(url)
    secrets = resolve_secrets(parsed.secrets) if hexdump or capture else {}

    def show(direction: str, octets: bytes) -> None:
        typer.echo(f"{direction} {_without([secret.reveal() for secret in secrets.values()], octets)}", err=True)

    async def main() -> None:
        library = library_in(folders)
        masking = Masking(driver(parsed.protocol) if parsed.protocol else None, secrets)
        try:
            with _captured(capture, parsed.endpoint, masking) as keep:
                tap = _both(show, keep) if hexdump and keep else show if hexdump else keep
                async with connect(url, timeout=timeout, library=library, tap=tap) as meter:
                    await work(meter)
        except RemoteProtocolError as error:
            error.hint = error.hint or "does it speak this protocol and framing? headend read --hex shows the octets"
            raise

    run_loop(main())


def _both(one: Tap, other: Tap) -> Tap:
    def tap(direction: str, octets: bytes) -> None:
        one(direction, octets)
        other(direction, octets)

    return tap


@contextmanager
def _captured(path: str, endpoint: Endpoint, masking: Masking) -> Iterator[Tap | None]:
    """What keeps the octets of a link in a file; none without a file."""
    if not path:
        yield None
        return
    there = f"{endpoint.host}:{endpoint.port}"
    said = Dialogue(f"{endpoint.host}:{_OUR_PORT}", there)
    try:
        with Path(path).open("wb") as file:

            def keep(pieces: Iterable[Piece]) -> None:
                now = time.time_ns() // 1_000_000
                file.writelines(said.carried(piece.octets, now, sent=piece.sent) for piece in pieces)

            file.write(file_header() + said.opening(time.time_ns() // 1_000_000))
            yield lambda direction, octets: keep(masking.take(octets, sent=direction == ">>"))
            keep(masking.finish())
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _without(secrets: Sequence[bytes], octets: bytes) -> str:
    """Octets in hexadecimal with asterisks in place of secrets."""
    text = octets.hex(" ")
    for secret in secrets:
        if secret:
            text = text.replace(secret.hex(" "), " ".join(["**"] * len(secret)))
    return text


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected a time like 2026-03-01 or 2026-03-01T12:00Z, got {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return "-" if value is None else str(value)
