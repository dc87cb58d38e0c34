"""What a push says about which object: the bodies of data-notifications of real meters, recognised by their shape. Pure.

```text
rows          [obis, value] and [obis, value, scaler_unit]; Aidon, Iskraemeco, Kaifa in Austria
bare rows     {class obis attribute without tags, value}; Sagemcom XT211
object list   [[class, obis, attribute, index …] …], then a value for each of them, the list itself being the first;
              Landis+Gyr, Iskraemeco in Switzerland, Energomera. Scalers are not told
pairs         obis, value, obis, value …; Kamstrup, Kaifa in Sweden. The list's name tells the scalers
triples       obis, value, scaler_unit, obis …; Kaifa in Lower Austria
own list      values alone, and the meter file or the meter's Push Setup says what they are
positions     values alone; the list's name and its length tell what they are: Kaifa in Norway, Iskraemeco in Slovenia
```

Scalers and positions of named lists are those that the makers publish for their consumer ports; a list that is not
known gives no values, and a value whose scaler nobody tells has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from headend.drivers.dlms.nodes import Node, is_logical_name
from headend.drivers.mapping import octets_to_text, scale
from headend.model.quantity import for_obis
from headend.model.reading import Value
from headend.protocols.dlms.axdr_plain import Plain, Tag
from headend.protocols.dlms.clock import CosemDateTime
from headend.standards.obis import Obis
from headend.standards.units import find_unit

OwnList: TypeAlias = Sequence[tuple[int, Obis, int] | None]
"""Class, logical name and attribute of each value, None for what is no attribute alone."""

_LOGICAL_NAME: Final = 1
_VALUE: Final = 2
_CLOCK: Final = 8
_SCALED_BY: Final = {3: 3, 4: 3, 5: 4}
"""Classes of amounts, and the attribute that holds scaler and unit."""
_DATE_TIME_LENGTH: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """One value of one object. `class_id` 0: the push does not tell it; `scaler` None: nobody tells it, the value is raw."""

    obis: Obis
    node: Node
    class_id: int = 0
    attribute_id: int = _VALUE
    scaler: int | None = None
    unit: str = ""

    @property
    def raw(self) -> Plain:
        """The value as it stands in the push."""
        return self.node.plain()

    @property
    def value(self) -> Value | None:
        """The value in its unit; texts and date-times as text; None for null-data and for structures."""
        raw = self.raw
        if isinstance(raw, bytes):
            return str(CosemDateTime.from_bytes(raw)) if self.is_clock else octets_to_text(raw)
        return None if isinstance(raw, list) else scale(raw, self.scaler or 0)

    @property
    def is_clock(self) -> bool:
        """True for a date-time."""
        return isinstance(self.raw, bytes) and len(self.raw) == _DATE_TIME_LENGTH and _is_clock(self.obis)


def _is_clock(obis: Obis) -> bool:
    """The clock and its relatives: group C is 1 among the objects of medium 0."""
    return obis.a == 0 and obis.c == 1


@dataclass(frozen=True, slots=True)
class _NamedList:
    """A maker's lists: the beginning of their name, scalers by unit, and positions by the number of elements."""

    name: str
    scalers: Mapping[str, int]
    positions: Sequence[str] = ()


_POWERS: Final = "1-0:1.7.0 1-0:2.7.0 1-0:3.7.0 1-0:4.7.0"
_VOLTAGES: Final = "1-0:32.7.0 1-0:52.7.0 1-0:72.7.0"
_CURRENTS: Final = "1-0:31.7.0 1-0:51.7.0 1-0:71.7.0"
_PHASE_POWERS: Final = "1-0:21.7.0 1-0:41.7.0 1-0:61.7.0 1-0:22.7.0 1-0:42.7.0 1-0:62.7.0"
_ENERGIES: Final = "0-0:1.0.0 1-0:1.8.0 1-0:2.8.0 1-0:3.8.0 1-0:4.8.0"
_KAIFA_HEAD: Final = "1-1:0.2.129 0-0:96.1.0 0-0:96.1.7"
_ISKRA_HEAD: Final = "0-0:42.0.0 0-0:96.1.0"

