"""Short names (IEC 62056-6-2, 4.1.2): where the attributes and methods of an object are, once its base name is known.

Attribute i stands at base name + 8·(i - 1); where the methods of a class begin is in the table of classes. A meter tells the
base names of its objects in the object list of its association, which itself has a name that the standard reserves.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.errors import ConfigError, DecodeError
from headend.protocols.dlms.axdr import Data, octet_string, structure, uint8, uint16
from headend.protocols.dlms.classes import base_name_to_data
from headend.standards.cosem import SHORT_NAME_STEP, attribute_offset, find_class
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headend.protocols.dlms.axdr import Plain

ASSOCIATION_SN: Final = 12
ASSOCIATION_NAME: Final = Obis(0, 0, 40, 0, 0)
RESERVED: Final = {
    (ASSOCIATION_SN, ASSOCIATION_NAME): 0xFA00,
    (9, Obis(0, 0, 10, 0, 125)): 0xFB00,
    (17, Obis(0, 0, 41, 0, 0)): 0xFC00,
    (1, Obis(0, 0, 42, 0, 0)): 0xFD00,
}
"""Base names of the current association, the broadcast script table, the SAP assignment, the logical device name."""

REPLY_TO_HLS_SN: Final = 0xFA58
"""The short name of reply_to_HLS_authentication, in every version of the association."""
_FIRST: Final = 0x0100
"""The first base name that is given away here; real meters leave low ones free too."""
_LAST: Final = 0xF9FF
_UNKNOWN_SPAN: Final = 0x80
"""What an object of an unknown class takes: sixteen attributes."""


class Member(NamedTuple):
    """What a short name stands for."""

    target: ShortObject
    number: int
    is_method: bool


class ShortObject(NamedTuple):
    """One object, with its base name."""

    base_name: int
    class_id: int
    version: int
    logical_name: Obis

    def attribute(self, attribute_id: int) -> int | None:
        """The short name of an attribute; None for one that has none."""
        name = self.base_name + attribute_offset(attribute_id)
        return name if attribute_id > 0 and name <= 0xFFFF else None

    def method(self, method_id: int) -> int | None:
        """The short name of a method; None when the class has no such method or its place is not known."""
        cosem_class = find_class(self.class_id, self.version)
        offset = cosem_class.method_offset(method_id) if cosem_class else None
        return None if offset is None or self.base_name + offset > 0xFFFF else self.base_name + offset

    def to_data(self) -> Data:
        """The element of an object list."""
        name = octet_string(self.logical_name.to_bytes())
        return structure(base_name_to_data(self.base_name), uint16(self.class_id), uint8(self.version), name)

    def member(self, name: int) -> Member | None:
        """What a short name stands for when it is one of this object."""
        offset = name - self.base_name
        if offset < 0 or offset % SHORT_NAME_STEP:
            return None
        number = offset // SHORT_NAME_STEP + 1
        cosem_class = find_class(self.class_id, self.version)
        if cosem_class is None:
            return Member(self, number, is_method=False) if offset < _UNKNOWN_SPAN else None
        if number in cosem_class.attributes:
            return Member(self, number, is_method=False)
        methods = (each for each in cosem_class.methods if cosem_class.method_offset(each) == offset)
        return next((Member(self, each, is_method=True) for each in methods), None)


class ShortNames:
    """All objects of a meter, by what they are and by their names."""

    __slots__ = ("_bases", "_objects", "objects")

    def __init__(self, objects: Iterable[ShortObject]) -> None:
        self.objects: Sequence[ShortObject] = sorted(objects)
        self._objects = {(each.class_id, each.logical_name): each for each in self.objects}
        self._bases = [each.base_name for each in self.objects]

    def find(self, class_id: int, logical_name: Obis) -> ShortObject | None:
        """The object of a class with a logical name."""
        return self._objects.get((class_id, logical_name))

    def member(self, name: int) -> Member | None:
        """What a short name stands for."""
        at = bisect_right(self._bases, name) - 1
        return self.objects[at].member(name) if at >= 0 else None


def to_short_names(value: Plain) -> ShortNames:
    """Attribute object_list of class 12; raises DecodeError."""
    if not isinstance(value, list):
        raise DecodeError("object_list", expected="array", got=type(value).__name__)
    return ShortNames(_to_object(each) for each in value)


def _to_object(value: Plain) -> ShortObject:
    match value:
        case [int(base_name), int(class_id), int(version), bytes(name)] if len(name) == 6:
            return ShortObject(base_name & 0xFFFF, class_id, version, Obis.from_bytes(name))
    raise DecodeError("object_list_element", expected="base name, class, version and logical name", got=repr(value))


def assign_names(objects: Iterable[tuple[int, int, Obis]]) -> ShortNames:
    """Base names for objects (class, version, logical name), always the same ones for the same objects in the same order.

    Raises ConfigError when there are more objects than names.
    """
    named, following = [], _FIRST
    for class_id, version, logical_name in objects:
        base_name = RESERVED.get((class_id, logical_name))
        if base_name is None:
            base_name, following = following, following + _span(class_id, version)
            if following > _LAST + 1:
                raise ConfigError(f"too many objects for short names: {logical_name} is beyond the last one")
        named.append(ShortObject(base_name, class_id, version, logical_name))
    return ShortNames(named)


def _span(class_id: int, version: int) -> int:
    """How far the names of an object reach, in whole steps of sixteen."""
    cosem_class = find_class(class_id, version)
    if cosem_class is None:
        return _UNKNOWN_SPAN
    last = max(attribute_offset(each) for each in cosem_class.attributes)
    offsets = (cosem_class.method_offset(each) for each in cosem_class.methods)
    last = max(last, *(offset for offset in offsets if offset is not None), 0)
    return (last + SHORT_NAME_STEP + 0x0F) & ~0x0F
