"""The ledger of intervals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables of which intervals are there."""
    op.create_table(
        "ledgers",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("meter_id", sa.Text, nullable=False),
        sa.Column("load_profile", sa.Text, nullable=False, comment="its address"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("period", sa.BigInteger, nullable=False),
        sa.Column("shift", sa.BigInteger, nullable=False),
        sa.Column("zone", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("opened", sa.Integer, nullable=False, comment="the last day that has places"),
        sa.Column("serial", sa.Text, nullable=False),
        sa.UniqueConstraint("meter_id", "load_profile", name="uq_ledgers_meter_id_load_profile"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_days",
        sa.Column("ledger", sa.Integer, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("expected", sa.Integer, nullable=False),
        sa.Column("arrived", sa.Integer, nullable=False),
        sa.Column("void_count", sa.Integer, nullable=False),
        sa.Column("have", sa.LargeBinary, nullable=False),
        sa.Column("void", sa.Text, nullable=False, comment="bits by reason as JSON; empty where there are none"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_days_day", "ledger_days", ["day"])
