"""Names of makers: one for all manufacturer ids and spellings of a maker."""

from __future__ import annotations

import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from headend.standards.flag import find_manufacturer
from headend.standards.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_BRACKETS: Final = re.compile(r"\s*\([^)]*\)")


@cache
def _flags() -> Mapping[str, str]:
    """Makers by manufacturer id."""
    return MappingProxyType({flag: row["vendor"] for row in read_table("vendors") for flag in row["flags"].split()})


@cache
def _words() -> tuple[re.Pattern[str], Mapping[str, str]]:
    """A pattern of all words that name a maker, longest first, and the makers by word."""
    words = {word: row["vendor"] for row in read_table("vendors") for word in row["words"].split(";") if word}
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    # Up to four letters stand alone; a longer word, or one with a digit, may begin another.
    parts = (re.escape(word) + ("(?![a-z0-9])" if len(word) <= 4 and word.isalpha() else "") for word in longest_first)
    return re.compile(f"(?<![a-z0-9])({'|'.join(parts)})"), MappingProxyType(words)


def vendor_of_flag(flag: str) -> str | None:
    """The maker with a manufacturer id (in any case); None when the id is not registered."""
    return _flags().get(flag.upper()) or find_manufacturer(flag)


def vendor_in_text(text: str) -> tuple[str, str] | None:
    """The maker that a text names, and the word that does; None when it names none."""
    pattern, vendors = _words()
    found = pattern.search(text.lower())
    return (vendors[found[1]], found[1]) if found else None


def flag_of_vendor(vendor: str) -> str:
    """The manufacturer id that a maker uses most; empty for one without, or that is not in the table."""
    return next((row["flags"][:3] for row in read_table("vendors") if row["vendor"] == vendor), "")


def vendor_name(label: str) -> str:
    """The one name of a maker: of a label like `Actaris (Itron)` what stands before the brackets, by the name it goes by here."""
    plain = _IN_BRACKETS.sub("", label).strip()
    found = vendor_in_text(plain)
    return found[0] if found else plain
