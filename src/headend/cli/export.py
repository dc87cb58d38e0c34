"""`export`: stored readings as files of other systems."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from headend.errors import ConfigError
from headend.model.reading import from_millis, to_millis
from headend.runtime.database import open_store
from headend.runtime.exports import make_exports
from headend.runtime.profiles import library_of
from headend.runtime.settings import settings_of
from headend.services.bus import Bus
from headend.services.exporting import write_file
from headend.services.exports import Document, ExportFormat, Exports, zone_of
from headend.services.roster import Roster
from headend.storage.store import wall_millis


def export(
    format_name: str,
    *,
    meters: Sequence[str],
    quantities: Sequence[str],
    span: tuple[str, str],
    said: Mapping[str, Any],
    output: str,
    by_day: bool,
    place: tuple[str | None, str | None],
) -> None:
    """Write an export to a file, to files of a day each, or to standard output."""
    settings = settings_of(*place)
    library = library_of(settings)

    with open_store(settings) as store:
        roster = Roster(Bus(), wall_millis)
        roster.load([stored.meter for stored in store.meters.list(limit=1_000_000)])
        exports = make_exports(store, roster, library.of)
        form = exports.format(format_name)
        zone = zone_of(said["zone"] or form.zone)
        if not span[0]:
            raise ConfigError("an export needs its first time", hint="say --from 2026-03-01")
        document = Document(
            start=_time(span[0], zone),
            end=_time(span[1], zone) if span[1] else wall_millis(),
            created_at=wall_millis(),
            meters=meters,
            quantities=quantities,
            **said,
        )
        if by_day:
            _by_day(exports, form, document, Path(output) if output else None, zone)
        elif output:
            write_file(Path(output), exports.write(form.name, document))
        else:
            for piece in exports.write(form.name, document):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def _by_day(exports: Exports, form: ExportFormat, document: Document, folder: Path | None, zone: tzinfo) -> None:
    if folder is None:
        raise ConfigError("--by-day needs a folder", hint="name it with -o")
    for day, start, end in _days(document, zone):
        part = replace(document, start=start, end=end)
        write_file(folder / f"day={day}" / f"part{form.suffix}", exports.write(form.name, part))


def _days(document: Document, zone: tzinfo) -> Iterator[tuple[date, int, int]]:
    day = from_millis(document.start).astimezone(zone).date()
    while (start := _midnight(day, zone)) < document.end:
        after = day + timedelta(days=1)
        yield day, max(start, document.start), min(_midnight(after, zone), document.end)
        day = after


def _midnight(day: date, zone: tzinfo) -> int:
    return to_millis(datetime(day.year, day.month, day.day, tzinfo=zone))


def _time(text: str, zone: tzinfo) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time", hint="write 2026-03-01 or 2026-03-01T12:00Z") from None
    return to_millis(at if at.tzinfo else at.replace(tzinfo=zone))
