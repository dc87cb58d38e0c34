"""Normalisation: every object of any meter as a canonical quantity, or as what it stands for, or honestly as unmapped. Pure.

A logical name is understood by the standard, by the variant of a country or companion standard, or by the class of its
object. Objects without a class (registers of protocols that name none) are what their meter file or the tables of their
protocol say.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

from headend.errors import ConfigError
from headend.model.objects import ObjectInfo
from headend.model.profile import MeterProfile
from headend.model.quantity import Quantity, base_unit, find_quantity, for_obis
from headend.services.discovery.fingerprint import named_in
from headend.standards.meanings import ELECTRICITY, Grade, Meaning, meaning
from headend.standards.obis import Obis
from headend.standards.variants import find_variant

SCHEMA: Final = "headend-normalised-objects/1"
_MEASURED: Final = ("measurement", "power_quality")
_SHARED_CHANNELS: Final = 65
"""channels (group B) whose values mean the same as those of channel 0"""


class Status(enum.Enum):
    """How far an object is understood."""

    MAPPED = "mapped"
    """it holds a quantity: `key` names it"""
    NAMED = "named"
    """it holds no quantity, or none of this grammar; `meaning` says what it is"""
    UNMAPPED = "unmapped"
    """`meaning` is the nearest that the standard says"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One object.

    `quantity` is a key of the catalogue, and empty where it has none, or where the value is not of the present (`period` is
    group F then). `key` names the quantity in the same grammar, also beyond the catalogue. `kind` tells measurements from
    events, clocks, controls and other objects, `behaviour` is how a catalogued quantity behaves in time. `own` is an unmapped
    object of a range that the standard leaves to manufacturers.
    """

    ref: str
    class_id: int | None
    name: str
    status: Status
    meaning: str
    kind: str
    quantity: str = ""
    key: str = ""
    unit: str = ""
    direction: str = ""
    phase: str = ""
    tariff: int = 0
    processing: str = ""
    behaviour: str = ""
    period: int | None = None
    variant: str = ""
    own: bool = False

    def to_json(self) -> dict[str, Any]:
        """The same as JSON's own types."""
        document = {name: getattr(self, name) for name in self.__slots__}
        document["status"] = self.status.value
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many objects there are, and how many of them are understood."""

    objects: int
    understood: int
    """mapped or named"""
    own: int
    """of those that are not, in a range that the standard leaves to manufacturers"""
    measurements: int
    """objects that hold, or by class and name may hold, a measurement of the standard or of a variant"""
    mapped: int
    """of these, with a canonical key"""
    catalogued: int
    """of these, with a quantity of the catalogue"""

    @property
    def meaning_share(self) -> float:
        """Of all objects, those that are understood."""
        return self.understood / self.objects if self.objects else 1.0

    @property
    def standard_share(self) -> float:
        """Of the objects that are not the manufacturer's own, those that are understood."""
        others = self.objects - self.own
        return self.understood / others if others else 1.0

    @property
    def quantity_share(self) -> float:
        """Of the measurements, those that are mapped."""
        return self.mapped / self.measurements if self.measurements else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """The rows in the order of the objects, and the variant by which they were read; empty for the standard alone."""

    rows: tuple[Row, ...]
    coverage: Coverage
    variant: str = ""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON's own types."""
        coverage = asdict(self.coverage)
        coverage |= {
            "meaning_share": round(self.coverage.meaning_share, 4),
            "standard_share": round(self.coverage.standard_share, 4),
            "quantity_share": round(self.coverage.quantity_share, 4),
        }
        return {
            "schema": SCHEMA,
            "variant": self.variant,
            "coverage": coverage,
            "rows": [row.to_json() for row in self.rows],
        }


def normalise(protocol: str, objects: Sequence[ObjectInfo], *, vendor: str = "", country: str = "") -> Normalised:
    """What the objects of a meter stand for. `vendor` is a FLAG identifier and `country` two letters, where they are known."""
    names = [found for each in objects if each.class_id is not None and (found := _obis(each.ref.address)) is not None]
    variant = find_variant(names, vendor=vendor, country=country)
    rows = tuple(_row(protocol, each, variant) for each in objects)
    return Normalised(rows=rows, coverage=_coverage(rows), variant=variant)


