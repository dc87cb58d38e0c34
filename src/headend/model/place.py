"""Where in a TOML text a key stands, so that an error can name the line. tomllib keeps no positions."""

from __future__ import annotations

import re

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
