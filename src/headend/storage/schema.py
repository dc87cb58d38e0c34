"""The tables as they stand after the newest migration; a test compares the two.

History is one row per reading, clustered by (quarter, point):

- `quarter`  six hours, counted from 2020-01-01 (UTC), of the time of measurement. It leads the key so that polling only ever
             touches the pages of the quarter being written, whatever lies in the past, and old days go as one range. (A whole
             day there writes five times as much to the disk towards midnight; an hour makes years slow to read.)
- `point`    number of the series (a quantity of a meter) times 2**25, plus the millisecond of the quarter (which is below 2**25).
             One integer instead of three columns saves 4 octets a reading; it stays within 6 octets for four million series.
- `value`    int, float or text; `headend.storage.values` tells which are kept in another form.
- `note`     form of the value, quality, source and age at receipt, in one integer; ditto.

`receipts` holds when and from whom a batch came, once for each quarter that the batch touches; only readings that are older
than a note can say refer to it, by the quarter and a number within it.

`summaries` is clustered by (minutes, day, series, slot): a day is added, and goes, as one range of each level. `summary_due`
has the days of series that must be summarised again, `summary_state` how far all is; `headend.storage.summarising` tells more.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType

HEAD = "0013"
"""The newest migration. A store at this revision opens without loading the migrations."""

metadata = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)


class NativeValue(UserDefinedType[object]):
    """A column that keeps each value as the type it was given with: a BLOB column converts nothing in SQLite."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The declared type."""
        return "BLOB"


