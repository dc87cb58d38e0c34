"""Times and spans as parameters: milliseconds or ISO 8601 in, milliseconds out."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from headend.model.reading import to_millis
from headend.web.problems import Refused

LAST_MILLIS: Final = 4_102_444_800_000
"""2100-01-01: times from here on are mistakes"""

_SPAN = re.compile(r"(\d{1,9})(ms|s|m|h|d)?")
_UNITS = {None: 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_time(text: str, field: str) -> int:
    """Milliseconds of a time; raises Refused that names the field."""
    try:
        millis = int(text) if text.isascii() and text.isdigit() else to_millis(datetime.fromisoformat(text))
    except ValueError:
        millis = -1
    if not 0 <= millis < LAST_MILLIS:
        raise Refused(
            "invalid-request", "a time between 1970 and 2100: milliseconds, or ISO 8601 with its zone", field=field
        )
    return millis


def parse_span(text: str, field: str) -> int:
    """Milliseconds of a span: `900000`, `15m`, `1h`, `1d`; raises Refused that names the field."""
    match = _SPAN.fullmatch(text)
    millis = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= millis <= 366 * _UNITS["d"]:
        raise Refused(
            "invalid-request", "a span up to 366d: milliseconds, or a number with ms, s, m, h or d", field=field
        )
    return millis
