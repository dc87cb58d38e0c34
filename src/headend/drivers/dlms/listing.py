"""The object list of an association: attribute 2 of class 15, or of class 12 where objects have short names."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.access import SHORT_OBJECTS
from headend.drivers.dlms.history import PROFILE_GENERIC
from headend.drivers.dlms.refs import VALUE_CLASSES, CosemRef
from headend.errors import DecodeError, MeterError
from headend.model.objects import ObjectInfo
from headend.model.quantity import for_obis
from headend.protocols.dlms.classes import (
    INVOKE,
    AccessRight,
    ObjectListEntry,
    ShortRights,
    to_object_list,
    to_short_rights,
)
from headend.standards.cosem import find_class
from headend.standards.meanings import Grade, meaning
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from headend.drivers.dlms.access import Access
    from headend.model.objects import RawValue
    from headend.protocols.dlms.short_names import ShortNames

OBJECT_LIST: Final = CosemRef(15, Obis(0, 0, 40, 0, 0, 255), 2)
_WITH_RIGHTS: Final = 2
"""The version of an association with short names since which attribute 3 tells the rights."""
_RIGHTS: Final = 3
_PROTECTED: Final = 0xFC
"""Rights that need authentication, encryption or a signature."""


async def ask_objects(access: Access) -> list[ObjectInfo]:
    """Ask the meter for its object list."""
    if access.names is not None:
        return await _short_objects(access, access.names)
    raw = await access.get(OBJECT_LIST)
    if not isinstance(raw, list):
        raise DecodeError("object_list", expected="array", got=type(raw).__name__)
    return [_info(entry) for entry in to_object_list(raw, _association_version(raw))]


async def _short_objects(access: Access, names: ShortNames) -> list[ObjectInfo]:
    """Objects with short names. Their rights stand in another list, which older associations do not have."""
    rights: dict[int, ShortRights] = {}
    own = names.find(SHORT_OBJECTS.class_id, SHORT_OBJECTS.obis)
    if own is not None and own.version >= _WITH_RIGHTS:
        with suppress(MeterError, DecodeError):
            rights = to_short_rights(await access.get(SHORT_OBJECTS.other(_RIGHTS)))
    infos = []
    for each in names.objects:
        attributes, methods = rights.get(each.base_name, ({}, {}))
        infos.append(_info(ObjectListEntry(each.class_id, each.version, each.logical_name, attributes, methods)))
    return infos


def _association_version(objects: list[RawValue]) -> int:
    """The version of the association, which stands in its own object list; it decides what access modes mean."""
    for item in objects:
        match item:
            case [OBJECT_LIST.class_id, int(version), *_]:
                return version
    return 0


def info_of(class_id: int, name: Obis) -> ObjectInfo:
    """What is known of an object of which nobody has said more than its class and name."""
    return _info(ObjectListEntry(class_id, 0, name, {}, {}))


def _info(entry: ObjectListEntry) -> ObjectInfo:
    cosem_class = find_class(entry.class_id, entry.version)
    quantity = for_obis(entry.logical_name)
    said = meaning(entry.logical_name, entry.class_id)
    words = said.text if said.grade is not Grade.NEAREST else ""
    return ObjectInfo(
        ref=CosemRef(entry.class_id, entry.logical_name, 2).object_ref,
        quantity=quantity.key if quantity else "",
        name=quantity.label if quantity else words,
        class_id=entry.class_id,
        class_name=cosem_class.name if cosem_class else "",
        version=entry.version,
        history=entry.class_id == PROFILE_GENERIC,
        value=entry.class_id in VALUE_CLASSES,
        attributes={index: _shown(right, "r", "w") for index, right in entry.attributes.items()},
        methods={index: _shown(right, "x", "") for index, right in entry.methods.items()},
    )


@lru_cache(maxsize=1024)
def _shown(right: AccessRight, first: str, second: str) -> str:
    """r, w, rw or x, with a star where the request must be protected; none."""
    letters = (first if right & INVOKE else "") + (second if right & AccessRight.WRITE else "")
    return (letters + ("*" if right & _PROTECTED else "")) or "none"
