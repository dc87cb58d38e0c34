"""`read`, `history`, `objects`, `identify`: one meter by its URL."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import typer

from headend.cli.output import print_json, print_table, progress
from headend.drivers.library import Library
from headend.drivers.mapping import scale
from headend.drivers.registry import driver
from headend.errors import ConfigError, HeadendError, NotFound, RemoteProtocolError
from headend.model.objects import HistoryRequest, ObjectEntry, ObjectInfo, RawValue, ReadPlan, ReadResult
from headend.model.reading import from_millis, to_millis
from headend.model.url import parse_url
from headend.runtime.connect import Connected, connect
from headend.runtime.secrets import resolve_secrets
from headend.transport.loop import run as run_loop

LONGEST: Final = 200
"""characters of a structure that is shown unasked"""


def read(
    url: str,
    refs: list[str],
    *,
    timeout: float,
    folders: list[str] | None,
    as_json: bool,
    hexdump: bool,
    watch: float,
) -> None:
    """Read objects and print them, again and again where that is wanted."""

    async def work(meter: Connected) -> None:
        entries = await _entries(meter, refs)
        plan = ReadPlan(entries=tuple(entries))
        while True:
            rows = _rows(plan, await meter.session.read(plan))
            if as_json:
                print_json([_document(*row) for row in rows])
            else:
                if watch:
                    typer.echo(f"--- {datetime.now(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}")
                shown = [_line(*row, brief=not refs) for row in rows]
                print_table(("object", "quantity", "value", "unit"), shown)
            errors = [error for *_, error in rows if error]
            if rows and len(errors) == len(rows):
                raise errors[0]
            if not watch:
                return
            await asyncio.sleep(watch)

    _with_meter(url, timeout, folders, work, hexdump=hexdump)


_Row: TypeAlias = tuple[ObjectEntry, object, str, HeadendError | None]
"""An entry, its value, the unit of that, and why there is none."""


def _rows(plan: ReadPlan, result: ReadResult) -> list[_Row]:
    exponents = result.exponents or [entry.exponent for entry in plan.entries]
    units = result.units or [entry.unit for entry in plan.entries]
    return [
        (entry, None if index in result.errors else _plain(value, exponents[index]), units[index], error)
        for index, (entry, value) in enumerate(zip(plan.entries, result.values, strict=True))
        for error in [result.errors.get(index)]
    ]


def _document(entry: ObjectEntry, value: object, unit: str, error: HeadendError | None) -> dict[str, object]:
    return {
        "ref": str(entry.ref),
        "quantity": entry.quantity or None,
        "name": entry.name or None,
        "value": value,
        "unit": unit or None,
        **({"error": error.code, "detail": str(error)} if error else {}),
    }


def _line(
    entry: ObjectEntry, value: object, unit: str, error: HeadendError | None, *, brief: bool
) -> tuple[str, str, str, str]:
    """A line of the table; `brief` says of a long structure only how long it is."""
    said = f"! {error}" if error else _text(value)
    if brief and isinstance(value, list) and len(said) > LONGEST:
        said = f"({len(value)} elements: name the object to see them)"
    return entry.ref.address, entry.quantity or entry.name, said, "" if error else unit


async def _entries(meter: Connected, refs: list[str]) -> list[ObjectEntry]:
    known = {entry.ref: entry for entry in (meter.profile.objects if meter.profile else ())}
    if not refs and known:
        return list(known.values())
    listed: Sequence[ObjectInfo] | None = None
    if not refs:
        listed = await meter.session.objects()
        return [_entry(info) for info in listed if not info.history and _readable(info)]
    entries = []
    for text in refs:
        try:
            ref = driver(meter.meter.protocol).parse_ref(text.removeprefix(f"{meter.meter.protocol}:"))
        except ConfigError:
            listed = listed if listed is not None else await meter.session.objects()
            info = _find(text, listed)
            entries.append(known.get(info.ref) or _entry(info))
        else:
            entries.append(known.get(ref) or ObjectEntry(ref=ref, scaler=None))
    return entries


def _entry(info: ObjectInfo) -> ObjectEntry:
    return ObjectEntry(
        ref=info.ref, quantity=info.quantity, name=info.name or info.class_name, unit=info.unit, scaler=None
    )


def _readable(info: ObjectInfo) -> bool:
    return not info.attributes or "r" in info.attributes.get(2, "r")


def _find(text: str, listed: Sequence[ObjectInfo]) -> ObjectInfo:
    """An object of the meter's list by a part of its address, such as an OBIS code alone."""
    for info in listed:
        if text in info.ref.address:
            return info
    raise NotFound(f"the meter has no object {text!r}", hint="headend objects URL lists what it has")


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
    if (start or end) and (first or last):
        raise ConfigError(
            "a load profile is read by time or by entry, not by both", hint="use --from/--to or --first/--last"
        )
    since, until = _time(start, "--from"), _time(end, "--to")

    async def work(meter: Connected) -> None:
        target = (await _entries(meter, [ref]))[0].ref
        request = HistoryRequest(ref=target, start=since, end=until, first_entry=first, last_entry=last)
        rows: list[dict[str, object]] = []
        header = False
        with progress("rows") as done:
            async for block in meter.session.read_history(request):
                names = [column.quantity or column.ref.address for column in block.columns]
                units = [column.unit for column in block.columns]
                if not as_json and not header:
                    header = True
                    typer.echo(
                        "\t".join(
                            [
                                "time",
                                *(
                                    f"{name} [{unit}]" if unit else name
                                    for name, unit in zip(names, units, strict=True)
                                ),
                            ]
                        )
                    )
                for at, row in zip(block.times, block.rows, strict=True):
                    values = [_plain(value, column.exponent) for value, column in zip(row, block.columns, strict=True)]
                    if as_json:
                        rows.append({"time": _iso(at), **dict(zip(names, values, strict=True))})
                    else:
                        typer.echo("\t".join([_iso(at) or "-", *(_text(value) for value in values)]))
                done(len(block.rows))
        if as_json:
            print_json(rows)

    _with_meter(url, timeout, folders, work)