_LISTS: Final = (
    _NamedList("Kamstrup_V", {"W": 0, "var": 0, "V": 0, "A": -2, "1": -2, "Wh": 1, "varh": 1}),
    _NamedList(
        "KFM_",
        {"W": 0, "var": 0, "V": -1, "A": -3, "Wh": 0, "varh": 0},
        (
            f"{_KAIFA_HEAD} {_POWERS} 1-0:31.7.0 1-0:32.7.0",
            f"{_KAIFA_HEAD} {_POWERS} {_CURRENTS} {_VOLTAGES}",
            f"{_KAIFA_HEAD} {_POWERS} 1-0:31.7.0 1-0:32.7.0 {_ENERGIES}",
            f"{_KAIFA_HEAD} {_POWERS} {_CURRENTS} {_VOLTAGES} {_ENERGIES}",
        ),
    ),
    _NamedList(
        "ISK1",
        {"W": 0, "var": 0, "V": -1, "A": -2},
        (
            f"{_ISKRA_HEAD} {_POWERS} {_VOLTAGES}",
            f"{_ISKRA_HEAD} {_VOLTAGES} {_CURRENTS} {_POWERS}",
            f"{_ISKRA_HEAD} {_POWERS} {_VOLTAGES} {_CURRENTS} {_PHASE_POWERS}",
        ),
    ),
)
_KAIFA_POWER: Final = "1-0:1.7.0"
"""What a Kaifa list of one element holds; such a list has no name, but its date-time is tagged."""

_NO_SCALERS: Final[Mapping[str, int]] = MappingProxyType({})
_IDENTIFIERS: Final = frozenset({42, 96})
"""Group C of the objects of medium 0 whose values are texts."""


def read_push(body: Node, *, tagged_date_time: bool = False, lists: Iterable[OwnList] = ()) -> list[Pushed]:
    """The values of the objects in a push, in its order; none when its shape is not known.

    `lists` are the meter's own: the first whose kinds of values are those of the push says what they are.
    """
    own = next((listed for listed in lists if _is_of(listed, body.children)), None)
    if own is not None:
        return _told_scales(
            [
                Pushed(obis=item[1], node=node, class_id=item[0], attribute_id=item[2])
                for item, node in zip(own, body.children, strict=True)
                if item is not None
            ]
        )
    named = _named_list(body)
    values = list(_read_sequence(body, named.scalers if named else _NO_SCALERS)) if body.is_sequence else []
    if values:
        return values
    if named is not None:
        return _positions(body.children, named)
    alone = body.children[0] if len(body.children) == 1 else None
    if tagged_date_time and alone is not None and alone.tag is Tag.UINT32:
        return [_scaled(Obis.parse(_KAIFA_POWER), alone, {"W": 0})]
    return []


def _is_of(listed: OwnList, children: Sequence[Node]) -> bool:
    """True when the values may be those of the list."""
    return len(listed) == len(children) and all(
        item is None or _may_be(item, node) for item, node in zip(listed, children, strict=True)
    )


def _may_be(item: tuple[int, Obis, int], node: Node) -> bool:
    class_id, obis, attribute_id = item
    raw = node.value
    if attribute_id == _LOGICAL_NAME:
        return raw == obis.to_bytes()
    if raw is None or node.error is not None or attribute_id != _VALUE:
        return node.error is None
    if class_id == _CLOCK:
        return isinstance(raw, bytes) and len(raw) == _DATE_TIME_LENGTH
    return class_id not in _SCALED_BY or (isinstance(raw, int | float) and not isinstance(raw, bool))


def _told_scales(values: list[Pushed]) -> list[Pushed]:
    """Scaler and unit where the list holds the attribute that tells them beside the value."""
    told = {(each.class_id, each.obis, each.attribute_id): each.raw for each in values}
    scaled = []
    for each in values:
        raw = told.get((each.class_id, each.obis, _SCALED_BY.get(each.class_id, 0)))
        match raw:
            case [int(scaler), int(code)] if each.attribute_id == _VALUE:
                unit = find_unit(code)
                scaled.append(replace(each, scaler=scaler, unit=unit.symbol if unit else ""))
            case _:
                scaled.append(each)
    return scaled


def _named_list(body: Node) -> _NamedList | None:
    """The list whose name is among the first texts of a push."""
    for node in body.children[:2]:
        raw = node.value
        text = raw.decode("latin-1") if isinstance(raw, bytes) else raw if isinstance(raw, str) else ""
        for known in _LISTS:
            if text.startswith(known.name):
                return known
    return None