def listed(profile: MeterProfile) -> tuple[ObjectInfo, ...]:
    """The objects of a meter file, for protocols whose meters have no list of their own."""
    return tuple(
        ObjectInfo(ref=each.ref, name=each.name, quantity=each.quantity, unit=each.unit) for each in profile.objects
    )


def explain(obis: Obis, class_id: int = 0, variant: str = "") -> Row:
    """What one logical name stands for; class 0 is not known."""
    return _by_name(f"{class_id}/{obis}/2", obis, class_id, variant)


def _row(protocol: str, each: ObjectInfo, variant: str) -> Row:
    address = each.ref.address
    obis = _obis(address) if each.class_id is not None else None
    if obis is None or each.class_id is None:
        return _by_file(f"{protocol}:{address}", each)
    return _by_name(f"{protocol}:{address}", obis, each.class_id, variant)


@lru_cache(maxsize=65536)
def _obis(address: str) -> Obis | None:
    """The logical name in a reference; None where there is none."""
    try:
        return Obis.parse(named_in(address))
    except ConfigError:
        return None


@lru_cache(maxsize=65536)
def _by_name(ref: str, obis: Obis, class_id: int, variant: str) -> Row:
    """What a logical name, and the class, say."""
    said = meaning(obis, class_id, variant)
    quantity = _quantity(obis, said)
    key = quantity.key if quantity is not None and said.kind in _MEASURED else said.key
    status = Status.MAPPED if key else Status.NAMED
    if said.grade is Grade.NEAREST:
        status = Status.UNMAPPED
    return Row(
        ref=ref,
        class_id=class_id or None,
        name=str(obis),
        status=status,
        meaning=said.text,
        kind=said.kind,
        quantity=quantity.key if quantity is not None else "",
        key=key,
        unit=said.unit,
        direction=said.direction,
        phase=said.phase,
        tariff=said.tariff,
        processing=said.processing,
        behaviour=quantity.kind.value if quantity is not None else "",
        period=said.period,
        variant=said.variant,
        own=said.own,
    )


def _quantity(obis: Obis, said: Meaning) -> Quantity | None:
    """The catalogue's quantity, for what is of the present and in its unit."""
    if not said.key or said.period is not None or obis.b >= _SHARED_CHANNELS:
        return None
    found = for_obis(obis) if obis.a == ELECTRICITY and not said.variant else None
    found = found or find_quantity(said.key)
    return found if found is not None and found.unit == said.unit else None


def _by_file(ref: str, each: ObjectInfo) -> Row:
    """What the meter file, or the tables of the protocol, say of an object without a class."""
    quantity = find_quantity(each.quantity) if each.quantity else None
    unit = quantity.unit if quantity is not None else _base(each.unit)
    status = Status.MAPPED if quantity is not None else Status.NAMED if each.name else Status.UNMAPPED
    return Row(
        ref=ref,
        class_id=None,
        name=each.ref.address,
        status=status,
        meaning=each.name or (quantity.label if quantity is not None else f"A value{f' in {unit}' if unit else ''}"),
        kind="measurement" if unit else "status",
        quantity=quantity.key if quantity is not None else "",
        key=quantity.key if quantity is not None else "",
        unit=unit,
        direction=_direction(quantity),
        phase=quantity.phase if quantity is not None else "",
        tariff=quantity.tariff if quantity is not None else 0,
        behaviour=quantity.kind.value if quantity is not None else "",
    )


def _base(unit: str) -> str:
    try:
        return base_unit(unit)[0]
    except ConfigError:
        return unit


def _direction(quantity: Quantity | None) -> str:
    words = quantity.key.split("_") if quantity is not None else ()
    return next((word for word in words if word in _DIRECTIONS), "")


_DIRECTIONS: Final[Mapping[str, None]] = dict.fromkeys(("import", "export", "q1", "q2", "q3", "q4", "abs", "net"))


def _coverage(rows: Sequence[Row]) -> Coverage:
    measured = [row for row in rows if row.kind in _MEASURED]
    return Coverage(
        objects=len(rows),
        understood=sum(row.status is not Status.UNMAPPED for row in rows),
        own=sum(row.own for row in rows),
        measurements=len(measured),
        mapped=sum(row.status is Status.MAPPED for row in measured),
        catalogued=sum(bool(row.quantity) for row in measured),
    )
