"""The ledger: which intervals of which load profile are there, which are missing, and which never can be.

A ledger is kept for each load profile of each meter, from the first interval that is wanted. What a batch of its rows brings is
noted in the transaction that stores the rows: whatever happens, the ledger knows of an interval if and only if it is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headend.errors import NotFound
from headend.model.intervals import DAY_MS, Grid, LedgerDay, Reason, bits_of
from headend.model.reading import ReadingBatch
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import ledger_days as days
from headend.storage.schema import ledgers

_MANY: Final = 400
"""Rows that one statement names; databases bound the number of parameters."""
_COUNTED: Final = (days.c.expected, days.c.arrived, days.c.void_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The ledger of one load profile of one meter; times are milliseconds.

    `load_profile` is the address of the load profile, `name` what its meter file calls it. `since` is the first time that is
    wanted, `serial` who recorded what comes now: empty until it is known.
    """

    number: int
    meter_id: str
    load_profile: str
    name: str
    grid: Grid
    since: int
    opened: int
    """the last day that has places, counted from 1970"""
    serial: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How many intervals of something there should be, how many are there, and how many never will be.

    The key is the id of a meter, or a day, counted from 1970.
    """

    key: str
    expected: int
    arrived: int
    void: int

    @property
    def missing(self) -> int:
        """How many may still arrive."""
        return self.expected - self.arrived - self.void

    @property
    def completeness(self) -> float | None:
        """The share that is there; None where nothing is expected."""
        return self.arrived / self.expected if self.expected else None


def mark(connection: sa.Connection, batches: Iterable[ReadingBatch]) -> None:
    """Note the intervals whose rows these batches hold, inside the transaction that stores them."""
    times: dict[tuple[str, str], set[int]] = {}
    for batch in batches:
        if batch.load_profile:
            times.setdefault((batch.meter_id, batch.load_profile), set()).update(batch.measured_at)
    for (meter_id, load_profile), moments in times.items():
        mine = (ledgers.c.meter_id == meter_id, ledgers.c.load_profile == load_profile)
        row = connection.execute(sa.select(ledgers).where(*mine)).one_or_none()
        if row is None:
            continue
        book = _book(row)
        bits = bits_of(book.grid, (at for at in moments if at >= book.since))
        kept = [day.arrived(bits[day.day]) for day in _days(connection, book, bits)]
        _keep(connection, book, kept)


class Ledger:
    """All ledgers. May be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self, meter_id: str, load_profile: str, grid: Grid, *, since: int, until: int, name: str = "", serial: str = ""
    ) -> Book:
        """The ledger of a load profile, with places for every day up to `until`; made from `since` on where there is none.

        One that has another grid than this starts anew with it, at what its old grid has not reached.
        """
        mine = (ledgers.c.meter_id == meter_id, ledgers.c.load_profile == load_profile)
        with self._database.write() as connection:
            row = connection.execute(sa.select(ledgers).where(*mine)).one_or_none()
            if row is not None and _book(row).grid != grid:
                since = max(since, _newest(connection, _book(row)) + 1)
                self._drop(connection, [row.number])
                row = None
            if row is None:
                values = {
                    "meter_id": meter_id,
                    "load_profile": load_profile,
                    "name": name,
                    "period": grid.period,
                    "shift": grid.offset,
                    "zone": grid.zone,
                    "since": since,
                    "opened": since // DAY_MS - 1,
                    "serial": serial,
                }
                connection.execute(insert(connection, ledgers).values(values))
                row = connection.execute(sa.select(ledgers).where(*mine)).one()
            book = _book(row)
            if serial and serial != book.serial:
                connection.execute(ledgers.update().where(ledgers.c.number == book.number), {"serial": serial})
            self._extend(connection, book, until // DAY_MS)
            return _book(connection.execute(sa.select(ledgers).where(*mine)).one())

    def extend(self, until: int) -> int:
        """Give every ledger places up to a time, though nothing has come of its meter; returns how many had too few."""
        day = until // DAY_MS
        with self._database.read() as connection:
            behind = connection.execute(sa.select(ledgers).where(ledgers.c.opened < day)).all()
        for start in range(0, len(behind), _MANY):
            with self._database.write() as connection:
                for row in behind[start : start + _MANY]:
                    self._extend(connection, _book(row), day)
        return len(behind)

    @staticmethod
    def _extend(connection: sa.Connection, book: Book, last: int) -> None:
        if last <= book.opened:
            return
        fresh = [_fresh(book, day) for day in range(book.opened + 1, last + 1)]
        known = {day.day for day in _stored_days(connection, book.number, book.opened + 1, last)}
        _keep(connection, book, [day for day in fresh if day.day not in known])
        connection.execute(ledgers.update().where(ledgers.c.number == book.number), {"opened": last})

    def books(self, meter_id: str | None = None) -> Sequence[Book]:
        """The ledgers of a meter, or all, by meter and load profile."""
        query = sa.select(ledgers).order_by(ledgers.c.meter_id, ledgers.c.load_profile)
        if meter_id is not None:
            query = query.where(ledgers.c.meter_id == meter_id)
        with self._database.read() as connection:
            return [_book(row) for row in connection.execute(query)]

    def book(self, meter_id: str, load_profile: str) -> Book:
        """One ledger; raises NotFound."""
        for book in self.books(meter_id):
            if load_profile in (book.load_profile, book.name):
                return book
        raise NotFound(f"there is no ledger of load profile {load_profile!r} of meter {meter_id!r}")

    def days(self, number: int, first: int, last: int) -> Sequence[LedgerDay]:
        """The days of a ledger from the first to the last one, both included, as far as there are any."""
        with self._database.read() as connection:
            return _stored_days(connection, number, first, last)

    def open_days(self, number: int) -> Sequence[LedgerDay]:
        """The days of a ledger in which something may still arrive, oldest first."""
        query = sa.select(days).where(days.c.ledger == number, days.c.expected > days.c.arrived + days.c.void_count)
        with self._database.read() as connection:
            return [_day(row) for row in connection.execute(query.order_by(days.c.day))]

    def newest(self, book: Book) -> int:
        """The time of the newest interval that is there; the time before the first where there is none."""
        with self._database.read() as connection:
            return _newest(connection, book)

    def void(self, book: Book, reasons: Mapping[int, Reason]) -> int:
        """Note that intervals of these times never arrive; one that has arrived stays. Returns how many were noted."""
        changed = 0
        with self._database.write() as connection:
            for reason in set(reasons.values()):
                bits = bits_of(book.grid, (at for at, each in reasons.items() if each is reason))
                before = _days(connection, book, bits)
                after = [day.voiding(bits[day.day], reason) for day in before]
                changed += sum(
                    day.missing.bit_count() - other.missing.bit_count()
                    for day, other in zip(before, after, strict=True)
                )
                _keep(connection, book, after)
        return changed

    def reopen(self, book: Book, start: int, end: int, *, arrived: bool) -> int:
        """Ask again for what is void in a half-open span, and with `arrived` for what is there; returns how many are missing."""
        missing = 0
        with self._database.write() as connection:
            found = []
            for day in _stored_days(connection, book.number, start // DAY_MS, (end - 1) // DAY_MS):
                bits = 0
                for place, at in enumerate(book.grid.times(day.day)):
                    bits |= (max(start, book.since) <= at < end) << place
                found.append(day.reopened(bits if arrived else bits & ~day.have))
                missing += (found[-1].missing & bits).bit_count()
            _keep(connection, book, found)
        return missing

    def fleet(self, first: int, last: int) -> Sequence[Line]:
        """What there is of all meters, day by day (UTC); the key is the day, counted from 1970."""
        query = sa.select(days.c.day, *map(sa.func.sum, _COUNTED)).where(days.c.day.between(first, last))
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(query.group_by(days.c.day).order_by(days.c.day))]

    def due(self, now: int) -> Line:
        """What there is of all meters today (UTC), of what is due by now."""
        day, due = now // DAY_MS, 0
        joined = ledgers.join(days, days.c.ledger == ledgers.c.number)
        grid = (ledgers.c.period, ledgers.c.shift, ledgers.c.zone)
        wanted = sa.case((ledgers.c.since > day * DAY_MS, ledgers.c.since), else_=day * DAY_MS)
        query = sa.select(*grid, wanted, sa.func.count(), *map(sa.func.sum, _COUNTED[1:]))
        query = query.select_from(joined).where(days.c.day == day).group_by(*grid, wanted)
        have = void = 0
        with self._database.read() as connection:
            for period, shift, zone, since, count, arrived, voided in connection.execute(query):
                due += count * sum(since <= at <= now for at in Grid(period, shift, zone).times(day))
                have, void = have + arrived, void + voided
        return Line(key=str(day), expected=due, arrived=have, void=void)

    def worst(self, first: int, last: int, limit: int = 100) -> Sequence[Line]:
        """The meters of which the least is there in these days, the worst first."""
        expected, arrived = (sa.func.sum(column) for column in _COUNTED[:2])
        query = sa.select(ledgers.c.meter_id, *map(sa.func.sum, _COUNTED))
        query = query.join_from(ledgers, days, days.c.ledger == ledgers.c.number).where(days.c.day.between(first, last))
        query = query.group_by(ledgers.c.meter_id).having(expected > 0)
        query = query.order_by(arrived * 1.0 / expected, ledgers.c.meter_id).limit(limit)
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(query)]

    def reasons(self, first: int, last: int) -> Mapping[Reason, int]:
        """How many intervals of all meters that were to arrive in these days never do, by reason."""
        query = sa.select(days.c.void).where(days.c.day.between(first, last), days.c.void != "")
        found: dict[Reason, int] = {}
        with self._database.read() as connection:
            for text in connection.execute(query).scalars():
                for reason, bits in _void(text).items():
                    if reason is Reason.BEFORE_FIRST:
                        continue
                    found[reason] = found.get(reason, 0) + bits.bit_count()
        return found

    def purge(self, before_day: int) -> int:
        """Forget the days before one, as the readings of that time are; returns how many."""
        with self._database.write() as connection:
            return connection.execute(days.delete().where(days.c.day < before_day)).rowcount

    def forget(self, connection: sa.Connection, meter_id: str) -> None:
        """Remove the ledgers of a meter, inside a transaction of the caller."""
        numbers = connection.execute(sa.select(ledgers.c.number).where(ledgers.c.meter_id == meter_id)).scalars().all()
        self._drop(connection, numbers)

    @staticmethod
    def _drop(connection: sa.Connection, numbers: Sequence[int]) -> None:
        connection.execute(days.delete().where(days.c.ledger.in_(numbers)))
        connection.execute(ledgers.delete().where(ledgers.c.number.in_(numbers)))


