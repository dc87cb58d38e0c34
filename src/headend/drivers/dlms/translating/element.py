"""Elements of XML, and how they are written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

_NO_CHARACTER: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no document may hold (XML 1.0, 2.2)."""


@dataclass(frozen=True, slots=True)
class Element:
    """A name, its only attribute (none when its name is empty), and what it holds."""

    name: str
    attribute: tuple[str, str] = ("", "")
    inside: tuple[Element, ...] = ()

    def lines(self, indent: int = 0) -> Iterator[str]:
        """The element as lines, two columns for each level."""
        pad = "  " * indent
        key, value = self.attribute
        head = f'{pad}<{self.name} {key}="{_text(value)}"' if key else f"{pad}<{self.name}"
        if not self.inside:
            yield f"{head} />"
            return
        yield f"{head}>"
        for each in self.inside:
            yield from each.lines(indent + 1)
        yield f"{pad}</{self.name}>"


def _text(value: str) -> str:
    return escape(_NO_CHARACTER.sub("\ufffd", value))


def holds(name: str, *inside: Element) -> Element:
    """An element with others in it."""
    return Element(name, inside=inside)


def items(name: str, inside: tuple[Element, ...]) -> Element:
    """A list, which tells how many it holds."""
    return Element(name, ("Qty", f"{len(inside):02X}"), inside)


def text(name: str, value: str) -> Element:
    """A name of an enumeration."""
    return Element(name, ("Value", value))


def number(name: str, value: int, size: int = 1) -> Element:
    """An unsigned number of so many octets."""
    return Element(name, ("Value", f"{value:0{2 * size}X}"))


def octets(name: str, value: bytes) -> Element:
    """Octets as they are."""
    return Element(name, ("Value", value.hex().upper()))


def hidden(name: str, value: bytes) -> Element:
    """A secret, of which only the length is told."""
    return Element(name, ("Hidden", str(len(value))))