def _read_sequence(body: Node, scalers: Mapping[str, int]) -> Iterator[Pushed]:
    """Rows, pairs, or an object list and its values; what is none of these is passed over."""
    children = body.children
    listed = next((at for at, child in enumerate(children) if _is_object_list(child)), -1)
    if listed >= 0:
        yield from _listed(children[listed:])
        return
    at = 0
    while at < len(children):
        child, following = children[at], children[at + 1] if at + 1 < len(children) else None
        at += 1
        if child.is_sequence:
            row = _row(child)
            yield from (row,) if row else _read_sequence(child, scalers)
        elif (name := _name(child)) and following is not None and not _name(following) and not following.is_sequence:
            at += 1
            told = _scaler_unit(children[at]) if at < len(children) else None
            yield (
                Pushed(obis=name, node=following, scaler=told[0], unit=told[1])
                if told
                else _scaled(name, following, scalers)
            )
            at += told is not None


def _scaler_unit(node: Node) -> tuple[int, str] | None:
    """Scaler and unit of such a structure."""
    match node.children:
        case [Node(tag=Tag.INT8), Node(tag=Tag.ENUM)]:
            match node.plain():
                case [int(scaler), int(code)]:
                    unit = find_unit(code)
                    return scaler, unit.symbol if unit else ""
    return None


def _name(node: Node) -> Obis | None:
    """The OBIS code that a node is."""
    raw = node.value
    if node.tag is Tag.OCTET_STRING and isinstance(raw, bytes) and is_logical_name(raw):
        return Obis.from_bytes(raw)
    return None


def _row(node: Node) -> Pushed | None:
    """A structure that holds an object and its value, and perhaps its scaler and unit."""
    children = node.children
    if len(children) not in {2, 3} or node.tag is not Tag.STRUCTURE:
        return None
    head, value = children[:2]
    if head.descriptor is not None:
        class_id, octets, attribute_id = head.descriptor
        return Pushed(obis=Obis.from_bytes(octets), node=value, class_id=class_id, attribute_id=attribute_id)
    obis = _name(head)
    if obis is None:
        return None
    if len(children) == 2:
        return None if value.is_sequence else Pushed(obis=obis, node=value)
    told = _scaler_unit(children[2])
    return Pushed(obis=obis, node=value, scaler=told[0], unit=told[1]) if told else None


def _scaled(obis: Obis, node: Node, scalers: Mapping[str, int]) -> Pushed:
    """A value of a named list, whose scalers are known by unit."""
    quantity = for_obis(obis)
    scaler = scalers.get(quantity.unit) if quantity and isinstance(node.value, int) else None
    if quantity is None or scaler is None:
        return Pushed(obis=obis, node=node)
    return Pushed(obis=obis, node=node, scaler=scaler, unit="" if quantity.unit == "1" else quantity.unit)


def _is_object_list(node: Node) -> bool:
    """An array of [class, obis, attribute, data index …]."""
    return node.tag is Tag.ARRAY and bool(node.children) and all(map(_is_object, node.children))


def _is_object(node: Node) -> bool:
    match node.children:
        case [Node(tag=Tag.UINT16), name, Node(tag=Tag.INT8), Node(tag=Tag.UINT16), *_]:
            return isinstance(name.value, bytes) and len(name.value) == 6
    return False


def _listed(children: Sequence[Node]) -> Iterator[Pushed]:
    """Values by the object list that is the first of them; the list stands in its own place, that of the push setup."""
    for entry, node in zip(children[0].children, children, strict=False):
        match [child.value for child in entry.children[:3]]:
            case [int(class_id), bytes(octets), int(attribute_id)]:
                yield Pushed(obis=Obis.from_bytes(octets), node=node, class_id=class_id, attribute_id=attribute_id)


def _positions(children: Sequence[Node], named: _NamedList) -> list[Pushed]:
    """Values by the place in a list of this length, when each is of the kind that its place asks for."""
    for positions in named.positions:
        codes = [Obis.parse(code) for code in positions.split()]
        if len(codes) == len(children) and all(map(_suits, codes, children)):
            return [_scaled(obis, node, named.scalers) for obis, node in zip(codes, children, strict=True)]
    return []


def _suits(obis: Obis, node: Node) -> bool:
    raw = node.value
    if _is_clock(obis):
        return isinstance(raw, bytes) and len(raw) == _DATE_TIME_LENGTH
    if obis.c == 0 or (obis.a == 0 and obis.c in _IDENTIFIERS):
        return isinstance(raw, bytes | str)
    return isinstance(raw, int) and not isinstance(raw, bool)
