"""Summaries of readings by 15 minutes, hour and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_STATE = ("day", "series", "raw_from", "quarter_hours_from", "hours_from", "days_from")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "summaries",
        sa.Column("minutes", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("mean", sa.Double),
        sa.Column("last", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "summary_due",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "summary_state",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in _STATE),
    )
