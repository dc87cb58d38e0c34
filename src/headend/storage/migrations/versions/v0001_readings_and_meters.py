"""Readings, the latest of each series, and meters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headend.storage.schema import NativeValue

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "series",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("meter_id", sa.Text, nullable=False),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("measured_at", sa.BigInteger),
        sa.Column("received_at", sa.BigInteger),
        sa.Column("value", NativeValue),
        sa.Column("note", sa.Integer),
        sa.UniqueConstraint("meter_id", "quantity", name="uq_series_meter_id_quantity"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "readings",
        sa.Column("quarter", sa.Integer, primary_key=True),
        sa.Column("point", sa.BigInteger, primary_key=True),
        sa.Column("value", NativeValue),
        sa.Column("note", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receipts",
        sa.Column("quarter", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("framing", sa.Text, nullable=False),
        sa.Column("endpoint", sa.JSON, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("profile_id", sa.Text, nullable=False),
        sa.Column("identity", sa.JSON, nullable=False),
        sa.Column("poll_seconds", sa.Float, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        sa.Column("meter_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "vault_proof",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
