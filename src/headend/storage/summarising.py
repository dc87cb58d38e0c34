"""Summarising: each day once it is over, and again what came later; in turns so short that writing goes on in between.

A turn is a transaction: it makes all levels of a day for some series anew out of the readings, and notes how far it came.
Whatever ends it, the next goes on from there. Readings of what has been summarised are noted in `summary_due` by the very
transaction that stores them. Where the readings of a day are gone already, one that comes later fills a slot that is
missing and changes none that is there: whether it had been counted nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

import sqlalchemy as sa

from headend.storage import summaries
from headend.storage.engine import Database
from headend.storage.levels import LEVELS, State
from headend.storage.readings import Readings
from headend.storage.summaries import Chosen
from headend.storage.values import DAYS

TURN_READINGS: Final = 20_000
"""worth a turn, which takes some tenths of a second then"""
FIRST_SERIES: Final = 64
"""in the first turn, before it is known how many readings a series has"""
MOST_SERIES: Final = 50_000
MOST_NAMED: Final = 5000
"""by number in a statement"""
ALL: Final = 2**31 - 1
"""beyond the last series"""
PURGE_ROWS: Final = 50_000
"""Rows that a purge removes in one transaction, so that writing goes on in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn did."""

    day: int | None = None
    """the day that it completed"""
    readings: int = 0
    more: bool = False
    """is there more to do?"""


class Summaries:
    """Summaries of readings by 15 minutes, hour and day. `turn` is for one thread; others may write and read beside it."""

    def __init__(self, database: Database, readings: Readings) -> None:
        self._database = database
        self._readings = readings
        self._series = self._due = FIRST_SERIES

    def turn(self, before_day: int) -> Turn:
        """Summarise a part of the first day that is not summarised, before a day that is not over, or what came late."""
        with self._database.write() as connection:
            state = summaries.state_of(connection)
            day = state.day if state.series else self._readings.first_day(connection, state.day)
            before = min(before_day, DAYS.stop)
            if day is None or day >= before:
                if state.day < before:
                    summaries.save_state(connection, state._replace(day=before))
                return self._again(connection, state)
            query = sa.text("SELECT number FROM series WHERE number >= :first ORDER BY number LIMIT 1 OFFSET :most")
            beyond = connection.execute(query, {"first": state.series, "most": self._series}).scalar_one_or_none()
            readings = self._summarise(connection, state, Chosen(day, state.series, beyond or ALL))
            self._series = _adapted(self._series, readings)
            done = beyond is None
            state = state._replace(day=day + done, series=beyond or 0)
            summaries.save_state(connection, state)
        return Turn(day=day if done else None, readings=readings, more=True)

    def waiting(self) -> int:
        """How many days of series must be summarised again."""
        with self._database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM summary_due").scalar_one())

    def purge(self, minutes: int, before_day: int) -> int:
        """Remove a level of the days before one; returns how many rows went."""
        removed, step = 0, PURGE_ROWS * minutes // LEVELS[-1]
        field = State._fields[-len(LEVELS) :][LEVELS.index(minutes)]
        first_series = sa.text("SELECT min(series) FROM summaries WHERE minutes = :minutes AND day = :day")
        query = sa.text("DELETE FROM summaries WHERE minutes = :minutes AND day = :day AND series < :beyond")
        while True:
            with self._database.write() as connection:
                state = summaries.state_of(connection)
                summaries.save_state(connection, state._replace(**{field: max(getattr(state, field), before_day)}))
                given = {"minutes": minutes, "day": summaries.first_day(connection, minutes)}
                if given["day"] is None or given["day"] >= before_day:
                    return removed
                beyond = connection.execute(first_series, given).scalar_one() + step
                removed += connection.execute(query, given | {"beyond": beyond}).rowcount

    def _again(self, connection: sa.Connection, state: State) -> Turn:
        """Summarise again what is due, of the oldest days first."""
        query = sa.text("SELECT day, series FROM summary_due ORDER BY day, series LIMIT :most")
        marks = connection.execute(query, {"most": self._due}).all()
        readings = 0
        for day, rows in groupby(marks, lambda mark: mark[0]):
            chosen = Chosen(day, named=[row[1] for row in rows])
            readings += self._summarise(connection, state, chosen)
            chosen.execute(connection, "DELETE FROM summary_due WHERE day = :day AND {series}")
        more = len(marks) == self._due
        if more:
            self._due = min(_adapted(self._due, readings), MOST_NAMED)
        return Turn(readings=readings, more=more)

    def _summarise(self, connection: sa.Connection, state: State, chosen: Chosen) -> int:
        """Make all levels of a day that are kept; returns of how many readings."""
        fine, whole = LEVELS[0], chosen.day >= state.raw_from
        if whole:
            summaries.remove(connection, fine, chosen)
        self._readings.summarise(connection, chosen)
        whole = whole or state.has(fine, chosen.day)
        for coarse in LEVELS[1:]:
            if state.has(coarse, chosen.day):
                if whole:
                    summaries.remove(connection, coarse, chosen)
                summaries.merge(connection, fine, coarse, chosen)
                fine, whole = coarse, True
        readings = summaries.count_of(connection, fine, chosen)
        if not state.has(LEVELS[0], chosen.day):
            summaries.remove(connection, LEVELS[0], chosen)
        return readings


def _adapted(series: int, readings: int) -> int:
    """How many series are worth a turn, after so many had so many readings."""
    return max(1, min(series * TURN_READINGS // max(readings, 1), 4 * series, MOST_SERIES))
