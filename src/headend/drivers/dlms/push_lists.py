"""What a meter pushes, told by itself: push_object_list of its Push Setup objects (class 40, attribute 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.listing import ask_objects
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.errors import MeterError
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.base import PushList
    from headend.drivers.dlms.access import Access
    from headend.model.objects import ObjectRef, RawValue

PUSH_SETUP: Final = 40
_USUAL: Final = CosemRef(PUSH_SETUP, Obis(0, 0, 25, 9, 0, 255), 2)


async def ask_push_lists(access: Access) -> list[PushList]:
    """The lists of all Push Setup objects; a meter that keeps its object list to itself is asked for the usual one."""
    try:
        refs = [cosem_ref(info.ref.address) for info in await ask_objects(access) if info.class_id == PUSH_SETUP]
    except MeterError:
        refs = [_USUAL]
    found: list[PushList] = []
    for ref in refs:
        try:
            listed = read_push_list(await access.get(ref))
        except MeterError:
            continue
        if listed:
            found.append(listed)
    return found


def read_push_list(raw: RawValue) -> Sequence[ObjectRef | None]:
    """The objects of a push_object_list; None for a part of an attribute, and for what cannot be read."""
    if not isinstance(raw, list):
        return ()
    return tuple(_object(item) for item in raw)


def _object(item: RawValue) -> ObjectRef | None:
    match item:
        case [int(class_id), bytes(name), int(attribute_id), 0, *_] if len(name) == 6 and attribute_id > 0:
            return CosemRef(class_id, Obis.from_bytes(name), attribute_id).object_ref
    return None
