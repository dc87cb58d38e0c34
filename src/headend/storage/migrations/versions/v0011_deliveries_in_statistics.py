"""What statistics of meters say of remembered scalers, deliveries and reconnections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns; nothing was counted until now."""
    for name in ("scales_used", "scales_asked", "messages", "messages_late", "reconnections"):
        op.add_column("statistics", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
