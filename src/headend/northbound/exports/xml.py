"""XML in pieces: elements as text, escaped."""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
CHUNK: Final = 65_536

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""characters that XML 1.0 has no way to write"""


def text(value: object) -> str:
    """Text of an element."""
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def element(name: str, value: object, **attributes: str) -> str:
    """An element that holds text."""
    return f"<{name}{_said(attributes)}>{text(value)}</{name}>"


def empty(name: str, **attributes: str) -> str:
    """An element that holds nothing."""
    return f"<{name}{_said(attributes)}/>"


def _said(attributes: dict[str, str]) -> str:
    clean = {name: _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value) for name, value in attributes.items()}
    return "".join(f" {name}={quoteattr(value)}" for name, value in clean.items())
