"""Callers in quarantine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of who dials in and is not known."""
    op.create_table(
        "callers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
