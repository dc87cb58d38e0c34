"""What the codes in event logs of meters mean, by tables that several makes of meters share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from headend.standards.tables import read_table

EXTENDED: Final[Mapping[str, str]] = {"longi": "idis"}
"""tables that add codes to another one"""


@cache
def event_tables() -> Mapping[str, Mapping[int, str]]:
    """What each code means in words, by the name of the table."""
    own: dict[str, dict[int, str]] = {}
    for row in read_table("event_codes"):
        own.setdefault(row["table"], {})[int(row["code"], 0)] = row["text"]
    return {name: {**own.get(EXTENDED.get(name, ""), {}), **texts} for name, texts in own.items()}