def objects(url: str, *, timeout: float, folders: list[str] | None, as_json: bool) -> None:
    """Print the object list."""

    async def work(meter: Connected) -> None:
        listed = await meter.session.objects()
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


def identify(url: str, *, timeout: float, folders: list[str] | None, as_json: bool) -> None:
    """Print who the meter says it is."""

    async def work(meter: Connected) -> None:
        found = dataclasses.asdict(await meter.session.identify())
        if as_json:
            print_json(found)
        else:
            print_table(("what", "value"), [(name.replace("_", " "), value or "-") for name, value in found.items()])

    _with_meter(url, timeout, folders, work)


def _with_meter(
    url: str,
    timeout: float,
    folders: list[str] | None,
    work: Callable[[Connected], Awaitable[None]],
    *,
    hexdump: bool = False,
) -> None:
    secrets = [secret.reveal() for secret in resolve_secrets(parse_url(url).secrets).values()] if hexdump else []

    def tap(direction: str, octets: bytes) -> None:
        typer.echo(f"{direction} {_without(secrets, octets)}", err=True)

    async def main() -> None:
        library = Library([Path(folder) for folder in folders or []])
        try:
            async with connect(url, timeout=timeout, library=library, tap=tap if hexdump else None) as meter:
                await work(meter)
        except RemoteProtocolError as error:
            error.hint = error.hint or "does it speak this protocol and framing? headend read --hex shows the octets"
            raise

    run_loop(main())


def _without(secrets: Sequence[bytes], octets: bytes) -> str:
    """Octets in hexadecimal with asterisks in place of secrets."""
    text = octets.hex(" ")
    for secret in secrets:
        if secret:
            text = text.replace(secret.hex(" "), " ".join(["**"] * len(secret)))
    return text


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected a time like 2026-03-01 or 2026-03-01T12:00Z, got {text!r}") from None
    return to_millis(at if at.tzinfo else at.replace(tzinfo=UTC))


def _iso(at: int | None) -> str | None:
    return None if at is None else from_millis(at).isoformat().replace("+00:00", "Z")


def _plain(raw: RawValue, exponent: int) -> object:
    """A raw value for JSON: amounts scaled, octets as text or hexadecimal, structures as lists."""
    if isinstance(raw, list):
        return [_plain(item, 0) for item in raw]
    return scale(raw, exponent)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return "-" if value is None else str(value)
