"""Where in a TOML text a key stands, so that an error can name the line. tomllib keeps no positions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from headend.errors import ConfigError

_T = TypeVar("_T")

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")


def line_of(text: str, table: str = "", index: int = 0, key: str = "") -> int:
    """The line (from 1) of `key` in table `table`, or of the table's header, or 1 when neither is found.

    `index` counts the occurrences of a `[[table]]` from 0.
    """
    current, seen, found = "", -1, 1
    wanted = re.compile(rf"\s*(?:\"{re.escape(key)}\"|{re.escape(key)})\s*[.=]") if key else None
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            current = header[2].replace('"', "").replace(" ", "")
            if current == table:
                seen += 1
                if seen == index:
                    found = number
        elif wanted and current == table and (seen == index or not table) and wanted.match(line):
            return number
    return found


class Table:
    """One table of a file: typed access to its keys, with errors that name the place."""

    def __init__(self, origin: str, text: str, name: str, index: int, values: Mapping[str, Any]) -> None:
        self.name, self.values = name, values
        self._place = (origin, text, name, index)

    def but(self, **values: object) -> Table:
        """The same place with other values for some keys."""
        origin, text, name, index = self._place
        return Table(origin, text, name, index, {**self.values, **values})

    def wrong(self, key: str, expected: str) -> ConfigError:
        """The error that a key is missing or is not as expected."""
        got = f"got {self.values[key]!r}" if key in self.values else "it is missing"
        return self.error(key, f"expected {expected}, {got}")

    def error(self, key: str, message: str) -> ConfigError:
        """The error that a key is wrong, which does not show its value."""
        origin, text, table, index = self._place
        line = line_of(text, table, index, key)
        if not table and line == 1:  # at the top it may be a table
            line = line_of(text, key)
        return ConfigError(f"{origin}:{line}: [{table}] {key}: {message}")

    def take(self, key: str, kind: type[_T], default: _T | None = None, expected: str = "") -> _T:
        """The value of a key, or the default; raises ConfigError when it is missing or of another kind."""
        value = self.values.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(
                key, expected or {str: "a text", int: "a whole number", bool: "true or false"}.get(kind, kind.__name__)
            )
        return value

    def allow(self, keys: set[str]) -> None:
        """Raise ConfigError for a key that is none of these; its value, which may be a secret misspelt, is not shown."""
        for key in self.values:
            if key not in keys:
                raise self.error(key, "expected one of " + ", ".join(sorted(keys)))
