"""What the data identifiers of DL/T 645 mean, in 2007 and in 1997, and the bits of what meters say about themselves.

The tables hold families: one row stands for all tariffs, phases and settlements of a quantity, and is spelled out for the
identifier that somebody asks for.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from types import MappingProxyType
from typing import Final

from headend.standards.tables import read_table


class Version(enum.IntEnum):
    """Of the standard."""

    V1997 = 1997
    V2007 = 2007


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What one data identifier stands for. What does not apply is empty; a block is `items` times its format.

    `access` is r, rw or w; `equivalent` the identifier of 2007 that means the same as one of 1997.
    """

    di: int
    version: Version
    key: str
    name: str
    format: str
    unit: str
    signed: bool
    access: str
    obis: str
    items: int = 1
    equivalent: int | None = None

    @property
    def item_length(self) -> int:
        """Octets of one item; 0 where the meter decides."""
        return format_length(self.format)

    @property
    def length(self) -> int:
        """Octets of all items."""
        return self.item_length * self.items

    def __str__(self) -> str:
        return format_di(self.di, self.version)


def format_di(di: int, version: Version = Version.V2007) -> str:
    """A data identifier as the standard writes it: eight hexadecimal digits, or four in 1997."""
    return f"{di:08X}" if version is Version.V2007 else f"{di:04X}"


