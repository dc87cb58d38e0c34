"""`listen`: hear what meters push, and print it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from headend.cli.output import print_json
from headend.cli.until import stop_event, until_stopped
from headend.drivers.base import Notification, Secrets
from headend.drivers.library import Library
from headend.drivers.mapping import scale
from headend.drivers.recognition import Known as Registrations
from headend.drivers.recognition import Registered
from headend.drivers.registrations import built_in
from headend.errors import ConfigError
from headend.model.meter import Meter, Secret
from headend.model.objects import ObjectEntry, ObjectRef, RawValue
from headend.model.profile import entries_of
from headend.model.reading import from_millis
from headend.model.url import parse_url
from headend.runtime.folders import library_in
from headend.runtime.listening import listening, parse_place, push_driver
from headend.runtime.secrets import resolve_secrets
from headend.services.bus import Bus
from headend.services.intake import Heard, Intake, Known
from headend.services.listener import Listener
from headend.services.roster import Roster
from headend.telemetry import configure_logging
from headend.transport.loop import run as run_loop

LINKS: Final = 1000


class _Printer:
    """Prints what is heard until so many pushes have come."""

    def __init__(self, library: Library, stop: asyncio.Event, count: int, *, as_json: bool) -> None:
        self._library = library
        self._stop = stop
        self._left = count
        self._as_json = as_json

    def __call__(self, heard: Heard) -> None:
        document = self._document(heard)
        if self._as_json:
            print_json(document)
        else:
            _print(document)
        if heard.push is not None and self._left:
            self._left -= 1
            if not self._left:
                self._stop.set()

    def met(self, source: str, said: Registered) -> None:
        """A login or heartbeat."""
        at = _iso(datetime.now(UTC))
        if self._as_json:
            print_json(
                {
                    "received_at": at,
                    "source": source,
                    "kind": said.kind.value,
                    "registration": said.registration,
                    "number": said.number,
                    "check_ok": said.check_ok,
                    "octets": said.octets.hex(),
                    "acknowledgement": said.acknowledgement.hex() or None,
                }
            )
            return
        check = "check octets wrong, " if said.check_ok is False else ""
        state = "acknowledged" if said.acknowledgement else "not acknowledged"
        typer.echo(
            f"--- {at} {source} {said.kind.value} of {said.number or 'nobody'} ({said.registration}): {check}{state}"
        )

    def _document(self, heard: Heard) -> dict[str, object]:
        meter = heard.state.meter if heard.state is not None else None
        profile = self._library.of(meter) if meter is not None else None
        entries = entries_of(profile)
        said, push = heard.notification, heard.push
        document: dict[str, object] = {
            "received_at": _iso(datetime.now(UTC)),
            "source": heard.source,
            "meter": meter.name if meter is not None else None,
        }
        if push is not None:
            identity = push.identity
            document |= {
                "address": push.address,
                "system_title": identity.system_title or None,
                "logical_device_name": identity.logical_device_name or None,
                "serial": identity.serial or None,
                "octets": push.octets.hex(),
            }
        if said is not None:
            document |= {
                "kind": said.kind,
                "measured_at": None if said.measured_at is None else _iso(from_millis(said.measured_at)),
                "values": [_value(ref, raw, said, entries.get(ref)) for ref, raw in said.values.items()],
            }
            if not said.values:
                document["body"] = _plain(said.body)
        if heard.error is not None:
            document |= {"error": heard.error.code, "detail": str(heard.error), "hint": heard.error.hint or None}
        return document


def _value(ref: ObjectRef, raw: RawValue, said: Notification, entry: ObjectEntry | None) -> dict[str, object]:
    """A value in its base unit where its scaler is known; `raw` true says that nobody has told it."""
    exponent, unit = said.scales.get(ref, (None, ""))
    if entry is not None and exponent is None and entry.scaler is not None:
        exponent, unit = entry.exponent, ""
    number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return {
        "ref": str(ref),
        "quantity": (entry.quantity or None) if entry is not None else None,
        "value": _plain(raw) if exponent is None else scale(raw, exponent),
        "unit": unit or None,
        **({"raw": True} if number and exponent is None else {}),
    }


def _print(document: dict[str, object]) -> None:
    who = document["meter"] or "unknown: " + " ".join(
        str(document[name])
        for name in ("system_title", "logical_device_name", "serial", "address")
        if document.get(name)
    )
    typer.echo(f"--- {document['received_at']} {document['source']} {who}")
    if "detail" in document:
        typer.echo(f"! {document['detail']}" + (f" ({document['hint']})" if document["hint"] else ""))
    if document.get("measured_at"):
        typer.echo(f"{document['kind']} of {document['measured_at']}")
    values = document.get("values")
    for value in values if isinstance(values, list) else ():
        typer.echo(
            "\t".join(str(value[name] or "") for name in ("ref", "quantity"))
            + f"\t{value['value']}\t{'(raw)' if value.get('raw') else value['unit'] or ''}"
        )
    if "body" in document:
        typer.echo(str(document["body"]))


def _plain(raw: RawValue) -> object:
    return [_plain(item) for item in raw] if isinstance(raw, list) else scale(raw, 0)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _millis() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def _meters(urls: Sequence[str]) -> tuple[list[Meter], dict[str, Secrets]]:
    """Meters by the order of their URLs, and their secrets."""
    meters: list[Meter] = []
    secrets: dict[str, Secrets] = {}
    for number, url in enumerate(urls, 1):
        parsed = parse_url(url)
        name = parsed.endpoint.host or parsed.endpoint.path
        meters.append(parsed.meter(f"meter-{number}", name=name))
        found: dict[str, Secret] = resolve_secrets(parsed.secrets)
        secrets[f"meter-{number}"] = found
    return meters, secrets


def listen(
    places: list[str],
    *,
    meters: list[str] | None,
    folders: list[str] | None,
    as_json: bool,
    count: int,
    seconds: float,
) -> None:
    """Print pushes until stopped."""
    configure_logging(level="warning")
    library = library_in(folders)
    known, secrets = _meters(meters or [])
    where = [parse_place(place) for place in places]
    if not where:
        raise ConfigError("nowhere to listen", hint="name a place, e.g. tcp://127.0.0.1:4059")

    async def secrets_of(meter: Meter) -> Secrets:
        return secrets[meter.id]

    for meter in known:
        library.of(meter)  # a wrong name is told before anything is heard

    async def main() -> None:
        stop = stop_event()
        bus = Bus()
        roster = Roster(bus, _millis)
        roster.load(known)
        printer = _Printer(library, stop, count, as_json=as_json)
        intake = Intake(
            Known(roster=roster, profile=library.of, secrets=secrets_of),
            bus,
            lambda _state, _said: None,
            _millis,
            watch=printer,
        )
        working = asyncio.create_task(intake.run(), name="intake")
        try:
            listener = Listener(push_driver(), intake, known=Registrations(built_in()), met=printer.met)
            async with listening(listener, where, links=LINKS) as addresses:
                typer.echo(f"listening at {', '.join(addresses)}", err=True)
                await until_stopped(stop, seconds, unless=working)
        finally:
            intake.close()
            await working

    run_loop(main())
