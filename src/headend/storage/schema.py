"""The tables as they stand after the newest migration; a test compares the two.

History is one row per reading, clustered by (day, point):

- `day`    days since 1970-01-01 (UTC) of the time of measurement. It leads the key so that ingest only ever touches the pages
           of the days being written, and old days go as one range.
- `point`  number of the series (a quantity of a meter) times 2**27, plus the millisecond of the day (which is below 2**27).
           One integer instead of three columns saves 4 octets a reading; it stays within 6 octets for a million series.
- `value`  int, float or text; `headend.storage.values` tells which are kept in another form.
- `note`   form of the value, quality, source and age at receipt, in one integer; ditto.

`receipts` holds when and from whom a batch came, once for each day that the batch touches; only readings that are older
than a note can say refer to it, by the day and a number within the day.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType

HEAD = "0001"
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
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("point", sa.BigInteger, primary_key=True),
    sa.Column("value", NativeValue),
    sa.Column("note", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
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