series = sa.Table(
    "series",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("meter_id", sa.Text, nullable=False),
    sa.Column("quantity", sa.Text, nullable=False),
    sa.Column("measured_at", sa.BigInteger, comment="of the latest reading; null before the first"),
    sa.Column("received_at", sa.BigInteger),
    sa.Column("value", NativeValue),
    sa.Column("note", sa.Integer),
    sa.UniqueConstraint("meter_id", "quantity"),
    sqlite_autoincrement=True,  # the number of a removed series must not come back with its old readings
)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("quarter", sa.Integer, primary_key=True),
    sa.Column("point", sa.BigInteger, primary_key=True),
    sa.Column("value", NativeValue),
    sa.Column("note", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("quarter", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

meters = sa.Table(
    "meters",
    metadata,
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

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("meter_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

vault_proof = sa.Table(
    "vault_proof",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("last_used_at", sa.BigInteger),
    sa.UniqueConstraint("name"),
    sqlite_with_rowid=False,
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("user_name", sa.Text, sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("idle_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("type", sa.Text, nullable=False, index=True),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("meter_id", sa.Text, nullable=False, index=True),
    sa.Column("occurred_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("acknowledged_by", sa.Text, nullable=False),
    sa.Column("acknowledged_at", sa.BigInteger),
    sqlite_autoincrement=True,  # a cursor stays good when the newest events are purged
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("meter_id", sa.Text, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text, comment="null where the caller gave none"),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("deadline", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.JSON(none_as_null=True)),
    sa.Column("confirm_by", sa.BigInteger),
    sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("verify_by", sa.BigInteger),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.UniqueConstraint("id"),
    sa.UniqueConstraint("actor", "idempotency_key"),
    sqlite_autoincrement=True,
)

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("meter_id", sa.Text, nullable=False, index=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("quantity", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("value", sa.JSON(none_as_null=True)),
    sa.Column("threshold", sa.JSON(none_as_null=True)),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("raised_at", sa.BigInteger, nullable=False),
    sa.Column("cleared_at", sa.BigInteger, index=True, comment="null while it is active"),
    sa.Column("cleared", sa.Text),
    sa.Column("flapping", sa.Boolean, nullable=False),
    sa.Column("acknowledged_by", sa.Text, nullable=False),
    sa.Column("acknowledged_at", sa.BigInteger),
    sa.Column("note", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

alarm_standings = sa.Table(
    "alarm_standings",
    metadata,
    sa.Column("meter_id", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("quantity", sa.Text, primary_key=True),
    sa.Column("standing", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

alarm_rules = sa.Table(
    "alarm_rules",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("fields", sa.JSON, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

callers = sa.Table(
    "callers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("last_seen", sa.BigInteger, nullable=False),
    sa.Column("entry", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False, comment="canonical JSON, as it was hashed"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)

scans = sa.Table(
    "scans",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("cursor", sa.BigInteger, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.UniqueConstraint("id"),
    sqlite_autoincrement=True,
)

scan_hits = sa.Table(
    "scan_hits",
    metadata,
    sa.Column("scan", sa.Integer, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("port", sa.Integer, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("banner", sa.LargeBinary, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, comment="empty until somebody has looked into it"),
    sa.Column("note", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

scan_counts = sa.Table(
    "scan_counts",
    metadata,
    sa.Column("scan", sa.Integer, primary_key=True),
    sa.Column("network", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("wire", sa.Text, nullable=False, index=True),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("framing", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("first_seen", sa.BigInteger, nullable=False),
    sa.Column("last_seen", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("scan", sa.Text, nullable=False),
    sa.Column("vendor", sa.Text, nullable=False, index=True),
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
    sa.Column("meter_id", sa.Text, nullable=False, index=True),
    sa.Column("names", sa.Text, nullable=False, comment="what a search looks into"),
    sa.UniqueConstraint("id"),
    sqlite_autoincrement=True,
)

device_papers = sa.Table(
    "device_papers",
    metadata,
    sa.Column("device", sa.Integer, sa.ForeignKey("devices.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("sighting", sa.LargeBinary, nullable=False),
    sa.Column("examination", sa.LargeBinary, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("classification", sa.LargeBinary, nullable=False),
    sa.Column("draft", sa.LargeBinary, nullable=False),
)

device_history = sa.Table(
    "device_history",
    metadata,
    sa.Column("device", sa.Integer, sa.ForeignKey("devices.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

scan_devices = sa.Table(
    "scan_devices",
    metadata,
    sa.Column("scan", sa.Integer, primary_key=True),
    sa.Column("device", sa.Integer, primary_key=True),
    sqlite_with_rowid=False,
)

group_credentials = sa.Table(
    "group_credentials",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("params", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

statistics = sa.Table(
    "statistics",
    metadata,
    sa.Column("slot", sa.BigInteger, primary_key=True),
    sa.Column("meter_id", sa.Text, primary_key=True),
    sa.Column("reads_ok", sa.BigInteger, nullable=False),
    sa.Column("reads_failed", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("responses", sa.BigInteger, nullable=False),
    sa.Column("octets_in", sa.BigInteger, nullable=False),
    sa.Column("octets_out", sa.BigInteger, nullable=False),
    sa.Column("sessions", sa.BigInteger, nullable=False),
    sa.Column("readings", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("fastest", sa.Double, nullable=False),
    sa.Column("slowest", sa.Double, nullable=False),
    *(sa.Column(f"class_{index}", sa.BigInteger, nullable=False) for index in range(12)),
    sa.Column("scales_used", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("scales_asked", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("messages", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("messages_late", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reconnections", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("ix_statistics_meter_id_slot", "meter_id", "slot"),
    sqlite_with_rowid=False,
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("stored_at", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.Integer, nullable=False),
    sa.Column("earlier_entries", sa.BigInteger, nullable=False, comment="in all segments before: differences count"),
    sa.Column("earlier_octets", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

sink_cursors = sa.Table(
    "sink_cursors",
    metadata,
    sa.Column("sink", sa.Text, primary_key=True),
    sa.Column("saved_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

sink_refusals = sa.Table(
    "sink_refusals",
    metadata,
    sa.Column("sink", sa.Text, primary_key=True),
    sa.Column("entry", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

ledgers = sa.Table(
    "ledgers",
    metadata,
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
    sa.UniqueConstraint("meter_id", "load_profile"),
    sqlite_autoincrement=True,
)

ledger_days = sa.Table(
    "ledger_days",
    metadata,
    sa.Column("ledger", sa.Integer, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, index=True),
    sa.Column("places", sa.Integer, nullable=False),
    sa.Column("expected", sa.Integer, nullable=False),
    sa.Column("arrived", sa.Integer, nullable=False),
    sa.Column("void_count", sa.Integer, nullable=False),
    sa.Column("have", sa.LargeBinary, nullable=False),
    sa.Column("void", sa.Text, nullable=False, comment="bits by reason as JSON; empty where there are none"),
    sqlite_with_rowid=False,
)

summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column(
        "minutes", sa.SmallInteger, primary_key=True, autoincrement=False, comment="that a slot lasts: the level"
    ),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False, comment="since 1970-01-01, UTC"),
    sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False, comment="of the day"),
    sa.Column("count", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Double, nullable=name == "mean") for name in ("low", "high", "mean", "last")),
    sqlite_with_rowid=False,
)

summary_due = sa.Table(
    "summary_due",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

summary_state = sa.Table(
    "summary_state",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False, comment="1: there is one row at the most"),
    sa.Column("day", sa.Integer, nullable=False, comment="those before it are summarised"),
    sa.Column("series", sa.Integer, nullable=False, comment="and of it those before this one"),
    sa.Column("raw_from", sa.Integer, nullable=False, comment="readings of days before are gone; and so on"),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("quarter_hours_from", "hours_from", "days_from")),
)
