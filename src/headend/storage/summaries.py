"""The tables of summaries: how far they are, what must be summarised again, and what a series has in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from headend.storage.dialect import insert
from headend.storage.levels import LEVELS, MINUTE_MS, RAW, Bucket, State, columns_of, pieces
from headend.storage.records import BucketColumns
from headend.storage.schema import summary_state
from headend.storage.values import DAY_MS, DAYS

STATE: Final = f"SELECT {', '.join(State._fields)} FROM summary_state"  # noqa: S608 # names of this package
COLUMNS: Final = "minutes, day, series, slot, count, low, high, mean, last"
DOWN, UP = 2.0**-64, 2.0**64
"""Sums of what is scaled by these cannot overflow, which PostgreSQL would take for an error; but for that they are the same."""
TINY: Final = 2.0**-900
"""What is nearer to zero counts as zero: scaled, it could underflow, which PostgreSQL would take for one, too."""


def scaled(column: str) -> str:
    """A number such that sums of many neither overflow nor underflow."""
    return f"CASE WHEN abs({column}) < {TINY!r} THEN 0 ELSE {column} * {DOWN!r} END"


DAYS_AT_ONCE: Final = 500
"""are named in a statement"""

_MERGED: Final = f"""INSERT INTO summaries ({COLUMNS})
SELECT :coarse, :day, series, slot, amount, low, high, mean, (SELECT last FROM summaries AS fine
WHERE fine.minutes = :fine AND fine.day = :day AND fine.series = merged.series AND fine.slot = merged.latest) FROM (
SELECT series, slot / :ratio AS slot, sum(count) AS amount, min(low) AS low, max(high) AS high,
CASE WHEN count(mean) = count(*) THEN nullif(sum({scaled("mean")} * count) / sum(count) * {UP!r}, 'NaN') END AS mean,
max(slot) AS latest
FROM summaries WHERE minutes = :fine AND day = :day AND {{series}} GROUP BY series, slot / :ratio) AS merged
WHERE true ON CONFLICT DO NOTHING"""  # noqa: S608 # ditto

_OF_SERIES: Final = """SELECT day, slot, low, high, mean, last, count FROM summaries
WHERE minutes = :minutes AND day IN :days AND series = :series ORDER BY day, slot"""
"""With the days named one by one, so that the key finds each."""

_DAYS: Final = """WITH RECURSIVE days (day) AS (SELECT min(day) FROM summaries WHERE minutes = :minutes
UNION ALL SELECT (SELECT min(day) FROM summaries WHERE minutes = :minutes AND summaries.day > days.day) FROM days
WHERE days.day IS NOT NULL) SELECT day FROM days WHERE day IS NOT NULL"""
"""The days that a level has, found by one step in the index each."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The day to summarise, and the series: from `first` up to, not including, `beyond`, or those that are named."""

    day: int
    first: int = 0
    beyond: int = 0
    named: Sequence[int] = ()

    def execute(self, connection: sa.Connection, statement: str, **given: int) -> sa.CursorResult[object]:
        """Run a statement in which `{series}` and `{number}` stand for conditions on columns of these names.

        They are such that a database finds the rows by its key, whatever it knows, or does not know, about the tables.
        """
        condition = "{0} IN :named" if self.named else "{0} >= :first AND {0} < :beyond"
        text = sa.text(statement.format(series=condition.format("series"), number=condition.format("number")))
        if self.named:
            text = text.bindparams(sa.bindparam("named", self.named, expanding=True))
        else:
            text = text.bindparams(first=self.first, beyond=self.beyond)
        return connection.execute(text, {"day": self.day, **given})


def state_of(connection: sa.Connection) -> State:
    """How far all is."""
    row = connection.exec_driver_sql(STATE).first()
    return State(*row) if row else State()


def save_state(connection: sa.Connection, state: State) -> None:
    """Note how far all is."""
    statement = insert(connection, summary_state).values(number=1, **state._asdict())
    connection.execute(statement.on_conflict_do_update(index_elements=["number"], set_=state._asdict()))


