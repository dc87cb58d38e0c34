"""Countries, companion standards and makers whose OBIS codes have meanings of their own, and how a meter is seen to follow them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType

from headend.standards.obis import Obis
from headend.standards.tables import read_table


@dataclass(frozen=True, slots=True)
class Variant:
    """A country or companion standard with meanings of its own, and what shows that a meter follows it."""

    name: str
    title: str
    base: str
    countries: frozenset[str]
    vendors: frozenset[str]
    least: int
    hints: tuple[str, ...]


@cache
def variants() -> Mapping[str, Variant]:
    """All variants by name, those first whose hints go before others'."""
    return MappingProxyType(
        {
            row["variant"]: Variant(
                row["variant"],
                row["name"],
                row["base"],
                frozenset(row["countries"].split()),
                frozenset(row["vendors"].split()),
                int(row["least"]),
                tuple(row["hints"].split()),
            )
            for row in read_table("obis_variants")
        }
    )


def find_variant(names: Iterable[Obis] = (), *, vendor: str = "", country: str = "") -> str:
    """The variant that a meter follows: by its country, else by its object list, else by its maker; empty for none."""
    known = tuple(variants().values())
    for each in known:
        if country.upper() in each.countries:
            return each.name
    seen = Counter(name for obis in set(names) for name in _hinted(obis))
    for each in known:
        if seen[each.name] >= each.least:
            return each.name
    return next((each.name for each in known if vendor.upper() in each.vendors), "")


@lru_cache(maxsize=65536)
def _hinted(obis: Obis) -> tuple[str, ...]:
    """The variants that a logical name hints at."""
    return tuple(each.name for each in variants().values() if any(obis.match(hint) for hint in each.hints))
