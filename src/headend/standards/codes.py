"""What OBIS codes mean: the table of the codes that electricity meters use, read when it is first asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING

from headend.standards.obis import Obis, parse_pattern
from headend.standards.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One OBIS code. What does not apply is empty, `tariff` 0 the total.

    `kind` tells measurements from events, clocks, controls and other objects; `classes` are the COSEM classes that it is
    found in; `device_class` and `state_class` are the words of Home Assistant.
    """

    key: str
    obis: Obis
    quantity: str
    unit: str
    direction: str
    phase: str
    tariff: int
    aggregation: str
    kind: str
    classes: tuple[int, ...]
    device_class: str
    state_class: str


@cache
def codes() -> Mapping[Obis, Code]:
    """All codes of the table."""
    return MappingProxyType({code.obis: code for row in read_table("obis") for code in _expand(row)})


@cache
def codes_by_key() -> Mapping[str, Code]:
    """The same by key, such as `active_energy_import_t1`."""
    return MappingProxyType({code.key: code for code in codes().values()})


def find_code(obis: Obis) -> Code | None:
    """What a code means; None when the table does not say."""
    return codes().get(obis)


def _expand(row: Mapping[str, str]) -> Iterator[Code]:
    """One code for each value that the pattern allows."""
    for groups in product(*map(sorted, parse_pattern(row["pattern"]))):
        obis = Obis(*groups)
        yield Code(
            key=row["key"].format(b=obis.b, e=obis.e),
            obis=obis,
            quantity=row["quantity"],
            unit=row["unit"],
            direction=row["direction"],
            phase=row["phase"],
            tariff=obis.e if row["tariff"] == "e" else int(row["tariff"] or 0),
            aggregation=row["aggregation"],
            kind=row["kind"],
            classes=tuple(map(int, row["classes"].split())),
            device_class=row["device_class"],
            state_class=row["state_class"],
        )
