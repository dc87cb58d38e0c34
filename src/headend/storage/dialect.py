"""What the two databases say differently."""

from __future__ import annotations

from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def insert(connection: sa.Connection, table: sa.Table) -> Insert:
    """An INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`, for the database of a connection."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def has_item(connection: sa.Connection, column: sa.Column[object], item: str) -> sa.ColumnElement[bool]:
    """Is a text one of those in a column of JSON arrays?"""
    if connection.dialect.name == "postgresql":
        return sa.cast(column, postgresql.JSONB).contains([item])
    each = sa.func.json_each(column).table_valued("value")
    return sa.exists().select_from(each).where(each.c.value == item)


def last_number(connection: sa.Connection, table: sa.Table) -> int:
    """The highest `number` that a table with `sqlite_autoincrement` has ever had, 0 before the first."""
    if connection.dialect.name == "postgresql":
        query = sa.text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table.name}_number_seq")  # noqa: S608 # a name of the schema
        return int(connection.execute(query).scalar_one())
    found = connection.execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
    return int(found.scalar_one_or_none() or 0)


def note_numbers(connection: sa.Connection, table: sa.Table) -> None:
    """Let `last_number` know of rows whose numbers were given by the caller; SQLite sees to it by itself."""
    if connection.dialect.name == "postgresql":
        name = f"{table.name}_number_seq"
        highest = sa.func.greatest(
            sa.func.max(table.c.number), sa.select(sa.literal_column(f"last_value FROM {name}")).scalar_subquery()
        )
        connection.execute(sa.select(sa.func.setval(name, highest)))


def continue_numbers(connection: sa.Connection, table: sa.Table, last: int) -> None:
    """Let the numbers of a table with `sqlite_autoincrement` go on behind one."""
    if not last:
        return
    given = {"name": table.name, "last": last}
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT setval(:name, :last)"), given | {"name": f"{table.name}_number_seq"})
        return
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), given)
    connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), given)