def marks(state: State, times: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which days of which series must be summarised again, because of readings at times of series."""
    days = {(at // DAY_MS, number) for at, number in times}
    return {(day, number) for day, number in days if state.covers(day, number)}


def aggregate(
    connection: sa.Connection,
    series: int,
    span: tuple[int, int],
    bucket: int,
    raw: Callable[[int, int], Iterable[Bucket]],
) -> BucketColumns:
    """Buckets of a series between two times; `raw` gives those of its readings between two times."""
    start, end = span
    state = state_of(connection)
    due = _due_days(connection, series, start // DAY_MS, end // DAY_MS) if start < state.border else ()

    def rows() -> Iterator[Bucket]:
        for level, low, high in pieces(state, series, due, start, end, bucket):
            yield from raw(low, high) if level == RAW else _of_level(connection, series, level, low, high)

    return columns_of(rows(), bucket)


def _due_days(connection: sa.Connection, series: int, first: int, last: int) -> list[int]:
    query = sa.text("SELECT day FROM summary_due WHERE day >= :first AND day <= :last AND series = :series")
    return list(connection.execute(query, {"first": first, "last": last, "series": series}).scalars())


def _of_level(connection: sa.Connection, series: int, minutes: int, start: int, end: int) -> Iterator[Bucket]:
    """The slots that begin between two times."""
    span = minutes * MINUTE_MS
    query = sa.text(_OF_SERIES).bindparams(sa.bindparam("days", expanding=True))
    first, beyond = start // DAY_MS, (end - 1) // DAY_MS + 1
    for day in range(first, beyond, DAYS_AT_ONCE):
        days = range(day, min(day + DAYS_AT_ONCE, beyond))
        given = {"minutes": minutes, "days": days, "series": series}
        for its_day, slot, *numbers in connection.execute(query, given):
            at = its_day * DAY_MS + slot * span
            if start <= at < end:
                yield (at, *numbers)


def remove(connection: sa.Connection, minutes: int, chosen: Chosen) -> None:
    """Remove a level of a day of some series."""
    query = "DELETE FROM summaries WHERE minutes = :minutes AND day = :day AND {series}"
    chosen.execute(connection, query, minutes=minutes)


def merge(connection: sa.Connection, fine: int, coarse: int, chosen: Chosen) -> None:
    """Make a level out of a finer one, where it has nothing yet."""
    chosen.execute(connection, _MERGED, fine=fine, coarse=coarse, ratio=coarse // fine)


def count_of(connection: sa.Connection, minutes: int, chosen: Chosen) -> int:
    """How many readings went into a level of a day of some series."""
    query = "SELECT coalesce(sum(count), 0) FROM summaries WHERE minutes = :minutes AND day = :day AND {series}"
    return int(chosen.execute(connection, query, minutes=minutes).scalar_one())  # type: ignore[call-overload, no-any-return] # a number


def days_of(connection: sa.Connection, minutes: int) -> list[int]:
    """The days that a level has."""
    return list(connection.execute(sa.text(_DAYS), {"minutes": minutes}).scalars())


def first_day(connection: sa.Connection, minutes: int) -> int | None:
    """The first day that a level has."""
    query = sa.text("SELECT min(day) FROM summaries WHERE minutes = :minutes")
    return connection.execute(query, {"minutes": minutes}).scalar_one()  # type: ignore[no-any-return] # it is one


def forget(connection: sa.Connection, series: list[int]) -> None:
    """Remove all that there is of some series."""
    if not series:
        return
    query = sa.text("DELETE FROM summaries WHERE minutes = :minutes AND day IN :days AND series IN :series")
    query = query.bindparams(*(sa.bindparam(name, expanding=True) for name in ("days", "series")))
    for minutes in LEVELS:
        days = days_of(connection, minutes)
        for first in range(0, len(days), DAYS_AT_ONCE):
            given = {"minutes": minutes, "days": days[first : first + DAYS_AT_ONCE], "series": series}
            connection.execute(query, given)
    query = sa.text("DELETE FROM summary_due WHERE series IN :series")
    connection.execute(query.bindparams(sa.bindparam("series", expanding=True)), {"series": series})


def let_go(connection: sa.Connection, before_day: int) -> int:
    """Note that the readings of days before one are gone, and return it: what is not summarised, or must be again, stays.

    And so do all days behind such a one. From then on they count as gone, and may be removed a part at a time.
    """
    state = state_of(connection)
    query = sa.text("SELECT min(day) FROM summary_due WHERE day >= :day")
    due = connection.execute(query, {"day": state.raw_from}).scalar_one()
    limit = max(state.raw_from, min(before_day, state.day, before_day if due is None else due))
    save_state(connection, state._replace(raw_from=limit))
    return limit


def may_go(connection: sa.Connection, day: int, limit: int) -> bool:
    """Whether the readings of a day that counts as gone may be removed: not while some that came late are to be summarised."""
    query = sa.text("SELECT 1 FROM summary_due WHERE day = :day LIMIT 1")
    return day not in DAYS or (day < limit and connection.execute(query, {"day": day}).first() is None)
