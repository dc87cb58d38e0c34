"""The export formats that there are."""

from __future__ import annotations

from typing import Final

from headend.northbound.exports.cim import IEC61968
from headend.northbound.exports.espi import GREEN_BUTTON
from headend.northbound.exports.nem12 import NEM12
from headend.northbound.exports.parquet import PARQUET
from headend.northbound.exports.text import CSV
from headend.services.exports import ExportFormat

FORMATS: Final[tuple[ExportFormat, ...]] = (CSV, PARQUET, IEC61968, NEM12, GREEN_BUTTON)
