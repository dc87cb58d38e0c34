r"""Line protocol: `measurement,tag=value field=value timestamp`. Pure.

A comma, a space and (but in the measurement) an equals sign are escaped by a backslash; texts of fields stand in double quotes, in
which `"` and `\` are escaped. What the protocol cannot say is left out: empty tags, numbers that are not finite, integers beyond
64 bits (which become floats).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from headend.model.reading import Value

INT64: Final = 1 << 63
_BREAKS = str.maketrans({"\n": " ", "\r": " ", "\x00": " "})


def escape_measurement(text: str) -> str:
    """The name of a measurement."""
    return _bare(text).replace(",", "\\,").replace(" ", "\\ ")


def escape_key(text: str) -> str:
    """The key or value of a tag, or the key of a field."""
    return escape_measurement(text).replace("=", "\\=")


def _bare(text: str) -> str:
    """Without line ends, and without a backslash at the end, which would escape what follows."""
    clean = text.encode("utf-8", "replace").decode().translate(_BREAKS)
    return clean.rstrip("\\") if clean.endswith("\\") else clean


def field_value(value: Value) -> str | None:
    """A value as a field; None where there is no way to say it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i" if -INT64 <= value < INT64 else repr(float(value)) if abs(value) < 10**300 else None
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    text = value.encode("utf-8", "replace").decode().replace("\x00", " ")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, str], at: int) -> str:
    """One point; `fields` are values of `field_value`. Tags stand in their order, as the server sorts them anyway."""
    said = "".join(f",{escape_key(name)}={text}" for name, value in sorted(tags.items()) if (text := escape_key(value)))
    values = ",".join(f"{escape_key(name)}={value}" for name, value in fields.items())
    return f"{escape_measurement(measurement)}{said} {values} {at}"
