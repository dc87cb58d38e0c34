"""What discovery finds: scans with their hits and counts, devices with their papers, credentials of groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables."""
    _scans()
    _devices()


def _scans() -> None:
    op.create_table(
        "scans",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.UniqueConstraint("id", name="uq_scans_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_scans_state", "scans", ["state"])
    op.create_table(
        "scan_hits",
        sa.Column("scan", sa.Integer, primary_key=True),
        sa.Column("host", sa.Text, primary_key=True),
        sa.Column("port", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("banner", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scan_counts",
        sa.Column("scan", sa.Integer, primary_key=True),
        sa.Column("network", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("wire", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("framing", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("scan", sa.Text, nullable=False),
        sa.Column("vendor", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("firmware", sa.Text, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("profile_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("objects", sa.Integer, nullable=False),
        sa.Column("coverage", sa.Float),
        sa.Column("stopped", sa.Text, nullable=False),
        sa.Column("meter_id", sa.Text, nullable=False),
        sa.Column("names", sa.Text, nullable=False),
        sa.UniqueConstraint("id", name="uq_devices_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_devices_wire", "devices", ["wire"])
    op.create_index("ix_devices_state", "devices", ["state"])
    op.create_index("ix_devices_vendor", "devices", ["vendor"])
    op.create_index("ix_devices_meter_id", "devices", ["meter_id"])
    op.create_table(
        "device_papers",
        sa.Column("device", sa.Integer, sa.ForeignKey("devices.number", ondelete="CASCADE"), primary_key=True),
        sa.Column("sighting", sa.LargeBinary, nullable=False),
        sa.Column("examination", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("classification", sa.LargeBinary, nullable=False),
        sa.Column("draft", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "device_history",
        sa.Column("device", sa.Integer, sa.ForeignKey("devices.number", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scan_devices",
        sa.Column("scan", sa.Integer, primary_key=True),
        sa.Column("device", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_credentials",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("params", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
