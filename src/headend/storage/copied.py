"""Series and readings as they are carried from one database to another: without the forms that either gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from headend.model.reading import Value

CHUNK: int = 5000
"""Rows that are held at once."""


class Row(NamedTuple):
    """A reading."""

    series: int
    measured_at: int
    received_at: int
    value: Value
    quality: int
    source: int


@dataclass(frozen=True, slots=True)
class Series:
    """A series with its latest reading, which may be older than all that are kept."""

    number: int
    meter_id: str
    quantity: str
    latest: Row | None


class Carrier(Protocol):
    """Takes readings out of a database, or puts them into one, inside transactions of the caller."""

    def series(self, connection: sa.Connection) -> Iterator[Series]:
        """All series by their numbers."""
        ...

    def rows(self, connection: sa.Connection) -> Iterator[Row]:
        """All readings, quarter by quarter in the most."""
        ...

    def days(self, connection: sa.Connection) -> set[int]:
        """Days (since 1970-01-01) that may have readings."""
        ...

    def put_series(self, connection: sa.Connection, chunk: Iterable[Series]) -> None:
        """Add series."""
        ...

    def put_rows(self, connection: sa.Connection, chunk: Iterable[Row]) -> None:
        """Add readings, of days that were made."""
        ...

    def put_numbers(self, connection: sa.Connection, table: sa.Table, chunk: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of a table that has nothing but numbers."""
        ...

    def make_days(self, connection: sa.Connection, days: Iterable[int]) -> None:
        """Make ready for readings of some days."""
        ...

    def clear(self, connection: sa.Connection, others: Iterable[str]) -> None:
        """Remove all series and readings, and all rows of other tables."""
        ...