def _fresh(book: Book, day: int) -> LedgerDay:
    """A day of which nothing is known."""
    times = book.grid.times(day)
    fresh = LedgerDay(day=day, places=len(times))
    early = sum(at < book.since for at in times)
    return fresh.voiding((1 << early) - 1, Reason.BEFORE_FIRST)


def _days(connection: sa.Connection, book: Book, numbers: Iterable[int]) -> list[LedgerDay]:
    """Days to be changed, in order; those that are not there yet are new."""
    wanted = sorted(numbers)
    known: dict[int, LedgerDay] = {}
    for start in range(0, len(wanted), _MANY):
        chosen = days.c.day.in_(wanted[start : start + _MANY])
        query = sa.select(days).where(days.c.ledger == book.number, chosen).with_for_update()
        known |= {row.day: _day(row) for row in connection.execute(query)}
    return [known.get(day) or _fresh(book, day) for day in wanted]


def _stored_days(connection: sa.Connection, number: int, first: int, last: int) -> list[LedgerDay]:
    query = sa.select(days).where(days.c.ledger == number, days.c.day.between(first, last)).order_by(days.c.day)
    return [_day(row) for row in connection.execute(query)]


def _newest(connection: sa.Connection, book: Book) -> int:
    query = sa.select(sa.func.max(days.c.day)).where(days.c.ledger == book.number, days.c.arrived > 0)
    day = connection.execute(query).scalar_one()
    if day is None:
        return book.since - 1
    have = _stored_days(connection, book.number, day, day)[0].have
    return book.grid.times(day)[have.bit_length() - 1]


