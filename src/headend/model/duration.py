"""Spans of time as people write them: `90`, `"90s"`, `"15m"`, `"1h"`, `"1d"`."""

from __future__ import annotations

import re
from typing import Final

from headend.errors import ConfigError

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WRITTEN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd]?)", re.ASCII)
MAX_SECONDS: Final = 366 * 86400.0


def parse_seconds(value: object) -> float:
    """Seconds, not fewer than none and no more than a year; raises ConfigError."""
    found = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        written = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
        if written is None:
            raise ConfigError(f"{value!r} is no span of time", hint="seconds, or such as 90s, 15m, 1h, 1d")
        found = float(written[1]) * _UNITS[written[2]]
    if not 0 <= found <= MAX_SECONDS:
        raise ConfigError(f"{value!r} is less than nothing or more than a year")
    return found
