"""Texts of meter files: where an error stands, and how a state is raised. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from headend.drivers.meter_text import exchange_table, set_meter_key, write
from headend.errors import ConfigError
from headend.model.profile import ProfileState, ProfileTest

_WHERE: Final = re.compile(r"^[^:\n]+?:(\d+): ")


def raised(text: str, state: ProfileState, tests: Sequence[ProfileTest]) -> str:
    """The text of a meter file in another state, with exchanges that prove it behind its own."""
    text = set_meter_key(text, "state", state.value)
    return text.rstrip("\n") + "\n\n" + write({"test": [exchange_table(each) for each in tests]}) if tests else text


def line_of_error(error: ConfigError) -> int | None:
    """The line that an error of a text names, from 1."""
    found = _WHERE.match(error.message) or re.search(r"\(at line (\d+),", error.message)
    return int(found[1]) if found else None
