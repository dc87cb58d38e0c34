"""Statistics of meters by slots of fifteen minutes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SUMS = ("reads_ok", "reads_failed", "requests", "responses", "octets_in", "octets_out", "sessions", "readings")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "statistics",
        sa.Column("slot", sa.BigInteger, primary_key=True),
        sa.Column("meter_id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("seconds", "fastest", "slowest")),
        *(sa.Column(f"class_{index}", sa.BigInteger, nullable=False) for index in range(12)),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_statistics_meter_id_slot", "statistics", ["meter_id", "slot"])