@cache
def format_length(text: str) -> int:
    """Octets of a format: two digits, or letters of a date, in each; `ASCII32`, `BITS16`, `OCTETS131` say it themselves."""
    found = _COUNTED.fullmatch(text)
    if found is not None:
        number = int(found[2] or 0)
        return number // _PER_OCTET.get(found[1], 1)
    return sum((len(part.replace(".", "")) + 1) // 2 for part in text.split(","))


_COUNTED: Final = re.compile(r"(DIGITS|ASCII|BITS|OCTETS)(\d*)")
_PER_OCTET: Final = {"DIGITS": 2, "BITS": 8}
_BLOCK: Final = -1

# letter of a pattern: values in 2007; in 1997, where it is a single digit
_VALUES: Final[Mapping[str, range]] = MappingProxyType(
    {
        "t": range(0x40),
        "q": range(4),
        "p": range(1, 4),
        "s": range(0x0D),
        "h": range(1, 0x16),
        "e": range(1, 0x0B),
        "f": range(1, 0x3F),
        "d": range(1, 9),
        "n": range(1, 0xFF),
    }
)
_DIGITS: Final[Mapping[str, range]] = MappingProxyType({"t": range(0x0F), "q": range(4), "p": range(1, 4)})
_BLOCK_ITEMS: Final = {"t": 5, "q": 4, "p": 3, "h": 21}
"""of a block that one letter makes: a total and four tariffs are what most meters have"""
_PLACES: Final = {
    Version.V2007: re.compile(r"\[(?P<list>[0-9A-F,]+)\]|(?P<letter>[A-Za-z])(?P=letter)|(?P<fixed>[0-9A-F]{2})"),
    Version.V1997: re.compile(r"(?P<list>\[\])|(?P<letter>[tqp]|[TQP])|(?P<fixed>[0-9A-F])"),
}


class _Family:
    """One row of a table: which identifiers it stands for, and what each of them means."""

    __slots__ = ("places", "row", "version")

    def __init__(self, row: Mapping[str, str], version: Version) -> None:
        self.row = row
        self.version = version
        self.places: Sequence[tuple[str, Mapping[int, int]]] = [
            self._place(found) for found in _PLACES[version].finditer(row["pattern"])
        ]
        """of each octet (digit in 1997) its letter and what its values stand for"""

    def _place(self, found: re.Match[str]) -> tuple[str, Mapping[int, int]]:
        if found["list"]:
            return "p", {int(text, 16): phase for phase, text in enumerate(found["list"].split(","), 1)}
        letter = found["letter"]
        if letter is None or (letter in "ABCDEF"):
            return "", {int(found[0], 16): 0}
        narrow = self.version is Version.V1997
        values = {value: value for value in (_DIGITS if narrow else _VALUES)[letter.lower()]}
        if letter.isupper():
            values[0x0F if narrow else 0xFF] = _BLOCK
        return letter.lower(), values

    def match(self, parts: Sequence[int]) -> Register | None:
        """What an identifier in parts means, when it is of this family."""
        said: dict[str, int] = {}
        for part, (letter, values) in zip(parts, self.places, strict=True):
            value = values.get(part)
            if value is None:
                return None
            said[letter] = value
        return self._register(parts, said)

    def all(self) -> Iterator[Register]:
        """Everything that the family stands for."""
        for parts in product(*(values for _, values in self.places)):
            found = self.match(parts)
            if found is not None:
                yield found

    def _register(self, parts: Sequence[int], said: Mapping[str, int]) -> Register:
        row = self.row
        block = next((letter for letter, value in said.items() if value == _BLOCK), "")
        obis, equivalent = row.get("obis", ""), row.get("di_2007", "")
        return Register(
            di=_join(parts, self.version),
            version=self.version,
            key=row["key"].format_map(_in_keys(said)),
            name=row["name"].format_map(_in_names(said)),
            format=row["format"],
            unit=row["unit"],
            signed=row["signed"] == "1",
            access=row["access"],
            obis="" if block or not obis else _fill_obis(obis, said),
            items=_BLOCK_ITEMS[block] if block else int(row["items"] or 1),
            equivalent=_fill_di(equivalent, said) if equivalent else None,
        )


def _split(di: int, version: Version) -> Sequence[int]:
    return tuple(di.to_bytes(4, "big")) if version is Version.V2007 else [di >> shift & 15 for shift in (12, 8, 4, 0)]


def _join(parts: Sequence[int], version: Version) -> int:
    base = 256 if version is Version.V2007 else 16
    return sum(part * base**power for power, part in enumerate(reversed(parts)))


def _in_keys(said: Mapping[str, int]) -> Mapping[str, str]:
    """How the letters show in a key; `{t0}` is a tariff where the total has no word of its own."""
    tariff, phase = said.get("t", 0), said.get("p", said.get("q", 0))
    harmonic = said.get("h", 0)
    return {
        "t": "block" if tariff == _BLOCK else f"t{tariff}" if tariff else "total",
        "t0": "_block" if tariff == _BLOCK else f"_t{tariff}" if tariff else "",
        "p": "block" if phase == _BLOCK else f"l{phase}" if phase else "total",
        "s": f"_hist{said['s']}" if said.get("s") else "",
        "h": "harmonics" if harmonic == _BLOCK else f"harmonic{harmonic}",
        "e": f"_last{said.get('e')}",
        "f": f"_last{said['f']}" if said.get("f", 1) > 1 else "",
        "d": str(said.get("d")),
        "n": str(said.get("n")),
    }


def _in_names(said: Mapping[str, int]) -> Mapping[str, str]:
    tariff, phase = said.get("t", 0), said.get("p", said.get("q", 0))
    harmonic, settlement = said.get("h", 0), said.get("s", 0)
    back = said.get("e", said.get("f", 1))
    return {
        "t": ", all tariffs" if tariff == _BLOCK else f", tariff {tariff}" if tariff else "",
        "p": ", all phases" if phase == _BLOCK else f", L{phase}" if phase else "",
        "s": f", settlement {settlement} back" if settlement else "",
        "h": "all harmonics" if harmonic == _BLOCK else f"harmonic {harmonic}",
        "e": f", {back} back",
        "f": f", {back} back",
        "d": str(said.get("d")),
        "n": str(said.get("n")),
    }


def _fill_obis(text: str, said: Mapping[str, int]) -> str:
    """`12+p` in group C is the code of the phase: 32, 52, 72."""
    phase = said.get("p", said.get("q", 0))
    text = re.sub(r"(\d+)\+p", lambda found: str(int(found[1]) + 20 * phase), text)
    return text.format(t=said.get("t"), s=said.get("s") or 255, h=said.get("h")) + (".255" if "{s}" not in text else "")


def _fill_di(pattern: str, said: Mapping[str, int]) -> int:
    """The identifier that a pattern of 2007 stands for with these values."""
    pairs = [pattern[place : place + 2] for place in range(0, 8, 2)]
    octets = [said[pair[0]] & 0xFF if pair[0] in said and pair.islower() else int(pair, 16) for pair in pairs]
    return _join(octets, Version.V2007)


@cache
def _families(version: Version) -> Mapping[int, Sequence[_Family]]:
    """The rows of a table by the first part of their identifiers."""
    table = "dlt645" if version is Version.V2007 else "dlt645_1997"
    found: dict[int, list[_Family]] = {}
    for row in read_table(table):
        family = _Family(row, version)
        for first in family.places[0][1]:
            found.setdefault(first, []).append(family)
    return found


@lru_cache(maxsize=8192)
def find_register(di: int, version: Version = Version.V2007) -> Register | None:
    """What a data identifier means; None when the tables do not say."""
    parts = _split(di, version)
    for family in _families(version).get(parts[0], ()):
        found = family.match(parts)
        if found is not None:
            return found
    return None


def registers(version: Version = Version.V2007) -> Iterator[Register]:
    """All that the tables know, family by family: many thousands."""
    for families in _families(version).values():
        for family in families:
            yield from family.all()


@cache
def _of_1997() -> Mapping[int, int]:
    return {each.equivalent: each.di for each in registers(Version.V1997) if each.equivalent is not None}


def di_of_1997(di: int) -> int | None:
    """The identifier of 1997 that means the same as one of 2007; None when there was none."""
    return _of_1997().get(di)


@cache
def _bits() -> Mapping[str, Sequence[tuple[int, int, str]]]:
    found: dict[str, list[tuple[int, int, str]]] = {}
    for row in read_table("dlt645_bits"):
        first, _, last = row["bits"].partition("-")
        for place, word in enumerate(row["words"].split()):
            name = row["meaning"].format(p=f"L{place + 1}")
            found.setdefault(word, []).append((int(first), int(last or first), name))
    return {word: tuple(sorted(bits)) for word, bits in found.items()}


def status_bits(word: int) -> Sequence[tuple[int, int, str]]:
    """First and last bit, and the meaning, of the parts of status word 1 to 7 of 2007."""
    return _bits()[str(word)]


def error_reasons(error: int) -> Sequence[str]:
    """What an error word says, in the order of its bits."""
    return [name for bit, _, name in _bits()["error"] if error >> bit & 1]
