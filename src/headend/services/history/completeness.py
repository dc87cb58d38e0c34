"""Completeness: how much of what the meters record is there, for people, by meter, day and fleet."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from headend import telemetry
from headend.errors import StorageError
from headend.model.intervals import DAY_MS, Gap, Reason, Tally, gaps, local_date, local_day, tally
from headend.services.history.collector import Collector
from headend.services.history.logs import Logs
from headend.services.roster import Clock
from headend.storage.ledger import Book, Ledger, Line

MOST_DAYS: Final = 400
REPORT_SECONDS: Final = 60.0
_RECENT_DAYS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One calendar day of one load profile, in the time zone of the meter."""

    day: date
    tally: Tally


class Completeness:
    """What people ask of the ledger. `collector` may be absent where only the database is at hand. Blocks, but `refill`."""

    def __init__(
        self, ledger: Ledger, clock: Clock, collector: Collector | None = None, logs: Logs | None = None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self.collector = collector
        self.logs = logs

    def fleet(self, days: int) -> Sequence[Line]:
        """The newest UTC days of all meters, oldest first; of today what is due by now."""
        today = self._clock() // DAY_MS
        lines = list(self._ledger.fleet(today - days + 1, today - 1)) if days > 1 else []
        due = self._ledger.due(self._clock())
        return [*lines, due] if due.expected else lines

    def worst(self, days: int, limit: int) -> Sequence[Line]:
        """The meters of which the least is there of the last whole UTC days, and today without them."""
        today = self._clock() // DAY_MS
        return self._ledger.worst(today - days, today - 1, limit)

    def books(self, meter_id: str) -> Sequence[Book]:
        """The ledgers of a meter: one for each load profile that is kept complete."""
        return self._ledger.books(meter_id)

    def days(self, book: Book, days: int) -> Sequence[Day]:
        """The newest calendar days of a load profile, oldest first; of today what is due by now."""
        now, zone = self._clock(), book.grid.zone
        today = local_date(now, zone)
        spans = [local_day(today - timedelta(days=ago), zone) for ago in range(days - 1, -1, -1)]
        known = self._ledger.days(book.number, spans[0][0] // DAY_MS, spans[-1][1] // DAY_MS)
        found = []
        for start, end in spans:
            near = [each for each in known if start // DAY_MS <= each.day <= (end - 1) // DAY_MS]
            counted = tally(book.grid, near, start, min(end, now + 1))
            if counted.expected:
                found.append(Day(day=local_date(start, zone), tally=counted))
        return found

    def gaps(self, book: Book, start: int, end: int) -> Sequence[Gap]:
        """What is not there in a half-open span: still missing, or void for a reason; oldest first."""
        until = min(end - 1, self._clock())
        known = self._ledger.days(book.number, start // DAY_MS, until // DAY_MS)
        found = gaps(book.grid, known, until)
        return [gap for gap in found if gap.last >= start and gap.reason is not Reason.BEFORE_FIRST]

    async def refill(self, meter_id: str, start: int, end: int) -> int:
        """Ask a meter at once for what is not there, even if it was given up; returns how many intervals. Raises NotFound."""
        return await self.collector.refill(meter_id, start, end) if self.collector is not None else 0

    def report(self) -> None:
        """Bring the metrics up."""
        now = self._clock()
        today = now // DAY_MS
        self._ledger.extend(now)
        for name, lines in (
            ("today", [self._ledger.due(now)]),
            ("yesterday", self._ledger.fleet(today - 1, today - 1)),
        ):
            for line in lines:
                if line.completeness is not None:
                    telemetry.COMPLETENESS.labels(name).set(line.completeness)
        past = self._ledger.fleet(today - _RECENT_DAYS + 1, today - 1)
        missing = sum(line.missing for line in past) + max(0, self._ledger.due(now).missing)
        telemetry.GAPS.labels("missing").set(missing)
        void = self._ledger.reasons(today - _RECENT_DAYS + 1, today)
        for reason in Reason:
            if reason is not Reason.BEFORE_FIRST:
                telemetry.GAPS.labels(reason.value).set(void.get(reason, 0))

    async def run(self) -> None:
        """Keep the metrics up until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.report)
            except StorageError:
                telemetry.GAPS.clear()
            await asyncio.sleep(REPORT_SECONDS)


HEADINGS: Final = ("expected", "arrived", "void", "missing", "completeness")


def figures(counted: Line | Tally) -> tuple[int, int, int, int, float | None]:
    """What stands under the headings."""
    if isinstance(counted, Line):
        arrived, void = counted.arrived, counted.void
    else:
        arrived, void = counted.have, sum(counted.void.values())
    share = counted.completeness
    return counted.expected, arrived, void, counted.missing, None if share is None else round(share, 6)


def day_of(line: Line) -> str:
    """The day that a line of the fleet is of."""
    return (date(1970, 1, 1) + timedelta(days=int(line.key))).isoformat()


def rows_of_fleet(completeness: Completeness, days: int) -> Iterator[tuple[object, ...]]:
    """The days of the fleet, for tables and files."""
    yield ("day", *HEADINGS)
    for line in completeness.fleet(days):
        yield (day_of(line), *figures(line))


def rows_of_meter(completeness: Completeness, meter_id: str, days: int) -> Iterator[tuple[object, ...]]:
    """The days of a meter, for tables and files."""
    yield ("load_profile", "day", *HEADINGS)
    for book in completeness.books(meter_id):
        for each in completeness.days(book, days):
            yield (book.load_profile, each.day.isoformat(), *figures(each.tally))


def as_csv(rows: Iterator[tuple[object, ...]]) -> str:
    """A table as a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
