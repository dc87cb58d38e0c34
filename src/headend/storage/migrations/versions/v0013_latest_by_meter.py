"""The latest readings of a meter in one row, in PostgreSQL: a poll then changes one row, not one for each value."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

_COLUMNS = ("measured_at", "received_at", "value", "note")


def upgrade() -> None:
    """Gather them; SQLite, which writes a row of `series` as quickly, keeps them there."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        """CREATE TABLE latest (
meter_id text COLLATE "C" PRIMARY KEY,
revision bigint NOT NULL,
series integer[] NOT NULL,
measured_at bigint[] NOT NULL,
received_at bigint[] NOT NULL,
value double precision[] NOT NULL,
note integer[] NOT NULL,
words jsonb
) WITH (fillfactor = 50, toast_tuple_target = 4080)"""
    )
    for column in ("series", *_COLUMNS):  # they change with every poll: not worth the time to compress them
        op.execute(f"ALTER TABLE latest ALTER COLUMN {column} SET STORAGE EXTERNAL")
    gathered = ", ".join(f"array_agg({column} ORDER BY number)" for column in ("number", *_COLUMNS))
    op.execute(
        f"""INSERT INTO latest (meter_id, revision, series, {", ".join(_COLUMNS)}, words)
SELECT meter_id, 1, {gathered}, jsonb_object_agg(number, words) FILTER (WHERE words IS NOT NULL)
FROM series WHERE measured_at IS NOT NULL GROUP BY meter_id"""  # noqa: S608 # constants of this module
    )
    for column in (*_COLUMNS, "words"):
        op.drop_column("series", column)
