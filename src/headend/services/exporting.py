"""Exports that are made by themselves: a file for each day (or hour) into a folder, when it is over.

How far an export is stands in a small file: after a downtime what is missing is made up, oldest first. A file appears whole or not
at all: it is written beside its place, made durable and renamed; the cursor goes on afterwards, so that after a crash the same
file is made once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from headend.errors import HeadendError, StorageError
from headend.model.event import Event, EventType, Severity
from headend.model.reading import from_millis, to_millis
from headend.services.bus import Bus
from headend.services.exports import Document, Exports, zone_of

MINUTE_SECONDS: Final = 60.0
HOUR_MS: Final = 3_600_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is exported again and again: `document` says all but the times."""

    name: str
    format: str
    folder: Path
    document: Document
    hourly: bool = False
    delay_ms: int = HOUR_MS
    """after the end of a period, for readings that come late"""
    first: date | None = None
    """the first day; None: the one that is over at the first start"""


def next_period(order: Order, cursor: int | None, now: int) -> tuple[int, int] | None:
    """The next period that is over and not exported, after the end of the last one; None when there is none yet."""
    zone = zone_of(order.document.zone)
    ready = from_millis(now - order.delay_ms)
    if cursor is not None:
        start = from_millis(cursor)
    elif order.first is not None:
        start = datetime(order.first.year, order.first.month, order.first.day, tzinfo=zone)
    elif order.hourly:
        start = ready.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    else:
        today = ready.astimezone(zone).date()
        before = today - timedelta(days=1)
        start = datetime(before.year, before.month, before.day, tzinfo=zone)
    if order.hourly:
        end = start.astimezone(UTC) + timedelta(hours=1)
    else:
        after = start.astimezone(zone).date() + timedelta(days=1)
        end = datetime(after.year, after.month, after.day, tzinfo=zone)
    return (to_millis(start), to_millis(end)) if end <= ready else None


def file_name(order: Order, start: int, suffix: str) -> str:
    """The name of the file of a period."""
    at = from_millis(start).astimezone(zone_of(order.document.zone))
    return f"{order.name}-{at:%Y%m%dT%H%M%z}{suffix}" if order.hourly else f"{order.name}-{at:%Y%m%d}{suffix}"


def write_file(place: Path, octets: Iterable[bytes]) -> None:
    """Write pieces of octets so that the file is whole or not there; raises StorageError."""
    part = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(octets)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except OSError as error:
        raise StorageError(f"cannot write {place}: {error.strerror}", hint="check room, owner and mode") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


class Exporter:
    """Makes the files of orders as their periods end, until cancelled."""

    def __init__(self, exports: Exports, orders: Sequence[Order], cursors: Path, bus: Bus) -> None:
        """`cursors` is a folder."""
        self._exports = exports
        self._orders = orders
        self._cursors = cursors
        self._bus = bus
        self._failed: dict[str, str] = {}

    async def run(self) -> None:
        """Look each minute whether something is due."""
        while self._orders:
            for order in self._orders:
                await self.catch_up(order)
            await asyncio.sleep(MINUTE_SECONDS)

    async def catch_up(self, order: Order) -> None:
        """Make all files of an order that are due; what fails is told once and tried again."""
        try:
            while await asyncio.to_thread(self._make_next, order):
                pass
        except HeadendError as error:
            if self._failed.get(order.name) != str(error):
                self._failed[order.name] = str(error)
                log.warning("export failed", export=order.name, reason=str(error))
                data = {"export": order.name, "code": error.code, "reason": str(error)}
                now = self._exports.clock()
                self._bus.publish(
                    Event(type=EventType.EXPORT_FAILED, severity=Severity.WARNING, occurred_at=now, data=data)
                )
        else:
            self._failed.pop(order.name, None)

    def _make_next(self, order: Order) -> bool:
        cursor, now = self._cursors / order.name, self._exports.clock()
        period = next_period(order, _read(cursor), now)
        if period is None:
            return False
        start, end = period
        document = replace(order.document, start=start, end=end, created_at=now)
        form = self._exports.format(order.format)
        place = order.folder / file_name(order, start, form.suffix)
        write_file(place, self._exports.write(order.format, document))
        write_file(cursor, [str(end).encode()])
        log.info("exported", export=order.name, file=str(place))
        return True


def _read(cursor: Path) -> int | None:
    try:
        return int(cursor.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"the cursor {cursor} cannot be read", hint="remove it to begin anew") from error
