"""The journal of what is delivered: segments, how far each sink is, and what sinks refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "segments",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("earlier_entries", sa.BigInteger, nullable=False),
        sa.Column("earlier_octets", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sink_cursors",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("saved_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sink_refusals",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("entry", sa.BigInteger, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
