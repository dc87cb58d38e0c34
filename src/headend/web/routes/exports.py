"""Exports: stored readings as files of other systems, made while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Final
from weakref import WeakSet

from fastapi import Path, Query
from fastapi.responses import StreamingResponse

from headend.model.reading import from_millis
from headend.services.exports import Document
from headend.web.access import VIEWER
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.schemas import exports as schemas
from headend.web.times import parse_time

api = router("exports")

DAY_MILLIS: Final = 86_400_000
MOST_DAYS: Final = 400
AT_ONCE: Final = 4
"""exports that are sent at a time"""
_running: WeakSet[Iterator[bytes]] = WeakSet()
"""a client that goes before it has a single octet takes its export along"""

Name = Annotated[str, Path(max_length=40, pattern="^[a-z0-9-]+$", examples=["csv"])]
Names = Annotated[str, Query(max_length=20_000)]
Short = Annotated[str, Query(max_length=64)]


@api.get("/exports", operation_id="listExportFormats", openapi_extra=VIEWER)
async def list_formats(parts: Parts) -> schemas.ExportFormats:
    """The formats that there are."""
    formats = parts.exports.formats.values()
    return schemas.ExportFormats(
        items=[
            schemas.ExportFormat(name=each.name, label=each.label, media_type=each.media_type, suffix=each.suffix)
            for each in formats
        ]
    )


@api.get(
    "/exports/{format_name}",
    operation_id="export",
    response_class=StreamingResponse,
    responses={200: {"description": "The file", "content": {"application/octet-stream": {}}}},
    openapi_extra=VIEWER,
)
async def export(
    format_name: Name,
    parts: Parts,
    meters: Names = "",
    quantities: Names = "",
    start: Annotated[str | None, Query(max_length=40, description="first time; default: a day before the end")] = None,
    end: Annotated[str | None, Query(max_length=40, description="first time beyond; default: now")] = None,
    period_minutes: Annotated[int, Query(ge=0, le=60, description="0: as the load profile of the meter, else 15")] = 0,
    zone: Annotated[str, Query(max_length=64, description="an IANA name, or an offset as +10:00")] = "",
    sender: Short = "",
    receiver: Short = "",
) -> StreamingResponse:
    """Stored readings of meters (all, or those of the ids with commas between) as intervals, in a format of other systems."""
    if format_name not in parts.exports.formats:
        raise Refused("invalid-request", "one of " + ", ".join(parts.exports.formats), field="path.format_name")
    last = parse_time(end, "query.end") if end is not None else parts.millis()
    first = parse_time(start, "query.start") if start is not None else max(0, last - DAY_MILLIS)
    if last - first > MOST_DAYS * DAY_MILLIS:
        raise Refused("invalid-request", f"at most {MOST_DAYS} days", field="query.start")
    document = Document(
        start=first,
        end=last,
        created_at=parts.millis(),
        meters=_names(meters),
        quantities=_names(quantities),
        period_minutes=period_minutes,
        zone=zone,
        sender=sender,
        receiver=receiver,
    )
    if len(_running) >= AT_ONCE:
        raise Refused("too-many-requests", f"{AT_ONCE} exports are sent already", headers={"Retry-After": "30"})
    form = parts.exports.formats[format_name]
    pieces = parts.exports.write(format_name, document)
    _running.add(pieces)
    try:
        head = await asyncio.to_thread(next, pieces, b"")
    except BaseException:
        _running.discard(pieces)
        raise
    name = f"{format_name}-{from_millis(first):%Y%m%d}-{from_millis(last):%Y%m%d}{form.suffix}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(_sent(head, pieces), media_type=form.media_type, headers=headers)


async def _sent(head: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A piece is made when the one before it went."""
    try:
        while head:
            yield head
            head = await asyncio.to_thread(next, pieces, b"")
    finally:
        _running.discard(pieces)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