def _keep(connection: sa.Connection, book: Book, changed: Sequence[LedgerDay]) -> None:
    if not changed:
        return
    rows = [
        {
            "ledger": book.number,
            "day": day.day,
            "places": day.places,
            "expected": day.expected,
            "arrived": day.have.bit_count(),
            "void_count": day.expected - day.have.bit_count() - day.missing.bit_count(),
            "have": day.have.to_bytes((day.places + 7) // 8, "little"),
            "void": json.dumps({reason.value: f"{bits:x}" for reason, bits in day.void.items()}) if day.void else "",
        }
        for day in changed
    ]
    statement = insert(connection, days)
    new = {name: statement.excluded[name] for name in rows[0] if name not in ("ledger", "day")}
    connection.execute(statement.on_conflict_do_update(index_elements=["ledger", "day"], set_=new), rows)


def _book(row: sa.Row[Any]) -> Book:
    return Book(
        number=row.number,
        meter_id=row.meter_id,
        load_profile=row.load_profile,
        name=row.name,
        grid=Grid(row.period, row.shift, row.zone),
        since=row.since,
        opened=row.opened,
        serial=row.serial,
    )


def _day(row: sa.Row[Any]) -> LedgerDay:
    return LedgerDay(day=row.day, places=row.places, have=int.from_bytes(row.have, "little"), void=_void(row.void))


def _void(text: str) -> dict[Reason, int]:
    return {Reason(name): int(bits, 16) for name, bits in json.loads(text).items()} if text else {}


def _line(row: sa.Row[Any]) -> Line:
    key, expected, arrived, void = tuple(row)
    return Line(key=str(key), expected=int(expected), arrived=int(arrived), void=int(void))
