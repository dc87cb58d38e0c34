"""Summaries made of readings in SQLite, slot by slot in the order of the key, so that nothing needs to be sorted."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from headend.storage.levels import LEVELS, MINUTE_MS
from headend.storage.summaries import COLUMNS, Chosen
from headend.storage.values import DAY_MS, MILLI, POINT_SHIFT, QUARTER_MS

NUMBER: Final = f"CASE WHEN note & {MILLI} THEN value / 1000.0 ELSE value END"
"""The number of a row."""

_SLOT_MS: Final = LEVELS[0] * MINUTE_MS
_SLOTS_OF_QUARTER: Final = QUARTER_MS // _SLOT_MS

_SLOTS: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS slots (slot INTEGER PRIMARY KEY)",
    f"""INSERT OR IGNORE INTO slots WITH RECURSIVE many (n) AS (
SELECT 0 UNION ALL SELECT n + 1 FROM many WHERE n < {DAY_MS // _SLOT_MS - 1}) SELECT n FROM many""",  # noqa: S608 # ditto
)

_SUMMARISE: Final = f"""INSERT OR IGNORE INTO summaries ({COLUMNS})
SELECT {LEVELS[0]}, :day, series, slot, amount, low, high, mean,
(SELECT {NUMBER} FROM readings WHERE quarter = :quarter + slot / {_SLOTS_OF_QUARTER} AND point = latest) FROM (
SELECT series, slot, count(*) AS amount, min(number) AS low, max(number) AS high, avg(number) AS mean, max(point) AS latest FROM (
SELECT chosen.series AS series, slot, point, {NUMBER} AS number
FROM (SELECT number AS series FROM series WHERE {{number}}) AS chosen CROSS JOIN slots CROSS JOIN readings
ON readings.quarter = :quarter + slot / {_SLOTS_OF_QUARTER}
AND point >= (chosen.series << {POINT_SHIFT}) + slot % {_SLOTS_OF_QUARTER} * {_SLOT_MS}
AND point < (chosen.series << {POINT_SHIFT}) + (slot % {_SLOTS_OF_QUARTER} + 1) * {_SLOT_MS}
WHERE typeof(value) IN ('integer', 'real')) GROUP BY series, slot)"""  # noqa: S608 # ditto


def summarise(connection: sa.Connection, chosen: Chosen, quarter: int) -> None:
    """Make summaries by 15 minutes of chosen series, of a day that begins with a quarter; those that are there stay."""
    for statement in _SLOTS:
        connection.exec_driver_sql(statement)
    chosen.execute(connection, _SUMMARISE, quarter=quarter)
